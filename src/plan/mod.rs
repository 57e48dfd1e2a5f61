//! The plan: for every credential renew, leave or blocked, with the reason; and the readers that
//! are restarted. Pure.

pub mod copies;
mod decision;
pub mod directories;
mod judge;
mod narrow;
pub mod readers;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use time::Duration;

use crate::config::Settings;
use crate::inventory::{Credential, Inventory, State};
use crate::model::{Exit, Failure, Timestamp, Validity};
use crate::scan::RunningReader;
use copies::CopyItem;
pub use decision::{Decision, Obstacle};
use judge::Judge;
use readers::ReaderStep;
pub use refusal::refusal;

/// Time by which a new certificate is back-dated, so that nodes with slow clocks accept it
/// (kubeadm's `CertificateBackdate`).
pub const BACKDATE: Duration = Duration::minutes(5);

/// Smallest gain of a renewal: below it, a new key is not worth a restart.
const WORTH_IT: Duration = Duration::DAY;

/// A request to renew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The requested credentials.
    pub which: Which,
    /// Renew also credentials that are not due, or would gain less than a day.
    pub force: bool,
}

/// A choice of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The credentials that are due.
    Due,
    /// All credentials.
    All,
    /// The credentials with these names, due or not.
    Named(Vec<String>),
}

impl Request {
    /// The request of the daemon.
    pub const DUE: Self = Self {
        which: Which::Due,
        force: false,
    };
}

/// The decisions about all credentials.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Time of the plan.
    pub at: Timestamp,
    /// One item for each credential, sorted by name.
    pub items: Vec<Item>,
    /// The readers of renewed credentials, in the order in which they are restarted or probed.
    pub readers: Vec<ReaderStep>,
    /// The copies of kubeconfigs, in the order of the configuration.
    pub copies: Vec<CopyItem>,
}

/// The decision about one credential.
#[derive(Debug, Clone)]
pub struct Item {
    /// Name of the credential.
    pub name: String,
    /// Path of its file.
    pub path: PathBuf,
    /// The decision.
    pub decision: Decision,
    /// notAfter of its certificate. `None` if it cannot be read.
    pub expires: Option<Timestamp>,
    /// Time from which it is due. `None` if another program renews it.
    pub due: Option<Timestamp>,
}

impl Item {
    /// Returns true if it ends within `urgent_before`, or has expired.
    pub fn is_urgent(&self, settings: &Settings, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| settings.is_urgent(end, now))
    }

    /// Returns true if it is to be renewed.
    pub fn is_renewed(&self) -> bool {
        matches!(self.decision, Decision::Renew { .. })
    }
}

impl Plan {
    /// Returns each item with its credential in the inventory that the plan was made from.
    pub fn with_credentials<'a>(
        &'a self,
        inventory: &'a Inventory,
    ) -> impl Iterator<Item = (&'a Item, &'a Credential)> {
        let items = self.items.iter();
        items.filter_map(|item| Some((item, inventory.credential(&item.name)?)))
    }

    /// Returns true if no credential is to be renewed.
    pub fn is_empty(&self) -> bool {
        self.renewals().next().is_none()
    }

    /// Returns the credentials to be renewed, with the validity of the new certificates.
    pub fn renewals(&self) -> impl Iterator<Item = (&Item, Validity)> {
        self.items.iter().filter_map(|item| match item.decision {
            Decision::Renew { validity, .. } => Some((item, validity)),
            _ => None,
        })
    }

    /// Returns true if a credential that is to be renewed has expired, or ends within
    /// `urgent_before`.
    pub fn is_urgent(&self, settings: &Settings) -> bool {
        self.renewals().any(|(item, _)| item.is_urgent(settings, self.at))
    }

    /// Returns the readers that are restarted.
    pub fn restarts(&self) -> impl Iterator<Item = &ReaderStep> {
        self.readers.iter().filter(|step| step.restarts())
    }

    /// Returns the credentials that a fault of the node keeps from being read or renewed.
    pub fn faults(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.decision.is_fault())
    }
}

/// Makes the plan.
///
/// # Errors
///
/// Fails only if the request names a credential that this node does not have.
pub fn make(
    inventory: &Inventory,
    settings: &Settings,
    running: &[RunningReader],
    request: &Request,
) -> Result<Plan, Failure> {
    check_names(inventory, &request.which)?;
    let judge = Judge {
        inventory,
        settings,
        request,
    };
    let mut items: Vec<Item> = inventory
        .credentials
        .iter()
        .map(|credential| judge.item(credential))
        .collect();
    settle_shared_files(inventory, &mut items);
    let mut plan = Plan {
        at: inventory.at,
        items,
        readers: Vec::new(),
        copies: copies::items(inventory),
    };
    plan.readers = readers::steps(inventory, settings, running, &plan);
    Ok(plan)
}

fn check_names(inventory: &Inventory, which: &Which) -> Result<(), Failure> {
    let Which::Named(names) = which else { return Ok(()) };
    let known: Vec<_> = inventory.credentials.iter().map(|c| c.spec.name.as_str()).collect();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Failure::new(format!("cannot renew {name}: no such credential"))
            .hint(format!("known here: {}", known.join(", ")))
            .exit(Exit::Usage)),
        None => Ok(()),
    }
}

/// Decides about credentials that share files. Two entries with the same files (a kubeconfig that
/// refers to a pair) are renewed together. If they share only some, a renewal of one would break
/// the other's pair, so that neither is renewed.
fn settle_shared_files(inventory: &Inventory, items: &mut [Item]) {
    let names: Vec<BTreeSet<&Path>> = inventory.credentials.iter().map(names).collect();
    let mut owners: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
    for (at, names) in names.iter().enumerate() {
        names.iter().for_each(|name| owners.entry(name).or_default().push(at));
    }
    for at in 0..items.len() {
        if !items[at].is_renewed() {
            continue;
        }
        let name = items[at].name.clone();
        let others: BTreeSet<usize> = names[at].iter().flat_map(|name| &owners[name]).copied().collect();
        for other in others.into_iter().filter(|other| *other != at) {
            if names[at] == names[other] {
                items[other].decision = Decision::With(name.clone());
            } else if let Some(shared) = names[at].intersection(&names[other]).next() {
                let because = format!(
                    "it shares {} with {}, whose pair would no longer match",
                    shared.display(),
                    items[other].name
                );
                items[at].decision = Decision::Blocked {
                    because,
                    obstacle: Obstacle::SharedFile,
                };
                break;
            }
        }
    }
}

fn names(credential: &Credential) -> BTreeSet<&Path> {
    match &credential.state {
        State::Present(present) => present.names(),
        _ => BTreeSet::new(),
    }
}
