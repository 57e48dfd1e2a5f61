//! The exposure of the units, as systemd-analyze counts it.

use std::path::Path;
use std::process::Command;

/// The unit of the daemon has the reasons for both.
const REASONS: &str = include_str!("../../systemd/kubecertd.service");

fn security(unit: &str, arguments: &[&str]) -> String {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(unit);
    let output = Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true"])
        .args(arguments)
        .arg(unit)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("systemd-analyze starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The line `#   NAME  REASON` of the unit.
fn reason(name: &str) -> Option<&'static str> {
    let start = format!("#   {name}  ");
    REASONS.lines().find_map(|line| line.strip_prefix(&start))
}

fn every_point_is_explained(unit: &str, limit: f64) {
    let text = security(unit, &[]);
    let overall = text
        .split("Overall exposure level for")
        .nth(1)
        .expect("an overall level");
    let overall: f64 = overall
        .split_whitespace()
        .nth(1)
        .expect("a level")
        .parse()
        .expect("a number");
    println!("{unit}: exposure {overall}, {limit} at most");
    let points: serde_json::Value = serde_json::from_str(&security(unit, &["--json=short"])).expect("JSON");
    for point in points.as_array().expect("a list") {
        // Null: it is not asked of a service that runs as root.
        if point["set"] != false || point["exposure"].is_null() {
            continue;
        }
        let name = point["name"].as_str().expect("a name");
        let because = reason(name).unwrap_or_else(|| panic!("{unit}: {name} is open, and the unit does not say why"));
        println!("  {} {name} {because}", point["exposure"].as_str().expect("a number"));
    }
    assert!(overall <= limit, "{unit}: {overall}\n{text}");
}

#[test]
fn the_daemon_is_sandboxed_except_as_its_unit_explains() {
    every_point_is_explained("kubecertd.service", 2.5);
}

#[test]
fn recovery_is_sandboxed_except_as_its_unit_explains() {
    every_point_is_explained("kubecertd-recover.service", 1.6);
}
