//! kubecertd keeps the certificates of a Kubernetes node alive.
//!
//! The modules stand in the order in which data goes through them; [`cycle`] knows that order.
#![deny(missing_docs)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

pub mod events;
pub mod model;
pub mod parallel;

pub mod catalog;
pub mod config;
pub mod format;

pub mod etcd;
pub mod host;
pub mod scan;
pub mod state;

pub mod inventory;
pub mod plan;

pub mod doctor;
pub mod guard;

pub mod backup;
pub mod coordinate;
pub mod renew;
pub mod transaction;

pub mod report;
pub mod restart;
pub mod restore;
pub mod verify;

pub mod cycle;
pub mod schedule;

pub mod cli;
