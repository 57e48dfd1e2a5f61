//! The cluster lock: one node of a cluster changes at a time. A node takes a lock in the cluster's
//! own etcd before it replaces the first file, and gives it back once the new certificates are
//! proven to be in use, or everything is rolled back.
//!
//! Pure functions decide: [`mod@decide`] about the lock, [`quorum`] whether the cluster can bear
//! it, [`slots`] when a node may begin that cannot ask. [`keys`] defines the records.

mod contact;
pub mod decide;
pub mod keys;
mod lease;
mod lock;
pub mod quorum;
pub mod slots;
mod view;

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::config::Settings;
use crate::config::settings::CoordinationMode;
use crate::config::window;
use crate::etcd::member::known;
use crate::format::text;
use crate::host::etcd::store::{If, Then};
use crate::host::{Host, notify};
use crate::inventory::Inventory;
use crate::model::Peer;
use crate::state;
use contact::{Contact, contact, refused};
pub use decide::{Cause, LockRefusal};
use decide::{Decision, Etcd, Facts, decide};
use keys::Entry;
use lease::Lease;
pub use lock::ClusterLock;
use lock::{Attempt, attempt};
use quorum::Window;
use slots::Slot;
pub use view::{ClusterView, clear, view};

/// Time between two questions to etcd.
const EVERY: Duration = Duration::from_secs(1);
/// Number of tries if etcd does not answer: a new leader is elected within seconds.
const TRIES: u32 = 3;

/// A request for the cluster lock.
#[derive(Debug, Clone)]
pub struct LockRequest {
    /// Purpose, for the other nodes.
    pub purpose: String,
    /// A person runs the command.
    pub attended: bool,
    /// A credential that is to be renewed ends within `urgent_before`.
    pub urgent: bool,
    /// A credential of etcd or the API server changes, or one of them is restarted.
    pub touches_etcd_or_api_server: bool,
}

/// Takes the cluster lock, and waits for another node up to `[coordination] wait`. Returns
/// immediately if `request` is `None`: no lock is needed.
///
/// # Errors
///
/// Returns the reason that nothing may be done now.
pub fn acquire(
    host: &Host,
    settings: &Settings,
    inventory: &Inventory,
    request: Option<&LockRequest>,
) -> Result<ClusterLock, LockRefusal> {
    let Some(request) = request else {
        return Ok(ClusterLock::free());
    };
    if settings.coordination.mode == CoordinationMode::Off {
        return Ok(ClusterLock::free());
    }
    let acquisition = Acquisition {
        host,
        settings,
        inventory,
        request,
    };
    let mut tries = 0;
    loop {
        tries += 1;
        let etcd = match contact(host, settings, inventory) {
            Ok(contact) => {
                let etcd = Etcd::Ready(contact.peers.len());
                remember(host, &contact.peers);
                match acquisition.decide(etcd) {
                    Decision::Lock => {
                        return acquisition.lock(contact).or_else(|reason| match reason {
                            LockFailure::Refusal(refusal) => Err(refusal),
                            // It was tried often enough.
                            LockFailure::Unavailable(etcd) => lock_for(acquisition.decide(etcd)),
                        });
                    }
                    other => return lock_for(other),
                }
            }
            Err(etcd) => etcd,
        };
        let decision = acquisition.decide(etcd);
        if matches!(decision, Decision::NoLock(_)) || tries >= TRIES || host.stop.requested() {
            return lock_for(decision);
        }
        std::thread::sleep(EVERY);
    }
}

fn lock_for(decision: Decision) -> Result<ClusterLock, LockRefusal> {
    match decision {
        Decision::Lock | Decision::NoLock(_) => Ok(ClusterLock::free()),
        Decision::Alone(warning) => Ok(ClusterLock::without_lock(warning)),
        Decision::Wait(blocked) => Err(blocked),
    }
}

