//! Results of a fleet, and the limits that they must keep.

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// A node that was up for this time while it was urgent has had time enough: it assesses once a
/// day.
const UP_ENOUGH: i64 = DAY + HOUR;

#[derive(Default)]
pub struct Tally {
    pub renewals: usize,
    /// Without the lock, in the node's own time.
    pub alone: usize,
    /// Turns that were not had at once, and runs that were told to come again.
    pub waited: usize,
    pub blocked: usize,
    /// Turns that were undone, and that a node died in.
    pub undone: usize,
    pub died: usize,
    /// Cycles that began while another node held the lock, or had a marker, for none of the reasons
    /// below. This must never happen.
    pub together: usize,
    /// The same, if the renewal was urgent and another node was unhealthy.
    pub urgent: usize,
    /// The same, if a clock was off by more than is tolerated, and the lock was not available.
    pub clocks: usize,
    /// The same, if etcd came back after a node had begun without it.
    pub came_back: usize,
    /// Ended before they were renewed; and how long the node was up while it was urgent, at most.
    pub expired: usize,
    pub expired_up: i64,
    /// Seconds up from being due to being renewed, of every renewal; and of those in which nothing
    /// was wrong.
    pub waits: Vec<i64>,
    pub calm: Vec<i64>,
    /// Seconds for which the lock was waited for at most.
    pub queued: i64,
}

impl Tally {
    pub fn line(&mut self, nodes: usize, days: i64, seed: u64) -> String {
        self.waits.sort_unstable();
        self.calm.sort_unstable();
        let hours = |seconds: Option<&i64>| seconds.map_or(0.0, |seconds| *seconds as f64 / HOUR as f64);
        format!(
            "{nodes} nodes, {days} days, seed {seed}: {} renewals, {} of them alone in their own time; {} undone, {} died; \
             due until renewed: median {:.1} h, longest {:.1} h where nothing was wrong and {:.1} h else; \
             {} waited for the lock, {:.0} min at most; {} told to come again; \
             {} together ({} urgent, {} with clocks off, {} as etcd came back); {} expired, on nodes that had been up for {:.1} h at most since it was urgent",
            self.renewals,
            self.alone,
            self.undone,
            self.died,
            hours(self.waits.get(self.waits.len() / 2)),
            hours(self.calm.last()),
            hours(self.waits.last()),
            self.waited,
            self.queued as f64 / 60.0,
            self.blocked,
            self.together,
            self.urgent,
            self.clocks,
            self.came_back,
            self.expired,
            self.expired_up as f64 / HOUR as f64,
        )
    }

    #[track_caller]
    pub fn judge(&self, nodes: usize) {
        assert_eq!(self.together, 0, "{nodes} nodes: two at once");
        assert!(
            self.expired_up < UP_ENOUGH,
            "{nodes} nodes: a credential ended on a node that was up for {} h since it was urgent",
            self.expired_up / HOUR
        );
        // Otherwise nothing was tried.
        assert!(
            self.renewals > 100 * nodes && self.undone > 0,
            "{nodes} nodes: {} renewals",
            self.renewals
        );
        assert!(
            nodes == 1 || self.waited > 0 && self.blocked > 0,
            "{nodes} nodes never met"
        );
        assert!(
            self.calm.last().is_some_and(|longest| *longest < 2 * DAY),
            "{nodes} nodes: a calm wait of two days"
        );
    }
}
