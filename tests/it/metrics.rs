//! The metrics: what the daemon writes for node_exporter's textfile collector, when, and what it
//! never does for them.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{chown, symlink};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::credential;
use crate::support::daemon::{DEADLINE, Daemon};
use crate::support::etcd::free_port;
use crate::support::metrics::{judge, on_loopback, value};
use crate::support::{self, ECDSA, Node, clock, der, set_mode};

const DIRECTORY: &str = "srv/node/textfile";
const FILE: &str = "srv/node/textfile/kubecertd.prom";
const PKI: &str = "etc/kubernetes/pki";
const RARELY: &str = "schedule = \"0 0 0 1 1 *\"\nclock_wait = \"0s\"\nspread = \"0s\"\n";
const OFTEN: &str = "schedule = \"*/2 * * * * *\"\nclock_wait = \"0s\"\n";
const METRICS: &str = "[metrics]\ntextfile_directory = \"/srv/node/textfile\"\n";

/// A node whose readers would serve on this machine's loopback interface, at ports that no process
/// listens on.
fn node() -> Node {
    let node = Node::of(ECDSA);
    on_loopback(&node);
    fs::create_dir_all(node.path(DIRECTORY)).expect("a directory");
    node
}

/// Runs a daemon until it waits, ends it, and gives what it wrote while it ran.
fn look(node: &Node, settings: &str) -> String {
    node.configure(settings);
    let mut daemon = Daemon::start(node, clock::FRESH, &[]);
    daemon.says("STATUS=Waiting");
    let text = node.read(FILE);
    judge(&text);
    daemon.terminate();
    assert_eq!(daemon.ends(), 0, "{}", daemon.log());
    text
}

fn of(text: &str, name: &str, credential: &str) -> Option<i64> {
    value(text, name, &[("credential", credential)])
}

#[test]
fn pairs_of_a_pattern_have_the_names_of_their_certificates() {
    let node = node();
    let client = credential::named("apiserver-kubelet-client").material(&node);
    node.write("etc/further/1.crt", client.certificate.as_bytes(), 0o644);
    node.write("etc/further/1.key", client.key.as_bytes(), 0o600);
    let pattern = "[[certificate]]\nname = \"further-*\"\npath = \"/etc/further/*.crt\"\nkey = \"/etc/further/*.key\"\nca = \"ca\"\n";
    let text = look(&node, &format!("{RARELY}{METRICS}{pattern}"));
    let labels = [
        ("credential", "further-1"),
        ("subject_CN", "kube-apiserver-kubelet-client"),
        ("issuer_CN", "kubernetes"),
    ];
    let ends = der::Certificate::from_pem(&client.certificate).not_after;
    assert_eq!(value(&text, "x509_cert_not_after", &labels), Some(ends), "{text}");
}

