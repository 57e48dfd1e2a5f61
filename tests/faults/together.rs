//! Two at once: kubecertd next to another kubecertd, and next to a kubeadm that rewrites the same
//! files in place.

use super::bench::{Bench, FIRST, Tree, command, each, exit_code, kubecertd, said};
use super::disk::Chance;
use super::image::Image;
use super::invariants::{Disk, judge, untidiness};
use super::kill::RENEW_ALL;
use super::node::{self, MISSING_KEY, PAIRS, PEER, Pair, SECOND_NAME};
use super::pairs;
use super::record::Record;
use super::support::clock::{DAY, MINUTE, later};
use super::support::openssl::{Authority, openssl};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Rounds on a tree, and how many trees are worked on at once.
const ROUNDS: usize = 100;
const LANES: [u64; 2] = [1, 2];

/// A clock that advances by a minute a round, as no two renewals start in one second a hundred
/// times.
fn moment(round: usize) -> String {
    later(FIRST, round as i64 * MINUTE)
}

#[test]
fn of_two_renewals_started_together_one_waits_for_the_other() {
    let bench = Bench::new();
    let image = node::image();
    let mut record = Record::default();
    record.merge(each(&LANES, |_, lane| {
        let tree = bench.tree(&image);
        let mut record = Record::default();
        for round in 0..ROUNDS {
            record.count("rounds");
            let place = format!("lane {lane}, round {round}");
            record.wrong(&place, two_renewals(&tree, &moment(round)));
        }
        record
    }));
    record.finish("two renewals at once");
}

fn two_renewals(tree: &Tree, moment: &str) -> Vec<String> {
    let before = Image::read(&tree.root);
    let both = [0, 1].map(|_| {
        let mut command = command(tree, moment, &RENEW_ALL);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().expect("timeout(1) starts")
    });
    let mut wrong = Vec::new();
    for child in both {
        let output = child.wait_with_output().expect("timeout(1) ends");
        if exit_code(&output) != Some(0) {
            wrong.push(format!("exit {:?}: {}", exit_code(&output), said(&output)));
        }
    }
    let after = Image::read(&tree.root);
    let verdict = judge(&before, &after, Disk::Same);
    if !verdict.is_done() {
        wrong.push(format!(
            "not done: {:?}, pending {:?}",
            verdict.outcome, verdict.pending
        ));
    }
    wrong.extend(verdict.wrong);
    wrong
}

/// A process that renews pairs as kubeadm does: the key first, then the certificate, each truncated
/// and written in place.
struct Kubeadm {
    /// A pair, and valid contents for its key and its certificate.
    stock: Vec<(&'static Pair, Vec<(String, String)>)>,
}

impl Kubeadm {
    /// Makes new pairs for everything that has a key, with openssl and the CAs of the tree.
    fn with_stock(tree: &Tree) -> Self {
        let text = |path: &str| fs::read_to_string(tree.root.join(path)).expect("a file of the tree");
        let stock = PAIRS.iter().filter(|pair| pair.key != MISSING_KEY).map(|pair| {
            let ca = Authority {
                certificate: tree.root.join(pair.ca),
                key: tree.root.join(pair.ca).with_extension("key"),
            };
            let contents = (0..3).map(|_| {
                let key = openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout"]);
                let (old, old_key) = (text(pair.certificate), text(pair.key));
                let certificate = ca.reissue(&old, &old_key, Some(&key), &later(FIRST, -DAY), 365);
                (key, certificate)
            });
            (pair, contents.collect())
        });
        Kubeadm { stock: stock.collect() }
    }

    /// Rewrites random pairs at random moments until it is told to stop. Gives the paths of the
    /// files that it wrote.
    fn work(&self, root: &Path, chance: &mut Chance, stop: &AtomicBool) -> BTreeSet<&'static str> {
        let mut wrote = BTreeSet::new();
        // A part of the rounds is left to kubecertd alone for most of its time.
        let longest = [50, 300, 1000][chance.below(3)];
        wait(chance.below(longest), stop);
        while !stop.load(Ordering::Relaxed) {
            let (pair, contents) = &self.stock[chance.below(self.stock.len())];
            let (key, certificate) = &contents[chance.below(contents.len())];
            write_in_place(&root.join(pair.key), key);
            // Mostly at once; now and then a whole renewal fits between key and certificate.
            let longest_gap = if chance.one_in(3) { 250 } else { 3 };
            wait(chance.below(longest_gap), stop);
            write_in_place(&root.join(pair.certificate), certificate);
            wrote.extend([pair.key, pair.certificate]);
            if pair.certificate == PEER {
                wrote.insert(SECOND_NAME);
            }
            wait(chance.below(longest), stop);
        }
        wrote
    }
}

