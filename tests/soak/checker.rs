//! The checker: what must hold of everything that was seen from outside in a round. A pure function
//! over the row of events.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// After this time, the others know that a member is down: a node that takes another one down then
/// costs the quorum. Its health is asked, with a patience of seconds, before each step.
const KNOWN: Duration = Duration::from_secs(3);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Since the round began.
    pub at: Duration,
    pub node: usize,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The journal of a transaction is there: the first file may be replaced.
    Begins,
    /// The journal is gone: it was proven, or undone.
    Ends,
    /// The command that restarts a reader has begun, and has seen the new process well.
    Restarting(String),
    Restarted(String),
    /// The test took the member away (its process, or its network), and lets it come back: from
    /// then on others may find it well at any moment.
    Down,
    Up,
    /// One run of kubecertd has ended.
    Exited {
        code: i32,
        words: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// `node` began a replacement, or a restart, while `other` was between its first replacement
    /// and its proof.
    Beside {
        at: Duration,
        node: usize,
        other: usize,
        what: What,
    },
    /// `node` took its member down, and with it the quorum.
    Quorum {
        at: Duration,
        node: usize,
        down: Vec<usize>,
    },
    /// It was not renewed by the end of the round.
    Starved { node: usize },
    /// It failed and did not say why, or could not roll back.
    Failed { node: usize, code: i32, words: String },
    /// A transaction that no run finished.
    Open { node: usize },
}

/// Everything that is wrong with a round of a cluster with `members` members.
pub fn check(events: &[Event], members: usize) -> Vec<Violation> {
    let mut round = Round {
        members,
        ..Round::default()
    };
    events.iter().for_each(|event| round.take(event));
    round.at_its_end()
}

#[derive(Default)]
struct Round {
    members: usize,
    open: BTreeSet<usize>,
    /// Members that we are restarting, and those that the test took down and when.
    ours: BTreeSet<usize>,
    down: BTreeMap<usize, Duration>,
    /// Whose member the test took down at any time: a restart of it may well fail, and the node
    /// cannot be made well by us.
    hit: BTreeSet<usize>,
    done: BTreeSet<usize>,
    wrong: Vec<Violation>,
}

impl Round {
    fn take(&mut self, event: &Event) {
        let node = event.node;
        match &event.what {
            What::Begins => {
                self.beside(event);
                self.open.insert(node);
            }
            What::Ends => {
                self.open.remove(&node);
            }
            What::Restarting(reader) => {
                self.beside(event);
                if reader == "etcd" {
                    self.ours.insert(node);
                    self.quorum(event);
                }
            }
            What::Restarted(reader) => {
                if reader == "etcd" {
                    self.ours.remove(&node);
                }
            }
            What::Down => {
                self.down.insert(node, event.at);
                self.hit.insert(node);
            }
            What::Up => {
                self.down.remove(&node);
                self.ours.remove(&node);
            }
            What::Exited { code, words } => self.exited(node, *code, words),
        }
    }

    fn beside(&mut self, event: &Event) {
        let others = self.open.iter().filter(|other| **other != event.node);
        self.wrong.extend(others.map(|other| Violation::Beside {
            at: event.at,
            node: event.node,
            other: *other,
            what: event.what.clone(),
        }));
    }

    fn quorum(&mut self, event: &Event) {
        let known = self
            .down
            .iter()
            .filter(|(_, since)| event.at.saturating_sub(**since) >= KNOWN);
        let down: BTreeSet<usize> = known.map(|(node, _)| *node).chain(self.ours.iter().copied()).collect();
        if self.members - down.len() <= self.members / 2 {
            self.wrong.push(Violation::Quorum {
                at: event.at,
                node: event.node,
                down: down.into_iter().collect(),
            });
        }
    }

    /// 0 and 4: it is renewed. 1: not now, for a reason. 3: a person is needed, which is right only
    /// where the test took the member away. -1: the test killed it.
    fn exited(&mut self, node: usize, code: i32, words: &str) {
        let says_why = !words.trim().is_empty();
        match code {
            0 | 4 => {
                self.done.insert(node);
            }
            -1 => {}
            1 if says_why => {}
            3 if says_why && self.hit.contains(&node) => {}
            _ => self.wrong.push(Violation::Failed {
                node,
                code,
                words: words.to_owned(),
            }),
        }
    }

