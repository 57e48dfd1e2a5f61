//! Restore: what of a backup differs from the node becomes the changes of one transaction; and etcd's data, which has a way of its own.

mod choose;
pub mod etcd;
mod plan;
pub mod swap;
mod tool;

pub use choose::{Part, choose};
pub use plan::{Change, Restoration, plan};
