//! etcd's part of a backup, taken from a real etcd with a node's own certificates.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::clock::now;
use crate::support::etcd::{self, Etcd};
use crate::support::tree::names;
use crate::support::{self, ECDSA, Node, Ran};
use serde_json::Value;

const SETS: &str = "var/lib/kubecertd/backups";

fn list(node: &Node) -> Vec<Value> {
    let rows = node.run(&now(), &["backup", "list", "-o", "json"]).exits(0).json();
    rows.as_array().expect("a list").clone()
}

/// The newest backup's directory, without the node's root.
fn newest(node: &Node) -> String {
    let rows = list(node);
    format!(
        "{SETS}/{}",
        rows.last().expect("a backup")["id"].as_str().expect("a name")
    )
}

fn manifest(node: &Node, set: &str) -> Value {
    serde_json::from_str(&node.read(&format!("{set}/manifest.json"))).expect("JSON")
}

fn create(node: &Node) -> Ran {
    node.run(&now(), &["backup", "create"])
}

#[test]
fn a_snapshot_under_load_holds_every_key_written_before_it() {
    let node = etcd::node(ECDSA);
    let etcd = Etcd::start(&node);
    for n in 0..20 {
        etcd.put(&node, &format!("/before/{n}"), &format!("value {n}"));
    }
    let before = etcd.everything(&node, "/before/");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                etcd.put(&node, &format!("/during/{n}"), "load");
                n += 1;
            }
        });
        let ran = create(&node);
        done.store(true, Ordering::Relaxed);
        ran.exits(0).says("verified etcd's snapshot");
    });
    let set = newest(&node);
    let list = manifest(&node, &set);
    let part = &list["etcd"];
    assert_eq!(part["kind"], "snapshot");
    let (_, status) = etcd.ctl(&node, &["endpoint", "status", "-w", "json"]);
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let header = &status[0]["Status"]["header"];
    let hex = |id: &Value| format!("{:x}", id.as_u64().expect("an id"));
    assert_eq!(part["snapshot"]["member"], hex(&header["member_id"]));
    assert_eq!(part["snapshot"]["cluster"], hex(&header["cluster_id"]));
    assert_eq!(part["snapshot"]["members"].as_array().map(Vec::len), Some(1));
    assert!(
        part["snapshot"]["revision"].as_u64().expect("a number") >= 21,
        "{part:#}"
    );
    assert!(
        list["entries"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|entry| { !entry["path"].as_str().expect("a path").starts_with("/var/lib/etcd") }),
        "no copy of the data directory beside a snapshot"
    );
    assert_eq!(list_of_etcd(&node), "snapshot");
    node.run(&now(), &["backup", "verify"]).exits(0).says(": good");
    assert_eq!(restored(&node, &set, &etcd, "/before/"), before);
}

fn list_of_etcd(node: &Node) -> String {
    let rows = list(node);
    rows.last().expect("a backup")["etcd"]
        .as_str()
        .unwrap_or("-")
        .to_owned()
}

/// Requires every key in the data that etcdctl restores from the backup's snapshot, and an etcd of
/// its own serves.
fn restored(node: &Node, set: &str, etcd: &Etcd, prefix: &str) -> String {
    let data = node.scratch("restored");
    let done = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["snapshot", "restore"])
        .arg(node.path(&format!("{set}/etcd-snapshot.db")))
        .arg("--data-dir")
        .arg(&data)
        .output()
        .expect("etcdctl starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // The member that took it ends; another starts from what was restored, at the same address.
    let path = support::credential::manifest("etcd");
    let second = node.read(&path).replace("/var/lib/etcd", "/var/lib/etcd-restored");
    let restored = node.path("var/lib/etcd-restored");
    fs::rename(&data, &restored).expect("a rename");
    let first = node.read(&path);
    node.rewrite(&path, second.as_bytes());
    let _ = Command::new("kill").arg(etcd.pid().to_string()).status();
    let mut other = start_when_free(node);
    node.rewrite(&path, first.as_bytes());
    let everything = other.everything(node, prefix);
    other.stop();
    everything
}