/// Stores the list of members for a day on which etcd does not answer. A failure is only a warning.
fn remember(host: &Host, peers: &[Peer]) {
    if let Err(failure) = state::record_members(host, peers) {
        warn!("{failure}");
    }
}

fn blocked(cause: Cause, reason: String, hint: impl Into<String>) -> LockRefusal {
    LockRefusal {
        cause,
        reason,
        hint: hint.into(),
        until: None,
    }
}

/// The lease of the lock in etcd.
struct LockLease {
    lease: Lease,
    /// True if another node had the lock first.
    waited: bool,
}

/// The reason that an attempt ended without the lock.
enum LockFailure {
    /// Nothing may be done now.
    Refusal(LockRefusal),
    /// etcd gave no lock; the decision depends on its answer.
    Unavailable(Etcd),
}

impl From<LockRefusal> for LockFailure {
    fn from(refusal: LockRefusal) -> Self {
        Self::Refusal(refusal)
    }
}

struct Acquisition<'a> {
    host: &'a Host,
    settings: &'a Settings,
    inventory: &'a Inventory,
    request: &'a LockRequest,
}

impl Acquisition<'_> {
    fn decide(&self, etcd: Etcd) -> Decision {
        let (host, settings, inventory) = (self.host, self.settings, self.inventory);
        let stored = state::members(host);
        let name = contact::name(host, &known(inventory, settings));
        decide(&Facts {
            mode: settings.coordination.mode,
            is_member: inventory.etcd().is_some(),
            runs_here: matches!(etcd, Etcd::Silent(_)) && contact::runs_here(host, settings, inventory),
            etcd,
            slot: Slot::of(&name, &host.machine_id(), &stored),
            stored,
            ends_soon: contact::ends(inventory, settings).is_some_and(|end| settings.is_urgent(end, host.now())),
            urgent: self.request.urgent,
            attended: self.request.attended,
            now: host.now(),
        })
    }

    /// Waits for the lock, then judges whether the cluster can bear a change.
    fn lock(&self, mut contact: Contact) -> Result<ClusterLock, LockFailure> {
        let rules = &self.settings.coordination;
        let me = Entry {
            node: contact::name(self.host, &known(self.inventory, self.settings)),
            purpose: self.request.purpose.clone(),
            since: text::rfc3339(self.host.now()),
            member: contact.own.map(|id| format!("{id:x}")),
        };
        let LockLease { lease, waited } = self.wait(&mut contact, &me)?;
        let mut cluster_lock = ClusterLock::holding(lease, me, contact.ways.clone(), rules, self.request);
        cluster_lock.waited = waited;
        match self.judge(&mut contact) {
            Ok(()) => {}
            Err(refusal) if self.request.urgent => cluster_lock.urgent_only = Some(refusal.reason),
            Err(refusal) => {
                cluster_lock.end(self.host, true);
                return Err(refusal.into());
            }
        }
        Ok(cluster_lock)
    }

    /// Waits for the lock.
    fn wait(&self, contact: &mut Contact, me: &Entry) -> Result<LockLease, LockFailure> {
        let (host, rules) = (self.host, &self.settings.coordination);
        let deadline = Instant::now() + rules.wait;
        let mut holder = None;
        let mut failed = 0;
        loop {
            let ways = contact.ways.clone();
            match contact.ask(|member| attempt(host, member, &ways, me, rules.lease)) {
                Ok(Attempt::Acquired(lease)) => {
                    let waited = holder.is_some();
                    return Ok(LockLease { lease, waited });
                }
                Ok(Attempt::HeldBy(other)) => {
                    let other = other.unwrap_or_default();
                    if holder.as_ref() != Some(&other) {
                        info!(holder = %other.node, "waiting: {}", holds_it(&other, me));
                        notify::status(&format!("Waiting for {} ({})", other.node, other.purpose));
                        holder = Some(other);
                    }
                    failed = 0;
                }
                Err(trouble) => {
                    failed += 1;
                    let etcd = refused(&trouble);
                    if failed > TRIES || matches!(etcd, Etcd::Denied(_)) {
                        return Err(LockFailure::Unavailable(etcd));
                    }
                }
            }
            if failed == 0 && Instant::now() >= deadline {
                let words = holder.as_ref().map(|other| holds_it(other, me)).unwrap_or_default();
                return Err(blocked(
                    Cause::Held,
                    format!(
                        "{words}, and did not give it back within {}",
                        text::duration(rules.wait)
                    ),
                    "`kubecertd status` on that node says what it does; kubecertd tries again",
                )
                .into());
            }
            if host.check_stop().is_err() {
                let reason = "kubecertd was asked to stop".into();
                return Err(blocked(Cause::Node, reason, "kubecertd tries again").into());
            }
            std::thread::sleep(self.pause());
        }
    }

    /// Returns about a second, different on every node.
    fn pause(&self) -> Duration {
        EVERY / 2 + Duration::from_nanos(u64::from(self.host.now().nanosecond()))
    }

    /// Judges, with the lock held, whether another node has begun and not finished, and whether the
    /// cluster can bear a change.
    fn judge(&self, contact: &mut Contact) -> Result<(), LockRefusal> {
        let asked = |trouble: &dyn std::fmt::Display| {
            let reason = format!("etcd does not report its state: {trouble}");
            blocked(Cause::Etcd, reason, "kubecertd tries again")
        };
        let written = contact.written().map_err(|e| asked(&e))?;
        let own = contact::name(self.host, &known(self.inventory, self.settings));
        let (others, gone) = written.others(&own, &contact.peers);
        for marker in gone {
            info!("removed the marker of {}: it is no longer a member", marker.node);
            let _ = contact.ask(|member| member.change(If::Always, &[Then::Delete(&marker.marker())]));
        }
        if let Some(marker) = others.first() {
            return Err(unfinished(marker));
        }
        if !self.request.touches_etcd_or_api_server {
            return Ok(());
        }
        let view = contact.view(self.host).map_err(|e| asked(&e))?;
        let windows = &self.settings.windows;
        let now = self.host.now();
        let window = match windows.is_empty() {
            true => Window::None,
            false if window::is_open(windows, now) => Window::Open,
            false => Window::Closed(window::next(windows, now)),
        };
        quorum::judge(&view, window).map_err(|it| blocked(it.cause, it.reason, it.hint))
    }
}

