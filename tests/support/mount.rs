//! File systems that are full or read-only, mounted by the test itself.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Environment variable that is set in the second process of a test that mounts.
const INSIDE: &str = "KUBECERTD_TEST_IN_MOUNT_NAMESPACE";

/// Runs `body`, a closure of the test that calls this, in a mount namespace of its own.
///
/// The test starts itself again under `unshare --mount`, so that no mount outlives the test, not
/// even when it is killed.
pub fn in_own_namespace<F: Fn()>(body: F) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let test = test_around::<F>();
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().expect("the path of this test"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare(1) starts");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success() && said.contains("1 passed"),
        "in its own mount namespace, {test} says:\n{said}"
    );
}

/// The path of the test that the closure `F` belongs to, as `--exact` takes it.
fn test_around<F>() -> &'static str {
    let (_, path) = std::any::type_name::<F>()
        .split_once("::")
        .expect("a closure in a module");
    path.trim_end_matches("::{{closure}}")
}

/// A mount that ends before the directory below it is removed: declare it after the node.
pub struct Mount(PathBuf);

impl Mount {
    /// An empty file system in memory; `options` as mount(8) takes them, say `size=64k,mode=0700`.
    pub fn memory(at: &Path, options: &str) -> Self {
        mount(&["-t", "tmpfs", "-o", options, "none"], at);
        Mount(at.to_owned())
    }

    /// The directory itself, mounted once more on its own place, read-only.
    pub fn read_only(at: &Path) -> Self {
        mount(&["--bind", at.to_str().expect("a path in UTF-8")], at);
        mount(&["-o", "remount,bind,ro"], at);
        Mount(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A failure shows as a left-over temporary directory; a panic here would hide the test's
        // own.
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn mount(args: &[&str], at: &Path) {
    let status = Command::new("mount")
        .args(args)
        .arg(at)
        .status()
        .expect("mount(8) starts");
    assert!(
        status.success(),
        "cannot mount {args:?} at {} (the tests need root)",
        at.display()
    );
}
