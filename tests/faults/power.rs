//! The power fails after any call of a renewal: what was not synced is lost, wholly or in part.

use super::bench::{Bench, each};
use super::disk::{Disk, Survives};
use super::image::Image;
use super::invariants::{self, judge};
use super::kill::{MOMENTS, RENEW_ALL, interrupted, points_of, recovers};
use super::node;
use super::record::Record;
use super::trace::Call;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Number of random parts of the unsynced data that are tried after each call.
const SEEDS: u64 = 3;

/// A second renewal follows one tree in this many.
const AGAIN_EVERY: usize = 25;

/// One tree that is found when the power is back.
struct Found {
    place: String,
    image: Image,
}

/// The calls of a whole run inside its tree, with all data, and the tree after it.
fn recorded(bench: &Bench, image: &Image, args: &[&str]) -> (Vec<Call>, Image) {
    let (tree, mut calls) = bench.listed(image, args, "1048576");
    calls.retain(|call| call.changes() && !call.paths.is_empty());
    (calls, Image::read(&tree.root))
}

/// The different trees that a power loss at every prefix of the calls can leave, and how many
/// prefixes and ways of losing were tried.
fn losses(image: &Image, calls: &[Call]) -> (Vec<Found>, usize) {
    let mut disk = Disk::of(image);
    let (mut seen, mut found, mut tried) = (HashSet::new(), Vec::new(), 0);
    for done in 0..=calls.len() {
        let random = (0..SEEDS).map(|seed| Survives::Some(seed + SEEDS * done as u64));
        for survives in [Survives::Synced, Survives::All].into_iter().chain(random) {
            tried += 1;
            let image = disk.after_power_loss(survives);
            let mut hasher = DefaultHasher::new();
            image.hash(&mut hasher);
            if seen.insert(hasher.finish()) {
                let last = done
                    .checked_sub(1)
                    .map(|index| format!("{} {:?}", calls[index].name, calls[index].paths));
                let place = format!(
                    "power lost after call {done} ({}), {survives:?}",
                    last.unwrap_or_default()
                );
                found.push(Found { place, image });
            }
        }
        if let Some(call) = calls.get(done) {
            disk.apply(call);
        }
    }
    (found, tried)
}

/// Lets the power fail after every call of `args` on `state`; `original` is the node before
/// anything happened.
fn power_fails(bench: &Bench, state: &Image, original: &Image, args: &[&str]) -> Record {
    let (calls, _) = recorded(bench, state, args);
    let (found, tried) = losses(state, &calls);
    let mut record = Record::default();
    record.add("prefixes", calls.len() + 1);
    record.add("tried", tried);
    record.add("different trees", found.len());
    record.merge(each(&found, |index, Found { place, image }| {
        let tree = bench.tree(image);
        recovers(
            &tree,
            original,
            invariants::Disk::Another,
            place,
            index.is_multiple_of(AGAIN_EVERY),
        )
    }));
    record
}

#[test]
fn a_power_loss_during_a_renewal_leaves_all_old_or_all_new() {
    let bench = Bench::new();
    let image = node::image();
    let record = power_fails(&bench, &image, &image, &RENEW_ALL);
    let (prefixes, trees) = (record.of("prefixes"), record.of("different trees"));
    let (undone, finished) = (record.of("undone"), record.of("finished"));
    record.finish("power-loss points of `renew all`");
    assert!(
        prefixes > 500 && trees > prefixes,
        "{prefixes} prefixes, {trees} trees: the model loses nothing"
    );
    assert!(undone > 0 && finished > 0, "the points miss one side of the commit");
}

#[test]
fn a_power_loss_during_a_recovery_is_repaired_by_the_next_one() {
    let bench = Bench::new();
    let image = node::image();
    let points = points_of(&bench, &image, &RENEW_ALL);
    let mut record = Record::default();
    for moment in MOMENTS {
        let state = interrupted(&bench, &image, &moment.point(&points));
        record.merge([power_fails(&bench, &state, &image, &["recover"])]);
    }
    let prefixes = record.of("prefixes");
    record.finish("power-loss points of `recover`");
    assert!(prefixes > 100, "{prefixes} prefixes: the tracer misses calls");
}

#[test]
fn a_renewal_reported_as_done_survives_a_power_loss() {
    let bench = Bench::new();
    let image = node::image();
    let (calls, real) = recorded(&bench, &image, &RENEW_ALL);
    let mut disk = Disk::of(&image);
    calls.iter().for_each(|call| disk.apply(call));
    let left = disk.after_power_loss(Survives::Synced);
    let verdict = judge(&image, &left, invariants::Disk::Another);
    assert!(verdict.is_done() && verdict.wrong.is_empty(), "{verdict:?}");
    assert_same(&disk.after_power_loss(Survives::All), &real);
}

/// The model of the disk did what the real one did.
fn assert_same(model: &Image, real: &Image) {
    let bare = |image: &Image| -> Vec<_> {
        let entries = image.0.iter();
        entries
            .map(|(path, entry)| (path.clone(), entry.kind.clone(), entry.attributes.clone()))
            .collect()
    };
    for (model, real) in bare(model).into_iter().zip(bare(real)) {
        assert_eq!(model, real, "the model and the real disk differ");
    }
    assert_eq!(model.0.len(), real.0.len());
}
