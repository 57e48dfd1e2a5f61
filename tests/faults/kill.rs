//! SIGKILL at every call of a renewal and of a recovery.

use super::bench::{Bench, FIRST, SECOND, Tree, each, exit_code, kubecertd, said, was_killed};
use super::image::Image;
use super::invariants::{Disk, Outcome, judge};
use super::node::{self, MISSING_KEY};
use super::pairs;
use super::record::Record;
use super::trace::{self, Point};
use std::collections::BTreeMap;

const KILL: &str = "signal=SIGKILL";

pub const RENEW_ALL: [&str; 2] = ["renew", "all"];

/// A second renewal takes as long as all the rest, so it follows one fault in this many.
pub const AGAIN_EVERY: usize = 3;

/// openssl needs 0.2 s for all pairs of a node, so it judges one tree in this many.
const OPENSSL_EVERY: usize = 50;

/// Runs a command undisturbed and lists the points at which it can be disturbed.
pub fn points_of(bench: &Bench, image: &Image, args: &[&str]) -> Vec<Point> {
    let (_tree, calls) = bench.listed(image, args, "0");
    trace::points(&calls)
}

/// After any fault of a run on `tree`: recovers, judges, catches up on restarts, and renews
/// once more (when `again`).
///
/// `before` is the node from before the run.
pub fn recovers(tree: &Tree, before: &Image, disk: Disk, place: &str, again: bool) -> Record {
    let mut record = Record::default();
    let output = kubecertd(tree, FIRST, &["recover"]);
    if exit_code(&output) != Some(0) {
        record.wrong(place, [format!("recover fails: {}", said(&output))]);
    }
    let mut recovered = Image::read(&tree.root);
    let verdict = judge(before, &recovered, disk);
    let what = match verdict.outcome {
        Some(Outcome::Old) => "undone",
        Some(Outcome::New) => "finished",
        None => "neither",
    };
    record.count(what);
    record.wrong(place, verdict.wrong);
    if verdict.outcome == Some(Outcome::New) && !verdict.pending.is_empty() {
        record.count("restarts caught up");
        // Nothing is due; the recorded restarts alone are left to do.
        let next = Next {
            tree,
            place,
            args: &["renew"],
            moment: FIRST,
        };
        recovered = next.succeeds(before, disk, &mut record);
    }
    if again {
        record.count("renewed again");
        let next = Next {
            tree,
            place,
            args: &RENEW_ALL,
            moment: SECOND,
        };
        next.succeeds(&recovered, Disk::Same, &mut record);
    }
    record
}

/// A command that runs after the recovery.
struct Next<'a> {
    tree: &'a Tree,
    place: &'a str,
    args: &'a [&'a str],
    moment: &'a str,
}

impl Next<'_> {
    /// Runs the command, which must succeed. Afterwards the node must be renewed, compared with
    /// `before`.
    fn succeeds(&self, before: &Image, disk: Disk, record: &mut Record) -> Image {
        let Next { tree, args, .. } = self;
        let place = format!("{}, then {}", self.place, args.join(" "));
        let output = kubecertd(tree, self.moment, args);
        if exit_code(&output) != Some(0) {
            record.wrong(&place, [format!("it fails: {}", said(&output))]);
        }
        let after = Image::read(&tree.root);
        let verdict = judge(before, &after, disk);
        if !verdict.is_done() {
            record.wrong(
                &place,
                [format!(
                    "not done: {:?}, pending {:?}",
                    verdict.outcome, verdict.pending
                )],
            );
        }
        record.wrong(&place, verdict.wrong);
        after
    }
}

/// A command that is killed.
struct Victim<'a> {
    bench: &'a Bench,
    /// The node that the command runs on a copy of.
    state: &'a Image,
    /// The node before anything happened, or `None` if that is `state`.
    original: Option<&'a Image>,
    args: &'a [&'a str],
}

impl Victim<'_> {
    /// Kills the command at one point, recovers the node and judges it.
    fn killed_at(&self, index: usize, point: &Point) -> Record {
        let Victim {
            bench,
            state,
            original,
            args,
        } = *self;
        let place = format!("killed {} at {point}", args.join(" "));
        let mut record = Record::default();
        record.count("tried");
        let (tree, before, ran) = match bench.at_point(state, args, point, KILL, "") {
            Ok(reached) => reached,
            Err(reason) => {
                record.wrong(&place, [reason]);
                return record;
            }
        };
        if !was_killed(&ran.output) {
            record.wrong(&place, [format!("it lived on: {}", said(&ran.output))]);
        }
        let (before, disk) = match original {
            Some(original) => (original, Disk::Another),
            None => (&before, Disk::Same),
        };
        record.merge([recovers(&tree, before, disk, &place, index.is_multiple_of(AGAIN_EVERY))]);
        if index.is_multiple_of(OPENSSL_EVERY) {
            record.count("judged by openssl");
            let after = Image::read(&tree.root);
            let keyless = after.bytes(MISSING_KEY).is_none();
            record.wrong(
                &place,
                pairs::mismatches_for_openssl(&after, if keyless { &[MISSING_KEY] } else { &[] }),
            );
        }
        record
    }
}

