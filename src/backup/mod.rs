//! Backups: a set is a folder named by its UTC time that holds copies of everything a cycle could damage, and their digests.

mod etcd;
mod places;
pub mod retention;
mod seal;
pub mod set;
mod take;
pub mod verify;

pub use etcd::members_of;
pub use seal::{contents, extract_folder, extract_payload, seal};
pub use take::{Backup, Purpose, take};
