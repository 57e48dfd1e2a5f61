//! Checks of the service: its configuration, its unit, and other tools that renew on this node.

use std::path::Path;

use super::{Evidence, Finding};
use crate::guard;

/// The unit of kubecertd.
const UNIT: &str = "kubecertd.service";

/// Names of the renewal scripts of Kubespray and KubeKey.
const RENEWERS: [&str; 1] = ["k8s-certs-renew"];

/// Finds problems of the configuration.
pub(super) fn configuration(evidence: &Evidence<'_>) -> Vec<Finding> {
    let found = evidence.problems.iter().map(|problem| {
        let place = match problem.at {
            Some((line, _)) => format!("{}:{line}", problem.file.display()),
            None => problem.file.display().to_string(),
        };
        let key = match problem.key.as_str() {
            "" => String::new(),
            key => format!("{key}: "),
        };
        Finding::fault(place, format!("{key}{}", problem.message)).hint("kubecertd config check")
    });
    found.collect()
}

/// Finds a unit that is not installed, masked, not enabled, or not running.
pub(super) fn unit(evidence: &Evidence<'_>) -> Vec<Finding> {
    let surroundings = evidence.surroundings;
    let is_installed = surroundings.units.iter().any(|(path, _)| is_named(path, UNIT));
    let mut found = Vec::new();
    if surroundings.masked.contains(UNIT) {
        found.push(
            Finding::warning(UNIT, "is masked: nothing is renewed automatically")
                .hint("systemctl unmask kubecertd && systemctl enable --now kubecertd"),
        );
    } else if !is_installed && !evidence.daemon_runs {
        found.push(Finding::note(
            UNIT,
            "is not installed on this node: nothing is renewed automatically",
        ));
    } else if is_installed {
        if !surroundings.enabled.contains(UNIT) {
            found.push(
                Finding::warning(UNIT, "is not enabled: it does not start at boot")
                    .hint("systemctl enable --now kubecertd"),
            );
        }
        if !evidence.daemon_runs {
            found.push(
                Finding::warning(UNIT, "is not running: nothing is renewed automatically")
                    .hint("run `systemctl start kubecertd`, and `journalctl -u kubecertd` to see why it stopped"),
            );
        }
    }
    found
}

fn is_named(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|found| found == name)
}

/// Finds enabled timers whose service renews certificates.
pub(super) fn timers(evidence: &Evidence<'_>) -> Vec<Finding> {
    let units = &evidence.surroundings.units;
    let services = units
        .iter()
        .filter(|(path, text)| is_named_service(path) && (is_known(path) || text.lines().any(is_renewal)));
    let mut found = Vec::new();
    for (service, _) in services {
        let Some(name) = service.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let starts_it = |path: &Path, text: &str| {
            let unit = text.lines().find_map(|line| line.trim().strip_prefix("Unit="));
            match unit {
                Some(unit) => unit.trim() == name,
                None => path.with_extension("service").file_name() == service.file_name(),
            }
        };
        for (timer, _) in units
            .iter()
            .filter(|(path, text)| !is_named_service(path) && starts_it(path, text))
        {
            let timer = timer.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if evidence.surroundings.enabled.contains(timer) {
                found.push(other(
                    timer,
                    &format!("starts {}", service.display()),
                    &format!("systemctl disable --now {timer}"),
                ));
            }
        }
    }
    found
}

fn is_named_service(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "service")
}

fn is_known(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    stem.is_some_and(|stem| RENEWERS.contains(&stem))
}

/// Finds entries and scripts of cron that call kubeadm.
pub(super) fn cron(evidence: &Evidence<'_>) -> Vec<Finding> {
    let found = evidence.surroundings.cron.iter().filter_map(|(path, text)| {
        let (at, _) = text.lines().enumerate().find(|(_, line)| is_renewal(line))?;
        let place = path.display();
        Some(other(
            &place.to_string(),
            &format!("calls kubeadm in line {}", at + 1),
            &format!("remove it from {place}"),
        ))
    });
    found.collect()
}

/// Returns true if a line of a unit, a script or a crontab renews certificates. Comments and
/// `check-expiration` do not.
fn is_renewal(line: &str) -> bool {
    let line = line.trim_start();
    let calls = line.contains("kubeadm") && !line.contains("check-expiration");
    let renews = calls
        && ["renew", "upgrade", "init phase"]
            .iter()
            .any(|word| line.contains(word));
    !line.starts_with(['#', ';']) && (renews || RENEWERS.iter().any(|known| line.contains(known)))
}

fn other(about: &str, does: &str, hint: &str) -> Finding {
    Finding::warning(
        about,
        format!("{does}: it renews in addition to kubecertd, without backup and verification"),
    )
    .hint(hint)
}

/// Finds another tool that is renewing at this moment.
pub(super) fn others_at_work(evidence: &Evidence<'_>) -> Vec<Finding> {
    let conditions = guard::others_at_work(evidence.conditions);
    conditions
        .into_iter()
        .map(|reason| Finding::note("kubeadm", reason))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_renews_is_told_from_what_looks_and_from_comments() {
        for (line, renews) in [
            ("0 3 1 * * root kubeadm certs renew all", true),
            ("ExecStart=/usr/bin/kubeadm alpha certs renew all", true),
            ("@daily root /usr/local/bin/k8s-certs-renew.sh", true),
            ("# 0 3 1 * * root kubeadm certs renew all", false),
            ("0 3 * * * root kubeadm certs check-expiration", false),
            ("0 3 * * * root kubeadm token list", false),
            ("ExecStart=/usr/bin/certbot renew", false),
        ] {
            assert_eq!(is_renewal(line), renews, "{line}");
        }
    }
}
