//! Restart: bring the readers of renewed credentials to the new ones, one after the other, and prove it.
//!
//! A reader that re-reads its files is only asked, for up to 90 s. One that holds the old credential, or still shows it then, is restarted:
//! by the configured method, then by parking its manifest, each within `[restart] timeout`. What fails then is the caller's to undo.

mod attempt;
pub mod park;
pub mod pending;
pub mod static_pod;
pub mod unit;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use tracing::info;

use crate::catalog::readers::{APISERVER, ETCD, KUBELET, RestartMethod};
use crate::config::Settings;
use crate::config::settings::{Method, Scope};
use crate::config::window;
use crate::host::{Host, notify};
use crate::inventory::Inventory;
use crate::inventory::readers::Reader;
use crate::model::{Failure, Process};
use crate::plan::readers::ReaderStep;
use crate::verify::probes;
use crate::verify::{Proof, ProofResult, is_well, prove};
use attempt::{Attempt, AttemptFailure, as_restarted};
use pending::PendingRestart;

/// Older kube-apiservers poll their files once a minute; a reader that shows the old certificate for longer than this is stale.
const STALE: Duration = Duration::from_secs(90);

/// What the readers were like before anything was changed.
#[derive(Debug)]
pub struct Baseline {
    readers: BTreeMap<String, State>,
    /// A kubelet runs and answers: without one no static pod is made anew.
    kubelet: bool,
}

#[derive(Debug)]
struct State {
    processes: Vec<Process>,
    /// Why it was not well, where it says.
    unwell: Option<String>,
}

impl Baseline {
    /// Whether a reader can be restarted now; a static pod needs a kubelet for it.
    pub fn has_means(&self, means: &RestartMethod) -> bool {
        self.kubelet || !matches!(means, RestartMethod::Pod { .. })
    }

    /// Whether every reader ran and said nothing bad.
    pub fn all_were_well(&self) -> bool {
        self.readers
            .values()
            .all(|state| state.unwell.is_none() && !state.processes.is_empty())
    }

    /// The processes that a reader had.
    pub fn processes(&self, reader: &str) -> &[Process] {
        self.readers.get(reader).map_or(&[], |state| &state.processes)
    }
}

/// How much a failure may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// All old credentials are good for a while: a reader that was not well before is left alone.
    Calm,
    /// An old credential has expired, or ends within `urgent_before`: that a reader is not well does not keep it from being restarted.
    Urgent,
}

/// What became of the readers.
#[derive(Debug, Default)]
pub struct Rollout {
    /// What is known of each renewed credential and each reader of it.
    pub proven: Vec<ProofResult>,
    /// Who was restarted.
    pub restarted: Vec<RestartResult>,
    /// Who may have been ended or started, whether it came to a good end or not.
    pub attempted: Vec<String>,
    /// Who still has to be.
    pub pending: Vec<PendingRestart>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Rollout {
    /// What came after it.
    pub fn add(&mut self, other: Self) {
        self.proven.extend(other.proven);
        self.restarted.extend(other.restarted);
        self.attempted.extend(other.attempted);
        self.pending.extend(other.pending);
        self.warnings.extend(other.warnings);
    }
}

/// A reader that was restarted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestartResult {
    /// The reader.
    pub reader: String,
    /// Its means.
    #[serde(flatten)]
    pub means: RestartMethod,
    /// `touch`, `park`, `restart`, `reload` or `exec`.
    pub method: &'static str,
    /// Seconds from the change to the proof.
    pub seconds: f64,
}

/// Looks at the readers before anything is changed.
pub fn baseline(host: &Host, inventory: &Inventory, steps: &[ReaderStep]) -> Baseline {
    let known = steps.iter().filter_map(|step| reader(inventory, step));
    let readers = known.map(|reader| {
        let processes = attempt::processes(host, &reader.name, &reader.means);
        let asks = probes::health(reader).filter(|_| !processes.is_empty());
        let unwell = asks.and_then(|health| is_well(host, &health).err());
        (reader.name.clone(), State { processes, unwell })
    });
    Baseline {
        readers: readers.collect(),
        kubelet: kubelet_answers(host, inventory),
    }
}

/// A stopped or frozen kubelet makes no pod anew, and a process that is ended then stays away. One that does not say whether it is well is
/// taken to be when it runs.
fn kubelet_answers(host: &Host, inventory: &Inventory) -> bool {
    let health = inventory
        .readers
        .iter()
        .find(|reader| reader.name == KUBELET)
        .and_then(probes::health);
    !host.processes(&[KUBELET]).is_empty() && health.is_none_or(|health| is_well(host, &health).is_ok())
}

fn reader<'a>(inventory: &'a Inventory, step: &ReaderStep) -> Option<&'a Reader> {
    inventory.readers.iter().find(|reader| reader.name == step.reader)
}

