//! The rpm, in a root of its own, scripts and all.

use std::process::Command;

use tempfile::TempDir;

use crate::node::{made, package, run};
use crate::support;

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

/// A root with a shell, libc and systemctl for the scripts of the package: Debian's, so that rpm
/// knows of no package there.
fn system() -> TempDir {
    let base = made("systemd/base");
    let parent = base.parent().expect("a directory");
    let root = TempDir::with_prefix_in("rpm-", parent).expect("a directory beside it");
    run(Command::new("cp")
        .args(["-a", "--reflink=auto"])
        .arg(base.join("."))
        .arg(root.path()));
    works(&root, &["--initdb"]);
    root
}

#[test]
fn the_rpm_installs_verifies_keeps_edits_and_uninstalls() {
    let root = system();
    let enabled = |unit: &str| {
        let wants = root.path().join("etc/systemd/system/multi-user.target.wants");
        wants.join(format!("{unit}.service")).is_symlink()
    };
    let file = package("out", ".rpm");
    let file = file.to_str().expect("a path in UTF-8");
    // What it depends on is there, and not from an rpm.
    works(&root, &["-i", "--nodeps", file]);
    assert!(
        enabled("kubecertd") && enabled("kubecertd-recover"),
        "both units are enabled"
    );
    assert_eq!(works(&root, &["-V", "--nodeps", "kubecertd"]), "");
    let config = root.path().join("etc/kubecertd/config.toml");
    assert_eq!(works(&root, &["-qc", "kubecertd"]), "/etc/kubecertd/config.toml\n");
    std::fs::write(&config, "renew_before = \"20d\"\n").expect("a write");
    let (well, changed) = rpm(&root, &["-V", "--nodeps", "kubecertd"]);
    assert!(!well && changed.contains("c /etc/kubecertd/config.toml"), "{changed}");
    // noreplace: also another package of the same file leaves the edited one.
    works(&root, &["-i", "--nodeps", "--replacepkgs", file]);
    assert_eq!(
        std::fs::read_to_string(&config).expect("the file"),
        "renew_before = \"20d\"\n"
    );

    // Its scripts warn of the backups, and of a renewal that cannot be rolled back.
    let state = root.path().join("var/lib/kubecertd");
    std::fs::create_dir_all(state.join("backups")).expect("directorys");
    support::set_mode(&state, 0o700);
    std::fs::write(state.join("transaction.json"), "{").expect("a write");
    let (well, refused) = rpm(&root, &["-e", "kubecertd"]);
    assert!(!well && refused.contains("kubecertd is not removed"), "{refused}");
    assert!(root.path().join("usr/bin/kubecertd").exists(), "{refused}");
    std::fs::remove_file(state.join("transaction.json")).expect("it was there");
    let gone = works(&root, &["-e", "kubecertd"]);
    assert!(gone.contains("left in /var/lib/kubecertd/backups"), "{gone}");
    assert!(!root.path().join("usr/bin/kubecertd").exists());
    assert!(
        !enabled("kubecertd") && !enabled("kubecertd-recover"),
        "no link is left"
    );
}

#[test]
fn the_rpm_wants_no_newer_libc_than_that_of_rhel_8() {
    let root = TempDir::with_prefix("kubecertd-rpm-").expect("a temporary directory");
    let file = package("out", ".rpm");
    let wants = works(&root, &["-qp", "--requires", file.to_str().expect("a path in UTF-8")]);
    assert!(wants.contains("libc.so.6(GLIBC_2.28)(64bit)"), "{wants}");
    let minors = wants.split("GLIBC_2.").skip(1);
    for minor in minors.filter_map(|rest| rest.split([')', '.']).next()?.parse::<u32>().ok()) {
        assert!(minor <= 28, "{wants}");
    }
}