#[test]
fn an_assessment_writes_all_expirations_and_what_is_due() {
    let node = node();
    credential::named("etcd-server").make_due(&node);
    let text = look(&node, &format!("{RARELY}{METRICS}"));
    for leaf in credential::all_of(ECDSA) {
        let certificate = der::Certificate::from_pem(&leaf.material(&node).certificate);
        let ends = of(&text, "x509_cert_not_after", leaf.name);
        assert_eq!(ends, Some(certificate.not_after), "{}", leaf.name);
        assert_eq!(
            of(&text, "x509_cert_not_before", leaf.name),
            Some(certificate.not_before)
        );
        let due = of(&text, "kubecertd_credential_due", leaf.name);
        assert_eq!(due, Some(i64::from(leaf.name == "etcd-server")), "{}", leaf.name);
        let due_at = of(&text, "kubecertd_credential_due_timestamp_seconds", leaf.name);
        assert_eq!(due_at, Some(certificate.not_after - 30 * clock::DAY), "{}", leaf.name);
    }
    for (name, path) in [
        ("ca", "ca.crt"),
        ("etcd-ca", "etcd/ca.crt"),
        ("front-proxy-ca", "front-proxy-ca.crt"),
    ] {
        let certificate = der::Certificate::from_pem(&node.read(&format!("{PKI}/{path}")));
        let labels = [("credential", name), ("kind", "authority")];
        assert_eq!(
            value(&text, "x509_cert_not_after", &labels),
            Some(certificate.not_after)
        );
    }
    assert!(!text.contains("kubecertd_credential_blocked"), "{text}");
    let now = clock::seconds(clock::FRESH);
    let at = |name: &str| value(&text, name, &[]).unwrap_or_else(|| panic!("no {name} in\n{text}"));
    assert!((0..60).contains(&(at("kubecertd_last_assessment_timestamp_seconds") - now)));
    assert_eq!(
        at("kubecertd_next_cycle_timestamp_seconds"),
        clock::seconds("2027-01-01 00:00:00")
    );
    assert_eq!((at("kubecertd_up"), at("x509_read_errors")), (1, 0));
    assert_eq!(at("kubecertd_urgent_before_seconds"), 7 * clock::DAY);
    for step in ["look", "guard"] {
        assert!(
            value(
                &text,
                "kubecertd_step_last_success_timestamp_seconds",
                &[("step", step)]
            )
            .is_some()
        );
    }
    assert!(!text.contains("kubecertd_step_last_failure"), "{text}");
}

#[test]
fn a_deferred_cycle_is_measured_too() {
    let node = node();
    credential::named("etcd-server").make_due(&node);
    node.write("proc/4711/comm", b"kubeadm\n", 0o444);
    let text = look(&node, &format!("{RARELY}{METRICS}"));
    let step = |what: &str| {
        value(
            &text,
            &format!("kubecertd_step_last_{what}_timestamp_seconds"),
            &[("step", "guard")],
        )
    };
    assert!(step("failure").is_some() && step("success").is_none(), "{text}");
    assert_eq!(of(&text, "kubecertd_credential_due", "etcd-server"), Some(1), "{text}");
    for leaf in credential::all_of(ECDSA) {
        assert!(
            of(&text, "x509_cert_not_after", leaf.name).is_some(),
            "{}: {text}",
            leaf.name
        );
    }
}

/// So that dashboards of x509-certificate-exporter work on them: its names, its labels, its decimal
/// serial numbers.
#[test]
fn certificates_carry_the_labels_of_x509_certificate_exporter() {
    let node = node();
    let text = look(&node, &format!("{RARELY}{METRICS}"));
    let serial = support::openssl::serial(&credential::named("apiserver").material(&node).certificate);
    let python = format!("print(int('{serial}', 16))");
    let decimal = Command::new("python3").args(["-c", &python]).output().expect("python3");
    let decimal = String::from_utf8(decimal.stdout).expect("digits");
    let labels = [
        ("filename", "apiserver.crt"),
        ("filepath", "/etc/kubernetes/pki/apiserver.crt"),
        ("subject_CN", "kube-apiserver"),
        ("issuer_CN", "kubernetes"),
        ("serial_number", decimal.trim()),
    ];
    assert!(value(&text, "x509_cert_not_after", &labels).is_some(), "{text}");
    let labels = [
        ("filepath", "/etc/kubernetes/admin.conf"),
        ("embedded_kind", "user"),
        ("embedded_key", "kubernetes-admin"),
    ];
    assert!(value(&text, "x509_cert_not_after", &labels).is_some(), "{text}");
}

