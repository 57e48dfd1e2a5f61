//! The integration tests that need neither minutes, a browser nor a machine of their own.
//!
//! One program with a module for each subject: linking forty programs takes longer than the tests.

#[path = "../support/mod.rs"]
mod support;

mod architecture;
mod authorities;
mod backup;
mod backup_commands;
mod bad_disk;
mod bad_input;
mod certificate_content;
mod changed_files;
mod check_expiration;
mod config;
mod config_trust;
mod coordinate;
mod daemon;
mod doctor;
mod etcd_restore;
mod etcd_snapshot;
mod events;
mod extra_credentials;
mod files;
mod guard;
mod hooks;
mod key_types;
mod kubeconfig_copy;
mod kubeconfig_text;
mod manual;
mod metrics;
mod monitoring;
mod node_states;
mod operations;
mod oracles;
mod plan;
mod readme;
mod recover;
mod renew;
mod report;
mod restart;
mod restore;
mod schedule;
mod service;
mod special_files;
mod status;
