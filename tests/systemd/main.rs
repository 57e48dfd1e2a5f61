//! The packages under a real systemd: installed by apt in a booted Debian 13, judged as an
//! operator would.
//!
//! `make e2e-systemd` runs it, as root: it builds the packages and the Debian, and the tests boot a
//! copy of it each (systemd-nspawn, with a network of its own that leads nowhere).

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod exposure;
mod hooks;
mod install;
mod node;
mod rpm;
mod service;
mod units;
