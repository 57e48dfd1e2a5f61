//! What is written in etcd, readable with etcdctl: `/kubecertd/lock/holder` while a node has its turn, and `/kubecertd/lock/unfinished/NODE` from
//! its first change until that is proven or undone. Pure.

use serde::{Deserialize, Serialize};

use crate::format::text::printable;
use crate::model::Peer;

/// What both keys begin with.
pub const LOCK: &str = "/kubecertd/lock/";
/// The lock; it hangs on the holder's lease.
pub const HOLDER: &str = "/kubecertd/lock/holder";
/// The marks; they hang on nothing, so that a node that died stays marked.
const UNFINISHED: &str = "/kubecertd/lock/unfinished/";

/// The value of either key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// The node: the name of its etcd member, or its own where it has none.
    pub node: String,
    /// What it does, as its own lock on the node says.
    pub purpose: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// The id of its etcd member, hexadecimal as etcdctl prints it; none where etcd runs elsewhere.
    pub member: Option<String>,
}

impl Entry {
    /// The key of its mark.
    pub fn marker(&self) -> String {
        format!("{UNFINISHED}{}", self.node)
    }

    /// As a value.
    pub fn json(&self) -> String {
        serde_json::json!({
            "node": self.node, "purpose": self.purpose, "since": self.since, "member": self.member,
        })
        .to_string()
    }
}

/// What is written now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockRecords {
    /// Who has the turn.
    pub holder: Option<Entry>,
    /// Who has begun and not ended; the holder may be among them.
    pub unfinished: Vec<Entry>,
}

impl LockRecords {
    /// From keys and values. A value that somebody else wrote counts as well: it was put there for some reason.
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

    /// The marks of other nodes: those that count, and those of members that the cluster no longer lists.
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
            (format!("{UNFINISHED}node-3"), "by hand".to_owned()),
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
