//! The turn among the nodes of a cluster: who needs one, what it is given back with, and the mark of this node.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{Look, NotNow, is_unfinished};
use crate::catalog::readers::{APISERVER, ETCD};
use crate::config::Settings;
use crate::config::settings::Scope;
use crate::coordinate::{self, Blocked, Cause, Seen, Turn, Wanted};
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
    turn: &Turn,
    inventory: &Inventory,
    reader: Option<&str>,
) -> Result<(), Failure> {
    if reader == Some(ETCD) {
        let deadline = Instant::now() + WELL_AGAIN;
        while let Err(blocked) = coordinate::confirm(host, settings, inventory, turn) {
            if Instant::now() >= deadline || host.stop.requested() {
                return Err(blocked.failure());
            }
            info!("waiting: {}", blocked.reason);
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    turn.step(host)
}

/// Takes the turn that carrying this look out needs. Where another node had it first, it is looked `again`.
pub(super) fn take(
    host: &Host,
    settings: &Settings,
    trigger: Trigger,
    mut look: Look,
    again: impl FnOnce() -> Result<Look, NotNow>,
) -> Result<(Turn, Look), Box<(Blocked, Look)>> {
    let earlier = crate::restart::pending::read(host);
    let wanted = wanted(settings, trigger, &look, &earlier);
    let mut turn = match coordinate::take(host, settings, &look.inventory, wanted.as_ref()) {
        Ok(turn) => turn,
        Err(blocked) => return Err(Box::new((blocked, look))),
    };
    if turn.waited {
        // kubeadm may have been at work meanwhile.
        match again() {
            Ok(seen) => look = seen,
            Err(not_now) => {
                turn.end(host, true);
                let failure = not_now.failure();
                let blocked = Blocked {
                    cause: Cause::Node,
                    reason: failure.message,
                    hint: failure.hint.unwrap_or_default(),
                    until: None,
                };
                return Err(Box::new((blocked, look)));
            }
        }
    }
    if let Some(reason) = turn.urgent_only.take() {
        look.clearance
            .defer(settings.urgent_before, &format!("it waits: {reason}"));
        let warning = format!("what is urgent is renewed although other nodes should be seen to first: {reason}");
        turn.warnings.push(warning);
    }
    Ok((turn, look))
}

/// None where nothing is replaced and nobody is restarted.
fn wanted(settings: &Settings, trigger: Trigger, look: &Look, earlier: &[PendingRestart]) -> Option<Wanted> {
    let plan = look.clearance.plan();
    let earlier = if settings.restart.scope == Scope::Never {
        &[]
    } else {
        earlier
    };
    if plan.renewals().next().is_none() && plan.readers.is_empty() && earlier.is_empty() {
        return None;
    }
    let late = |pending: &PendingRestart| pending.until.is_some_and(|until| until <= plan.at.unix_timestamp());
    Some(Wanted {
        purpose: match trigger {
            Trigger::Manual => "renew".into(),
            Trigger::Scheduled { .. } => "scheduled cycle".into(),
        },
        attended: trigger == Trigger::Manual,
        urgent: plan.is_urgent(settings.urgent_before) || earlier.iter().any(late),
        touches_etcd_or_api_server: touches(plan, &look.inventory)
            || earlier.iter().any(|pending| BOTH.contains(&pending.reader.as_str())),
    })
}

fn touches(plan: &Plan, inventory: &Inventory) -> bool {
    let reads = |name: &str| {
        let credential = inventory.credentials.iter().find(|it| it.spec.name == name);
        credential.is_some_and(|it| it.spec.readers.iter().any(|reader| BOTH.contains(&reader.as_str())))
    };
    plan.renewals().any(|(item, _)| reads(&item.name))
        || plan.restarts().any(|step| BOTH.contains(&step.reader.as_str()))
}

/// A restore goes on without the turn where it cannot be had: a person asked for it because things are bad. Another node is waited for no longer
/// than one that died keeps the lock.
pub(super) fn take_for_restore(host: &Host, settings: &Settings, inventory: &Inventory) -> Turn {
    let mut settings = settings.clone();
    let rules = &mut settings.coordination;
    rules.wait = rules.wait.min(rules.lease);
    let wanted = Wanted {
        purpose: "restore".into(),
        attended: true,
        urgent: true,
        touches_etcd_or_api_server: true,
    };
    let mut turn = coordinate::take(host, &settings, inventory, Some(&wanted)).unwrap_or_else(|blocked| {
        Turn::without_lock(format!(
            "the restore goes on without its turn among the nodes: {}",
            blocked.reason
        ))
    });
    if let Some(reason) = turn.urgent_only.take() {
        turn.warnings
            .push(format!("other nodes should be seen to first: {reason}"));
    }
    turn
}

/// Gives the turn back. The mark stays where something is unfinished, or a person is needed.
pub(super) fn end(host: &Host, turn: Turn, needs_a_person: bool) -> Option<String> {
    let is_done = !needs_a_person && !is_unfinished(host);
    turn.end(host, is_done)
}

/// Looks at the cluster. A mark of this node goes where nothing is unfinished here, nobody is at work, and its etcd member and API server are
/// well.
pub fn look_at_cluster(host: &Host, settings: &Settings, inventory: &Inventory) -> Option<Seen> {
    let mut seen = coordinate::look(host, settings, inventory)?;
    if seen.has_mark_of_this_node()
        && let Ok(Some(_lock)) = host.try_lock("look at the cluster")
        && is_fine(host, inventory)
        && coordinate::clear(host, settings, inventory)
    {
        seen.forget_mark_of_this_node();
    }
    Some(seen)
}

/// After a recovery: removes the mark of this node, where it is well again. Nothing is asked where there never were other nodes.
pub fn clear_mark(host: &Host, settings: &Settings, _lock: &Lock) {
    if state::members(host).len() < 2 {
        return;
    }
    let inventory = inventory::build(&scan::look(host, settings));
    if is_fine(host, &inventory) {
        coordinate::clear(host, settings, &inventory);
    } else if coordinate::look(host, settings, &inventory).is_some_and(|seen| seen.has_mark_of_this_node()) {
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
