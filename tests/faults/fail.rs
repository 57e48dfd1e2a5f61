//! A failing system call at every point of a renewal: a full disk, a broken one, a read-only one,
//! one that refuses.

use super::bench::{Bench, each, exit_code, said};
use super::image::Image;
use super::invariants::{Disk, Outcome, Verdict, judge_node, untidiness};
use super::kill::{AGAIN_EVERY, RENEW_ALL, points_of, recovers};
use super::node::{self, BACKUPS, COPY, MANIFESTS, STATE};
use super::record::Record;
use super::trace::Point;

/// The error, and how kubecertd says it.
const ERRORS: [(&str, &str); 4] = [
    ("ENOSPC", "no space left on device"),
    ("EIO", "I/O error"),
    ("EROFS", "read-only file system"),
    ("EACCES", "permission denied"),
];

const DONE: Option<i32> = Some(0);
const FAILED: Option<i32> = Some(1);
const NOT_PUT_BACK: Option<i32> = Some(3);
const PARTLY: Option<i32> = Some(4);

/// Calls that a renewal can do without: if one fails, the renewal continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aside {
    /// The text in the lock file is for people; the lock holds without it.
    LockText,
    /// An old backup that could not be removed is removed by a later renewal.
    Rotation,
    /// Everything is in place and restarted; leftovers next to the files are removed by the next
    /// `recover`.
    TidyingUp,
    /// A copy of a kubeconfig that cannot be replaced keeps nothing from being renewed.
    Copy,
}

/// A point, and what its failure may lead to.
struct Case {
    point: Point,
    aside: Option<Aside>,
    /// True if manifests may have been touched by then.
    restarting: bool,
}

fn cases(bench: &Bench, image: &Image) -> Vec<Case> {
    let points = points_of(bench, image, &RENEW_ALL);
    let names = |point: &Point, part: &str| point.paths.iter().any(|path| path.contains(part));
    // It may be renamed before it is taken apart; the last call makes its removal durable.
    let oldest = image
        .names(BACKUPS)
        .into_iter()
        .find(|name| !name.starts_with('.'))
        .expect("a backup");
    let rotation = points
        .iter()
        .position(|point| names(point, oldest))
        .expect("the oldest backup is rotated away");
    let rotated = 1 + points.iter().rposition(|point| names(point, oldest)).expect("as above");
    let touches = |point: &Point| point.paths.iter().any(|path| path.starts_with(MANIFESTS));
    let restarting = points.iter().position(touches).expect("manifests are touched");
    let restarted = points.iter().rposition(touches).expect("as above");
    let aside = |index: usize, point: &Point| {
        if point.paths == [format!("{STATE}/lock")] && point.call != "openat" {
            Some(Aside::LockText)
        } else if index > restarted {
            Some(Aside::TidyingUp)
        } else if point.paths.iter().any(|path| is_beside(path, COPY)) {
            Some(Aside::Copy)
        } else {
            (rotation..=rotated).contains(&index).then_some(Aside::Rotation)
        }
    };
    let cases = points.iter().enumerate().map(|(index, point)| Case {
        point: point.clone(),
        aside: aside(index, point),
        restarting: index >= restarting,
    });
    cases.collect()
}

/// Tells if `path` is `file` or a dot-file that kubecertd makes next to it, and not the copy of it
/// in a backup.
fn is_beside(path: &str, file: &str) -> bool {
    let (directory, name) = file.rsplit_once('/').expect("a file in a directory");
    let inside = path.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/'));
    inside.is_some_and(|inside| inside == name || inside.starts_with(&format!(".{name}.kubecertd-")))
}

/// Duration of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    OneCall,
    /// Every later call of that name fails too, so a rollback may be hit as well.
    FromThenOn,
}

/// An error in one call of a renewal, or from there on.
struct Fault<'a> {
    case: &'a Case,
    error: &'static str,
    reason: &'static str,
    lasting: Lasting,
}

