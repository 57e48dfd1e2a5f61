//! `report --html`: the page as a file, and what stands in it. How it looks is for `make pages`.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::support::clock::{FRESH, MINUTE, later};
use crate::support::daemon::Daemon;
use crate::support::{self, ECDSA, Node, Ran, credential, page};

const RARELY: &str = "schedule = \"0 17 3 * * *\"\nspread = \"0s\"\nclock_wait = \"0s\"\n";
const OFTEN: &str = "schedule = \"*/2 * * * * *\"\nspread = \"0s\"\nclock_wait = \"0s\"\n";

#[track_caller]
fn html(node: &Node, moment: &str) -> String {
    node.run(moment, &["report", "--html", "-"]).exits(0).stdout
}

/// Name and state of every row of the timeline, in their order; the names as they are shown.
fn rows(html: &str) -> Vec<(String, String)> {
    let table = html.split("<table class=\"timeline\">").nth(1).expect("the timeline");
    let table = table.split("</table>").next().expect("its end");
    let row = |line: &str| {
        let (class, rest) = line.strip_prefix("<tr class=\"")?.split_once("\"><th scope=\"row\">")?;
        Some((unescaped(rest.split_once("</th>")?.0), class.to_owned()))
    };
    table.lines().filter_map(row).collect()
}

fn unescaped(text: &str) -> String {
    let pairs = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ];
    pairs
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The line of the timeline that begins with this name.
#[track_caller]
fn row<'a>(html: &'a str, name: &str) -> &'a str {
    let begin = format!("<th scope=\"row\">{name}</th>");
    html.lines()
        .find(|line| line.contains(&begin))
        .unwrap_or_else(|| panic!("no row for {name}"))
}

#[test]
fn every_credential_and_ca_has_a_row_in_order_of_expiration() {
    let html = html(&page::every_state(), FRESH);
    let wanted: Vec<_> = page::ROWS
        .iter()
        .map(|(name, state)| ((*name).to_owned(), (*state).to_owned()))
        .collect();
    assert_eq!(rows(&html), wanted);
    let peer = row(&html, "etcd-peer");
    for text in ["Feb 02, 2027 00:00 UTC", "in 69 days", "due Jan 03, 2027 00:00 UTC"] {
        assert!(peer.contains(text), "no {text:?} in {peer}");
    }
    assert!(
        html.contains("1 certificate has expired, 4 more require operator action."),
        "{html}"
    );
    assert!(html.contains("The daemon has not run on this node yet"), "{html}");
    let problems: Vec<_> = html
        .lines()
        .filter_map(|line| line.strip_prefix("<li>")?.strip_suffix("</li>"))
        .collect();
    let worst_first = [
        "scheduler.conf has expired on Nov 22, 2026 00:00 UTC: it has expired; the new one ends Nov 24, 2027 00:00 UTC",
        "apiserver-etcd-client needs attention: /etc/kubernetes/pki/apiserver-etcd-client.crt holds no PEM block",
        "front-proxy-client ends on Dec 19, 2026 00:00 UTC: the key of its CA front-proxy-ca is kept elsewhere",
    ];
    assert_eq!(problems, worst_first);
    assert!(
        html.contains("<th scope=\"row\">20261124T000000Z</th>"),
        "the backup: {html}"
    );
}

/// The places of the bars are read from the page; that they are drawn there is for `make pages`.
#[test]
fn a_bar_is_solid_until_due_and_an_arrow_continues_it() {
    let html = html(&page::every_state(), FRESH);
    let width = |name: &str, class: &str| -> Option<f64> {
        let bar = row(&html, name).split(&format!("<rect class=\"{class}\"")).nth(1)?;
        bar.split("width=\"").nth(1)?.split('%').next()?.parse().ok()
    };
    let (peer, admin) = (width("etcd-peer", "bar").unwrap(), width("admin.conf", "bar").unwrap());
    assert!((admin / peer - 2.0).abs() < 0.01, "140 days and 70: {admin} and {peer}");
    let light = width("etcd-peer", "light").unwrap();
    assert!(
        (peer / light - 70.0 / 30.0).abs() < 0.01,
        "30 of 70 days: {light} of {peer}"
    );
    assert_eq!(width("controller-manager.conf", "light"), None, "it is due already");
    assert!(
        width("front-proxy-client", "hatch").is_some(),
        "blocked is not told by colour alone"
    );
    assert!(width("apiserver-etcd-client", "bar").is_none(), "no end is known");
    let has_arrow = |name: &str| row(&html, name).contains("<path class=\"bar\"");
    assert!(has_arrow("ca") && !has_arrow("apiserver"));
}