/// The port is free once the one before has ended.
fn start_when_free(node: &Node) -> Etcd {
    let port = Etcd::of(node).client_port;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(std::time::Instant::now() < deadline, "it does not end");
        thread::sleep(Duration::from_millis(20));
    }
    Etcd::start(node)
}

#[test]
fn a_renewal_takes_a_snapshot_and_archives_the_backup_last() {
    let node = etcd::node(ECDSA);
    let etcd = Etcd::start(&node);
    node.configure("[backup]\ncompress = \"zstd\"\n");
    node.run(&now(), &["renew", "etcd-peer"]).exits(0);
    drop(etcd);
    let set = newest(&node);
    assert_eq!(
        names(&node.path(&set)),
        ["etcd-snapshot.db.zst", "files.tar.zst", "manifest.json"]
    );
    node.run(&now(), &["backup", "verify"]).exits(0).says(": good");
    let archive = node.path(&format!("{set}/files.tar.zst"));
    let mut bytes = fs::read(&archive).expect("the archive");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).expect("a write");
    node.run(&now(), &["backup", "verify"])
        .exits(1)
        .complains("files.tar.zst is damaged");
}

/// A proxy that lets `limit` bytes of the member's answers through, then does `then` and closes.
/// Gives its port.
fn cut(target: u16, limit: usize, then: impl FnOnce() + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let then = Arc::new(std::sync::Mutex::new(Some(then)));
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
                return;
            };
            let (mut from_client, mut to_server) = (
                client.try_clone().expect("a socket"),
                server.try_clone().expect("a socket"),
            );
            thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            let then = then.clone();
            thread::spawn(move || {
                let (mut client, mut server) = (client, server);
                let (mut piece, mut passed) = (vec![0; 1 << 14], 0);
                while let Ok(count @ 1..) = server.read(&mut piece) {
                    passed += count;
                    if passed > limit {
                        if let Some(then) = then.lock().expect("no panic").take() {
                            then();
                        }
                        let _ = client.shutdown(std::net::Shutdown::Both);
                        let _ = server.shutdown(std::net::Shutdown::Both);
                        return;
                    }
                    if client.write_all(&piece[..count]).is_err() {
                        return;
                    }
                }
                let _ = client.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    port
}

#[test]
fn an_interrupted_snapshot_keeps_the_previous_backup() {
    let node = etcd::node(ECDSA);
    let etcd = Etcd::start(&node);
    etcd::fill(&etcd, &node, 6);
    create(&node).exits(0);
    let before = names(&node.path(SETS));
    let port = etcd.client_port;
    let through = |port: u16, more: &str| {
        node.configure(&format!(
            "[backup]\n{more}\n[etcd]\nendpoints = [\"https://127.0.0.1:{port}\"]\n"
        ));
    };

    through(cut(port, 2 << 20, || {}), "");
    create(&node)
        .exits(1)
        .complains("cannot read the snapshot from https://127.0.0.1:");
    assert_eq!(names(&node.path(SETS)), before, "cut");

    // Where the files are enough there is a backup, and it says what it lacks.
    through(cut(port, 2 << 20, || {}), "before_renewal = \"files\"");
    let ran = create(&node)
        .exits(0)
        .complains("the backup has no copy of etcd's data");
    assert!(ran.stderr.contains("cannot read the snapshot"), "{ran}");
    let row = list(&node).pop().expect("a backup");
    assert_eq!(
        (&row["etcd"], &row["good"]),
        (&Value::from("missing"), &Value::from(false)),
        "{row:#}"
    );
    assert!(!node.path(&format!("{}/etcd-snapshot.db", newest(&node))).exists());

    let pid = etcd.pid().to_string();
    let kill = move || {
        let _ = Command::new("kill").args(["-KILL", &pid]).status();
    };
    through(cut(port, 2 << 20, kill), "keep = 1\n");
    create(&node).exits(1).complains("cannot read the snapshot");
    node.run(&now(), &["backup", "prune"]).exits(0);
    assert!(
        names(&node.path(SETS)).contains(&before[0]),
        "the newest good one is not the newest"
    );
    node.run(&now(), &["backup", "verify", &before[0]])
        .exits(0)
        .says(": good");
}

type Damage = fn(Vec<u8>) -> Vec<u8>;

#[test]
fn a_damaged_snapshot_does_not_displace_the_previous_backup() {
    let node = etcd::node(ECDSA);
    let etcd = Etcd::start(&node);
    create(&node).exits(0);
    let first = names(&node.path(SETS)).remove(0);
    drop(etcd);
    node.configure("[backup]\nkeep = 1\n");
    let damages: [(&str, Damage); 3] = [
        ("is damaged", |mut bytes| {
            bytes[5000] ^= 4;
            bytes
        }),
        ("is damaged", |mut bytes| {
            bytes.truncate(bytes.len() - 4096);
            bytes
        }),
        ("is damaged", |mut bytes| {
            bytes.truncate(bytes.len() - 32);
            bytes
        }),
    ];
    for (n, (what, damage)) in damages.into_iter().enumerate() {
        let bad = format!("20990101T00000{n}Z");
        let copied = Command::new("cp")
            .arg("-a")
            .args([
                node.path(&format!("{SETS}/{first}")),
                node.path(&format!("{SETS}/{bad}")),
            ])
            .status();
        assert!(copied.expect("cp starts").success());
        let file = node.path(&format!("{SETS}/{bad}/etcd-snapshot.db"));
        fs::write(&file, damage(fs::read(&file).expect("the snapshot"))).expect("a write");
        node.run(&now(), &["backup", "verify", &bad]).exits(1).complains(what);
        let row = list(&node).pop().expect("a backup");
        assert_eq!(
            (&row["id"], &row["good"]),
            (&Value::from(bad.as_str()), &Value::from(false)),
            "{row:#}"
        );
        node.run(&now(), &["backup", "list"]).exits(0).says("cannot be used");
        node.run(&now(), &["backup", "prune"]).exits(0);
        assert!(
            node.path(&format!("{SETS}/{first}")).exists(),
            "the good one was pushed out"
        );
        fs::remove_dir_all(node.path(&format!("{SETS}/{bad}"))).expect("the bad one");
    }
}

#[test]
fn a_bad_client_certificate_is_skipped_for_a_good_one() {
    let node = etcd::node(ECDSA);
    let _etcd = Etcd::start(&node);
    support::credential::named("apiserver-etcd-client").set_validity(&node, "2020-01-01 00:00:00", 30);
    create(&node).exits(0);
    assert_eq!(list_of_etcd(&node), "snapshot");
    // None is left: the API is there and refuses all. That leaves the backup without a snapshot,
    // and it says so.
    for name in ["etcd-healthcheck-client", "etcd-server"] {
        support::credential::named(name).set_validity(&node, "2020-01-01 00:00:00", 30);
    }
    node.write("proc/77/comm", b"etcd\n", 0o444);
    create(&node)
        .exits(0)
        .complains("the backup has no snapshot of etcd but a cold copy of a running member: last resort");
    assert_eq!(list_of_etcd(&node), "cold copy of a running member: last resort");
}

#[test]
fn a_stopped_member_is_copied_and_holes_stay_holes() {
    let node = etcd::node(ECDSA);
    let mut etcd = Etcd::start(&node);
    etcd.put(&node, "/a", "b");
    etcd.stop();
    let sparse = node.path("var/lib/etcd/member/sparse");
    let mut file = fs::File::create(&sparse).expect("a file");
    file.write_all(b"begin").expect("a write");
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 40 << 20).expect("a write");
    file.set_len(64 << 20).expect("a length");
    drop(file);
    create(&node).exits(0);
    assert_eq!(list_of_etcd(&node), "copy of a stopped member");
    node.run(&now(), &["backup", "verify"]).exits(0);
    let copy = node.path(&format!("{}/files/var/lib/etcd/member/sparse", newest(&node)));
    let same = Command::new("cmp").args([&sparse, &copy]).status();
    assert!(same.expect("cmp starts").success());
    let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&copy).expect("the copy"));
    assert!(blocks * 512 < 1 << 20, "the copy takes {} KiB", blocks / 2);
}

