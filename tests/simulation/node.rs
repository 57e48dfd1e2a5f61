//! One node: its clock, its certificates (the first that ends stands for all), its member, and its
//! daemon's schedule.

use kubecertd::config::Settings;
use kubecertd::coordinate::slots::Slot;
use kubecertd::model::{Peer, Timestamp};
use kubecertd::schedule::{self, ClockReading, Job, NodeIdentity, Recurrence, Schedule};

use super::chance::Chance;
use super::weather::{self, DAY, HOUR, MINUTE, Weather, between, lasts};

/// End of a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Renewed,
    Undone,
    /// The node goes down in the middle of it.
    Dies,
}

/// A turn that has begun.
#[derive(Clone, Copy)]
pub struct Turn {
    pub ends: i64,
    pub locked: bool,
    pub fate: Fate,
}

pub struct Node {
    pub name: String,
    pub id: String,
    /// Seconds that its clock is ahead.
    pub skew: i64,
    pub off: Weather,
    pub down: Weather,
    pub member: Weather,
    pub schedule: Schedule,
    /// By the clock of who issued it.
    pub ends: i64,
    pub stored: Vec<Peer>,
    pub slot: Slot,
    pub turn: Option<Turn>,
    /// True if the node has begun and not ended, which the others can see.
    pub marked: bool,
    /// True if the node died in a turn and has not been up since.
    pub interrupted: bool,
    /// Until when it waits for the lock, since when, and whether it is a cycle of the schedule.
    pub waits: Option<(i64, i64, Job)>,
    /// Seconds up since it was due; none: it is not. Of them those since it was urgent; and whether
    /// something was wrong meanwhile.
    pub due: Option<i64>,
    pub urgent: i64,
    pub was_disturbed: bool,
    pub has_expired: bool,
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_timestamp(seconds).expect("a date")
}

impl Node {
    pub fn new(number: usize, settings: &Settings, ends: i64, chance: &mut Chance, now: i64) -> Self {
        let (name, id) = (format!("node-{number}"), format!("{number:032x}"));
        let mut node = Node {
            skew: weather::skew(chance, false),
            off: Weather::new(800 * DAY, lasts(2 * DAY, 10 * DAY), chance, now),
            down: Weather::new(120 * DAY, lasts(DAY, 15 * DAY), chance, now),
            member: Weather::new(180 * DAY, lasts(8 * HOUR, 30 * DAY), chance, now),
            schedule: start(
                settings,
                &id,
                &name,
                ClockReading {
                    now: at(now),
                    uptime: now,
                },
            ),
            ends,
            stored: Vec::new(),
            slot: Slot::of(&name, &id, &[]),
            turn: None,
            marked: false,
            interrupted: false,
            waits: None,
            due: None,
            urgent: 0,
            was_disturbed: false,
            has_expired: false,
            name,
            id,
        };
        node.restart(settings, now);
        node
    }

    pub fn wall(&self, now: i64) -> i64 {
        now + self.skew
    }

    pub fn read_clocks(&self, now: i64) -> ClockReading {
        ClockReading {
            now: at(self.wall(now)),
            uptime: now,
        }
    }

    /// Starts the daemon, which has just assessed the node.
    pub fn restart(&mut self, settings: &Settings, now: i64) {
        self.schedule = start(settings, &self.id, &self.name, self.read_clocks(now));
    }

    /// When the daemon does something next, in true time.
    pub fn wakes(&self) -> i64 {
        self.schedule.next_assessment().unix_timestamp() - self.skew
    }

    pub fn is_up(&self) -> bool {
        !self.down.bad
    }

    pub fn serves(&self, now: i64) -> bool {
        self.is_up() && !self.member.bad && now < self.ends
    }

    /// Retries later.
    pub fn again(&mut self, job: Job, now: i64, wait: i64) {
        let (now, wait) = (at(self.wall(now)), time::Duration::seconds(wait));
        if is_cycle(job) {
            self.schedule.retry_cycle(now, wait);
        } else {
            self.schedule.retry_assessment(now, wait);
        }
    }

    /// Duration and end of a turn.
    pub fn begin(&mut self, locked: bool, chance: &mut Chance, now: i64) {
        let fate = match chance.below(100) {
            0 => Fate::Dies,
            1..4 => Fate::Undone,
            _ => Fate::Renewed,
        };
        let ends = now + between(chance, 20, 8 * MINUTE);
        self.turn = Some(Turn { ends, locked, fate });
        self.marked = locked;
    }
}

/// Returns true if a job renews what is due; an assessment is followed by a cycle only if something
/// is urgent.
pub fn is_cycle(job: Job) -> bool {
    matches!(job, Job::Renewal | Job::Retry)
}

fn start(settings: &Settings, machine_id: &str, name: &str, reading: ClockReading) -> Schedule {
    let timetable = settings.schedule.clone();
    let offset = schedule::offset(
        settings.spread,
        &timetable,
        NodeIdentity { machine_id, name },
        reading.now,
    );
    Schedule::new(Recurrence { timetable, offset }, None, None, reading)
}
