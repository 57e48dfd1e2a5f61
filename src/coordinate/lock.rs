//! The cluster lock while it is held: no step begins once its lease may have ended.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::keys::{Entry, HOLDER, LOCK, LockRecords};
use super::lease::Lease;
use super::{EVERY, LockRequest};
use crate::config::settings::Coordination;
use crate::host::Host;
use crate::host::etcd::store::{If, Kind, Then, Trouble};
use crate::host::etcd::{Access, Member, PATIENCE};
use crate::model::Failure;

/// Time limit to give the lock back, or to write the marker.
const TRIES: Duration = Duration::from_secs(10);

/// The right to replace files and restart readers. Only [`super::acquire`] makes one.
#[derive(Debug)]
pub struct ClusterLock {
    held: Option<RefCell<HeldLock>>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// True if another node had the lock first, so that the assessment is old.
    pub waited: bool,
    /// The reason that only urgent renewals may be done.
    pub urgent_only: Option<String>,
}

/// The lock in etcd.
#[derive(Debug)]
pub(super) struct HeldLock {
    pub(super) me: Entry,
    /// The request that it was taken for.
    request: LockRequest,
    pub(super) ways: Vec<Access>,
    pub(super) ttl: Duration,
    /// Time limit to get a lost lock back.
    pub(super) wait: Duration,
    lease: Lease,
    has_marker: bool,
}

/// Result of one attempt to take the lock.
pub(super) enum Attempt {
    /// This node has it.
    Acquired(Lease),
    /// Another node has it. `None` if its record cannot be read.
    HeldBy(Option<Entry>),
}

impl ClusterLock {
    /// Returns the right to act if no lock is needed.
    pub(super) fn free() -> Self {
        Self {
            held: None,
            warnings: Vec::new(),
            waited: false,
            urgent_only: None,
        }
    }

    /// Returns the right to act without a lock that should be there, with a warning.
    pub fn without_lock(warning: String) -> Self {
        Self {
            warnings: vec![warning],
            ..Self::free()
        }
    }

    pub(super) fn holding(
        lease: Lease,
        me: Entry,
        ways: Vec<Access>,
        rules: &Coordination,
        request: &LockRequest,
    ) -> Self {
        let held = HeldLock {
            me,
            request: request.clone(),
            ways,
            ttl: rules.lease,
            wait: rules.wait,
            lease,
            has_marker: false,
        };
        Self {
            held: Some(RefCell::new(held)),
            ..Self::free()
        }
    }

    /// Returns the request for the held lock. `None` if no lock is held.
    pub(super) fn request(&self) -> Option<LockRequest> {
        Some(self.held.as_ref()?.borrow().request.clone())
    }

    /// Confirms the lock. Called before files are replaced, and before each reader is
    /// restarted. The first call writes the marker of this node. A lost lock is taken again.
    ///
    /// # Errors
    ///
    /// Fails if the lock cannot be taken again.
    pub fn step(&self, host: &Host) -> Result<(), Failure> {
        match &self.held {
            Some(held) => held.borrow_mut().step(host),
            None => Ok(()),
        }
    }

    /// Gives the lock back. If the change is finished, the marker goes too; otherwise it stays and
    /// blocks the other nodes. Returns a warning if the lock or the marker stays.
    pub fn end(self, host: &Host, is_settled: bool) -> Option<String> {
        self.held.and_then(|held| held.into_inner().end(host, is_settled))
    }
}

impl HeldLock {
    fn step(&mut self, host: &Host) -> Result<(), Failure> {
        if self.has_marker && self.lease.is_good(host) {
            return Ok(());
        }
        if !self.has_marker && self.marker(host) {
            return Ok(());
        }
        self.reacquire(host)
    }

    /// Writes the marker. Returns false if this node no longer holds the lock, or no member answers
    /// in time.
    fn marker(&mut self, host: &Host) -> bool {
        let (key, value) = (self.me.marker(), self.me.json());
        while self.lease.is_good(host) && host.check_stop().is_ok() {
            let condition = If::Leased(HOLDER, self.lease.id);
            match change(&self.ways, condition, &[Then::Put(&key, &value, 0)]) {
                Ok(done) => {
                    self.has_marker = done;
                    return done && self.lease.is_good(host);
                }
                Err(trouble) => info!("etcd does not answer: {trouble}"),
            }
            std::thread::sleep(EVERY);
        }
        false
    }

    /// Takes a lock again that was lost because this process was frozen or cut off. A marker has
    /// kept the others from starting.
    fn reacquire(&mut self, host: &Host) -> Result<(), Failure> {
        warn!("the cluster lock may have been lost; taking it again before the next step");
        let deadline = Instant::now() + self.wait;
        let (key, value) = (self.me.marker(), self.me.json());
        let mut why = String::from("it was lost");
        loop {
            host.check_stop()?;
            // The thread that renews the lease may have had an answer meanwhile.
            if self.has_marker && self.lease.is_good(host) {
                return Ok(());
            }
            match any(&self.ways, |member| {
                attempt(host, member, &self.ways, &self.me, self.ttl)
            }) {
                Ok(Attempt::Acquired(lease)) => {
                    self.lease = lease;
                    self.nobody_else_has_begun()?;
                    let condition = If::Leased(HOLDER, self.lease.id);
                    if let Ok(true) = change(&self.ways, condition, &[Then::Put(&key, &value, 0)]) {
                        self.has_marker = true;
                        info!("took the cluster lock again");
                        return Ok(());
                    }
                }
                Ok(Attempt::HeldBy(Some(other))) => why = format!("{} holds it ({})", other.node, other.purpose),
                Ok(Attempt::HeldBy(None)) => {}
                Err(trouble) => why = trouble.words,
            }
            if Instant::now() >= deadline {
                return Err(Failure::new(format!(
                    "cannot continue: the cluster lock was lost and cannot be taken again: {why}"
                ))
                .hint("`etcdctl get --prefix /kubecertd/` shows who has it"));
            }
            std::thread::sleep(EVERY);
        }
    }