#[test]
fn the_last_and_next_cycle_of_a_daemon_have_their_times() {
    let node = Node::of(ECDSA);
    for (minutes, name) in [(0, "etcd-peer"), (5, "etcd-server")] {
        credential::named(name).make_due(&node);
        node.configure(OFTEN);
        // No clock goes back.
        let mut daemon = Daemon::start(&node, &later(FRESH, minutes * MINUTE), &[]);
        daemon.logs(&format!("cycle: renewed: {name}"));
        daemon.terminate();
        assert_eq!(daemon.ends(), 0);
    }
    let stopped = html(&node, &later(FRESH, 10 * MINUTE));
    assert!(
        stopped.contains("The daemon does not run: nothing is renewed by itself."),
        "{stopped}"
    );
    let cycle = |name: &str| stopped.find(&format!("<td>renewed: {name}</td>")).expect("the cycle");
    assert!(cycle("etcd-server") < cycle("etcd-peer"), "the last one is first");
    let window = "[[window]]\ndays = [\"sat\"]\nstart = \"02:00\"\nlength = \"4h\"\n";
    node.configure(&format!("{RARELY}{window}"));
    credential::named("apiserver").make_due(&node);
    // 2026-11-24 is a Tuesday.
    let moment = later(FRESH, 60 * MINUTE);
    let mut daemon = Daemon::start(&node, &moment, &[]);
    daemon.says("STATUS=Waiting");
    let running = html(&node, &moment);
    assert!(!running.contains("nothing is renewed by itself"), "{running}");
    let due = row(&running, "apiserver");
    assert!(
        due.contains("renewed Nov 28, 2026 02:00 UTC: less than 30d is left"),
        "{due}"
    );
    assert!(
        running.contains("<b>handled</b>: renewed Nov 28, 2026 02:00 UTC"),
        "{running}"
    );
    assert!(
        running.contains("next cycle <time datetime=\"2026-11-24T03:17:00Z\">"),
        "{running}"
    );
    assert!(
        running.contains("window opens <time datetime=\"2026-11-28T02:00:00Z\">"),
        "{running}"
    );
    assert!(running.contains("<line class=\"cycle\"") && running.contains("<line class=\"window\""));
    assert!(!running.contains("id=\"problems\""), "{running}");
}

#[test]
fn text_from_files_is_escaped_and_nothing_private_is_shown() {
    let node = page::every_state();
    let html = html(&node, FRESH);
    assert!(
        html.contains("own-&lt;img src=x onerror=alert(1)&gt;&amp;amp;"),
        "{html}"
    );
    let lower = html.to_lowercase();
    for outside in [
        "<img",
        "<script",
        "<link",
        "<iframe",
        "javascript:",
        "http:",
        "https:",
        "//",
        "@import",
        " onload=",
        " src=",
    ] {
        let known = lower.matches(outside).count();
        let allowed = if outside == " src=" {
            lower.matches("&lt;img src=x").count()
        } else {
            0
        };
        assert_eq!(known, allowed, "{outside} in {html}");
    }
    let inside = lower.matches("url(#").count();
    assert_eq!(lower.matches("url(").count(), inside, "{html}");
    for credential in credential::all_but(&["super-admin.conf", "apiserver-etcd-client"]) {
        let material = credential.material(&node);
        let lines = material.key.lines().filter(|line| line.len() == 64);
        for line in lines {
            assert!(!html.contains(line), "a key is in it");
        }
        let serial = support::openssl::serial(&material.certificate);
        assert!(
            !html.contains(&serial),
            "the serial number of {} is in it",
            credential.name
        );
    }
}

