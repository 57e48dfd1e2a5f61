//! Fallback slots: the times at which a node may begin that cannot ask the others, from the list of
//! members that it stored. Pure.

use crate::format::digest::sha256;
use crate::model::{Peer, Timestamp};

/// Length of a slot, in seconds. A node begins only in the first half. So clocks may differ, and a
/// cycle may last, by a quarter of an hour together.
pub const SLOT: i64 = 30 * 60;

/// Number of slots if the number of nodes is not known: enough for a control plane of any sensible
/// size, and each comes every four hours.
const UNLISTED: i64 = 8;

/// Slot of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    index: i64,
    count: i64,
}

impl Slot {
    /// Returns the slot of `node` by its position among the members' names. For another node it
    /// comes from a hash of its name and its machine id.
    pub fn of(node: &str, machine_id: &str, members: &[Peer]) -> Self {
        let mut names: Vec<_> = members.iter().map(|peer| peer.name.as_str()).collect();
        names.sort_unstable();
        match names.iter().position(|name| *name == node) {
            Some(index) => Self {
                index: i64::try_from(index).unwrap_or(0),
                count: i64::try_from(names.len()).unwrap_or(1),
            },
            None => {
                let hash = sha256(format!("{machine_id}\n{node}").as_bytes());
                let number = i64::from_str_radix(&hash[..15], 16).unwrap_or(0);
                Self {
                    index: number % UNLISTED,
                    count: UNLISTED,
                }
            }
        }
    }

    /// Returns true if the node may begin now.
    pub fn is_open(self, now: Timestamp) -> bool {
        let seconds = now.unix_timestamp();
        seconds.div_euclid(SLOT).rem_euclid(self.count) == self.index && seconds.rem_euclid(SLOT) < SLOT / 2
    }

    /// Returns the next time at which the node may begin, which may be now.
    pub fn next(self, now: Timestamp) -> Timestamp {
        if self.is_open(now) {
            return now;
        }
        let seconds = now.unix_timestamp();
        let slot = seconds.div_euclid(SLOT);
        // A slot that is open, or past its half, is not the next one.
        let wait = (self.index - slot - 1).rem_euclid(self.count) + 1;
        Timestamp::from_unix_timestamp((slot + wait) * SLOT).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn members(count: u64) -> Vec<Peer> {
        let of = |id| Peer {
            id,
            name: format!("node-{id}"),
            client_urls: Vec::new(),
            is_learner: false,
        };
        (1..=count).rev().map(of).collect()
    }

    #[test]
    fn fallback_slots_of_two_members_are_15_minutes_apart() {
        for count in 1..=7 {
            let members = members(count);
            let slots: Vec<_> = (1..=count)
                .map(|n| Slot::of(&format!("node-{n}"), "m", &members))
                .collect();
            let start = datetime!(2027-01-01 0:00 UTC).unix_timestamp();
            let open = |at: i64| {
                let now = Timestamp::from_unix_timestamp(at).unwrap();
                slots.iter().position(|slot| slot.is_open(now))
            };
            let mut seen = vec![0; slots.len()];
            for minute in 0..count as i64 * 30 {
                let at = start + minute * 60;
                let Some(who) = open(at) else { continue };
                seen[who] += 1;
                for other in (at - 14 * 60..at + 15 * 60).step_by(60).filter_map(open) {
                    assert_eq!(other, who, "{count} members, minute {minute}");
                }
            }
            assert!(
                seen.iter().all(|minutes| *minutes == 15),
                "each gets its time: {seen:?}"
            );
        }
    }

    #[test]
    fn the_next_opening_is_the_first_moment_at_which_it_is_open() {
        for slot in [
            Slot::of("node-2", "m", &members(3)),
            Slot::of("node-1", "m", &members(1)),
            Slot::of("worker", "m", &members(3)),
        ] {
            let mut now = datetime!(2027-01-01 0:07 UTC);
            for _ in 0..500 {
                let mut first = now;
                while !slot.is_open(first) {
                    first += time::Duration::MINUTE;
                }
                let next = slot.next(now);
                assert!(slot.is_open(next) && next <= first && first - next < time::Duration::MINUTE);
                now += time::Duration::minutes(7);
            }
        }
    }
}