#[test]
fn too_little_space_for_the_snapshot_names_both_sizes() {
    support::mount::in_own_namespace(|| {
        let node = etcd::node(ECDSA);
        let etcd = Etcd::start(&node);
        etcd::fill(&etcd, &node, 6);
        fs::create_dir_all(node.path(SETS)).expect("a directory");
        for directory in ["var/lib/kubecertd", SETS] {
            support::set_mode(&node.path(directory), 0o700);
        }
        let _mount = support::mount::Mount::memory(&node.path(SETS), "size=3m,mode=0700");
        let ran = create(&node)
            .exits(1)
            .complains("cannot back up etcd's data to /var/lib/kubecertd/backups: it needs");
        assert!(ran.stderr.contains("are free") && ran.stderr.contains("hint:"), "{ran}");
        assert_eq!(names(&node.path(SETS)), [""; 0]);
    });
}

#[test]
fn scheduled_backups_keep_the_watchdog_fed() {
    let node = etcd::node(ECDSA);
    let _etcd = Etcd::start(&node);
    node.configure("[backup]\nschedule = \"*/2 * * * * *\"\nkeep = 2\n");
    let mut daemon = support::daemon::Daemon::start(&node, &now(), &[]);
    daemon.says("STATUS=Taking a backup");
    daemon.logs("backed up on schedule");
    daemon.says("WATCHDOG=1");
    daemon.terminate();
    assert_eq!(daemon.ends(), 0, "{}", daemon.log());
    let row = list(&node).pop().expect("a backup");
    assert_eq!(
        (&row["reason"], &row["etcd"]),
        (&Value::from("scheduled"), &Value::from("snapshot")),
        "{row:#}"
    );
}

