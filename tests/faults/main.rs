//! Nothing lost: a renewal that is killed, failed, cut off from power or disturbed at any step
//! leaves every credential wholly old or wholly new, with a backup that is complete.
//!
//! Needs root, strace, openssl and libfaketime, as CONTRIBUTING.md says. Every test tries every
//! point that strace lists, not a sample, and prints what it tried; `make faults` shows it.

#[path = "../support/mod.rs"]
mod support;

mod backups;
mod bench;
mod disk;
mod fail;
mod image;
mod invariants;
mod kill;
mod node;
mod pairs;
mod power;
mod record;
mod together;
mod trace;
