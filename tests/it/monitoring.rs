//! packaging/monitoring: the alert rules by promtool's own tests, the dashboard by its form, and
//! every query of both by a real Prometheus that scrapes real node_exporters, which read what the
//! program wrote.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::clock::{DAY, later, now};
use crate::support::cluster::Cluster;
use crate::support::credential::{self, Material};
use crate::support::daemon::{DEADLINE, Daemon};
use crate::support::etcd::free_port;
use crate::support::metrics::on_loopback;
use crate::support::{ECDSA, Node};
use serde_json::Value;

const RUNBOOK: &str = "https://github.com/kubecertd/kubecertd/blob/main/docs/operations.md#";

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    yaml_serde::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("no {key} in {value:#}"))
}

fn rules() -> Vec<Value> {
    let groups = yaml("packaging/monitoring/alerts.yaml");
    let rules = list(&groups, "groups").iter().flat_map(|group| list(group, "rules"));
    rules.cloned().collect()
}

/// Returns the output of promtool.
#[track_caller]
fn promtool(arguments: &[&str]) -> String {
    let out = Command::new("promtool").args(arguments).output();
    let out = out.expect("promtool is installed (Debian: prometheus)");
    let [printed, said] = [&out.stdout, &out.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(out.status.success(), "promtool {arguments:?}: {printed}{said}");
    printed
}

#[test]
fn alerts_fire_exactly_when_they_should() {
    let rules = file("packaging/monitoring/alerts.yaml");
    promtool(&["check", "rules", rules.to_str().expect("a path")]);
    let tests = file("packaging/monitoring/alerts.test.yaml");
    promtool(&["test", "rules", tests.to_str().expect("a path")]);
}

#[test]
fn each_alert_is_tested_on_both_sides() {
    let tests = yaml("packaging/monitoring/alerts.test.yaml");
    let checks: Vec<&Value> = list(&tests, "tests")
        .iter()
        .flat_map(|test| list(test, "alert_rule_test"))
        .collect();
    for rule in rules() {
        let of = |check: &&&Value| check["alertname"] == rule["alert"];
        let is_this = |alert: &Value| alert["exp_labels"]["severity"] == rule["labels"]["severity"];
        let fires = |check: &&Value| list(check, "exp_alerts").iter().any(is_this);
        let (fire, silent): (Vec<_>, Vec<_>) = checks.iter().copied().filter(|check| of(&check)).partition(fires);
        assert!(
            !fire.is_empty() && !silent.is_empty(),
            "{} fires {} times and is silent {} times",
            rule["alert"],
            fire.len(),
            silent.len()
        );
    }
}

/// As GitHub makes it of a heading: lower case, blanks to hyphens, nothing else but letters,
/// digits, hyphens and underscores.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn each_alert_has_a_severity_and_a_section_of_the_runbook() {
    let operations = text("docs/operations.md");
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in operations.lines() {
        match line.strip_prefix("### ").or_else(|| line.strip_prefix("## ")) {
            Some(heading) => sections.push((anchor(heading), String::new())),
            None => sections
                .iter_mut()
                .last()
                .into_iter()
                .for_each(|(_, body)| body.push_str(line)),
        }
    }
    let rules = rules();
    for rule in &rules {
        let name = rule["alert"].as_str().expect("a name");
        let severity = rule["labels"]["severity"].as_str();
        assert!(
            severity.is_some_and(|severity| ["warning", "critical"].contains(&severity)),
            "{name}: {severity:?}"
        );
        for key in ["summary", "description"] {
            assert!(
                rule["annotations"][key].as_str().is_some_and(|text| !text.is_empty()),
                "{name} has no {key}"
            );
        }
        let url = rule["annotations"]["runbook_url"].as_str().expect("a runbook");
        let wanted = url.strip_prefix(RUNBOOK).unwrap_or_else(|| panic!("{name}: {url}"));
        let body = sections
            .iter()
            .find(|(anchor, _)| anchor == wanted)
            .map(|(_, body)| body);
        let body = body.unwrap_or_else(|| panic!("{name}: there is no section #{wanted}"));
        assert!(
            wanted == "hooks" || body.contains(&format!("`{name}`")),
            "#{wanted} does not name {name}"
        );
    }
    // Links inside of it, and from the README.
    for page in ["docs/operations.md", "README.md"] {
        let page = text(page);
        let links = page
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next()?.split_once('#'));
        for (of, to) in links.filter(|(of, _)| of.is_empty() || *of == "docs/operations.md") {
            assert!(
                sections.iter().any(|(anchor, _)| anchor == to),
                "{of}#{to} leads nowhere"
            );
        }
    }
}

