//! Turns under fire: control planes of three and five real etcd members, each node in namespaces of
//! its own, renewed at the same moment while nodes are killed, frozen, cut off and run on wrong
//! clocks. A checker judges the events that were seen from outside.
//!
//! Needs root, etcd, iproute2 and libfaketime (`make soak` installs them). `SOAK_ROUNDS` says how
//! many rounds, `SOAK_SEED` which ones; both are printed. All processes, mounts and networks are in
//! namespaces that end with the test, also when it is killed.

#[path = "../support/mod.rs"]
mod support;

mod checker;
mod client;
mod faults;
mod lab;
mod node;
mod operator;
mod rolling;
mod rounds;
mod watch;
