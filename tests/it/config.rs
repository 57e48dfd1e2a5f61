//! The configuration: files, drop-ins, problems, and the shipped file.

use crate::support::clock::FRESH;
use crate::support::{ECDSA, Node, Ran};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const MAIN: &str = "etc/kubecertd/config.toml";
const DROP_INS: &str = "etc/kubecertd/config.d";

/// `table.key` -> the value as written, of a TOML text with one key a line.
fn keys(toml: &str) -> BTreeMap<String, String> {
    let mut table = String::new();
    let mut keys = BTreeMap::new();
    for line in toml
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(name) = line.strip_prefix('[') {
            table = format!("{}.", name.trim_end_matches(']'));
        } else {
            let (key, value) = line
                .split_once(" = ")
                .unwrap_or_else(|| panic!("not `key = value`: {line:?}"));
            let before = keys.insert(format!("{table}{key}"), value.to_owned());
            assert_eq!(before, None, "{table}{key} is there twice");
        }
    }
    keys
}

fn shown(node: &Node) -> BTreeMap<String, String> {
    let shown = keys(&node.run(FRESH, &["config", "show"]).exits(0).stdout);
    assert!(shown.contains_key("backup.keep"), "{shown:?}");
    shown
}

fn drop_in(node: &Node, name: &str, toml: &str) {
    node.write(&format!("{DROP_INS}/{name}"), toml.as_bytes(), 0o644);
}

#[test]
fn without_any_file_the_defaults_hold() {
    let node = Node::of(ECDSA);
    node.run(FRESH, &["config", "check"]).exits(0);
    let shown = shown(&node);
    let defaults = [
        ("schedule", "\"0 17 3 * * *\""),
        ("timezone", "\"UTC\""),
        ("renew_before", "\"30d\""),
        ("urgent_before", "\"7d\""),
        ("validity", "\"365d\""),
        ("paths.kubernetes", "\"/etc/kubernetes\""),
        ("paths.pki", "\"/etc/kubernetes/pki\""),
        ("paths.manifests", "\"auto\""),
        ("paths.etcd_data", "\"auto\""),
        ("paths.kubelet", "\"/var/lib/kubelet\""),
        ("backup.directory", "\"/var/lib/kubecertd/backups\""),
        ("backup.keep", "5"),
        ("backup.before_renewal", "\"required\""),
        ("restart.scope", "\"needed\""),
        ("restart.method", "\"touch\""),
        ("restart.grace", "\"10s\""),
        ("restart.timeout", "\"3m\""),
        ("coordination.mode", "\"auto\""),
        ("coordination.lease", "\"1m\""),
        ("coordination.wait", "\"30m\""),
    ];
    for (key, value) in defaults {
        assert_eq!(shown.get(key).map(String::as_str), Some(value), "{key}");
    }
}

/// The shipped file with every default in force. A default has its `#` right before the key; prose
/// has a space between.
fn shipped_defaults() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/kubecertd.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(uncomment).collect()
}

#[test]
fn the_shipped_file_lists_every_key_with_its_default() {
    let node = Node::of(ECDSA);
    let defaults = shown(&node);
    let shipped = shipped_defaults();
    assert_eq!(
        keys(&shipped),
        defaults,
        "the shipped file (left) and the program's defaults (right)"
    );
    node.configure(&shipped);
    node.run(FRESH, &["config", "check"]).exits(0);
    assert_eq!(
        shown(&node),
        defaults,
        "the shipped file, uncommented, changes something"
    );
}

