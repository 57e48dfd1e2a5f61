//! Finds etcd's member on this node and connects to it; [`crate::host::etcd`] speaks the protocol.

pub mod connection;
pub mod member;

pub use connection::{Connection, connect, connect_any};