#[test]
fn a_hundred_further_credentials_have_a_row_each() {
    let node = Node::of(ECDSA);
    let [certificate, key] = ["crt", "key"].map(|end| node.read(&format!("etc/kubernetes/pki/apiserver.{end}")));
    for number in 0..100 {
        node.write(&format!("etc/ssl/own/{number}.pem"), certificate.as_bytes(), 0o644);
        node.write(&format!("etc/ssl/own/{number}.key"), key.as_bytes(), 0o600);
    }
    node.configure(
        "[[certificate]]\nname = \"own-*\"\npath = \"/etc/ssl/own/*.pem\"\nkey = \"/etc/ssl/own/*.key\"\nca = \"ca\"\n",
    );
    let own = rows(&html(&node, FRESH))
        .into_iter()
        .filter(|(name, _)| name.starts_with("own-"))
        .count();
    assert_eq!(own, 100);
}

#[test]
fn a_node_without_certificates_has_a_page_that_says_so() {
    let node = Node::of(ECDSA);
    fs::remove_dir_all(node.path("etc/kubernetes")).unwrap();
    let html = html(&node, FRESH);
    assert!(html.contains("no certificate could be read"), "{html}");
}

#[test]
fn a_report_changes_nothing_on_the_node() {
    let node = page::every_state();
    let before = node.snapshot();
    html(&node, FRESH);
    assert_eq!(before.every_change(&node.snapshot()), support::tree::Changes::new());
}

fn report(node: &Node, file: &std::path::Path) -> Ran {
    node.run(FRESH, &["report", "--html", file.to_str().unwrap()])
}

#[test]
fn a_new_report_is_readable_and_an_old_one_keeps_owner_and_mode() {
    let node = Node::of(ECDSA);
    let file = node.scratch("page.html");
    report(&node, &file).exits(0);
    let found = fs::metadata(&file).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid()), (0o644, 0));
    support::set_mode(&file, 0o640);
    std::os::unix::fs::chown(&file, Some(65534), Some(33)).unwrap();
    let old = fs::metadata(&file).unwrap();
    report(&node, &file).exits(0);
    let new = fs::metadata(&file).unwrap();
    assert_eq!((new.mode() & 0o7777, new.uid(), new.gid()), (0o640, 65534, 33));
    assert_ne!(new.ino(), old.ino(), "it was written in place");
    let left = fs::read_dir(file.parent().unwrap()).unwrap().count();
    assert_eq!(left, 2, "the node and the page");
    // mktemp(1) makes an empty one.
    fs::write(node.scratch("empty"), "").unwrap();
    report(&node, &node.scratch("empty")).exits(0);
}

#[test]
fn a_mistyped_output_path_overwrites_nothing_important() {
    let node = Node::of(ECDSA);
    let before = node.snapshot();
    let link = node.scratch("link");
    symlink(node.path("etc/kubernetes/admin.conf"), &link).unwrap();
    let made = std::process::Command::new("mknod")
        .arg(node.scratch("null"))
        .args(["c", "1", "3"])
        .status();
    assert!(made.is_ok_and(|status| status.success()));
    for (file, reason) in [
        (
            node.path("etc/kubernetes/pki/ca.crt"),
            "it exists and is not a report of kubecertd",
        ),
        (link, "it is not a regular file"),
        (node.scratch("null"), "it is not a regular file"),
        (node.path("etc"), "it is not a regular file"),
        (
            node.path("etc/kubernetes/manifests/page.html"),
            "the kubelet starts every file in this directory as a pod",
        ),
        (node.scratch("nowhere/page.html"), "its directory does not exist"),
    ] {
        let ran = report(&node, &file).exits(1);
        ran.complains(&format!("kubecertd: cannot write {}: {reason}", file.display()));
    }
    assert_eq!(before.every_change(&node.snapshot()), support::tree::Changes::new());
    node.run(FRESH, &["report"]).exits(2);
}
