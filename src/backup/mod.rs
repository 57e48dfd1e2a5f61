//! Backups: a set is a folder named by its UTC time that holds copies of everything a cycle could damage, and their digests.

mod etcd;
pub mod member;
mod places;
mod reach;
pub mod retention;
mod seal;
pub mod set;
mod take;
pub mod verify;

pub use etcd::members_of;
pub use reach::{Reached, reach, reach_any};
pub use seal::{contents, extract_folder, extract_payload, seal};
pub use take::{Backup, Purpose, take};
