//! The turn among the nodes, as it was seen last. No series where there is no cluster of several.

use super::seconds;
use super::text::Document;
use crate::report::status::Status;

pub(super) fn render(status: &Status, out: &mut Document) {
    let cluster = &status.coordination;
    out.family(
        "kubecertd_turn_blocked",
        "This node has something to do, and it is not its turn for this kind of reason.",
        cluster.blocked_by.iter().map(|by| (vec![("reason", by.as_str())], 1)),
    );
    let seen = seconds(&cluster.seen);
    let members = i64::try_from(cluster.members.len()).unwrap_or(i64::MAX);
    out.one(
        "kubecertd_cluster_seen_timestamp_seconds",
        "When etcd last said who has the turn.",
        seen,
    );
    out.one(
        "kubecertd_cluster_members",
        "How many members etcd listed then.",
        seen.and(Some(members)),
    );
    out.family(
        "kubecertd_turn_since_timestamp_seconds",
        "Since when a node has had the lock.",
        cluster.holder.iter().filter_map(|holder| {
            let labels = vec![("holder", holder.node.as_str()), ("purpose", &holder.purpose)];
            Some((labels, seconds(&Some(holder.since.clone()))?))
        }),
    );
    out.family(
        "kubecertd_turn_unfinished_since_timestamp_seconds",
        "Since when a node has been at it without an end: at work, or left half-way.",
        cluster.unfinished.iter().filter_map(|mark| {
            let labels = vec![("holder", mark.node.as_str()), ("purpose", &mark.purpose)];
            Some((labels, seconds(&Some(mark.since.clone()))?))
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blocks_is_there_also_where_etcd_has_never_answered() {
        let mut status = Status::default();
        let text = |status: &Status| {
            let mut out = Document::default();
            render(status, &mut out);
            out.0
        };
        assert_eq!(text(&status), "", "a node of its own");
        status.coordination.blocked_by = Some("etcd".into());
        assert!(text(&status).ends_with("\nkubecertd_turn_blocked{reason=\"etcd\"} 1\n"));
        assert!(!text(&status).contains("kubecertd_cluster_"));
    }
}
