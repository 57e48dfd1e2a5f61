//! `[hooks]`: commands of the operator's that get an event on their standard input. What they do,
//! or fail to do, changes nothing else.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::credential;
use crate::support::daemon::{DEADLINE, Daemon};
use crate::support::{self, ECDSA, Node, clock};
use serde_json::Value;

const RARELY: &str = "schedule = \"0 0 0 1 1 *\"\nclock_wait = \"0s\"\nspread = \"0s\"\n";
const OFTEN: &str = "schedule = \"*/2 * * * * *\"\nclock_wait = \"0s\"\n";
const PKI: &str = "etc/kubernetes/pki";

/// A hook that appends what it gets to a file.
fn keeps(node: &Node, name: &str) -> String {
    let file = node.scratch(name);
    format!("[\"/bin/sh\", \"-c\", \"cat >> {}\"]", file.display())
}

/// The events that a hook has kept.
fn kept(node: &Node, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(node.scratch(name)).unwrap_or_default();
    assert!(!text.contains("BEGIN"), "{text}");
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

#[track_caller]
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn on_renewed_hears_of_the_daemons_renewals() {
    let node = Node::of(ECDSA);
    credential::named("scheduler.conf").make_due(&node);
    node.write("etc/hostname", b"cp-1\n", 0o644);
    let hook = keeps(&node, "renewed");
    node.configure(&format!("{OFTEN}[hooks]\non_renewed = {hook}\n"));
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.logs("told [hooks] on_renewed: ");
    daemon.terminate();
    assert_eq!(daemon.ends(), 0, "{}", daemon.log());
    let events = kept(&node, "renewed");
    assert_eq!(events.len(), 1, "{events:#?}");
    let event = &events[0];
    assert_eq!((&event["version"], &event["event"]), (&1.into(), &"renewed".into()));
    assert_eq!(event["credentials"].as_array().expect("a list").len(), 1, "{event:#}");
    let row = &event["credentials"][0];
    assert_eq!(
        (&row["name"], &row["state"]),
        (&"scheduler.conf".into(), &"renewed".into())
    );
    assert!(
        row["expires"]
            .as_str()
            .is_some_and(|at| at.starts_with("2027-11-24T00:00:")),
        "{event:#}"
    );
    assert_eq!(event["node"], "cp-1");
    let text = event["text"].as_str().expect("a text");
    assert!(text.starts_with("kubecertd on cp-1: renewed: scheduler.conf"), "{text}");
    let backup = event["backup"].as_str().expect("a backup");
    assert!(node.path(&backup[1..]).is_dir(), "{backup}");
    assert_eq!(event["pending_restarts"], Value::from(vec!["kube-scheduler"]));
    assert_eq!((&event["exit"], &event["error"]), (&0.into(), &Value::Null));
}

#[test]
fn on_renewed_hears_of_manual_renewals() {
    let node = Node::of(ECDSA);
    let hook = keeps(&node, "renewed");
    node.configure(&format!("[hooks]\non_renewed = {hook}\non_failed = [\"/bin/false\"]\n"));
    node.run(clock::FRESH, &["renew", "--dry-run", "all"]).exits(0);
    node.run(clock::FRESH, &["renew"]).exits(0);
    assert!(kept(&node, "renewed").is_empty(), "nothing was renewed");
    node.run(clock::FRESH, &["renew", "admin.conf", "apiserver"]).exits(0);
    let event = kept(&node, "renewed").remove(0);
    let names: Vec<_> = event["credentials"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| &row["name"])
        .collect();
    assert_eq!(names, ["admin.conf", "apiserver"]);
}

#[test]
fn on_failed_is_told_once_a_day_however_often_it_fails() {
    let node = Node::of(ECDSA);
    credential::named("scheduler.conf").make_due(&node);
    node.write("srv/backups", b"", 0o600);
    let hooks = format!("[hooks]\non_failed = {}\n", keeps(&node, "failed"));
    let bad = "[backup]\ndirectory = \"/srv/backups\"\n";
    node.configure(&format!("{OFTEN}{bad}{hooks}"));
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    let failures = |daemon: &Daemon| daemon.log().matches("cycle: failed").count();
    wait_for("a third failure", || {
        daemon.listen(Duration::from_millis(20));
        failures(&daemon) >= 3
    });
    let events = kept(&node, "failed");
    assert_eq!(events.len(), 1, "{events:#?}");
    let event = &events[0];
    assert_eq!((&event["event"], &event["exit"]), (&"failed".into(), &1.into()));
    assert!(
        event["error"]
            .as_str()
            .is_some_and(|error| error.contains("/srv/backups")),
        "{event:#}"
    );
    drop(daemon);

    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.logs("cycle: failed");
    daemon.says("STATUS=Waiting");
    drop(daemon);
    assert_eq!(kept(&node, "failed").len(), 1, "a new start is no new failure");

    let mut daemon = Daemon::start(&node, &clock::later(clock::FRESH, clock::DAY), &[]);
    daemon.logs("told [hooks] on_failed");
    drop(daemon);
    assert_eq!(kept(&node, "failed").len(), 2, "the next day");

    // What went well meanwhile makes it news again.
    node.configure(&format!("{OFTEN}{hooks}"));
    let mut daemon = Daemon::start(&node, &clock::later(clock::FRESH, clock::DAY), &[]);
    daemon.logs("cycle: renewed: scheduler.conf");
    daemon.says("STATUS=Waiting");
    daemon.terminate();
    daemon.ends();
    credential::named("admin.conf").make_due(&node);
    node.configure(&format!("{OFTEN}{bad}{hooks}"));
    let mut daemon = Daemon::start(&node, &clock::later(clock::FRESH, clock::DAY), &[]);
    daemon.logs("told [hooks] on_failed");
    assert_eq!(kept(&node, "failed").len(), 3);
}

#[test]
fn on_expiring_runs_daily_for_what_is_not_about_to_be_renewed() {
    let node = Node::of(ECDSA);
    credential::named("etcd-server").make_due(&node);
    credential::named("etcd-peer").set_validity(&node, &clock::later(clock::FRESH, -40 * clock::DAY), 10);
    credential::named("admin.conf").make_due(&node);
    node.remove(&format!("{PKI}/etcd/ca.key"));
    node.configure(&format!(
        "{RARELY}[hooks]\non_expiring = {}\n",
        keeps(&node, "expiring")
    ));
    let look = |moment: &str| {
        let mut daemon = Daemon::start(&node, moment, &[]);
        daemon.says("STATUS=Waiting");
        daemon.terminate();
        assert_eq!(daemon.ends(), 0, "{}", daemon.log());
        kept(&node, "expiring").len()
    };
    assert_eq!(look(clock::FRESH), 1);
    let event = kept(&node, "expiring").remove(0);
    let rows: Vec<_> = event["credentials"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| (&row["name"], &row["state"]))
        .collect();
    assert_eq!(
        rows,
        [
            (&"etcd-peer".into(), &"expired".into()),
            (&"etcd-server".into(), &"expiring".into())
        ],
        "what is renewed by the next cycle is not news: {event:#}"
    );
    assert_eq!(look(clock::FRESH), 1, "a new start is no news");
    assert_eq!(look(&clock::later(clock::FRESH, clock::DAY)), 2, "the next day");
}

/// However the hook ends, the renewal is done, and both are said.
#[test]
fn a_hook_that_fails_hangs_or_is_missing_is_only_reported() {
    for (hook, reason) in [
        ("[\"/bin/false\"]", "it ended with exit status: 1"),
        (
            "[\"/bin/sh\", \"-c\", \"trap '' TERM; sleep 1000\"]",
            "it did not end within 1 s",
        ),
        ("[\"/usr/local/sbin/kubecertd-test-none\"]", "it is not installed"),
        ("[\"/proc/self/mem\"]", ""),
    ] {
        let node = Node::of(ECDSA);
        credential::named("scheduler.conf").make_due(&node);
        node.configure(&format!("{OFTEN}[hooks]\ntimeout = \"1s\"\non_renewed = {hook}\n"));
        let begun = Instant::now();
        let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
        daemon.logs("cycle: renewed: scheduler.conf");
        daemon.logs("cannot call [hooks] on_renewed: ");
        daemon.logs("cycle: nothing due");
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{hook}: {:?}",
            begun.elapsed()
        );
        assert!(daemon.log().contains(reason), "{hook}: {}", daemon.log());
        daemon.terminate();
        assert_eq!(daemon.ends(), 0, "{}", daemon.log());
        let status = node.run(clock::FRESH, &["status", "-o", "json"]).exits(0).json();
        let step = status["steps"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|step| step["name"] == "hook");
        let step = step.unwrap_or_else(|| panic!("no step: {status:#}"));
        assert!(
            step["last_failure"].is_string() && step["last_success"].is_null(),
            "{step}"
        );

        let ran = node.run(clock::FRESH, &["renew", "admin.conf"]).exits(0);
        ran.complains("cannot call [hooks] on_renewed: ");
    }
}

