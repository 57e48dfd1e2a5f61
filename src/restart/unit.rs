//! Readers that are not static pods: systemd units, and commands of the operator.

use std::path::Path;
use std::time::Duration;

use crate::host::Host;
use crate::model::{Failure, Process};

const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// Restarts or reloads a unit, and waits until systemd reports the result.
pub fn restart(host: &Host, unit: &str, reload: bool, limit: Duration) -> Result<(), Failure> {
    let action = if reload { "reload" } else { "restart" };
    let ran = host.run(Path::new(SYSTEMCTL), &[action, "--", unit], limit);
    ran.map_err(|reason| {
        Failure::new(format!("cannot {action} {unit}: {reason}")).hint(format!("systemctl status {unit}"))
    })
}

/// Runs the operator's command that restarts a reader.
pub fn exec(host: &Host, reader: &str, command: &[String], limit: Duration) -> Result<(), Failure> {
    host.call(command, &[], limit).map_err(|failure| Failure {
        message: format!("cannot restart {reader}: {}", failure.message),
        ..failure
    })
}

/// Returns the main process of a unit.
pub fn main_process(host: &Host, unit: &str) -> Option<Process> {
    let arguments = ["show", "--property=MainPID", "--value", "--", unit];
    let pid = host.output(Path::new(SYSTEMCTL), &arguments, Duration::from_secs(5))?;
    host.process(pid.trim().parse().ok().filter(|pid| *pid > 0)?)
}
