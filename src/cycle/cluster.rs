//! The turn among the nodes of a cluster: who needs one, what it is given back with, and the mark of this node.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{Assessment, NotExecuted, is_unfinished};
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
use crate::restart::pending::PendingRestart;
use crate::scan;
use crate::state;
use crate::verify::{is_well, probes};

const BOTH: [&str; 2] = [ETCD, APISERVER];

/// How long it is waited for a cluster that was well before this node began.
const WELL_AGAIN: Duration = Duration::from_secs(15);

/// Asked before each attempt to restart a reader, with its name while it still runs. etcd's takes a member away, and other readers may have taken
/// minutes since the cluster was looked at.
pub(super) fn may_restart(
    host: &Host,
    settings: &Settings,
    cluster_lock: &ClusterLock,
    inventory: &Inventory,
    reader: Option<&str>,
) -> Result<(), Failure> {
    if reader == Some(ETCD) {
        let deadline = Instant::now() + WELL_AGAIN;
        while let Err(blocked) = coordinate::confirm(host, settings, inventory, cluster_lock) {
            if Instant::now() >= deadline || host.stop.requested() {
                return Err(blocked.failure());
            }
            info!("waiting: {}", blocked.reason);
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    cluster_lock.step(host)
}

/// Takes the turn that carrying this look out needs. Where another node had it first, it is looked `reassess`.
pub(super) fn acquire(
    host: &Host,
    settings: &Settings,
    trigger: Trigger,
    mut assessment: Assessment,
    reassess: impl FnOnce() -> Result<Assessment, NotExecuted>,
) -> Result<(ClusterLock, Assessment), Box<(LockRefusal, Assessment)>> {
    let earlier = crate::restart::pending::read(host);
    let wanted = wanted(settings, trigger, &assessment, &earlier);
    let mut cluster_lock = match coordinate::acquire(host, settings, &assessment.inventory, wanted.as_ref()) {
        Ok(cluster_lock) => cluster_lock,
        Err(blocked) => return Err(Box::new((blocked, assessment))),
    };
    if cluster_lock.waited {
        // kubeadm may have been at work meanwhile.
        match reassess() {
            Ok(seen) => assessment = seen,
            Err(not_now) => {
                cluster_lock.end(host, true);
                let failure = not_now.failure();
                let blocked = LockRefusal {
                    cause: Cause::Node,
                    reason: failure.message,
                    hint: failure.hint.unwrap_or_default(),
                    until: None,
                };
                return Err(Box::new((blocked, assessment)));
            }
        }
    }
    if let Some(reason) = cluster_lock.urgent_only.take() {
        assessment.clearance.defer(settings, &format!("it waits: {reason}"));
        let warning = format!("what is urgent is renewed although other nodes should be seen to first: {reason}");
        cluster_lock.warnings.push(warning);
    }
    Ok((cluster_lock, assessment))
}

/// None where nothing is replaced and nobody is restarted.
fn wanted(
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
    if plan.renewals().next().is_none() && plan.readers.is_empty() && earlier.is_empty() {
        return None;
    }
    let late = |pending: &PendingRestart| pending.until.is_some_and(|until| until <= plan.at.unix_timestamp());
    Some(LockRequest {
        purpose: match trigger {
            Trigger::Manual => "renew".into(),
            Trigger::Scheduled { .. } => "scheduled cycle".into(),
        },
        attended: trigger == Trigger::Manual,
        urgent: plan.is_urgent(settings) || earlier.iter().any(late),
        touches_etcd_or_api_server: touches(plan, &assessment.inventory)
            || earlier.iter().any(|pending| BOTH.contains(&pending.reader.as_str())),
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

/// A restore goes on without the turn where it cannot be had: a person asked for it because things are bad. Another node is waited for no longer
/// than one that died keeps the lock.
pub(super) fn acquire_for_restore(host: &Host, settings: &Settings, inventory: &Inventory) -> ClusterLock {
    let mut settings = settings.clone();
    let rules = &mut settings.coordination;
    rules.wait = rules.wait.min(rules.lease);
    let wanted = LockRequest {
        purpose: "restore".into(),
        attended: true,
        urgent: true,
        touches_etcd_or_api_server: true,
    };
    let mut cluster_lock = coordinate::acquire(host, &settings, inventory, Some(&wanted)).unwrap_or_else(|blocked| {
        ClusterLock::without_lock(format!(
            "the restore goes on without its cluster_lock among the nodes: {}",
            blocked.reason
        ))
    });
    if let Some(reason) = cluster_lock.urgent_only.take() {
        cluster_lock
            .warnings
            .push(format!("other nodes should be seen to first: {reason}"));
    }
    cluster_lock
}

/// Gives the turn back. The mark stays where something is unfinished, or a person is needed.
pub(super) fn end(host: &Host, cluster_lock: ClusterLock, needs_a_person: bool) -> Option<String> {
    let is_done = !needs_a_person && !is_unfinished(host);
    cluster_lock.end(host, is_done)
}

/// Looks at the cluster. A mark of this node goes where nothing is unfinished here, nobody is at work, and its etcd member and API server are
/// well.
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

/// After a recovery: removes the mark of this node, where it is well again. Nothing is asked where there never were other nodes.
pub fn clear_marker(host: &Host, settings: &Settings, _lock: &Lock) {
    if state::members(host).len() < 2 {
        return;
    }
    let inventory = inventory::build(&scan::scan(host, settings));
    if is_fine(host, &inventory) {
        coordinate::clear(host, settings, &inventory);
    } else if coordinate::view(host, settings, &inventory).is_some_and(|seen| seen.has_own_marker()) {
        warn!("this node is not well: a mark of it in etcd that keeps the others from starting stays");
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