/// Sleeps this many milliseconds, or until it is told to stop.
fn wait(milliseconds: usize, stop: &AtomicBool) {
    let end = Instant::now() + Duration::from_millis(milliseconds as u64);
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// As Go's os.WriteFile does it.
fn write_in_place(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)
        .expect("a file of the tree");
    file.write_all(text.as_bytes()).expect("a write");
}

#[test]
fn a_renewal_after_a_concurrent_kubeadm_leaves_matching_pairs() {
    let bench = Bench::new();
    let image = node::image();
    let kubeadm = Kubeadm::with_stock(&bench.tree(&image));
    let mut record = Record::default();
    record.merge(each(&LANES, |_, lane| {
        let tree = bench.tree(&image);
        let mut record = Record::default();
        for round in 0..ROUNDS {
            let place = format!("lane {lane}, round {round}");
            let mut chance = Chance::new(*lane, round);
            record.merge([beside_kubeadm(&tree, &kubeadm, &mut chance, &moment(round), &place)]);
        }
        record
    }));
    let (renewed, failed) = (record.of("exit 0"), record.of("exit 1"));
    record.finish("kubecertd beside kubeadm");
    assert!(
        renewed > 0 && failed > 0,
        "{renewed} rounds went well and {failed} failed: they do not meet"
    );
}

fn beside_kubeadm(tree: &Tree, kubeadm: &Kubeadm, chance: &mut Chance, moment: &str, place: &str) -> Record {
    let mut record = Record::default();
    record.count("rounds");
    let before = Image::read(&tree.root);
    let stop = AtomicBool::new(false);
    let (output, wrote) = std::thread::scope(|scope| {
        let other = scope.spawn(|| kubeadm.work(&tree.root, chance, &stop));
        let output = kubecertd(tree, moment, &RENEW_ALL);
        stop.store(true, Ordering::Relaxed);
        (output, other.join().expect("kubeadm ends"))
    });
    let (code, said) = (exit_code(&output), said(&output));
    record.count(&format!("exit {}", code.unwrap_or(-1)));
    let after = Image::read(&tree.root);
    if !wrote.is_empty() {
        record.count("rounds with a rewritten pair");
    }
    let names_one = wrote
        .iter()
        .any(|path| said.contains(path) || said.contains(link_to(path)));
    match code {
        Some(0) => {}
        // 4: a pair was seen half written, and all others were renewed.
        Some(1 | 4) if names_one => {}
        _ => record.wrong(
            place,
            [format!(
                "exit {code:?}, and no file that kubeadm wrote ({wrote:?}) is named: {said}"
            )],
        ),
    }
    // What kubeadm did not write tells what kubecertd did.
    let alone = node::replaced().into_iter().filter(|path| !wrote.contains(path));
    let (new, old): (Vec<_>, Vec<_>) = alone.partition(|path| before.bytes(path) != after.bytes(path));
    let wrong = if code == Some(1) { new } else { old };
    if !wrong.is_empty() {
        record.wrong(
            place,
            [format!(
                "exit {code:?}, which does not fit {}: {said}",
                wrong.join(", ")
            )],
        );
    }
    if !pairs::mismatches(&after, &[MISSING_KEY]).is_empty() {
        record.count("mixed pairs left by kubeadm");
    }
    record.wrong(place, untidiness(&after));
    let output = kubecertd(tree, moment, &["renew"]);
    if exit_code(&output) != Some(0) {
        record.wrong(place, [format!("the next renewal fails: {}", self::said(&output))]);
    }
    let after = Image::read(&tree.root);
    record.wrong(place, pairs::mismatches(&after, &[]));
    record.wrong(place, untidiness(&after));
    record
}

/// The name under which a symlinked file is known.
fn link_to(real: &str) -> &str {
    real.rsplit('/').next().unwrap_or(real)
}
