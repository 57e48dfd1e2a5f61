//! Contact with the cluster: a member that answers, the list of members, and the health of each.

use std::collections::BTreeSet;

use super::decide::Etcd;
use super::keys::{LOCK, LockRecords};
use super::quorum::{self, UnhealthyMember, View};
use crate::catalog::readers::{APISERVER, ETCD};
use crate::config::Settings;
use crate::etcd::member::{MemberConfig, is_loopback, known};
use crate::etcd::{Connection, connect_any};
use crate::host::Host;
use crate::host::etcd::store::{Kind, Trouble};
use crate::host::etcd::{Access, Member, PATIENCE};
use crate::inventory::{Inventory, State};
use crate::model::{Peer, Timestamp};
use crate::state;

/// A member that answers, and its list of members.
pub(super) struct Contact {
    pub(super) member: Member,
    /// Connections to all members, that of this node last, since it may be restarted.
    pub(super) ways: Vec<Access>,
    pub(super) peers: Vec<Peer>,
    /// Id of the member on this node.
    pub(super) own: Option<u64>,
    known: MemberConfig,
}

/// Returns the name of this node for the others: that of its etcd member, which is in the list of
/// members.
pub(super) fn name(host: &Host, known: &MemberConfig) -> String {
    known.name.clone().unwrap_or_else(|| host.node_name())
}

/// Connects to the first member that answers and knows the others. The members that an earlier
/// assessment stored are asked too.
pub(super) fn contact(host: &Host, settings: &Settings, inventory: &Inventory) -> Result<Contact, Etcd> {
    let known = known(inventory, settings);
    let stored = state::members(host);
    let stored = stored.iter().flat_map(|peer| &peer.client_urls);
    let endpoints = distinct(known.endpoints.iter().chain(stored).chain(&known.others));
    let (mut silent, mut refusal) = (Vec::new(), None);
    for endpoint in &endpoints {
        match connect_any(host, &known, std::slice::from_ref(endpoint)) {
            // A member without a majority may not know the others.
            Ok(mut reached) => match reached.member.peers() {
                Ok(peers) => return Ok(Contact::new(known, reached, peers)),
                Err(trouble) => refusal = Some(refused(&trouble)),
            },
            Err(reason) => silent.push(reason),
        }
    }
    match refusal {
        _ if endpoints.is_empty() => Err(Etcd::Unknown),
        Some(refusal) => Err(refusal),
        None => Err(Etcd::Silent(silent.join("; "))),
    }
}

fn distinct<'a>(urls: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    urls.filter(|url| seen.insert(*url)).cloned().collect()
}

/// Returns the meaning of a refusal for the decision.
pub(super) fn refused(trouble: &Trouble) -> Etcd {
    match trouble.kind {
        Kind::Denied => Etcd::Denied(trouble.words.clone()),
        Kind::NoSpace | Kind::Gone | Kind::Unanswered => Etcd::Powerless(trouble.words.clone()),
    }
}

impl Contact {
    fn new(known: MemberConfig, reached: Connection, peers: Vec<Peer>) -> Self {
        let Connection { member, access, status } = reached;
        let named = peers.iter().find(|peer| Some(&peer.name) == known.name.as_ref());
        // A member that is not a static pod is recognized by its address.
        let near = (known.name.is_none() && is_loopback(&access.endpoint)).then_some(status.member);
        let own = named.map(|peer| peer.id).or(near);
        let of = |is_own: bool| {
            let peers = peers.iter().filter(move |peer| (Some(peer.id) == own) == is_own);
            peers.flat_map(|peer| &peer.client_urls)
        };
        let urls = distinct(of(false).chain(of(true)).chain([&access.endpoint]));
        let way = |url: String| Access {
            tls: access.tls.clone().filter(|_| url.starts_with("https://")),
            endpoint: url,
        };
        Self {
            member,
            ways: urls.into_iter().map(way).collect(),
            own,
            peers,
            known,
        }
    }

    /// Asks the connected member, and the others if it does not answer. The one that answers is
    /// asked first the next time.
    pub(super) fn ask<T>(&mut self, mut question: impl FnMut(&mut Member) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let trouble = match question(&mut self.member) {
            Err(trouble) if trouble.kind == Kind::Unanswered => trouble,
            done => return done,
        };
        for way in &self.ways {
            let Ok(mut member) = Member::open(way, PATIENCE) else {
                continue;
            };
            match question(&mut member) {
                Err(trouble) if trouble.kind == Kind::Unanswered => {}
                done => {
                    self.member = member;
                    return done;
                }
            }
        }
        Err(trouble)
    }

    /// Returns the records of the lock.
    pub(super) fn written(&mut self) -> Result<LockRecords, Trouble> {
        Ok(LockRecords::read(&self.ask(|member| member.get(LOCK))?))
    }

    /// Returns the state of all members now.
    pub(super) fn view(&mut self, host: &Host) -> Result<View, Trouble> {
        let alarms = self.ask(Member::alarms)?;
        let members = self.peers.iter().map(|peer| quorum::Member {
            peer: peer.clone(),
            state: self.state(host, peer),
        });
        Ok(View {
            members: members.collect(),
            alarms: alarms.into_iter().map(|(id, alarm)| (id, alarm.to_owned())).collect(),
            own: self.own,
        })
    }

    fn state(&self, host: &Host, peer: &Peer) -> Result<String, UnhealthyMember> {
        let unwell = |reason: String| UnhealthyMember {
            expired: is_about_expiry(&reason),
            reason,
        };
        if peer.client_urls.is_empty() {
            return Err(unwell("it has not started yet".into()));
        }
        let reached = connect_any(host, &self.known, &peer.client_urls).map_err(unwell)?;
        if reached.status.has_leader {
            Ok(reached.status.version)
        } else {
            Err(unwell("it knows no leader".into()))
        }
    }
}

/// Returns true if a TLS library, ours or the peer's, says that a certificate has expired.
fn is_about_expiry(reason: &str) -> bool {
    reason.to_lowercase().contains("expired")
}

/// Returns true if etcd or an API server runs on this node: as a process, or as a listener at the
/// address of this node's member.
pub(super) fn runs_here(host: &Host, settings: &Settings, inventory: &Inventory) -> bool {
    let own = match inventory.etcd() {
        Some(_) => known(inventory, settings).endpoints,
        None => Vec::new(),
    };
    !host.processes(&[ETCD, APISERVER]).is_empty() || own.iter().any(|endpoint| host.listens(endpoint))
}

/// Returns the end of the first credential without which this node cannot reach etcd, or the others
/// cannot reach this member. Of several client certificates the last one counts, since one is
/// enough.
pub(super) fn ends(inventory: &Inventory, settings: &Settings) -> Option<Timestamp> {
    let clients = known(inventory, settings).clients;
    let mut client = None;
    let mut member = None;
    for credential in &inventory.credentials {
        let State::Present(present) = &credential.state else {
            continue;
        };
        let ends = present.certificate.validity.not_after;
        let path = credential.spec.storage.path();
        if clients.iter().any(|(certificate, _)| certificate == path) {
            client = client.max(Some(ends));
        }
        if ["etcd-server", "etcd-peer"].contains(&credential.spec.name.as_str()) {
            member = [member, Some(ends)].into_iter().flatten().min();
        }
    }
    [client, member].into_iter().flatten().min()
}
