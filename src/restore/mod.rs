//! Restore: what of a set differs from the node becomes the changes of one transaction.

mod choose;
mod plan;

pub use choose::{Part, choose};
pub use plan::{Change, Restoration, plan};
