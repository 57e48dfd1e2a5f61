//! kubecertd keeps the certificates of a Kubernetes node alive.
//!
//! Data goes through the modules in this order, which `cycle` knows. Tests use the public ones.
#![deny(missing_docs)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

pub mod events;
pub mod model;
pub mod parallel;

pub(crate) mod catalog;
pub mod config;
pub mod format;

pub(crate) mod etcd;
pub(crate) mod host;
pub(crate) mod scan;
pub(crate) mod state;

pub(crate) mod inventory;
pub(crate) mod plan;

pub(crate) mod doctor;
pub(crate) mod guard;

pub(crate) mod backup;
pub mod coordinate;
pub(crate) mod renew;
pub(crate) mod transaction;

pub(crate) mod report;
pub(crate) mod restart;
pub(crate) mod restore;
pub(crate) mod verify;

pub(crate) mod cycle;
pub mod schedule;

pub mod cli;