/// Judges again whether the cluster can bear a change: a backup or a restart may have taken
/// minutes. An urgent renewal is not stopped.
pub fn confirm(
    host: &Host,
    settings: &Settings,
    inventory: &Inventory,
    cluster_lock: &ClusterLock,
) -> Result<(), LockRefusal> {
    let Some(request) = cluster_lock.request().filter(|request| !request.urgent) else {
        return Ok(());
    };
    let acquisition = Acquisition {
        host,
        settings,
        inventory,
        request: &request,
    };
    match contact(host, settings, inventory) {
        Ok(mut contact) => acquisition.judge(&mut contact),
        Err(etcd) => Err(blocked(
            Cause::Etcd,
            format!("the cluster no longer answers: {}", etcd.why()),
            "kubecertd tries again",
        )),
    }
}

fn holds_it(other: &Entry, me: &Entry) -> String {
    let node = match other.node == me.node {
        // The lock is from an earlier process of this node, whose lease will end.
        true => "an earlier kubecertd of this node",
        false => &other.node,
    };
    format!("{node} has the lock ({}, since {})", other.purpose, other.since)
}

fn unfinished(marker: &Entry) -> LockRefusal {
    let Entry {
        node, purpose, since, ..
    } = marker;
    blocked(
        Cause::Unfinished,
        format!("{node} began at {since} ({purpose}) and has not ended it"),
        format!(
            "run `kubecertd recover` on {node}; if that node is gone for good: `etcdctl del {}`",
            marker.marker()
        ),
    )
}