/// Catches a `config show` that prints constants: each value of the shipped file, changed, is shown
/// as changed.
#[test]
fn every_key_of_the_shipped_file_takes_effect() {
    let node = Node::of(ECDSA);
    let changed = "\
schedule = \"30 4 * * 1\"
timezone = \"Europe/Dublin\"
spread = \"30m\"
first_look = \"act\"
renew_before = \"40d\"
urgent_before = \"10d\"
validity = \"200d\"
clock_wait = \"20m\"
[paths]
kubernetes = \"/srv/kubernetes\"
pki = \"/srv/pki\"
manifests = \"/srv/manifests\"
etcd_data = \"/srv/etcd\"
kubelet = \"/srv/kubelet\"
[backup]
directory = \"/srv/backups\"
keep = 7
keep_within = \"14d\"
max_size = \"20GiB\"
before_renewal = \"files\"
schedule = \"0 0 1 * * *\"
compress = \"zstd\"
encrypt_with = [\"age\", \"-r\", \"age1x\"]
decrypt_with = [\"/usr/bin/age\", \"-d\"]
[etcd]
endpoints = [\"https://10.0.0.21:2379\", \"https://[::1]:2379\"]
ca = \"/srv/etcd-ca.crt\"
certificate = \"/srv/etcd.crt\"
key = \"/srv/etcd.key\"
[restart]
scope = \"never\"
method = \"park\"
grace = \"5s\"
timeout = \"1m\"
[metrics]
textfile_directory = \"/var/lib/node_exporter\"
[hooks]
on_expiring = [\"mail\", \"root\"]
on_renewed = [\"/usr/bin/curl\", \"-d@-\"]
on_failed = [\"/usr/local/sbin/page\"]
timeout = \"10s\"
[coordination]
mode = \"required\"
lease = \"30s\"
wait = \"5m\"
";
    assert_eq!(
        keys(changed).into_keys().collect::<Vec<_>>(),
        keys(&shipped_defaults()).into_keys().collect::<Vec<_>>()
    );
    node.configure(changed);
    assert_eq!(shown(&node), keys(changed));
}

#[test]
fn the_shipped_file_as_it_is_changes_nothing() {
    let node = Node::of(ECDSA);
    let defaults = shown(&node);
    node.configure(
        &fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/kubecertd.toml"))
            .expect("the shipped file"),
    );
    assert_eq!(shown(&node), defaults);
}

#[test]
fn config_show_prints_an_equivalent_configuration() {
    let node = Node::of(ECDSA);
    node.configure("renew_before = \"1000h\"\n[backup]\nkeep = 9\n");
    let printed = node.run(FRESH, &["config", "show"]).exits(0).stdout;
    assert!(printed.contains("keep = 9"), "{printed}");
    node.configure(&printed);
    assert_eq!(node.run(FRESH, &["config", "show"]).exits(0).stdout, printed);
}

#[test]
fn later_drop_ins_win_key_by_key() {
    let node = Node::of(ECDSA);
    node.configure("renew_before = \"20d\"\n[backup]\nkeep = 2\n[restart]\nscope = \"all\"\n");
    drop_in(&node, "20-second.toml", "[backup]\nkeep = 4\n");
    drop_in(
        &node,
        "10-first.toml",
        "[backup]\nkeep = 3\n[restart]\nscope = \"never\"\n",
    );
    drop_in(&node, "30-no-toml.toml.bak", "[backup]\nkeep = 99\n");
    let shown = shown(&node);
    assert_eq!(
        ["backup.keep", "restart.scope", "renew_before"].map(|key| shown[key].as_str()),
        ["4", "\"never\"", "\"20d\""]
    );
}

#[test]
fn drop_ins_work_without_a_main_file() {
    let node = Node::of(ECDSA);
    drop_in(&node, "10-keep.toml", "[backup]\nkeep = 3\n");
    assert_eq!(shown(&node)["backup.keep"], "3");
}

/// stderr has a line `FILE:LINE:COLUMN: ...KEY...` for a problem.
#[track_caller]
fn names(ran: &Ran, file: &str, line: usize, key: &str) {
    let place = format!("/{file}:{line}:");
    let found = ran.stderr.lines().any(|text| {
        let Some((_, rest)) = text.split_once(&place) else {
            return false;
        };
        let Some((column, rest)) = rest.split_once(':') else {
            return false;
        };
        column.parse::<usize>().is_ok_and(|column| column > 0) && rest.contains(key)
    });
    assert!(found, "no problem at {place} with {key}: {ran}");
}

#[test]
fn all_problems_are_listed_at_once_with_file_line_and_key() {
    let node = Node::of(ECDSA);
    node.configure(
        "schedule = \"0 0 0 31 2 *\"\nrenew_before = \"300d\"\nurgent_before = 7\ntimezone = \"Mars/Olympus\"\ncolour = \"blue\"\n\
         [backup]\nkeep = \"five\"\nkep = 3\nbefore_renewal = \"perhaps\"\n",
    );
    drop_in(
        &node,
        "50-more.toml",
        "[restart]\nscope = \"sometimes\"\n[pathes]\nkubelet = \"/var/lib/kubelet\"\n",
    );
    let more = format!("{DROP_INS}/50-more.toml");
    let problems = [
        (MAIN, 1, "schedule"),
        (MAIN, 2, "renew_before"),
        (MAIN, 3, "urgent_before"),
        (MAIN, 4, "timezone"),
        (MAIN, 5, "colour"),
        (MAIN, 7, "backup.keep"),
        (MAIN, 8, "kep"),
        (MAIN, 9, "backup.before_renewal"),
        (more.as_str(), 2, "restart.scope"),
        (more.as_str(), 3, "pathes"),
    ];
    for verb in [&["config", "check"][..], &["renew", "all"], &["check-expiration"]] {
        let ran = node.run(FRESH, verb).exits(78);
        for (file, line, key) in problems {
            names(&ran, file, line, key);
        }
        let listed = ran.stderr.lines().filter(|line| line.contains(".toml:")).count();
        assert_eq!(listed, problems.len(), "one line a problem: {ran}");
    }
}

#[track_caller]
fn is_refused(toml: &str, line: usize, key: &str, allowed: &str) {
    let node = Node::of(ECDSA);
    node.configure(toml);
    let ran = node.run(FRESH, &["config", "check"]).exits(78).complains(allowed);
    names(&ran, MAIN, line, key);
}

#[test]
fn a_schedule_that_never_fires_is_refused() {
    is_refused("schedule = \"0 0 30 2 *\"\n", 1, "schedule", "never");
}

#[test]
fn a_schedule_that_is_not_cron_is_refused() {
    is_refused("\nschedule = \"0 25 * * *\"\n", 2, "schedule", "0 17 3 * * *");
}

#[test]
fn a_threshold_longer_than_half_the_validity_is_refused() {
    is_refused(
        "validity = \"50d\"\nrenew_before = \"26d\"\n",
        2,
        "renew_before",
        "half",
    );
}

/// The default threshold of 30 days does not fit a validity of 40, although the file does not
/// mention it.
#[test]
fn a_validity_too_short_for_the_default_threshold_is_refused() {
    let node = Node::of(ECDSA);
    node.configure("validity = \"40d\"\n");
    node.run(FRESH, &["config", "check"])
        .exits(78)
        .complains("renew_before");
}

#[test]
fn a_value_outside_a_list_is_refused_with_the_list() {
    is_refused(
        "[restart]\nscope = \"some\"\n",
        2,
        "restart.scope",
        "needed, all, never",
    );
}

#[test]
fn a_unit_that_does_not_exist_is_refused() {
    is_refused("renew_before = \"30 moons\"\n", 1, "renew_before", "30d");
}

#[test]
fn a_reader_needs_one_way_to_be_restarted_or_a_probe() {
    let reader = |more: &str| format!("[[reader]]\nname = \"x\"\n{more}");
    for (more, line, key, allowed) in [
        ("", 2, "reader", "neither `unit`, `exec` nor `probe`"),
        (
            "unit = \"x.service\"\nexec = [\"/x\"]\n",
            2,
            "reader",
            "give one of them",
        ),
        ("exec = [\"x\"]\n", 2, "reader", "absolute"),
        ("exec = [\"/x\"]\nreload = true\n", 2, "reader", "goes with `unit`"),
        ("unit = \"--user\"\n", 2, "reader", "is not a unit"),
        ("unit = \"x\"\n", 2, "reader", "etcd.service"),
        ("probe = \"localhost\"\n", 3, "reader.probe", "127.0.0.1:2379"),
    ] {
        is_refused(&reader(more), line, key, allowed);
    }
}

#[test]
fn a_window_needs_a_start_and_a_length_of_a_day_at_most() {
    for (window, line, key, allowed) in [
        ("start = \"2\"\nlength = \"1h\"\n", 2, "window.start", "02:30"),
        ("start = \"02:00\"\nlength = \"25h\"\n", 3, "window.length", "a day"),
        (
            "start = \"02:00\"\nlength = \"1h\"\ndays = [\"Monday\"]\n",
            4,
            "window.days",
            "mon, tue",
        ),
        (
            "start = \"02:00\"\nlength = \"1h\"\ntimezone = \"Mars\"\n",
            4,
            "window.timezone",
            "Mars",
        ),
    ] {
        is_refused(&format!("[[window]]\n{window}"), line, key, allowed);
    }
    is_refused("[restart]\ngrace = \"0s\"\n", 2, "restart.grace", "between 1s and 10m");
    is_refused(
        "[restart]\ntimeout = \"2h\"\n",
        2,
        "restart.timeout",
        "between 5s and 1h",
    );
}

#[test]
fn zero_backups_are_refused() {
    is_refused("[backup]\nkeep = 0\n", 2, "backup.keep", "1");
}

#[test]
fn a_path_that_is_not_absolute_is_refused() {
    is_refused("[paths]\npki = \"pki\"\n", 2, "paths.pki", "absolute");
}

#[test]
fn a_backup_inside_the_directories_backed_up_is_refused() {
    is_refused(
        "[backup]\ndirectory = \"/etc/kubernetes/backups\"\n",
        2,
        "backup.directory",
        "/etc/kubernetes",
    );
}

#[test]
fn a_syntax_error_is_reported_with_its_place() {
    let node = Node::of(ECDSA);
    node.configure("renew_before = \"30d\"\n[backup\nkeep = 3\n");
    names(&node.run(FRESH, &["config", "check"]).exits(78), MAIN, 2, "");
}

#[test]
fn bytes_that_are_not_utf8_are_reported() {
    let node = Node::of(ECDSA);
    node.write(MAIN, b"timezone = \"\xff\"\n", 0o644);
    node.run(FRESH, &["config", "check"])
        .exits(78)
        .complains("/etc/kubecertd/config.toml");
}
