//! Backups: a set is a folder named by its UTC time that holds copies of everything a cycle could damage, and their digests.

pub mod retention;
pub mod set;
mod take;
pub mod verify;

pub use take::{Backup, Purpose, take};
