//! The keys in etcd, readable with etcdctl: `/kubecertd/lock/holder` while a node holds the cluster
//! lock, and `/kubecertd/lock/unfinished/NODE` from its first change until that is proven or rolled
//! back. Pure.

use serde::{Deserialize, Serialize};

use crate::format::text::printable;
use crate::model::Peer;

/// Prefix of both keys.
pub const LOCK: &str = "/kubecertd/lock/";
/// Key of the lock, which is tied to the holder's lease.
pub const HOLDER: &str = "/kubecertd/lock/holder";
/// Prefix of the in-progress markers. They are tied to no lease, so that a node that died stays
/// marked.
const UNFINISHED: &str = "/kubecertd/lock/unfinished/";

/// Value of either key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Name of the node's etcd member, or the node's own name if it has none.
    pub node: String,
    /// Purpose, as in the node's own lock.
    pub purpose: String,
    /// Begin, RFC 3339.
    pub since: String,
    /// Id of the etcd member, in hex as etcdctl prints it. `None` if etcd runs elsewhere.
    pub member: Option<String>,
}

impl Entry {
    /// Returns the key of the node's marker.
    pub fn marker(&self) -> String {
        format!("{UNFINISHED}{}", self.node)
    }

    /// Returns the value.
    pub fn json(&self) -> String {
        serde_json::json!({
            "node": self.node, "purpose": self.purpose, "since": self.since, "member": self.member,
        })
        .to_string()
    }
}

/// The records in etcd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockRecords {
    /// Holder of the lock.
    pub holder: Option<Entry>,
    /// Nodes that have begun and not finished. The holder may be among them.
    pub unfinished: Vec<Entry>,
}

impl LockRecords {
    /// Parses keys and values. A value in another form counts as well, since someone put it there
    /// for a reason.
    pub fn read(pairs: &[(String, String)]) -> Self {
        let mut written = Self::default();
        for (key, value) in pairs {
            let parsed = serde_json::from_str::<Entry>(value);
            let entry = |name: &str| {
                let mut entry = parsed.unwrap_or_default();
                for text in [&mut entry.node, &mut entry.purpose, &mut entry.since] {
                    *text = printable(text);
                }
                if !name.is_empty() || entry.node.is_empty() {
                    entry.node = printable(name);
                }
                entry
            };
            match key.strip_prefix(UNFINISHED) {
                Some(name) => written.unfinished.push(entry(name)),
                None if key == HOLDER => written.holder = Some(entry("")),
                None => {}
            }
        }
        written
    }

    /// Returns the markers of other nodes: those that count, and those of members that the cluster
    /// no longer lists.
    pub fn others(&self, node: &str, members: &[Peer]) -> (Vec<&Entry>, Vec<&Entry>) {
        let ids: Vec<_> = members.iter().map(|peer| format!("{:x}", peer.id)).collect();
        let counts = |marker: &&Entry| marker.member.as_ref().is_none_or(|id| ids.contains(id));
        self.unfinished
            .iter()
            .filter(|marker| marker.node != node)
            .partition(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(node: &str, member: Option<&str>) -> Entry {
        Entry {
            node: node.into(),
            purpose: "renew".into(),
            since: "2027-01-01T00:00:00Z".into(),
            member: member.map(str::to_owned),
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_what_others_wrote_counts() {
        let (a, b) = (entry("node-1", Some("1f")), entry("node-2", None));
        let pairs = [
            (HOLDER.to_owned(), a.json()),
            (b.marker(), b.json()),
            (format!("{UNFINISHED}node-3"), "manual".to_owned()),
        ];
        let written = LockRecords::read(&pairs);
        assert_eq!(written.holder, Some(a));
        assert_eq!(written.unfinished[0], b);
        assert_eq!(written.unfinished[1].node, "node-3");
        let (count, gone) = written.others("node-2", &[]);
        assert_eq!((count.len(), gone.len()), (1, 0), "its own does not count");
    }

    #[test]
    fn a_mark_of_a_member_that_was_removed_counts_no_longer() {
        let peer = |id| Peer {
            id,
            name: String::new(),
            client_urls: Vec::new(),
            is_learner: false,
        };
        let written = LockRecords {
            holder: None,
            unfinished: vec![entry("node-2", Some("1f")), entry("node-3", Some("2f"))],
        };
        let peers = [peer(0x1f), peer(0x3f)];
        let (count, gone) = written.others("node-1", &peers);
        let nodes = |marks: &[&Entry]| marks.iter().map(|marker| marker.node.clone()).collect::<Vec<_>>();
        assert_eq!(
            (nodes(&count), nodes(&gone)),
            (vec!["node-2".into()], vec!["node-3".into()])
        );
    }
}
