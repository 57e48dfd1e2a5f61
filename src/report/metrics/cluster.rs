//! The turn among the nodes, as it was seen last. No series where there is no cluster of several.

use super::seconds;
use super::text::Document;
use crate::report::status::Status;

pub(super) fn render(status: &Status, out: &mut Document) {
    let cluster = &status.coordination;
    let Some(seen) = seconds(&cluster.seen) else { return };
    let gauges = [
        (
            "kubecertd_cluster_seen_timestamp_seconds",
            "When etcd was last asked who has the turn.",
            seen,
        ),
        (
            "kubecertd_cluster_members",
            "How many members etcd listed then.",
            i64::try_from(cluster.members.len()).unwrap_or(i64::MAX),
        ),
        (
            "kubecertd_turn_blocked",
            "Whether this node has something to do and it is not its turn.",
            i64::from(cluster.blocked.is_some()),
        ),
    ];
    for (name, help, value) in gauges {
        out.one(name, help, Some(value));
    }
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
            Some((
                vec![("holder", mark.node.as_str())],
                seconds(&Some(mark.since.clone()))?,
            ))
        }),
    );
}