/// Brings every reader to the credentials that `inventory`, taken after the change, has. `may_begin` is asked before each attempt, the first time with
/// the reader's name, while it still runs. The first that cannot be brought ends it; what was done until then stands in the outcome.
pub fn restart_readers(
    host: &Host,
    settings: &Settings,
    inventory: &Inventory,
    steps: &[ReaderStep],
    (before, urgency): (&Baseline, Urgency),
    may_begin: &dyn Fn(Option<&str>) -> Result<(), Failure>,
) -> (Rollout, Option<Failure>) {
    let mut outcome = Rollout::default();
    let restarts = ReaderRestarts {
        host,
        settings,
        inventory,
        before,
        urgency,
        kubelet: Cell::new(before.kubelet),
        may_begin,
        asked: RefCell::default(),
    };
    let inner = restarts.taken_out_together(steps);
    for step in steps.iter().filter(|step| Some(*step) != inner) {
        let around = inner.filter(|_| step.reader == APISERVER);
        if let Err(failure) = restarts.one(step, around, &mut outcome) {
            return (outcome, Some(failure));
        }
    }
    (outcome, None)
}

struct ReaderRestarts<'a> {
    host: &'a Host,
    settings: &'a Settings,
    inventory: &'a Inventory,
    before: &'a Baseline,
    urgency: Urgency,
    /// As [`Baseline::kubelet`], or one that was brought to its new credential since: with an expired one it starts and ends again and again.
    kubelet: Cell<bool>,
    may_begin: &'a dyn Fn(Option<&str>) -> Result<(), Failure>,
    /// Who was asked about by name.
    asked: RefCell<BTreeSet<String>>,
}

