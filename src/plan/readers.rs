//! The readers of renewed credentials: which are restarted, and which only have to prove that they
//! reloaded.

use serde::{Deserialize, Serialize};

use super::{Decision, Plan};
use crate::catalog::readers::{self, ReloadBehavior, RestartMethod, SERVING_FLAG, reload_behavior};
use crate::config::Settings;
use crate::config::settings::Scope;
use crate::format::text;
use crate::inventory::Inventory;
use crate::inventory::readers::Reader;
use crate::model::Timestamp;
use crate::scan::RunningReader;

/// A reader of renewed credentials and the restart that it needs. Part of several JSON documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderStep {
    /// The program, for example `kube-scheduler`.
    pub reader: String,
    /// The way in which it is restarted.
    #[serde(flatten)]
    pub means: RestartMethod,
    /// Names of the renewed credentials that it reads.
    #[serde(skip)]
    pub reads: Vec<String>,
    /// Names of what it caches until it is restarted. Empty if it reloads everything.
    #[serde(rename = "because")]
    pub holds: Vec<String>,
    /// Latest time of the restart, in seconds since 1970: until then it may wait for a maintenance
    /// window. `None` means that it may not wait.
    #[serde(with = "time::serde::timestamp::option", default)]
    pub until: Option<Timestamp>,
}

impl ReaderStep {
    /// Returns true if the reader is restarted, not only probed.
    pub fn restarts(&self) -> bool {
        !self.holds.is_empty()
    }
}

/// Returns the steps for a plan, in the order in which they are taken.
pub(super) fn steps(
    inventory: &Inventory,
    settings: &Settings,
    running: &[RunningReader],
    plan: &Plan,
) -> Vec<ReaderStep> {
    let steps = inventory.readers.iter().map(|reader| {
        let mut step = step(inventory, settings, plan, reader);
        if settings.restart.scope != Scope::Never {
            remember_memory(settings, running, plan.at, reader, &mut step);
        }
        step
    });
    steps.filter(|step| !step.reads.is_empty() || step.restarts()).collect()
}

fn step(inventory: &Inventory, settings: &Settings, plan: &Plan, reader: &Reader) -> ReaderStep {
    let mut step = ReaderStep {
        reader: reader.name.clone(),
        means: reader.means.clone(),
        reads: Vec::new(),
        holds: Vec::new(),
        until: None,
    };
    let mut ends: Vec<Timestamp> = Vec::new();
    for (item, credential) in plan.with_credentials(inventory) {
        let is_renewed = matches!(item.decision, Decision::Renew { .. } | Decision::With(_));
        if !is_renewed || !credential.spec.readers.contains(&reader.name) {
            continue;
        }
        step.reads.push(item.name.clone());
        if holds(inventory, settings, reader, &item.name) {
            step.holds.push(item.name.clone());
            ends.extend(item.expires);
        }
    }
    step.until = ends.into_iter().min().map(|end| settings.urgent_at(end));
    step
}

/// Returns true if the reader uses this credential only after a restart.
fn holds(inventory: &Inventory, settings: &Settings, reader: &Reader, credential: &str) -> bool {
    let version = reader.manifest.as_ref().and_then(|manifest| manifest.version);
    let embedded = inventory
        .present(credential)
        .is_some_and(|present| present.is_embedded());
    match settings.restart.scope {
        Scope::Never => false,
        Scope::All => true,
        Scope::Needed => reload_behavior(&reader.name, version, embedded) == ReloadBehavior::Holds,
    }
}

/// Adds a restart for a process whose own certificate, made at its start, ends soon.
fn remember_memory(
    settings: &Settings,
    running: &[RunningReader],
    now: Timestamp,
    reader: &Reader,
    step: &mut ReaderStep,
) {
    let Some(manifest) = &reader.manifest else { return };
    let has_flag = manifest.flag(SERVING_FLAG).is_some();
    let known = readers::in_memory(&reader.name, manifest.version, has_flag);
    let started = running
        .iter()
        .find(|running| running.reader == reader.name)
        .map(|running| running.started);
    let (Some((what, days)), Some(started)) = (known, started) else {
        return;
    };
    let ends = started + time::Duration::days(days);
    if settings.due_at(ends) < now {
        let until = settings.urgent_at(ends);
        step.until = Some(step.until.map_or(until, |other| other.min(until)));
        step.holds.push(format!("{what}, which ends {}", text::date(ends)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::readers::{APISERVER, SCHEDULER};
    use crate::format::manifest::Manifest;
    use time::macros::datetime;

    const NOW: Timestamp = datetime!(2027-01-01 0:00 UTC);

    /// Returns what a restart would renew in the memory of a component that started `days` ago, and
    /// the latest time of the restart.
    fn held(component: &str, image: &str, flags: &str, days: i64) -> (Vec<String>, Option<Timestamp>) {
        let text = format!(
            "metadata: {{name: x}}\nspec: {{containers: [{{image: 'r/c:{image}', command: [{component}, {flags}]}}]}}\n"
        );
        let means = RestartMethod::Pod { manifest: "/m".into() };
        let reader = Reader {
            name: component.into(),
            means: means.clone(),
            manifest: Some(Manifest::parse(&text).unwrap()),
            probe: None,
            health: None,
        };
        let mut step = ReaderStep {
            reader: component.into(),
            means,
            reads: Vec::new(),
            holds: Vec::new(),
            until: None,
        };
        let running = RunningReader {
            reader: component.into(),
            started: NOW - time::Duration::days(days),
        };
        let settings = Settings::check(&[], &mut Vec::new());
        remember_memory(&settings, &[running], NOW, &reader, &mut step);
        (step.holds, step.until)
    }

    #[test]
    fn a_year_old_process_is_restarted_for_its_own_certificate() {
        assert_eq!(held(SCHEDULER, "v1.36.2", "--x=1", 334), (Vec::new(), None));
        let (holds, until) = held(SCHEDULER, "v1.36.2", "--x=1", 336);
        assert_eq!(
            holds,
            ["the serving certificate in its memory, which ends Jan 30, 2027 00:00 UTC"]
        );
        assert_eq!(until, Some(datetime!(2027-01-23 0:00 UTC)), "a week before its end");
        let with_a_file = held(SCHEDULER, "v1.36.2", "--tls-cert-file=/a", 336);
        assert_eq!(with_a_file.0, Vec::<String>::new());
        assert_eq!(held(APISERVER, "v1.20.2", "--tls-cert-file=/a", 336).0.len(), 1);
        assert_eq!(held(APISERVER, "v1.36.2", "--tls-cert-file=/a", 336).0.len(), 0);
    }
}
