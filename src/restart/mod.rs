//! Restart: make the readers that hold a renewed credential in memory start anew.

pub mod pending;
pub mod static_pod;