/// Injects a fault, judges what the renewal left, recovers, and renews once more when `again`.
fn failed(bench: &Bench, image: &Image, fault: &Fault, again: bool) -> Record {
    let Fault {
        case, error, lasting, ..
    } = fault;
    let place = format!("{error} in {} ({lasting:?})", case.point);
    let mut record = Record::default();
    record.count("tried");
    let plus = if *lasting == Lasting::FromThenOn { "+" } else { "" };
    let (tree, before, ran) = match bench.at_point(image, &RENEW_ALL, &case.point, &format!("error={error}"), plus) {
        Ok(reached) => reached,
        Err(reason) => {
            record.wrong(&place, [reason]);
            return record;
        }
    };
    let code = exit_code(&ran.output);
    record.count(&format!("exit {}", code.unwrap_or(-1)));
    let after = Image::read(&tree.root);
    let verdict = judge_node(&before, &after, Disk::Same);
    if (case.aside, code) == (Some(Aside::Copy), PARTLY) {
        record.count("the copy alone is left");
        let is_meant = |reason: &String| reason.starts_with(&format!("mixed node: {COPY} are old and "));
        record.wrong(&place, verdict.wrong.into_iter().filter(|reason| !is_meant(reason)));
        record.wrong(&place, untidiness(&after));
        return record;
    }
    if let (Some(aside), DONE) = (case.aside, code) {
        record.count(&format!("no matter: {aside:?}"));
    }
    record.wrong(&place, fault.complaints(code, &said(&ran.output), verdict));
    record.merge([recovers(&tree, &before, Disk::Same, &place, again)]);
    record
}

impl Fault<'_> {
    /// Returns the faults of the exit code, the message and the node after a renewal.
    fn complaints(&self, code: Option<i32>, said: &str, verdict: Verdict) -> Vec<String> {
        let mut wrong = Vec::new();
        // Its own stderr is written with the same call.
        let can_speak = self.lasting == Lasting::OneCall || self.case.point.call != "write";
        match (code, verdict.outcome) {
            (DONE, Some(Outcome::New)) | (FAILED, Some(Outcome::Old)) => {
                let tidy = |reason: &String| !reason.ends_with(".kubecertd-old should not be there");
                let may_be_untidy = self.case.aside == Some(Aside::TidyingUp);
                wrong.extend(
                    verdict
                        .wrong
                        .into_iter()
                        .filter(|reason| !may_be_untidy || tidy(reason)),
                );
            }
            // A person is asked to run `recover`, which is what follows.
            (NOT_PUT_BACK, _) if self.lasting == Lasting::FromThenOn => {
                if can_speak && !said.contains("kubecertd recover") {
                    wrong.push(format!("exit 3 without instructions: {said}"));
                }
            }
            (_, outcome) => wrong.push(format!("exit {code:?}, and the files are {outcome:?}: {said}")),
        }
        if code == DONE && self.case.aside.is_none() {
            wrong.push(format!("exit 0, though this call matters: {said}"));
        }
        if code != DONE && can_speak && !said.contains(self.reason) {
            wrong.push(format!("nothing says `{}`: {said}", self.reason));
        }
        if code == FAILED && !verdict.touched.is_empty() && !self.case.restarting {
            wrong.push(format!("{:?} touched before the renewal came to it", verdict.touched));
        }
        wrong
    }
}

#[test]
fn an_error_at_any_call_fails_and_leaves_the_node_as_it_was() {
    let bench = Bench::new();
    let image = node::image();
    let cases = cases(&bench, &image);
    let mut record = Record::default();
    for (turn, (error, reason)) in ERRORS.into_iter().enumerate() {
        record.merge(each(&cases, |index, case| {
            let lasting = Lasting::OneCall;
            // A second renewal follows one point in this many, after one of the errors.
            let again = index % (AGAIN_EVERY * ERRORS.len()) == AGAIN_EVERY * turn;
            failed(
                &bench,
                &image,
                &Fault {
                    case,
                    error,
                    reason,
                    lasting,
                },
                again,
            )
        }));
    }
    let (tried, failed) = (record.of("tried"), record.of("exit 1"));
    record.finish("failure points of `renew all`");
    assert!(tried >= 4 * 500, "only {tried} points: the tracer misses calls");
    assert!(failed > tried / 2, "hardly anything failed");
}

#[test]
fn a_disk_broken_at_any_call_can_be_recovered_from_later() {
    let bench = Bench::new();
    let image = node::image();
    let mut cases = cases(&bench, &image);
    // Before the journal there is nothing to roll back: one failing call ends the renewal.
    let writes_journal = |case: &Case| case.point.call == "openat" && case.point.paths[0].contains("transaction.json");
    cases.drain(..cases.iter().position(writes_journal).expect("a journal is written"));
    let (error, reason) = ERRORS[1];
    let mut record = Record::default();
    record.merge(each(&cases, |index, case| {
        let lasting = Lasting::FromThenOn;
        failed(
            &bench,
            &image,
            &Fault {
                case,
                error,
                reason,
                lasting,
            },
            index.is_multiple_of(AGAIN_EVERY),
        )
    }));
    let rollback_failed = record.of("exit 3");
    record.finish("points from which `renew all` meets one error after another");
    assert!(rollback_failed > 0, "putting back was never hit");
}
