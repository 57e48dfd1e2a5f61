//! Asking the cluster: who answers, who its members are, how each of them is.

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

/// A member that answers, and what it says of the others.
pub(super) struct Contact {
    pub(super) member: Member,
    /// Ways to all members, the own one last: it may be what restarts.
    pub(super) ways: Vec<Access>,
    pub(super) peers: Vec<Peer>,
    /// The id of the member on this node.
    pub(super) own: Option<u64>,
    known: MemberConfig,
}

/// What this node is called among the others: as its etcd member, which the list of members knows.
pub(super) fn name(host: &Host, known: &MemberConfig) -> String {
    known.name.clone().unwrap_or_else(|| host.node_name())
}

/// Asks whoever answers first and knows the members. Those that were stored at an earlier look are asked too.
pub(super) fn contact(host: &Host, settings: &Settings, inventory: &Inventory) -> Result<Contact, Etcd> {
    let known = known(inventory, settings);
    let stored = state::members(host);
    let stored = stored.iter().flat_map(|peer| &peer.client_urls);
    let endpoints = distinct(known.endpoints.iter().chain(stored).chain(&known.others));
    let (mut silent, mut refusal) = (Vec::new(), None);
    for endpoint in &endpoints {
        match connect_any(host, &known, std::slice::from_ref(endpoint)) {
            // A member without a majority may not know them.
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

/// What a refusal means for the decision.
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
        // A member that is no static pod is known by where it was reached.
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

    /// Asks the member that is connected, and the others where it does not answer; who answers is asked first the next time.
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

    /// What is written of the lock.
    pub(super) fn written(&mut self) -> Result<LockRecords, Trouble> {
        Ok(LockRecords::read(&self.ask(|member| member.get(LOCK))?))
    }

    /// How all members are now.
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

/// What a TLS library, ours or the other side's alert, says of a certificate that has ended.
fn is_about_expiry(reason: &str) -> bool {
    reason.to_lowercase().contains("expired")
}

/// Whether etcd or an API server runs on this node: a process of theirs, or somebody who listens where the member of this node does.
pub(super) fn runs_here(host: &Host, settings: &Settings, inventory: &Inventory) -> bool {
    let own = match inventory.etcd() {
        Some(_) => known(inventory, settings).endpoints,
        None => Vec::new(),
    };
    !host.processes(&[ETCD, APISERVER]).is_empty() || own.iter().any(|endpoint| host.listens(endpoint))
}

/// When the first credential ends without which nobody is reached from here (of several clients the last counts, one is enough), or the
/// others do not reach this member.
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