    /// Fails if a node that had the lock meanwhile has left a marker.
    fn nobody_else_has_begun(&self) -> Result<(), Failure> {
        let seen = any(&self.ways, |member| Ok((member.get(LOCK)?, member.peers()?)));
        let (written, peers) = seen.map_err(|trouble| {
            Failure::new(format!(
                "cannot continue: etcd does not say whether another node has begun: {trouble}"
            ))
        })?;
        let written = LockRecords::read(&written);
        match written.others(&self.me.node, &peers).0.first() {
            None => Ok(()),
            Some(marker) => Err(Failure::new(format!(
                "cannot continue: the cluster lock was lost, and {} began meanwhile and has not finished",
                marker.node
            ))
            .hint(format!("run `kubecertd recover` on {}", marker.node))),
        }
    }

    fn end(self, host: &Host, is_settled: bool) -> Option<String> {
        let Self {
            me,
            ways,
            lease,
            has_marker,
            ttl,
            ..
        } = self;
        let id = lease.id;
        drop(lease);
        let key = me.marker();
        let marker = [Then::Delete(&key)];
        let both = [Then::Delete(HOLDER), marker[0]];
        let changes = if is_settled && has_marker {
            &both[..]
        } else {
            &both[..1]
        };
        let deadline = Instant::now() + TRIES;
        let done = loop {
            let done = change(&ways, If::Leased(HOLDER, id), changes).and_then(|done| match done {
                // The lease had ended, but the marker is still this node's.
                false if is_settled && has_marker => change(&ways, If::Always, &marker).map(drop),
                _ => Ok(()),
            });
            match done {
                Err(trouble) if Instant::now() < deadline && !host.stop.requested() => {
                    info!("etcd does not answer: {trouble}");
                    std::thread::sleep(EVERY);
                }
                done => break done,
            }
        };
        // The keys of the lease are gone. The lease would end by itself.
        let _ = any(&ways, |member| member.revoke(id));
        match done {
            Ok(()) if has_marker && !is_settled => Some(format!(
                "other nodes do not begin while {key} is in etcd: it is removed once \
                 `kubecertd recover` finds this node healthy, or by `etcdctl del {key}`"
            )),
            Ok(()) => None,
            Err(trouble) => Some(format!(
                "cannot release the cluster lock ({trouble}): it ends by itself within {} s{}",
                ttl.as_secs(),
                if has_marker {
                    "; the marker of this node goes at its next assessment"
                } else {
                    ""
                }
            )),
        }
    }
}

/// Asks the members until one does it, or refuses it.
pub(super) fn any<T>(ways: &[Access], mut ask: impl FnMut(&mut Member) -> Result<T, Trouble>) -> Result<T, Trouble> {
    let mut last = Trouble {
        kind: Kind::Unanswered,
        words: "no member is known".into(),
    };
    for way in ways {
        let opened = Member::open(way, PATIENCE).map_err(|words| Trouble {
            kind: Kind::Unanswered,
            words: format!("{}: {words}", way.endpoint),
        });
        match opened.and_then(|mut member| ask(&mut member)) {
            Err(trouble) if trouble.kind == Kind::Unanswered => last = trouble,
            done => return done,
        }
    }
    Err(last)
}

fn change(ways: &[Access], condition: If<'_>, changes: &[Then<'_>]) -> Result<bool, Trouble> {
    any(ways, |member| member.change(condition, changes))
}

/// Tries to take the lock once.
pub(super) fn attempt(
    host: &Host,
    member: &mut Member,
    ways: &[Access],
    me: &Entry,
    ttl: Duration,
) -> Result<Attempt, Trouble> {
    let holder =
        |member: &mut Member| -> Result<Option<Entry>, Trouble> { Ok(LockRecords::read(&member.get(HOLDER)?).holder) };
    if let Some(other) = holder(member)? {
        return Ok(Attempt::HeldBy(Some(other)));
    }
    let before = host.since_boot();
    let (id, ttl) = member.grant(ttl)?;
    match member.change(If::Absent(HOLDER), &[Then::Put(HOLDER, &me.json(), id)]) {
        Ok(true) => Ok(Attempt::Acquired(Lease::keep(host, ways, id, ttl, before))),
        Ok(false) => {
            let _ = member.revoke(id);
            Ok(Attempt::HeldBy(holder(member)?))
        }
        Err(trouble) => {
            // The write may have succeeded: it goes with the lease.
            let _ = any(ways, |member| member.revoke(id));
            Err(trouble)
        }
    }
}
