//! Metrics of the cluster lock, as etcd last answered. A cluster with one member has no series.

use super::seconds;
use super::text::Document;
use crate::report::status::Status;

pub(super) fn render(status: &Status, out: &mut Document) {
    let cluster = &status.coordination;
    out.family(
        "kubecertd_cluster_lock_blocked",
        "1 if this node has work to do and waits for the cluster lock, by reason.",
        cluster.blocked_by.iter().map(|by| (vec![("reason", by.as_str())], 1)),
    );
    let seen = seconds(&cluster.seen);
    let members = i64::try_from(cluster.members.len()).unwrap_or(i64::MAX);
    out.one(
        "kubecertd_cluster_seen_timestamp_seconds",
        "Time of the last answer of etcd about the cluster lock.",
        seen,
    );
    out.one(
        "kubecertd_cluster_members",
        "Number of etcd members in that answer.",
        seen.and(Some(members)),
    );
    out.family(
        "kubecertd_cluster_lock_held_since_timestamp_seconds",
        "Time at which the holder took the cluster lock.",
        cluster.holder.iter().filter_map(|holder| {
            let labels = vec![("holder", holder.node.as_str()), ("purpose", &holder.purpose)];
            Some((labels, seconds(&Some(holder.since.clone()))?))
        }),
    );
    out.family(
        "kubecertd_cluster_unfinished_since_timestamp_seconds",
        "Time at which a node with an in-progress marker began.",
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
        assert!(text(&status).ends_with("\nkubecertd_cluster_lock_blocked{reason=\"etcd\"} 1\n"));
        assert_eq!(text(&status).matches("# HELP").count(), 1);
    }
}