/// Every metric that the documentation lists is written, and every one that is written is listed.
#[test]
fn the_documentation_lists_the_metrics_that_there_are() {
    let operations = text("docs/operations.md");
    let table = operations.split("| metric | labels | |").nth(1).expect("the table");
    let table = table.split("\n\n").next().expect("its end");
    let first = |row: &str| row.split('|').nth(1).unwrap_or_default().to_owned();
    let listed: BTreeSet<String> = table
        .lines()
        .flat_map(|row| {
            first(row)
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    let sources = ["mod.rs", "certificates.rs", "cluster.rs"].map(|name| text(&format!("src/report/metrics/{name}")));
    let written = sources.iter().filter_map(|source| source.split("#[cfg(test)]").next());
    let named = written.flat_map(|source| source.split('"').skip(1).step_by(2));
    let is_metric = |word: &&str| ["kubecertd_", "x509_"].iter().any(|begin| word.starts_with(begin));
    let written: BTreeSet<String> = named.filter(is_metric).map(str::to_owned).collect();
    assert_eq!(listed, written, "the documentation (left) and the program");
}

fn dashboard() -> Value {
    serde_json::from_str(&text("packaging/monitoring/dashboard.json")).expect("JSON")
}

/// Requires the parts of Grafana's dashboard schema that can be checked without Grafana.
#[test]
fn the_dashboard_has_the_form_that_grafana_reads() {
    let dashboard = dashboard();
    assert_eq!(
        (&dashboard["id"], &dashboard["uid"]),
        (&Value::Null, &"kubecertd".into())
    );
    assert!(dashboard["schemaVersion"].as_i64().is_some_and(|version| version >= 36));
    let variables: BTreeSet<&str> = list(&dashboard["templating"], "list")
        .iter()
        .filter_map(|v| v["name"].as_str())
        .collect();
    assert_eq!(variables, BTreeSet::from(["datasource", "node"]));
    let panels = list(&dashboard, "panels");
    let ids: BTreeSet<i64> = panels.iter().filter_map(|panel| panel["id"].as_i64()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(
            ["stat", "table", "timeseries"].contains(&panel["type"].as_str().expect("a type")),
            "{title}"
        );
        assert!(
            panel["description"].as_str().is_some_and(|text| !text.is_empty()),
            "{title} says what it shows"
        );
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_i64().expect("a number"));
        assert!(
            x >= 0 && w > 0 && h > 0 && x + w <= 24,
            "{title} lies in the 24 columns"
        );
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies on another panel");
        }
        let mut refs = BTreeSet::new();
        for target in list(panel, "targets") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(refs.insert(target["refId"].as_str().expect("a reference")), "{title}");
        }
        columns(panel, title, &refs);
    }
}

/// Requires the columns that a table renames, hides or colors.
fn columns(panel: &Value, title: &str, refs: &BTreeSet<&str>) {
    let Some(organize) = panel["transformations"]
        .as_array()
        .and_then(|all| all.iter().find(|t| t["id"] == "organize"))
    else {
        return;
    };
    let renamed = organize["options"]["renameByName"].as_object().expect("names");
    let hidden = organize["options"]["excludeByName"].as_object().expect("names");
    for column in renamed.keys().chain(hidden.keys()) {
        let is_of_query = column.strip_prefix("Value #").is_none_or(|query| refs.contains(query));
        assert!(is_of_query, "{title} has no query for {column}");
    }
    let shown: Vec<&str> = renamed.values().filter_map(Value::as_str).collect();
    for name in list(&panel["fieldConfig"], "overrides")
        .iter()
        .filter_map(|o| o["matcher"]["options"].as_str())
    {
        assert!(shown.contains(&name), "{title} has no column {name}");
    }
}

/// A program on the loopback interface, ended with the test.
struct Running(Child);

