//! Metrics as the daemon writes them, and promtool as their judge.

use std::io::Write;
use std::process::{Command, Stdio};

use super::Node;
use super::credential::manifest;
use super::etcd::free_port;

/// The manifests of etcd and the API server name ports on loopback without a server: an assessment
/// probes them, and another machine might answer at the addresses of the fixture.
pub fn on_loopback(node: &Node) {
    let [client, peer, api] = [free_port(), free_port(), free_port()];
    let path = manifest("etcd");
    let text = node
        .read(&path)
        .replace("https://127.0.0.1:2379,", "")
        .replace("https://10.0.0.11:2379", &format!("https://127.0.0.1:{client}"))
        .replace("https://10.0.0.11:2380", &format!("https://127.0.0.1:{peer}"));
    assert!(!text.contains("urls=https://10."), "{text}");
    node.rewrite(&path, text.as_bytes());
    let path = manifest("kube-apiserver");
    let text = node
        .read(&path)
        .replace("--secure-port=6443", &format!("--secure-port={api}"));
    node.rewrite(&path, text.as_bytes());
}

/// Returns the value of the series with this name and these labels, or `None`.
pub fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<i64> {
    let mut found = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (this, of) = series.split_once('{').unwrap_or((series, ""));
        let has = |(label, value): &(&str, &str)| of.contains(&format!("{label}=\"{value}\""));
        (this == name && labels.iter().all(has)).then(|| value.parse().expect("a whole number"))
    });
    let first = found.next();
    assert_eq!(found.next(), None, "{name}{labels:?} is there more than once");
    first
}

/// Runs `promtool check metrics` and requires its approval.
#[track_caller]
pub fn judge(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (Debian: prometheus)");
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("a write");
    drop(input);
    let out = promtool.wait_with_output().expect("its end");
    let said = [out.stdout, out.stderr].concat();
    assert!(
        out.status.success() && said.is_empty(),
        "{}\nof\n{text}",
        String::from_utf8_lossy(&said)
    );
}
