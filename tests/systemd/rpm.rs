//! The rpm, in a root of its own: this is Debian, so its programs are those of the package and nothing else.

use std::process::Command;

use tempfile::TempDir;

use crate::node::package;

fn rpm(root: &TempDir, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("rpm")
        .arg(format!("--root={}", root.path().display()))
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("rpm starts");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), text.concat())
}

#[track_caller]
fn works(root: &TempDir, arguments: &[&str]) -> String {
    let (well, text) = rpm(root, arguments);
    assert!(well, "rpm {}: {text}", arguments.join(" "));
    text
}

#[test]
fn the_rpm_installs_verifies_keeps_an_edited_configuration_and_goes() {
    let root = TempDir::with_prefix("kubecertd-rpm-").expect("a temporary folder");
    let file = package("out", ".rpm");
    let file = file.to_str().expect("a path in UTF-8");
    // The root has no libc and no shell: dependencies and scripts are those of a whole system.
    works(&root, &["--initdb"]);
    works(&root, &["-i", "--nodeps", "--noscripts", file]);
    assert_eq!(works(&root, &["-V", "--nodeps", "kubecertd"]), "");
    let config = root.path().join("etc/kubecertd/config.toml");
    assert_eq!(works(&root, &["-qc", "kubecertd"]), "/etc/kubecertd/config.toml\n");
    std::fs::write(&config, "renew_before = \"20d\"\n").expect("a write");
    let (well, changed) = rpm(&root, &["-V", "--nodeps", "kubecertd"]);
    assert!(!well && changed.contains("c /etc/kubecertd/config.toml"), "{changed}");
    // noreplace: also another package of the same file leaves the edited one.
    works(&root, &["-i", "--nodeps", "--noscripts", "--replacepkgs", file]);
    assert_eq!(
        std::fs::read_to_string(&config).expect("the file"),
        "renew_before = \"20d\"\n"
    );
    works(&root, &["-e", "--noscripts", "kubecertd"]);
    assert!(!root.path().join("usr/bin/kubecertd").exists());
}

#[test]
fn the_rpm_wants_no_newer_libc_than_that_of_rhel_8() {
    let root = TempDir::with_prefix("kubecertd-rpm-").expect("a temporary folder");
    let file = package("out", ".rpm");
    let wants = works(&root, &["-qp", "--requires", file.to_str().expect("a path in UTF-8")]);
    assert!(wants.contains("libc.so.6(GLIBC_2.28)(64bit)"), "{wants}");
    let minors = wants.split("GLIBC_2.").skip(1);
    for minor in minors.filter_map(|rest| rest.split([')', '.']).next()?.parse::<u32>().ok()) {
        assert!(minor <= 28, "{wants}");
    }
}