/// A shell that was started by a hook does not outlive it.
#[test]
fn the_children_of_a_hanging_hook_end_with_it() {
    let node = Node::of(ECDSA);
    let pid = node.scratch("pid");
    node.configure(&format!(
        "[hooks]\ntimeout = \"1s\"\non_renewed = [\"/bin/sh\", \"-c\", \"sleep 1000 & echo $! > {}; wait\"]\n",
        pid.display()
    ));
    node.run(clock::FRESH, &["renew", "admin.conf"])
        .exits(0)
        .complains("it did not end within 1 s");
    let pid = fs::read_to_string(pid).expect("a process id");
    let stat = Path::new("/proc").join(pid.trim()).join("stat");
    wait_for("the end of what it started", || {
        fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn a_hook_that_others_than_root_could_change_is_not_run() {
    let node = Node::of(ECDSA);
    // The directory of the tests is everybody's.
    let script = node.scratch("hook");
    let witness = node.scratch("witness");
    fs::write(&script, format!("#!/bin/sh\ntouch {}\n", witness.display())).expect("a script");
    support::set_mode(&script, 0o755);
    node.configure(&format!("[hooks]\non_renewed = [\"{}\"]\n", script.display()));
    node.run(clock::FRESH, &["renew", "admin.conf"])
        .exits(0)
        .complains("is writable by everybody")
        .complains("hint: give it to root");
    assert!(!witness.exists());
}

#[test]
fn a_hook_gets_its_arguments_verbatim_and_only_a_path() {
    let node = Node::of(ECDSA);
    let out = node.scratch("out");
    node.configure(&format!(
        "[hooks]\non_renewed = [\"python3\", \"-c\", \"import os, sys; open(sys.argv[1], 'w').write(repr((sys.argv[2:], dict(os.environ), os.getcwd())))\", \"{}\", \"$(touch x)\", \"a b\", \"*\"]\n",
        out.display()
    ));
    let ran = node.run(clock::FRESH, &["renew", "admin.conf"]).exits(0);
    assert!(!ran.stderr.contains("cannot tell"), "{ran}");
    let said = fs::read_to_string(&out).expect("what it wrote");
    assert!(
        said.starts_with(
            "(['$(touch x)', 'a b', '*'], {'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'"
        ),
        "{said}"
    );
    assert!(
        !said.contains("LD_PRELOAD") && !said.contains("HOME") && said.ends_with("'/')"),
        "{said}"
    );
}

/// A hook's output goes to the log; the command's own document stays valid.
#[test]
fn hook_output_stays_out_of_the_document_on_stdout() {
    let node = Node::of(ECDSA);
    node.configure("[hooks]\non_renewed = [\"/bin/echo\", \"called\"]\n");
    let ran = node.run(clock::FRESH, &["renew", "admin.conf", "-o", "json"]).exits(0);
    assert_eq!(ran.json()["outcome"], "renewed");
    ran.complains("called");
}

/// A pipe without a reader would hold 64 KiB.
#[test]
fn a_large_event_that_is_not_read_holds_nothing_up() {
    let node = Node::of(ECDSA);
    let leaf = credential::named("front-proxy-client");
    leaf.make_due(&node);
    let material = leaf.material(&node);
    for number in 0..500 {
        node.write(
            &format!("etc/more/{number:03}.crt"),
            material.certificate.as_bytes(),
            0o644,
        );
        node.write(&format!("etc/more/{number:03}.key"), material.key.as_bytes(), 0o600);
    }
    node.remove(&format!("{PKI}/front-proxy-ca.key"));
    let settings = |hook: &str| {
        format!(
            "{RARELY}[hooks]\non_expiring = {hook}\n[[certificate]]\nname = \"one-of-very-many-certificates-*\"\npath = \"/etc/more/*.crt\"\nkey = \"/etc/more/*.key\"\nca = \"front-proxy-ca\"\n"
        )
    };
    node.configure(&settings("[\"/bin/true\"]"));
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.logs("told [hooks] on_expiring");
    daemon.says("STATUS=Waiting");
    drop(daemon);
    node.configure(&settings(&keeps(&node, "expiring")));
    let mut daemon = Daemon::start(&node, &clock::later(clock::FRESH, clock::DAY), &[]);
    daemon.logs("told [hooks] on_expiring");
    let length = fs::metadata(node.scratch("expiring")).expect("the event").len();
    assert!(length > 70_000, "{length} bytes are no large event");
    assert_eq!(
        kept(&node, "expiring")[0]["credentials"]
            .as_array()
            .expect("a list")
            .len(),
        501
    );
}

/// The indented blocks of `## Hooks` in docs/operations.md.
fn examples() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let text = fs::read_to_string(path).expect("the runbook");
    let section = text.split("\n## Hooks\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("its end");
    let mut blocks = vec![String::new()];
    for line in section.lines() {
        match (line.strip_prefix("    "), blocks.last_mut()) {
            (Some(code), Some(block)) => *block += &format!("{code}\n"),
            (None, Some(block)) if !block.is_empty() => blocks.push(String::new()),
            _ => {}
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

#[test]
fn the_examples_of_the_documentation_are_configurations() {
    let examples: Vec<_> = examples()
        .into_iter()
        .filter(|block| block.starts_with("[hooks]"))
        .collect();
    assert_eq!(examples.len(), 2, "{examples:#?}");
    for example in examples {
        let node = Node::of(ECDSA);
        node.configure(&example);
        node.run(clock::FRESH, &["config", "check"]).exits(0);
    }
}

/// The document of the example has the keys of a real one.
#[test]
fn the_document_of_the_documentation_is_the_one_that_hooks_get() {
    let node = Node::of(ECDSA);
    node.configure(&format!("[hooks]\non_renewed = {}\n", keeps(&node, "renewed")));
    node.run(clock::FRESH, &["renew", "apiserver"]).exits(0);
    let real = kept(&node, "renewed").remove(0);
    let shown = examples()
        .into_iter()
        .find(|block| block.starts_with('{'))
        .expect("a document");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let keys = |value: &Value| {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&shown), keys(&real));
    assert_eq!(keys(&shown["credentials"][0]), keys(&real["credentials"][0]));
}

/// The request to a server on this machine: the header and the body.
fn receive(listener: &TcpListener) -> (String, String) {
    let (mut stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let (mut got, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut buffer).expect("a request");
        got.push_str(&String::from_utf8_lossy(&buffer[..n]));
        if let Some((head, body)) = got.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if length.is_some_and(|length: usize| body.len() >= length) || n == 0 {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .expect("an answer");
                return (head.to_owned(), body.to_owned());
            }
        }
    }
}

/// The webhook of the documentation, with a real curl and this machine's address in it.
#[test]
fn the_webhook_of_the_documentation_posts_the_event() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hooks/secret", listener.local_addr().expect("an address"));
    let examples = examples();
    let hook = examples
        .iter()
        .find(|block| block.contains("--config"))
        .expect("the hook");
    let curl = examples
        .iter()
        .find(|block| block.starts_with("url = "))
        .expect("the file");
    let node = Node::of(ECDSA);
    let file = node.scratch("webhook");
    fs::write(&file, curl.replace("https://chat.example.com/hooks/secret", &url)).expect("a file");
    let hook = hook.replace("/etc/kubecertd/webhook", &file.display().to_string());
    node.configure(&hook.replace("on_failed", "on_renewed"));
    let server = std::thread::spawn(move || receive(&listener));
    let ran = node.run(clock::FRESH, &["renew", "apiserver"]).exits(0);
    assert!(!ran.stderr.contains("cannot tell"), "{ran}");
    let (head, body) = server.join().expect("a request");
    assert!(
        head.starts_with("POST /hooks/secret ") && head.contains("Content-Type: application/json"),
        "{head}"
    );
    let event: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(event["credentials"][0]["name"], "apiserver");
    assert!(
        event["text"]
            .as_str()
            .is_some_and(|text| text.contains(": renewed: apiserver")),
        "{event:#}"
    );
}

/// A server that says no: curl fails (`fail`), and that is said.
#[test]
fn a_webhook_that_is_refused_is_reported() {
    let node = Node::of(ECDSA);
    let port = support::etcd::free_port();
    node.configure(&format!(
        "[hooks]\non_renewed = [\"curl\", \"--silent\", \"--show-error\", \"--fail\", \"--data-binary\", \"@-\", \"http://127.0.0.1:{port}/\"]\n"
    ));
    node.run(clock::FRESH, &["renew", "apiserver"])
        .exits(0)
        .complains("curl: (7) ")
        .complains("cannot call [hooks] on_renewed: cannot run curl: it ended with exit status: 7");
}