    fn at_its_end(mut self) -> Vec<Violation> {
        let starved = (0..self.members).filter(|node| !self.done.contains(node));
        let starved = starved.map(|node| Violation::Starved { node });
        let open = self.open.iter().map(|node| Violation::Open { node: *node });
        let left: Vec<_> = starved.chain(open).collect();
        self.wrong.extend(left);
        self.wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etcd() -> String {
        "etcd".to_owned()
    }

    fn row(events: Vec<(u64, usize, What)>) -> Vec<Event> {
        let event = |(seconds, node, what)| Event {
            at: Duration::from_secs(seconds),
            node,
            what,
        };
        events.into_iter().map(event).collect()
    }

    fn done() -> What {
        What::Exited {
            code: 0,
            words: String::new(),
        }
    }

    /// Everything that one node does, from this second on.
    fn turn(from: u64, node: usize) -> Vec<(u64, usize, What)> {
        vec![
            (from, node, What::Begins),
            (from + 1, node, What::Restarting(etcd())),
            (from + 2, node, What::Restarted(etcd())),
            (from + 3, node, What::Ends),
            (from + 4, node, done()),
        ]
    }

    fn wrong(turns: &[Vec<(u64, usize, What)>]) -> Vec<Violation> {
        let mut all = turns.concat();
        all.sort_by_key(|(at, _, _)| *at);
        check(&row(all), 3)
    }

    #[test]
    fn one_after_the_other_is_right() {
        assert_eq!(wrong(&[turn(0, 0), turn(4, 2), turn(8, 1)]), []);
    }

    #[test]
    fn a_replacement_during_another_is_found() {
        let found = wrong(&[
            turn(0, 0),
            vec![(1, 2, What::Begins), (20, 2, What::Ends), (21, 2, done())],
            turn(40, 1),
        ]);
        let (at, what) = (Duration::from_secs(1), What::Begins);
        let expected = Violation::Beside {
            at,
            node: 2,
            other: 0,
            what,
        };
        assert!(found.contains(&expected), "{found:?}");
    }

    #[test]
    fn a_restart_during_a_replacement_is_found() {
        let alone = vec![(2, 1, What::Restarting("kube-scheduler".into())), (30, 1, done())];
        let found = wrong(&[turn(0, 0), alone, turn(40, 2)]);
        let (at, what) = (Duration::from_secs(2), What::Restarting("kube-scheduler".into()));
        assert_eq!(
            found,
            [Violation::Beside {
                at,
                node: 1,
                other: 0,
                what
            }]
        );
    }

    /// The node that froze had begun; what is wrong is only that another one begins.
    #[test]
    fn a_step_begun_next_to_a_frozen_one_is_an_overlap() {
        let frozen = vec![
            (0, 0, What::Begins),
            (60, 0, What::Restarting(etcd())),
            (61, 0, What::Restarted(etcd())),
            (62, 0, What::Ends),
            (63, 0, done()),
        ];
        assert_eq!(wrong(&[frozen.clone(), turn(70, 1), turn(80, 2)]), []);
        let found = wrong(&[frozen, turn(30, 1), turn(80, 2)]);
        let beside = found.iter().map(|wrong| match wrong {
            Violation::Beside { at, node, other, .. } => (at.as_secs(), *node, *other),
            other => panic!("{other:?}"),
        });
        assert_eq!(beside.collect::<Vec<_>>(), [(30, 1, 0), (31, 1, 0)]);
    }

    #[test]
    fn a_restart_while_another_member_is_down_loses_the_quorum() {
        let down = |at| vec![(at, 2, What::Down), (30, 2, What::Up)];
        let found = wrong(&[down(0), turn(5, 0), turn(40, 1), turn(50, 2)]);
        let (at, node, down_at_once) = (Duration::from_secs(6), 0, vec![0, 2]);
        assert_eq!(
            found,
            [Violation::Quorum {
                at,
                node,
                down: down_at_once
            }]
        );
        // No node can know of the one that went a moment ago, nor of one that goes afterwards.
        assert_eq!(wrong(&[down(5), turn(5, 0), turn(40, 1), turn(50, 2)]), []);
        assert_eq!(wrong(&[down(7), turn(5, 0), turn(40, 1), turn(50, 2)]), []);
    }

    #[test]
    fn two_restarts_at_once_lose_the_quorum() {
        let hanging = vec![(1, 0, What::Restarting(etcd())), (20, 0, done())];
        let found = wrong(&[
            hanging,
            vec![(2, 1, What::Restarting(etcd())), (20, 1, done())],
            turn(30, 2),
        ]);
        assert!(
            matches!(&found[0], Violation::Quorum { node: 1, down, .. } if down[..] == [0, 1]),
            "{found:?}"
        );
    }

    #[test]
    fn a_node_that_is_never_renewed_is_starved() {
        let refused = What::Exited {
            code: 1,
            words: "kubecertd: not now".into(),
        };
        assert_eq!(
            wrong(&[turn(0, 0), turn(10, 1), vec![(5, 2, refused)]]),
            [Violation::Starved { node: 2 }]
        );
    }

    #[test]
    fn a_silent_failure_or_a_failed_rollback_is_found() {
        for (code, words) in [
            (1, " "),
            (3, "kubecertd: cannot put it back"),
            (78, "kubecertd: bad"),
            (101, "panicked"),
        ] {
            let words = words.to_owned();
            let exited = vec![(
                0,
                2,
                What::Exited {
                    code,
                    words: words.clone(),
                },
            )];
            let found = wrong(&[exited, turn(10, 0), turn(20, 1), turn(30, 2)]);
            assert_eq!(found, [Violation::Failed { node: 2, code, words }]);
        }
    }

    #[test]
    fn a_transaction_that_stays_open_is_found() {
        let found = wrong(&[turn(0, 0), turn(10, 1), vec![(20, 2, What::Begins), (21, 2, done())]]);
        assert_eq!(found, [Violation::Open { node: 2 }]);
    }
}
