//! Restore: turns the differences between a backup and the node into one transaction. etcd's data
//! is restored in another way.

mod choose;
pub mod etcd;
mod plan;
pub mod swap;
mod tool;

pub use choose::Part;
pub use plan::{Restoration, plan};
