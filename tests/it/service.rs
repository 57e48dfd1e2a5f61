//! The daemon as a service: a new configuration, a hung cycle, a sandbox that is too tight, and its
//! events as systemd-journald gets them.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::daemon::{DEADLINE, Daemon};
use crate::support::mount::{Mount, in_own_namespace};
use crate::support::{self, Node, clock, credential};
use kubecertd::events;

const RARELY: &str = "schedule = \"0 0 0 1 1 *\"\nclock_wait = \"0s\"\nspread = \"0s\"\n";
const OFTEN: &str = "schedule = \"*/2 * * * * *\"\nclock_wait = \"0s\"\n";

#[test]
fn a_reload_applies_a_good_configuration_and_ignores_a_bad_one() {
    let node = Node::of(support::ECDSA);
    node.configure(RARELY);
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("STATUS=Waiting; the next cycle is at Jan 01, 2027 00:00 UTC");
    daemon.forget();

    node.configure("schedule = \"never\"\nfrist_look = \"act\"\n");
    daemon.hang_up();
    daemon.says("RELOADING=1\nMONOTONIC_USEC=");
    daemon.says("READY=1");
    daemon.says("STATUS=Waiting; the next cycle is at Jan 01, 2027 00:00 UTC");
    daemon.says("; the new configuration is invalid and not in effect: /etc/kubecertd/config.toml:");
    for problem in ["config.toml:1:12: schedule: ", "config.toml:2:1: frist_look: "] {
        let line = daemon.log().lines().filter(|line| line.contains(problem)).count();
        assert_eq!(line, 1, "one line a problem: {}", daemon.log());
    }
    let status = node.run(clock::FRESH, &["status"]).exits(0);
    assert!(
        status
            .stdout
            .contains("\nproblem: /etc/kubecertd/config.toml:1:12: schedule"),
        "{status}"
    );
    daemon.forget();

    let leaf = credential::named("etcd-server");
    leaf.make_due(&node);
    node.configure(OFTEN);
    daemon.hang_up();
    daemon.says("RELOADING=1");
    daemon.says("READY=1");
    daemon.logs("configuration reloaded");
    daemon.logs("cycle: renewed: etcd-server");
    daemon.says("STATUS=Waiting; the next cycle is at Nov 24, 2026");
    let status = node.run(clock::FRESH, &["status"]).exits(0);
    assert!(!status.stdout.contains("problem"), "{status}");
    daemon.terminate();
    assert_eq!(daemon.ends(), 0, "{}", daemon.log());
}

