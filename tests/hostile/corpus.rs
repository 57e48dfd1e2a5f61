//! Every file of tests/corpus through the function that the fuzz target of its directory asks: what
//! was found once stays found.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bounded::in_time;
use crate::oracle;

fn files(target: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no file in {}", directory.display());
    files
}

#[track_caller]
fn holds(target: &str, function: fn(&[u8])) {
    for path in files(target) {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        in_time(&path.display().to_string(), move || function(&bytes));
    }
}

#[test]
fn corpus_pem_is_refused_with_a_reason_or_edited_exactly() {
    holds("pem_x509", oracle::pem_x509);
}

#[test]
fn corpus_kubeconfigs_are_refused_or_changed_in_two_values() {
    holds("kubeconfig", oracle::kubeconfig);
}

#[test]
fn corpus_manifests_are_refused_or_changed_in_one_annotation() {
    holds("manifest", oracle::manifest);
}

#[test]
fn corpus_configurations_are_refused_or_mean_what_is_shown() {
    holds("toml", oracle::toml);
}
