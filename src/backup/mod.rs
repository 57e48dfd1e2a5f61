//! Backups. A backup is a directory named by its UTC time, with copies of everything that
//! a cycle could damage, and their digests.

mod archive;
mod create;
mod etcd;
mod places;
pub mod retention;
pub mod stored;
pub mod verify;

pub use archive::{archive_all, contents, extract_directory, extract_payload};
pub use create::{Backup, Purpose, create};
pub use etcd::members_of;
