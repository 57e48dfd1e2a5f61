//! Keys, leases, members and alarms of etcd (etcd.proto: KV, Lease, Cluster, Maintenance).

use std::fmt;
use std::time::Duration;

use etcd_client::{AlarmAction, AlarmType, Compare, CompareOp, Error, GetOptions, PutOptions, Txn, TxnOp};
use tokio::time::timeout;

use super::{Member, late, words};
use crate::format::text::printable;
use crate::model::Peer;

/// The reason that a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Kind of the reason.
    pub kind: Kind,
    /// Message of etcd.
    pub words: String,
}

/// Kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The client's user may not do that (RBAC).
    Denied,
    /// The database is full (alarm NOSPACE).
    NoSpace,
    /// The lease has ended.
    Gone,
    /// No answer, no majority, or another reason.
    Unanswered,
}

/// Condition of a change.
#[derive(Debug, Clone, Copy)]
pub enum If<'a> {
    /// None.
    Always,
    /// The key must not exist.
    Absent(&'a str),
    /// The key must exist and belong to this lease.
    Leased(&'a str, i64),
}

/// A change of one key.
#[derive(Debug, Clone, Copy)]
pub enum Then<'a> {
    /// Sets a key to a value, with a lease; 0 for none.
    Put(&'a str, &'a str, i64),
    /// Deletes a key.
    Delete(&'a str),
}

impl Member {
    fn call<T>(&mut self, what: impl AsyncFnOnce(&mut etcd_client::Client) -> Result<T, Error>) -> Result<T, Trouble> {
        let (client, patience) = (&mut self.client, self.patience);
        self.runtime.block_on(async {
            match timeout(patience, what(client)).await {
                Ok(done) => done.map_err(|e| Trouble::of(&e)),
                Err(_) => Err(Trouble {
                    kind: Kind::Unanswered,
                    words: late(patience),
                }),
            }
        })
    }

    /// Returns the members of the cluster, sorted by name.
    pub fn peers(&mut self) -> Result<Vec<Peer>, Trouble> {
        let list = self.call(async |client| client.member_list().await)?;
        let of = |member: &etcd_client::Member| Peer {
            id: member.id(),
            name: printable(member.name()),
            client_urls: member.client_urls().iter().map(|url| printable(url)).collect(),
            is_learner: member.is_learner(),
        };
        let mut all: Vec<_> = list.members().iter().map(of).collect();
        all.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Ok(all)
    }

    /// Returns the raised alarms: id of the member, and name of the alarm.
    pub fn alarms(&mut self) -> Result<Vec<(u64, &'static str)>, Trouble> {
        let list = self.call(async |client| client.alarm(AlarmAction::Get, AlarmType::None, None).await)?;
        let alarms = list.alarms().iter().filter_map(|alarm| match alarm.alarm() {
            AlarmType::None => None,
            AlarmType::Nospace => Some((alarm.member_id(), "NOSPACE")),
            AlarmType::Corrupt => Some((alarm.member_id(), "CORRUPT")),
        });
        Ok(alarms.collect())
    }

    /// Grants a lease that ends after `ttl` (whole seconds) unless it is kept alive. Returns its id
    /// and its real length, which may be longer.
    pub fn grant(&mut self, ttl: Duration) -> Result<(i64, Duration), Trouble> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let lease = self.call(async |client| client.lease_grant(seconds, None).await)?;
        Ok((lease.id(), length(lease.ttl())))
    }

    /// Makes a lease last its whole length from now on.
    pub fn keep_alive(&mut self, lease: i64) -> Result<(), Trouble> {
        self.call(async |client| client.lease_keep_alive(lease).await).map(drop)
    }

    /// Ends a lease, and removes its keys.
    pub fn revoke(&mut self, lease: i64) -> Result<(), Trouble> {
        self.call(async |client| client.lease_revoke(lease).await).map(drop)
    }

    /// Returns all keys with this prefix and their values, as a majority of the members has them.
    pub fn get(&mut self, prefix: &str) -> Result<Vec<(String, String)>, Trouble> {
        let options = GetOptions::new().with_prefix();
        let found = self.call(async |client| client.get(prefix, Some(options)).await)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(found
            .kvs()
            .iter()
            .map(|kv| (text(kv.key()), text(kv.value())))
            .collect())
    }

    /// Makes all of these changes at once, or none. Returns false if the condition is not met.
    pub fn change(&mut self, condition: If<'_>, changes: &[Then<'_>]) -> Result<bool, Trouble> {
        let compare = match condition {
            If::Always => None,
            If::Absent(key) => Some(Compare::create_revision(key, CompareOp::Equal, 0)),
            If::Leased(key, lease) => Some(Compare::lease(key, CompareOp::Equal, lease)),
        };
        let operation = |change: &Then<'_>| match *change {
            Then::Put(key, value, lease) => TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease))),
            Then::Delete(key) => TxnOp::delete(key, None),
        };
        let operations: Vec<_> = changes.iter().map(operation).collect();
        let txn = Txn::new();
        let txn = match compare {
            Some(compare) => txn.when([compare]),
            None => txn,
        };
        let done = self.call(async |client| client.txn(txn.and_then(operations)).await)?;
        Ok(done.succeeded())
    }
}

fn length(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

impl Trouble {
    /// Messages are those of etcd `api/v3rpc/rpctypes/error.go`.
    fn of(error: &Error) -> Self {
        let words = words(error);
        let has = |part: &str| words.contains(part);
        let kind = if matches!(error, Error::LeaseKeepAliveError(_)) || has("requested lease not found") {
            Kind::Gone
        } else if has("permission denied") || has("user name is empty") || has("auth") && has("invalid") {
            Kind::Denied
        } else if has("database space exceeded") {
            Kind::NoSpace
        } else {
            Kind::Unanswered
        };
        Self { kind, words }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}