impl ReaderRestarts<'_> {
    /// etcd's step, where it is parked while the API server is: a kubelet that tells an API server without etcd about etcd's new pod waits for
    /// the answer, half a minute (measured on 1.20), and is told at once that nobody is there where there is none.
    fn taken_out_together<'s>(&self, steps: &'s [ReaderStep]) -> Option<&'s ReaderStep> {
        let parks = |name: &str| {
            let step = steps.iter().find(|step| step.reader == name && step.restarts())?;
            let is_pod = matches!(step.means, RestartMethod::Pod { .. });
            let reader = reader(self.inventory, step)?;
            (is_pod && self.waits(step).is_none() && self.cannot(reader).is_none()).then_some(step)
        };
        let rules = &self.settings.restart;
        let both = parks(ETCD).filter(|_| parks(APISERVER).is_some());
        both.filter(|_| rules.method == Method::Park && rules.scope != Scope::Never)
    }

    /// Brings one reader to its credentials; `around` is the step that is taken while it is away.
    fn one(&self, step: &ReaderStep, around: Option<&ReaderStep>, outcome: &mut Rollout) -> Result<(), Failure> {
        // A manifest that was restored, or taken away, by somebody else.
        let Some(reader) = reader(self.inventory, step) else {
            return self.later(step, format!("{} is no longer known here", step.reader), outcome);
        };
        if self.host.stop.requested() {
            return self.later(step, "the process was asked to end".into(), outcome);
        }
        if let Some(reason) = self.waits(step) {
            info!("{} is restarted later: {reason}", step.reader);
            return self.later_quietly(step, reason, outcome);
        }
        let questions = probes::of_reader(self.inventory, reader, &step.reads);
        if !step.restarts() {
            if !self.runs(reader) {
                return self.later_quietly(step, format!("{} does not run", step.reader), outcome);
            }
            notify::status(&format!("Proving that {} uses what was renewed", step.reader));
            let stale = match prove(
                self.host,
                Some(&step.reader),
                &questions,
                STALE.min(self.settings.restart.timeout),
            ) {
                Ok(proven) => {
                    outcome.proven.extend(proven);
                    return Ok(());
                }
                Err(_) if self.host.stop.requested() => {
                    return self.later(step, "the process was asked to end".into(), outcome);
                }
                Err(stale) => stale,
            };
            outcome.warnings.push(format!(
                "{} did not take up what was renewed by itself: {stale}",
                step.reader
            ));
        }
        if self.settings.restart.scope == Scope::Never {
            return self.later_quietly(step, "[restart] scope is never".into(), outcome);
        }
        if let Some(reason) = self.cannot(reader) {
            if let (RestartMethod::Pod { manifest }, false) = (&step.means, self.kubelet.get()) {
                // The kubelet makes the pod anew when it comes back.
                self.may_begin(&step.reader)?;
                static_pod::touch(self.host, manifest)?;
                outcome.attempted.push(step.reader.clone());
                self.later(step, reason, outcome)?;
                let left = outcome.pending.iter_mut().filter(|left| left.reader == step.reader);
                left.for_each(|left| left.touched = true);
                return Ok(());
            }
            return self.later(step, reason, outcome);
        }
        self.restart(step, reader, &questions, around, outcome)
    }

    fn may_begin(&self, reader: &str) -> Result<(), Failure> {
        let is_first = self.asked.borrow_mut().insert(reader.to_owned());
        (self.may_begin)(is_first.then_some(reader))
    }

    /// Why the restart is put off though it could be done now.
    fn waits(&self, step: &ReaderStep) -> Option<String> {
        let now = self.host.now();
        let may_wait = step.restarts() && step.until.is_some_and(|until| now < until);
        (may_wait && !window::is_open(&self.settings.windows, now)).then(|| "no maintenance window is open".into())
    }

    fn runs(&self, reader: &Reader) -> bool {
        !attempt::processes(self.host, &reader.name, &reader.means).is_empty()
            || self.urgency == Urgency::Urgent && self.cannot(reader).is_none()
    }

    /// Why it cannot be restarted now.
    fn cannot(&self, reader: &Reader) -> Option<String> {
        let name = &reader.name;
        match &reader.means {
            RestartMethod::Pod { .. } if !self.kubelet.get() => {
                return Some(format!("{name} cannot be restarted: no kubelet runs here that answers"));
            }
            RestartMethod::Unit { .. } | RestartMethod::Exec { .. } if !self.host.is_this_machine() => {
                return Some(format!("{name} cannot be restarted: it belongs to another root"));
            }
            _ => {}
        }
        let state = self
            .before
            .readers
            .get(name)
            .filter(|_| self.urgency == Urgency::Calm)?;
        if let Some(reason) = &state.unwell {
            return Some(format!("{name} is not restarted: it was not well before ({reason})"));
        }
        let is_pod = matches!(reader.means, RestartMethod::Pod { .. });
        (is_pod && state.processes.is_empty()).then(|| format!("{name} is not restarted: it did not run before"))
    }

    fn restart(
        &self,
        step: &ReaderStep,
        reader: &Reader,
        questions: &[probes::Probe],
        mut around: Option<&ReaderStep>,
        outcome: &mut Rollout,
    ) -> Result<(), Failure> {
        let mut last = String::new();
        for method in attempt::methods(&step.means, self.settings.restart.method) {
            for step in around.into_iter().chain([step]) {
                self.may_begin(&step.reader)?;
            }
            method.begins(&step.reader);
            let attempt = Attempt {
                host: self.host,
                rules: &self.settings.restart,
                reader,
                questions,
                may_kill: &|| kubelet_answers(self.host, self.inventory),
            };
            let inner = around.take();
            let with = inner.and_then(|inner| match &inner.means {
                RestartMethod::Pod { manifest } => Some(manifest.as_path()),
                RestartMethod::Unit { .. } | RestartMethod::Exec { .. } => None,
            });
            let done = attempt.around(method, with, || match inner {
                Some(inner) => self.one(inner, None, outcome),
                None => Ok(()),
            });
            // Nothing has happened to a pod whose manifest could not be changed; of a command nobody knows.
            let is_pod = matches!(step.means, RestartMethod::Pod { .. });
            if inner.is_some() || !is_pod || !matches!(done, Err(AttemptFailure::Failed(_))) {
                outcome.attempted.push(step.reader.clone());
            }
            match done {
                Ok((proven, seconds)) => {
                    self.kubelet.set(self.kubelet.get() || step.reader == KUBELET);
                    method.is_done(&step.reader, seconds);
                    outcome.restarted.push(RestartResult {
                        reader: step.reader.clone(),
                        means: step.means.clone(),
                        method: method.word(),
                        seconds,
                    });
                    outcome
                        .proven
                        .extend(proven.into_iter().map(|proven| as_restarted(step, method, proven)));
                    return Ok(());
                }
                Err(AttemptFailure::Stopped) => {
                    return self.later(step, "the process was asked to end".into(), outcome);
                }
                Err(AttemptFailure::Failed(failure)) => return Err(failure),
                Err(AttemptFailure::Deadline(reason)) => {
                    outcome
                        .warnings
                        .push(format!("{} did not come up ({method}): {reason}", step.reader));
                    last = reason;
                }
            }
        }
        Err(Failure::new(format!(
            "cannot bring {} to its renewed credentials: {last}",
            step.reader
        )))
    }

    fn later(&self, step: &ReaderStep, reason: String, outcome: &mut Rollout) -> Result<(), Failure> {
        outcome.warnings.push(reason.clone());
        self.later_quietly(step, reason, outcome)
    }

    fn later_quietly(&self, step: &ReaderStep, reason: String, outcome: &mut Rollout) -> Result<(), Failure> {
        if step.restarts() {
            outcome.pending.push(PendingRestart::new(
                self.host,
                step,
                self.before.processes(&step.reader),
            ));
        }
        outcome.proven.extend(step.reads.iter().map(|credential| ProofResult {
            reader: Some(step.reader.clone()),
            credential: credential.clone(),
            proof: Proof::Pending,
            note: Some(reason.clone()),
        }));
        Ok(())
    }
}