/// A snapshot is judged by its own checksum, not by the size that the server announces.
#[test]
fn a_truncated_altered_or_unsigned_snapshot_is_refused() {
    let node = Node::of(ECDSA);
    let database: Vec<u8> = (0..40_960_u32).map(|i| (i % 251) as u8).collect();
    let whole = [database.clone(), support::openssl::digest("sha256", &database)].concat();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let answers = [
        (whole[..20_480].to_vec(), "it is cut short, or has no checksum"),
        (
            whole[..whole.len() - 4096].to_vec(),
            "it is damaged: the SHA-256 at its end",
        ),
        (database.clone(), "it is cut short, or has no checksum"),
        (flipped(30_000), "it is damaged: the SHA-256 at its end"),
        (flipped(whole.len() - 1), "it is damaged: the SHA-256 at its end"),
        (Vec::new(), "it is cut short, or has no checksum"),
    ];
    let ask = |snapshot: Vec<u8>| {
        let port = support::fake_etcd::serve(snapshot, Duration::ZERO);
        node.configure(&format!("[etcd]\nendpoints = [\"http://127.0.0.1:{port}\"]\n"));
        create(&node)
    };
    ask(whole.clone()).exits(0).says("verified etcd's snapshot");
    let first = names(&node.path(SETS));
    for (answer, what) in answers {
        ask(answer)
            .exits(1)
            .complains("cannot use the snapshot from http://127.0.0.1:")
            .complains(what);
        assert_eq!(names(&node.path(SETS)), first, "{what}");
    }
}

/// On a terminal there is a bar for what takes longer than a second; in a log there is none, and
/// size and rate are in both.
#[test]
fn a_slow_snapshot_shows_a_bar_or_plain_lines() {
    let node = Node::of(ECDSA);
    let database = vec![7; 256 << 10];
    let whole = [database.clone(), support::openssl::digest("sha256", &database)].concat();
    let port = support::fake_etcd::serve(whole, Duration::from_millis(60));
    node.configure(&format!("[etcd]\nendpoints = [\"http://127.0.0.1:{port}\"]\n"));
    let line = format!(
        "{} --root {} backup create",
        env!("CARGO_BIN_EXE_kubecertd"),
        node.root().display()
    );
    let terminal = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .output()
        .expect("script starts");
    let terminal = String::from_utf8_lossy(&terminal.stdout).into_owned();
    assert!(
        terminal.contains("snapshot of etcd [") && terminal.contains("/256.03 KiB"),
        "{terminal}"
    );
    assert!(terminal.contains("snapshot of etcd: 256.0 KiB in"), "{terminal}");
    let log = create(&node).exits(0);
    assert!(
        log.stderr.contains("snapshot of etcd: 256.0 KiB in") && !log.stderr.contains('['),
        "{log}"
    );
}