/// The worker's nth rename does not come back for a while.
fn hang_at_rename(n: usize, trace: &Path) -> Vec<String> {
    let trace = trace.display().to_string();
    let words = format!(
        "strace -f -qq -e trace=rename,renameat,renameat2 -e signal=none -o {trace} -e inject=rename,renameat,renameat2:delay_enter=25s:when={n}"
    );
    words.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_hung_cycle_does_not_feed_the_watchdog() {
    let node = Node::of(support::ECDSA);
    node.configure(OFTEN);
    let trace = node.scratch("trace");
    // The first four are the first look's; the fifth is the first cycle's.
    let wrapper = hang_at_rename(5, &trace);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let mut daemon = Daemon::start(&node, clock::FRESH, &wrapper);
    daemon.says("STATUS=Running a cycle");
    // What was on its way when it hung.
    daemon.listen(Duration::from_secs(3));
    daemon.forget();
    daemon.listen(Duration::from_secs(6));
    assert_eq!(daemon.count("WATCHDOG=1"), 0, "{}", daemon.log());
    daemon.says("WATCHDOG=1");
    daemon.logs("cycle: nothing due");
}

#[test]
fn a_long_honest_wait_feeds_the_watchdog() {
    let node = Node::of(support::ECDSA);
    node.run(clock::FRESH, &["renew", "apiserver"]).exits(0);
    let lock = node.hold_lock();
    node.configure(&format!("{RARELY}[backup]\nschedule = \"*/2 * * * * *\"\n"));
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("STATUS=Taking a backup");
    daemon.forget();
    daemon.listen(Duration::from_secs(4));
    assert!(daemon.count("WATCHDOG=1") >= 3, "{}", daemon.log());
    drop(lock);
    daemon.says("STATUS=Waiting");
}

#[test]
fn a_long_start_asks_for_more_time() {
    let node = Node::of(support::ECDSA);
    node.configure(RARELY);
    let trace = node.scratch("trace");
    // Every rename of the first look takes two seconds.
    let words = format!(
        "strace -f -qq -e trace=rename,renameat,renameat2 -e signal=none -o {} -e inject=rename,renameat,renameat2:delay_enter=2s",
        trace.display()
    );
    let wrapper: Vec<&str> = words.split(' ').collect();
    let mut daemon = Daemon::start(&node, clock::FRESH, &wrapper);
    daemon.says("EXTEND_TIMEOUT_USEC=30000000");
    assert_eq!(daemon.count("READY=1"), 0);
    daemon.says("READY=1");
}

#[test]
fn a_read_only_directory_is_named_at_start_with_its_drop_in() {
    in_own_namespace(|| {
        let node = Node::of(support::ECDSA);
        node.configure(RARELY);
        let before = node.snapshot();
        let mount = Mount::read_only(&node.path("etc/kubernetes/pki"));
        let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
        daemon.says("STATUS=Waiting");
        let log = daemon.log();
        for directory in ["/etc/kubernetes/pki", "/etc/kubernetes/pki/etcd"] {
            let line = format!("cannot write to {directory}: read-only file system; hint: `systemctl edit kubecertd`");
            assert!(
                log.contains(&line) && log.contains(&format!("ReadWritePaths={directory}`")),
                "{log}"
            );
        }
        assert!(!log.contains("cannot write to /etc/kubernetes:"), "{log}");
        let status = node.run(clock::FRESH, &["status"]).exits(0);
        assert!(
            status.stdout.contains("problem: cannot write to /etc/kubernetes/pki: "),
            "{status}"
        );
        daemon.terminate();
        assert_eq!(daemon.ends(), 0);
        drop(mount);
        assert_eq!(before.changes(&node.snapshot()), Default::default());
    });
}

#[test]
fn a_directory_newer_than_the_sandbox_ends_the_daemon() {
    in_own_namespace(|| {
        let node = Node::of(support::ECDSA);
        std::fs::rename(node.path("etc/kubernetes"), node.path("etc/later")).unwrap();
        node.configure("schedule = \"*/2 * * * * *\"\nspread = \"0s\"\n");
        let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
        daemon.logs("there is no /etc/kubernetes yet");
        let mount = Mount::read_only(&node.path("etc/later"));
        // The tree is read-only from the moment on at which it is there.
        std::os::unix::fs::symlink("later", node.path("etc/kubernetes")).unwrap();
        assert_eq!(daemon.ends(), 1, "{}", daemon.log());
        assert!(
            daemon.log().contains("which was made after the service had started"),
            "{}",
            daemon.log()
        );
        let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
        daemon.says("STATUS=Waiting");
        daemon.logs("cannot write to /etc/kubernetes: read-only file system");
        daemon.terminate();
        assert_eq!(daemon.ends(), 0, "it does not end again and again: {}", daemon.log());
        drop(mount);
    });
}

/// The fields of one event (https://systemd.io/JOURNAL_NATIVE_PROTOCOL).
fn event(mut bytes: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8(bytes[..end].to_vec()).unwrap();
        bytes = &bytes[end + 1..];
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => {
                let (length, rest) = bytes.split_at(8);
                let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
                let value = String::from_utf8(rest[..length].to_vec()).unwrap();
                bytes = &rest[length + 1..];
                (line, value)
            }
        };
        fields.insert(name, value);
    }
    fields
}