#[test]
fn blocked_credentials_have_a_reason_of_a_small_vocabulary() {
    let node = node();
    for name in ["etcd-server", "front-proxy-client", "admin.conf"] {
        credential::named(name).make_due(&node);
    }
    node.remove(&format!("{PKI}/etcd/ca.key"));
    let key = node.read(&format!("{PKI}/etcd/server.key"));
    node.rewrite(&format!("{PKI}/front-proxy-ca.key"), key.as_bytes());
    node.rewrite(&format!("{PKI}/apiserver.crt"), b"no certificate");
    credential::named("admin.conf")
        .authority(&node)
        .set_validity(&clock::later(clock::FRESH, -300 * clock::DAY), 320);
    let text = look(&node, &format!("{RARELY}{METRICS}"));
    let mut blocked: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("kubecertd_credential_blocked"))
        .collect();
    blocked.sort_unstable();
    assert_eq!(
        blocked,
        [
            "{credential=\"admin.conf\",reason=\"ca_ends_first\"} 1",
            "{credential=\"apiserver\",reason=\"unreadable\"} 1",
            "{credential=\"etcd-server\",reason=\"ca_key_elsewhere\"} 1",
            "{credential=\"front-proxy-client\",reason=\"ca_unusable\"} 1",
        ]
    );
    assert_eq!(value(&text, "x509_read_errors", &[]), Some(1));
    assert_eq!(of(&text, "x509_cert_not_after", "apiserver"), None);
}

