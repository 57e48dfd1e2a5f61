//! The cluster lock of a cycle: who needs it, how it is given back, and the marker of this node.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{Assessment, Cycle, ExecutionRefusal, is_unfinished};
use crate::catalog::readers::{APISERVER, ETCD};
use crate::config::Settings;
use crate::config::settings::Scope;
use crate::coordinate::{self, Cause, ClusterLock, ClusterView, LockRefusal, LockRequest};
use crate::guard::Trigger;
use crate::host::Host;
use crate::host::lock::Lock;
use crate::inventory::{self, Inventory};
use crate::model::Failure;
use crate::plan::Plan;
use crate::restart::RestartAttempt;
use crate::restart::pending::PendingRestart;
use crate::scan;
use crate::state;
use crate::verify::{is_well, probes};

const BOTH: [&str; 2] = [ETCD, APISERVER];

/// Longest time that a cycle waits for a cluster that was healthy before this node began.
const RECOVERY_TIME: Duration = Duration::from_secs(15);

impl Cycle<'_> {
    /// Called before each attempt to restart a reader. A restart of etcd takes a member away, and
    /// other readers may have taken minutes since the cluster was judged: it is judged again.
    pub(super) fn may_restart(
        &self,
        cluster_lock: &ClusterLock,
        inventory: &Inventory,
        attempt: RestartAttempt<'_>,
    ) -> Result<(), Failure> {
        if attempt.reader == ETCD && attempt.is_first {
            let deadline = Instant::now() + RECOVERY_TIME;
            while let Err(refusal) = coordinate::confirm(self.host, self.settings, inventory, cluster_lock) {
                if Instant::now() >= deadline || self.host.stop.requested() {
                    return Err(refusal.failure());
                }
                info!("waiting: {}", refusal.reason);
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        cluster_lock.step(self.host)
    }

    /// Takes the cluster lock, if this assessment needs it. If another node had it first, the node
    /// is assessed again.
    pub(super) fn lock_cluster(
        &self,
        trigger: Trigger,
        mut assessment: Assessment,
        earlier: &[PendingRestart],
        reassess: impl FnOnce() -> Result<Assessment, ExecutionRefusal>,
    ) -> Result<(ClusterLock, Assessment), Box<(LockRefusal, Assessment)>> {
        let request = lock_request(self.settings, trigger, &assessment, earlier);
        let acquired = coordinate::acquire(self.host, self.settings, &assessment.inventory, request.as_ref());
        let mut cluster_lock = match acquired {
            Ok(cluster_lock) => cluster_lock,
            Err(refusal) => return Err(Box::new((refusal, assessment))),
        };
        if cluster_lock.waited {
            // kubeadm may have changed files during the wait.
            match reassess() {
                Ok(newer) => assessment = newer,
                Err(reason) => {
                    cluster_lock.end(self.host, true);
                    let failure = reason.failure();
                    let refusal = LockRefusal {
                        cause: Cause::Node,
                        reason: failure.message,
                        hint: failure.hint.unwrap_or_default(),
                        until: None,
                    };
                    return Err(Box::new((refusal, assessment)));
                }
            }
        }
        if let Some(reason) = cluster_lock.urgent_only.take() {
            assessment
                .clearance
                .defer(self.settings, &format!("deferred: {reason}"));
            let warning = format!("urgent credentials are renewed although other nodes need attention first: {reason}");
            cluster_lock.warnings.push(warning);
        }
        Ok((cluster_lock, assessment))
    }

    /// Takes the cluster lock for a restore, which continues without it: a person asked for it
    /// because things are bad. It waits for another node only as long as a node that died keeps the
    /// lock.
    pub(super) fn lock_cluster_for_restore(&self, inventory: &Inventory) -> ClusterLock {
        let mut settings = self.settings.clone();
        let rules = &mut settings.coordination;
        rules.wait = rules.wait.min(rules.lease);
        let request = LockRequest {
            purpose: "restore".into(),
            attended: true,
            urgent: true,
            touches_etcd_or_api_server: true,
        };
        let acquired = coordinate::acquire(self.host, &settings, inventory, Some(&request));
        let mut cluster_lock = acquired.unwrap_or_else(|refusal| {
            ClusterLock::without_lock(format!(
                "the restore continues without the cluster lock: {}",
                refusal.reason
            ))
        });
        if let Some(reason) = cluster_lock.urgent_only.take() {
            cluster_lock
                .warnings
                .push(format!("other nodes need attention first: {reason}"));
        }
        cluster_lock
    }

    /// Gives the cluster lock back. The marker stays if something is unfinished, or an operator has
    /// to act. Returns a warning if the lock or the marker stays.
    pub(super) fn release_cluster(&self, cluster_lock: ClusterLock, needs_operator: bool) -> Option<String> {
        let is_finished = !needs_operator && !is_unfinished(self.host);
        cluster_lock.end(self.host, is_finished)
    }
}

/// Returns `None` if nothing is replaced or restarted, so that no lock is needed.
fn lock_request(
    settings: &Settings,
    trigger: Trigger,
    assessment: &Assessment,
    earlier: &[PendingRestart],
) -> Option<LockRequest> {
    let plan = assessment.clearance.plan();
    let earlier = if settings.restart.scope == Scope::Never {
        &[]
    } else {
        earlier
    };
    if plan.is_empty() && plan.readers.is_empty() && earlier.is_empty() {
        return None;
    }
    let is_late = |pending: &PendingRestart| pending.step.until.is_some_and(|until| until <= plan.at);
    Some(LockRequest {
        purpose: match trigger {
            Trigger::Manual => "renew".into(),
            Trigger::Scheduled { .. } => "scheduled cycle".into(),
        },
        attended: trigger == Trigger::Manual,
        urgent: plan.is_urgent(settings) || earlier.iter().any(is_late),
        touches_etcd_or_api_server: touches(plan, &assessment.inventory)
            || earlier
                .iter()
                .any(|pending| BOTH.contains(&pending.step.reader.as_str())),
    })
}

fn touches(plan: &Plan, inventory: &Inventory) -> bool {
    let reads = |name: &str| {
        let credential = inventory.credential(name);
        credential.is_some_and(|it| it.spec.readers.iter().any(|reader| BOTH.contains(&reader.as_str())))
    };
    plan.renewals().any(|(item, _)| reads(&item.name))
        || plan.restarts().any(|step| BOTH.contains(&step.reader.as_str()))
}

/// Asks etcd for the state of the cluster. Removes the marker of this node if nothing is unfinished
/// here, no other process holds the node's lock, and the etcd member and API server are healthy.
pub fn view_cluster(host: &Host, settings: &Settings, inventory: &Inventory) -> Option<ClusterView> {
    let mut seen = coordinate::view(host, settings, inventory)?;
    if seen.has_own_marker()
        && let Ok(Some(_lock)) = host.try_lock("look at the cluster")
        && is_fine(host, inventory)
        && coordinate::clear(host, settings, inventory)
    {
        seen.forget_own_marker();
    }
    Some(seen)
}

/// Removes the marker of this node after a recovery, if the node is healthy again. Asks etcd only
/// if there were ever other nodes.
pub fn clear_marker(host: &Host, settings: &Settings, _lock: &Lock) {
    if state::members(host).len() < 2 {
        return;
    }
    let inventory = inventory::build(&scan::scan(host, settings));
    if is_fine(host, &inventory) {
        coordinate::clear(host, settings, &inventory);
    } else if coordinate::view(host, settings, &inventory).is_some_and(|seen| seen.has_own_marker()) {
        warn!("this node is unhealthy; its in-progress marker stays in etcd and blocks the other nodes");
    }
}

fn is_fine(host: &Host, inventory: &Inventory) -> bool {
    let both = inventory
        .readers
        .iter()
        .filter(|reader| BOTH.contains(&reader.name.as_str()));
    let mut health = both.filter_map(probes::health);
    !is_unfinished(host) && health.all(|health| is_well(host, &health).is_ok())
}