/// Runs a daemon with a socket in journald's place until the journal has an event of this kind.
/// Needs a mount namespace of its own.
fn journal_until(node: &Node, kind: &str) -> Vec<BTreeMap<String, String>> {
    let _run = Mount::memory(Path::new("/run"), "size=1m");
    std::fs::create_dir_all("/run/systemd/journal").unwrap();
    let socket = UnixDatagram::bind("/run/systemd/journal/socket").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let daemon = Daemon::start(node, clock::FRESH, &["env", "JOURNAL_STREAM=1:1"]);
    let mut all = Vec::new();
    let mut buffer = vec![0; 1 << 18];
    let deadline = Instant::now() + DEADLINE;
    while !all
        .iter()
        .any(|e: &BTreeMap<_, _>| e.get("MESSAGE_ID").is_some_and(|id| id == kind))
    {
        assert!(Instant::now() < deadline, "no {kind} in {all:#?}");
        if let Ok(n) = socket.recv(&mut buffer) {
            all.push(event(&buffer[..n]));
        }
    }
    drop(daemon);
    all
}

fn of_kind<'a>(all: &'a [BTreeMap<String, String>], kind: &str) -> Vec<&'a BTreeMap<String, String>> {
    all.iter()
        .filter(|e| e.get("MESSAGE_ID").is_some_and(|id| id == kind))
        .collect()
}

#[test]
fn the_journal_gets_events_with_fields_and_priorities() {
    in_own_namespace(|| {
        let node = Node::of(support::ECDSA);
        credential::named("etcd-server").set_validity(&node, &clock::later(clock::FRESH, -40 * clock::DAY), 10);
        credential::named("scheduler.conf").make_due(&node);
        node.rewrite("etc/kubernetes/pki/apiserver.crt", b"no certificate");
        node.configure(&format!("{RARELY}first_look = \"act\"\n"));
        let all = journal_until(&node, events::CYCLE_PARTLY);
        let one = |kind: &str| of_kind(&all, kind)[0];

        let expired = one(events::EXPIRED);
        assert_eq!((&*expired["CERTIFICATE"], &*expired["PRIORITY"]), ("etcd-server", "3"));
        assert_eq!(expired["NOT_AFTER"], "2026-10-25T00:00:00Z");
        let fault = one(events::FAULT);
        assert_eq!((&*fault["CERTIFICATE"], &*fault["PRIORITY"]), ("apiserver", "4"));
        assert_eq!(
            of_kind(&all, events::FAULT).len(),
            1,
            "said once, though there were two looks"
        );
        let renewed = of_kind(&all, events::RENEWED);
        assert_eq!(
            renewed.iter().map(|e| &*e["CERTIFICATE"]).collect::<Vec<_>>(),
            ["etcd-server", "scheduler.conf"]
        );
        assert_eq!(
            (&*renewed[0]["ACTION"], &*renewed[0]["NOT_AFTER"]),
            ("renew", "2027-11-24T00:00:00Z")
        );
        let summary = of_kind(&all, events::CYCLE_PARTLY);
        assert_eq!(summary.len(), 1);
        let counts =
            ["RENEWED", "FAILED", "EXIT", "OUTCOME", "PRIORITY", "SYSLOG_IDENTIFIER"].map(|name| &*summary[0][name]);
        assert_eq!(counts, ["2", "1", "4", "renewed in part", "4", "kubecertd"]);
        let id = &summary[0]["CYCLE_ID"];
        let of_cycle = all.iter().filter(|e| e.get("CYCLE_ID") == Some(id)).count();
        assert!(
            of_cycle >= 6 && renewed.iter().all(|e| e["CYCLE_ID"] == *id),
            "{of_cycle} events of the cycle"
        );
        for event in &all {
            assert!(!event.values().any(|value| value.contains("BEGIN")), "PEM in {event:?}");
            assert!(event.keys().all(|name| !name.starts_with("F_")), "{event:?}");
            let id = event.get("MESSAGE_ID");
            assert!(id.is_none_or(|id| events::ALL.contains(&id.as_str())), "{event:?}");
        }
    });
}