impl Running {
    fn start(program: &str, arguments: &[String], log: &Path) -> Self {
        let log = fs::File::create(log).expect("a log");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        Running(child.unwrap_or_else(|error| panic!("{program}: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node with metrics; `[[reader]]` etcd serves at `port`.
fn node(port: u16) -> Node {
    let node = Node::of(ECDSA);
    node.run(&now(), &["renew", "all", "--force"]).exits(0);
    settle(&node, &credential::replaced(&credential::all_of(ECDSA)));
    // Nothing runs here that could be restarted.
    node.remove("var/lib/kubecertd/pending-restarts.json");
    on_loopback(&node);
    fs::create_dir_all(node.path("srv/textfile")).expect("a directory");
    node.configure(&format!(
        "schedule = \"*/2 * * * * *\"\nclock_wait = \"0s\"\n[metrics]\ntextfile_directory = \"/srv/textfile\"\n\
         [hooks]\non_failed = [\"/bin/false\"]\n[[reader]]\nname = \"etcd\"\nprobe = \"127.0.0.1:{port}\"\n"
    ));
    node
}

/// Gives files the age of files that no process is changing.
fn settle(node: &Node, paths: &[String]) {
    paths
        .iter()
        .for_each(|path| node.rewrite(path, node.read(path).as_bytes()));
}

/// One where all is well, but that a credential was due and its reader's restart is still to come.
fn well(port: u16) -> Node {
    let node = node(port);
    credential::named("scheduler.conf").set_validity(&node, &later(&now(), -10 * DAY), 30);
    node
}

/// One where nothing is well: expired, urgent and blocked, unreadable, a CA that ends, a hook that
/// fails.
fn unwell(port: u16) -> Node {
    let node = node(port);
    credential::named("etcd-peer").set_validity(&node, &later(&now(), -40 * DAY), 10);
    credential::named("etcd-server").set_validity(&node, &later(&now(), -10 * DAY), 12);
    node.remove("etc/kubernetes/pki/etcd/ca.key");
    node.rewrite("etc/kubernetes/pki/apiserver.crt", b"no certificate");
    let ca = credential::named("front-proxy-client").authority(&node);
    ca.set_validity(&later(&now(), -10 * DAY), 50);
    settle(&node, &["etc/kubernetes/pki/front-proxy-ca.crt".to_owned()]);
    node
}

/// One of a control plane of three, of which another was left half-way.
fn blocked() -> Cluster {
    let cluster = Cluster::start(3);
    let mark = "{\"purpose\":\"renew\",\"since\":\"2026-01-01T00:00:00Z\"}";
    assert!(cluster.ctl(0, &["put", "/kubecertd/lock/unfinished/node-2", mark]).0);
    let node = &cluster.nodes[0];
    fs::create_dir_all(node.path("srv/textfile")).expect("a directory");
    node.configure(
        "first_look = \"act\"\nclock_wait = \"0s\"\nvalidity = \"2000d\"\nrenew_before = \"400d\"\n\
         [metrics]\ntextfile_directory = \"/srv/textfile\"\n",
    );
    let mut daemon = Daemon::start(node, &now(), &[]);
    daemon.logs("cycle deferred: node-2 began");
    let file = node.path("srv/textfile/kubecertd.prom");
    let begin = Instant::now();
    while !fs::read_to_string(&file).is_ok_and(|text| text.contains("kubecertd_cluster_lock_blocked")) {
        assert!(begin.elapsed() < DEADLINE, "not measured: {}", daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    cluster
}

fn run_until(node: &Node, text: &str) {
    let mut daemon = Daemon::start(node, &now(), &[]);
    daemon.logs(text);
    daemon.forget();
    daemon.says("STATUS=Waiting");
    // As one that was killed leaves it.
    drop(daemon);
}

/// A server that shows this certificate.
fn serves(served: &Material, port: u16, directory: &Path) -> Running {
    let [certificate, key] = [("served.crt", &served.certificate), ("served.key", &served.key)].map(|(name, text)| {
        fs::write(directory.join(name), text).expect("a file");
        directory.join(name).display().to_string()
    });
    let address = format!("127.0.0.1:{port}");
    let arguments = [
        "s_server",
        "-quiet",
        "-accept",
        &address,
        "-cert",
        &certificate,
        "-key",
        &key,
    ];
    Running::start("openssl", &arguments.map(str::to_owned), &directory.join("openssl.log"))
}

/// A query as Grafana sends it with all nodes chosen.
fn filled(expression: &str) -> String {
    let filled = expression.replace("$node", ".*");
    assert!(!filled.contains('$'), "a variable that is not known here: {filled}");
    filled
}

struct Prometheus {
    url: String,
    _parts: Vec<Running>,
}

impl Prometheus {
    /// Scrapes a node_exporter for each node, and evaluates the alert rules.
    fn over(directory: &Path, nodes: &[(&str, &Node)]) -> Self {
        let mut parts = Vec::new();
        let mut targets = String::new();
        for (name, node) in nodes {
            let address = format!("127.0.0.1:{}", free_port());
            let arguments = [
                "--collector.disable-defaults".to_owned(),
                "--collector.textfile".to_owned(),
                format!("--collector.textfile.directory={}", node.path("srv/textfile").display()),
                format!("--web.listen-address={address}"),
            ];
            parts.push(Running::start(
                "prometheus-node-exporter",
                &arguments,
                &directory.join(format!("{name}.log")),
            ));
            targets.push_str(&format!(
                "  - targets: [\"{address}\"]\n    labels: {{instance: {name}}}\n"
            ));
        }
        let rules = file("packaging/monitoring/alerts.yaml");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [\"{}\"]\nscrape_configs:\n- job_name: node\n  static_configs:\n{targets}",
            rules.display()
        );
        fs::write(directory.join("prometheus.yml"), config).expect("a configuration");
        let address = format!("127.0.0.1:{}", free_port());
        let arguments = [
            format!("--config.file={}", directory.join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", directory.join("data").display()),
            format!("--web.listen-address={address}"),
        ];
        parts.push(Running::start(
            "prometheus",
            &arguments,
            &directory.join("prometheus.log"),
        ));
        Prometheus {
            url: format!("http://{address}"),
            _parts: parts,
        }
    }

    /// The series that a query returns now, as promtool prints them.
    fn query(&self, expression: &str) -> Result<String, String> {
        let out = Command::new("promtool")
            .args(["query", "instant", &self.url, expression])
            .output()
            .expect("promtool");
        let [printed, said] = [&out.stdout, &out.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
        if out.status.success() { Ok(printed) } else { Err(said) }
    }

    #[track_caller]
    fn waits_for(&self, expression: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.query(expression) {
                Ok(series) if !series.is_empty() => return series,
                other => assert!(Instant::now() < deadline, "{expression} returns no series: {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

#[test]
fn dashboard_and_alert_queries_return_what_was_written() {
    let directory = tempfile::TempDir::with_prefix("kubecertd-prometheus-").expect("a directory");
    let port = free_port();
    let (well, unwell) = (well(port), unwell(port));
    let _etcd = serves(
        &credential::named("etcd-server").material(&well),
        port,
        directory.path(),
    );
    run_until(&well, "cycle: renewed: scheduler.conf");
    run_until(&unwell, "cannot call [hooks] on_failed");

    let cluster = blocked();
    let all = [("cp-1", &well), ("cp-2", &unwell), ("cp-3", &cluster.nodes[0])];
    let prometheus = Prometheus::over(directory.path(), &all);
    for (name, _) in all {
        prometheus.waits_for(&format!("kubecertd_build_info{{instance=\"{name}\"}}"));
    }
    assert_eq!(
        prometheus.query("node_textfile_scrape_error > 0"),
        Ok(String::new()),
        "node_exporter reads it all"
    );
    for panel in list(&dashboard(), "panels") {
        for target in list(panel, "targets") {
            let expression = filled(target["expr"].as_str().expect("a query"));
            prometheus.waits_for(&expression);
        }
    }
    let first = "bottomk(1, min by (instance, credential) (x509_cert_not_after{kind=\"credential\"}) - time())";
    let first = prometheus.waits_for(first);
    assert!(
        first.starts_with("{credential=\"etcd-peer\", instance=\"cp-2\"} => -"),
        "{first}"
    );

    // Each rule is evaluated over them; `for` makes those that will fire pending.
    prometheus.waits_for("ALERTS{alertname=\"KubecertdCertificateExpired\", instance=\"cp-2\"}");
    let alerts = |instance: &str| -> BTreeSet<String> {
        let found = prometheus.waits_for(&format!("count by (alertname) (ALERTS{{instance=\"{instance}\"}})"));
        let name = |line: &str| line.split('"').nth(1).map(str::to_owned);
        found.lines().filter_map(name).collect()
    };
    let wanted = [
        "KubecertdAuthorityEnds",
        "KubecertdCertificateBlocked",
        "KubecertdCertificateExpired",
        "KubecertdCertificateOverdue",
        "KubecertdCertificateUrgent",
        "KubecertdHookFailed",
        "KubecertdServesOldCertificate",
    ];
    assert_eq!(alerts("cp-2"), wanted.map(str::to_owned).into());
    let waits = ["KubecertdClusterLockBlocked", "KubecertdCycleUnfinished"].map(str::to_owned);
    assert!(alerts("cp-3").is_superset(&waits.into()), "{:?}", alerts("cp-3"));
    assert_eq!(
        alerts("cp-1"),
        ["KubecertdRestartPending".to_owned()].into(),
        "all else is well there"
    );
}