/// Calls of a renewal that change a disk. Each line has at least one point, or the tracer misses
/// calls.
const KINDS: [&[&str]; 10] = [
    &["open", "openat"],
    &["write"],
    &["fsync", "fdatasync"],
    &["rename", "renameat", "renameat2"],
    &["link", "linkat"],
    &["unlink", "unlinkat"],
    &["chmod", "fchmod", "fchmodat"],
    &["chown", "fchown", "fchownat", "lchown"],
    &["mkdir", "mkdirat"],
    &["setxattr", "lsetxattr", "fsetxattr"],
];

fn every_kind_is_among(points: &[Point]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for point in points {
        *counts.entry(&point.call).or_default() += 1;
    }
    println!("points by call: {counts:?}");
    for kind in KINDS {
        assert!(
            kind.iter().any(|call| counts.contains_key(call)),
            "no point at {kind:?}"
        );
    }
}

#[test]
fn a_renewal_killed_at_any_call_leaves_all_old_or_all_new() {
    let bench = Bench::new();
    let image = node::image();
    let points = points_of(&bench, &image, &RENEW_ALL);
    every_kind_is_among(&points);
    let renewal = Victim {
        bench: &bench,
        state: &image,
        original: None,
        args: &RENEW_ALL,
    };
    let mut record = Record::default();
    record.merge(each(&points, |index, point| renewal.killed_at(index, point)));
    let (tried, caught_up) = (record.of("tried"), record.of("restarts caught up"));
    let (undone, finished) = (record.of("undone"), record.of("finished"));
    record.finish("kill points of `renew all`");
    assert!(tried >= 500, "only {tried} points: the tracer misses calls");
    assert!(
        undone > 0 && finished > 0 && caught_up > 0,
        "the points miss one side of the commit"
    );
}

/// Returns the node after a renewal that is killed at this point.
pub fn interrupted(bench: &Bench, image: &Image, point: &Point) -> Image {
    let (tree, _, ran) = bench
        .at_point(image, &RENEW_ALL, point, KILL, "")
        .expect("the point is reached");
    assert!(was_killed(&ran.output), "{point}: {}", said(&ran.output));
    Image::read(&tree.root)
}

/// A moment of a renewal: this many points after the last call of this name whose last path ends
/// so.
pub struct Moment {
    pub name: &'static str,
    call: &'static str,
    end: &'static str,
    later: usize,
}

const fn moment(name: &'static str, call: &'static str, end: &'static str, later: usize) -> Moment {
    Moment { name, call, end, later }
}

/// The rename of the journal, its sync, and then nothing more is undone.
const INSTALLED: Moment = moment(
    "right after the journal says installed",
    "rename",
    "/transaction.json",
    2,
);

/// Moments at which a renewal is interrupted before its recovery is.
pub const MOMENTS: [Moment; 7] = [
    moment(
        "with the backup copied but not named",
        "rename",
        "backups/20261124T000000Z",
        0,
    ),
    moment("while staging", "linkat", ".server.key.kubecertd-old", 0),
    moment("between a key and its certificate", "rename", "pki/etcd/peer.crt", 0),
    moment("with every file replaced", "rename", "/transaction.json", 0),
    INSTALLED,
    moment("while a manifest is touched", "rename", "kube-scheduler.yaml", 0),
    moment(
        "while the old names are removed",
        "unlink",
        ".server.key.kubecertd-old",
        0,
    ),
];

impl Moment {
    pub fn point(&self, points: &[Point]) -> Point {
        let fits =
            |point: &Point| point.call == self.call && point.paths.last().is_some_and(|path| path.ends_with(self.end));
        let index = points
            .iter()
            .rposition(fits)
            .unwrap_or_else(|| panic!("no such point: {}", self.name));
        points[index + self.later].clone()
    }
}

#[test]
fn a_recovery_killed_at_any_call_is_done_by_the_next_one() {
    let bench = Bench::new();
    let image = node::image();
    let points = points_of(&bench, &image, &RENEW_ALL);
    let mut record = Record::default();
    for moment in MOMENTS {
        let state = interrupted(&bench, &image, &moment.point(&points));
        let steps = points_of(&bench, &state, &["recover"]);
        println!("interrupted {}: {} points of `recover`", moment.name, steps.len());
        let recovery = Victim {
            bench: &bench,
            state: &state,
            original: Some(&image),
            args: &["recover"],
        };
        record.merge(each(&steps, |index, step| recovery.killed_at(index, step)));
    }
    let tried = record.of("tried");
    record.finish("kill points of `recover`");
    assert!(tried >= 250, "only {tried} points: the tracer misses calls");
}

#[test]
fn pending_restarts_killed_at_any_call_are_done_by_the_next_run() {
    let bench = Bench::new();
    let image = node::image();
    let points = points_of(&bench, &image, &RENEW_ALL);
    let tree = bench.tree(&interrupted(&bench, &image, &INSTALLED.point(&points)));
    let output = kubecertd(&tree, FIRST, &["recover"]);
    assert_eq!(exit_code(&output), Some(0), "{}", said(&output));
    let state = Image::read(&tree.root);
    let steps = points_of(&bench, &state, &["renew"]);
    let renewal = Victim {
        bench: &bench,
        state: &state,
        original: Some(&image),
        args: &["renew"],
    };
    let mut record = Record::default();
    record.merge(each(&steps, |index, step| renewal.killed_at(index, step)));
    let tried = record.of("tried");
    record.finish("kill points of a `renew` with restarts to catch up");
    assert!(tried >= 10, "only {tried} points: the tracer misses calls");
}