#[test]
fn the_metrics_file_is_readable_and_the_only_one() {
    let node = node();
    look(&node, &format!("{RARELY}{METRICS}"));
    assert_eq!(node.snapshot().0[FILE].mode & 0o7777, 0o644);
    let names: Vec<_> = fs::read_dir(node.path(DIRECTORY)).expect("the directory").collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn a_daemon_that_ends_says_so_and_leaves_its_metrics() {
    let node = node();
    let running = look(&node, &format!("{RARELY}{METRICS}"));
    let ended = node.read(FILE);
    judge(&ended);
    assert_eq!(value(&running, "kubecertd_up", &[]), Some(1));
    assert_eq!(value(&ended, "kubecertd_up", &[]), Some(0));
    let rest = |text: &str| -> String { text.lines().filter(|line| !line.starts_with("kubecertd_up ")).collect() };
    assert_eq!(rest(&running), rest(&ended));
}

#[test]
fn a_cycle_leaves_its_result_its_steps_and_the_backup() {
    let node = node();
    credential::named("scheduler.conf").make_due(&node);
    node.configure(&format!("{OFTEN}{METRICS}"));
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.logs("cycle: renewed: scheduler.conf");
    daemon.forget();
    daemon.says("STATUS=Waiting");
    let text = node.read(FILE);
    judge(&text);
    assert_eq!(value(&text, "kubecertd_last_cycle_exit_code", &[]), Some(0));
    assert_eq!(of(&text, "kubecertd_credential_due", "scheduler.conf"), Some(0));
    let new = der::Certificate::from_pem(&credential::named("scheduler.conf").material(&node).certificate);
    assert_eq!(of(&text, "x509_cert_not_after", "scheduler.conf"), Some(new.not_after));
    for step in ["backup", "renew", "restart", "cycle"] {
        let at = value(
            &text,
            "kubecertd_step_last_success_timestamp_seconds",
            &[("step", step)],
        );
        assert!(
            at.is_some_and(|at| at >= clock::seconds(clock::FRESH)),
            "{step}:\n{text}"
        );
    }
    assert_eq!(value(&text, "kubecertd_backups", &[("good", "true")]), Some(1));
    let set = node
        .run(clock::FRESH, &["backup", "list", "-o", "json"])
        .exits(0)
        .json();
    let set = set.as_array().or_else(|| set["backups"].as_array()).expect("a list")[0].clone();
    assert_eq!(
        value(&text, "kubecertd_backup_last_size_bytes", &[]),
        set["bytes"].as_i64()
    );
    let created = clock::seconds(set["created"].as_str().expect("a time"));
    assert_eq!(
        value(&text, "kubecertd_backup_last_timestamp_seconds", &[]),
        Some(created)
    );
    // No kubelet runs that could restart it.
    let pending = |reader| value(&text, "kubecertd_restart_pending", &[("reader", reader)]);
    assert_eq!([pending("kube-scheduler"), pending("etcd")], [Some(1), Some(0)]);
}

#[test]
fn a_step_that_fails_is_the_one_that_is_named() {
    let node = node();
    credential::named("scheduler.conf").make_due(&node);
    // A file in the directory's place: no set can be taken.
    node.write("srv/backups", b"", 0o600);
    node.configure(&format!("{OFTEN}{METRICS}[backup]\ndirectory = \"/srv/backups\"\n"));
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.logs("cycle: failed");
    daemon.forget();
    daemon.says("STATUS=Waiting");
    let text = node.read(FILE);
    let failed = |step| {
        value(
            &text,
            "kubecertd_step_last_failure_timestamp_seconds",
            &[("step", step)],
        )
        .is_some()
    };
    assert_eq!(
        ["backup", "renew", "restart", "cycle"].map(failed),
        [true, false, false, true],
        "{text}"
    );
    assert_eq!(value(&text, "kubecertd_last_cycle_exit_code", &[]), Some(1));
}

/// A server with a certificate, ended with the test.
struct Server(Child);

impl Server {
    fn start(node: &Node, certificate: &str, key: &str) -> (Self, u16) {
        let port = free_port();
        let paths = [("served.crt", certificate), ("served.key", key)].map(|(name, text)| {
            fs::write(node.scratch(name), text).expect("a scratch file");
            node.scratch(name).display().to_string()
        });
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")])
            .args(["-cert", &paths[0], "-key", &paths[1]])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl starts");
        let deadline = Instant::now() + DEADLINE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "openssl does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        (Server(child), port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const SERVED: &str = "kubecertd_served_not_after_timestamp_seconds";

#[test]
fn an_assessment_probes_the_served_certificates() {
    let node = node();
    let leaf = credential::named("etcd-server");
    let old = leaf.material(&node);
    leaf.set_validity(&node, &clock::later(clock::FRESH, -10 * clock::DAY), 200);
    let (_server, port) = Server::start(&node, &old.certificate, &old.key);
    let probe = format!("[[reader]]\nname = \"etcd\"\nprobe = \"127.0.0.1:{port}\"\n");
    let text = look(&node, &format!("{RARELY}{METRICS}{probe}"));
    let address = format!("127.0.0.1:{port}");
    let labels = [
        ("address", address.as_str()),
        ("credential", "etcd-server"),
        ("reader", "etcd"),
    ];
    let [served, stored] = [old.certificate, leaf.material(&node).certificate]
        .map(|certificate| der::Certificate::from_pem(&certificate).not_after);
    assert_eq!(value(&text, SERVED, &labels), Some(served), "{text}");
    let [at, _, reader] = labels;
    let peer = [at, ("credential", "etcd-peer"), reader];
    assert_eq!(value(&text, SERVED, &peer), None, "peers are served elsewhere: {text}");
    assert_eq!(of(&text, "x509_cert_not_after", "etcd-server"), Some(stored));
    assert_ne!(served, stored);
}

#[test]
fn a_port_that_does_not_answer_delays_nothing_and_has_no_series() {
    let node = node();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let begun = Instant::now();
    let text = look(
        &node,
        &format!("{RARELY}{METRICS}[[reader]]\nname = \"etcd\"\nprobe = \"{address}\"\n"),
    );
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(!text.contains(SERVED), "{text}");
    assert!(of(&text, "x509_cert_not_after", "etcd-server").is_some());
}

#[test]
fn without_a_directory_nothing_is_written_or_probed() {
    let node = node();
    let witness = TcpListener::bind("127.0.0.1:0").expect("a port");
    witness.set_nonblocking(true).expect("a socket");
    let address = witness.local_addr().expect("an address");
    node.configure(&format!("{RARELY}[[reader]]\nname = \"etcd\"\nprobe = \"{address}\"\n"));
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("STATUS=Waiting");
    assert!(witness.accept().is_err(), "somebody connected");
    assert!(
        fs::read_dir(node.path(DIRECTORY))
            .expect("the directory")
            .next()
            .is_none()
    );
}

/// Another user could redirect it into the manifests directory, where the kubelet reads every file.
#[test]
fn a_directory_that_others_could_redirect_is_not_written_into() {
    let refused = |spoil: &dyn Fn(&Node), reason: &str| {
        let node = node();
        spoil(&node);
        node.configure(&format!("{RARELY}{METRICS}"));
        let before = node.snapshot();
        let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
        daemon.says("STATUS=Waiting");
        daemon.logs(reason);
        daemon.terminate();
        assert_eq!(daemon.ends(), 0, "{}", daemon.log());
        assert_eq!(before.changes(&node.snapshot()), Default::default());
    };
    let cannot = "cannot write /srv/node/textfile/kubecertd.prom: ";
    refused(
        &|node| chown(node.path(DIRECTORY), Some(1000), None).expect("root"),
        &format!("{cannot}/srv/node/textfile belongs to user 1000, not to root"),
    );
    refused(
        &|node| chown(node.path("srv/node"), Some(1000), None).expect("root"),
        &format!("{cannot}/srv/node belongs to user 1000, not to root"),
    );
    refused(
        &|node| set_mode(&node.path(DIRECTORY), 0o777),
        &format!("{cannot}/srv/node/textfile is writable by everybody"),
    );
    refused(
        &|node| fs::remove_dir(node.path(DIRECTORY)).expect("an empty directory"),
        &format!("{cannot}no such directory"),
    );
}

#[test]
fn a_symlink_in_place_of_the_file_is_replaced_not_followed() {
    let node = node();
    node.write("etc/precious", b"precious", 0o644);
    symlink("/etc/precious", node.path(FILE)).expect("a symlink");
    look(&node, &format!("{RARELY}{METRICS}"));
    assert_eq!(node.read("etc/precious"), "precious");
    assert!(!node.path(FILE).is_symlink());
}

#[test]
fn a_reload_moves_the_file_to_another_directory() {
    let node = node();
    fs::create_dir(node.path("var/lib/other")).expect("a directory");
    node.configure(&format!("{RARELY}{METRICS}"));
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("STATUS=Waiting");
    assert!(node.path(FILE).exists());
    node.configure(&format!("{RARELY}[metrics]\ntextfile_directory = \"/var/lib/other\"\n"));
    daemon.forget();
    daemon.hang_up();
    daemon.logs("configuration reloaded");
    daemon.says("STATUS=Waiting");
    judge(&node.read("var/lib/other/kubecertd.prom"));
    assert!(!node.path(FILE).exists(), "it would be read for ever");
}

#[test]
fn names_with_quotes_backslashes_and_line_feeds_stay_one_label() {
    let node = node();
    let leaf = credential::named("front-proxy-client").material(&node);
    let directory = "etc/we\"ird\\directory";
    node.write(&format!("{directory}/a.crt"), leaf.certificate.as_bytes(), 0o644);
    node.write(&format!("{directory}/a.key"), leaf.key.as_bytes(), 0o600);
    let text = look(
        &node,
        &format!(
            "{RARELY}{METRICS}[[certificate]]\nname = \"a\\\"b\\nc\"\npath = '/{directory}/a.crt'\nkey = '/{directory}/a.key'\nca = \"front-proxy-ca\"\n"
        ),
    );
    assert!(
        text.contains("credential=\"a\\\"b\u{fffd}c\",kind=\"credential\",filename=\"a.crt\",filepath=\"/etc/we\\\"ird\\\\directory/a.crt\""),
        "{text}"
    );
}

/// Nothing in the file tells more than a handshake would.
#[test]
fn nothing_secret_is_in_it() {
    let node = node();
    let text = look(&node, &format!("{RARELY}{METRICS}"));
    for leaf in credential::all_of(ECDSA) {
        let key = leaf.material(&node).key;
        for line in key.lines().filter(|line| line.len() > 20) {
            assert!(!text.contains(line), "{} is in it", leaf.name);
        }
    }
    assert!(!text.contains("BEGIN"), "{text}");
}
