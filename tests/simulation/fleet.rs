//! A fleet: its nodes, its etcd, and one event after the other.

use std::time::Duration;

use kubecertd::config::Settings;
use kubecertd::config::file::Source;
use kubecertd::config::settings::CoordinationMode;
use kubecertd::config::window;
use kubecertd::coordinate::decide::{Decision, Etcd, Facts, decide};
use kubecertd::coordinate::quorum::{self, Member, UnhealthyMember, View, Window};
use kubecertd::coordinate::slots::Slot;
use kubecertd::model::Peer;
use kubecertd::schedule::{Job, waits_until};

use super::chance::Chance;
use super::node::{Fate, Node, at, is_cycle};
use super::tally::Tally;
use super::weather::{self, DAY, HOUR, MINUTE, Weather, lasts};

/// 2027-01-01.
const START: i64 = 1_798_761_600;

/// Time after which a node tries to take the lock again. The daemon does so after five minutes;
/// here it waits longer, to be done sooner.
const BLOCKED: i64 = 20 * MINUTE;

/// A holder that died is not waited for any longer.
const LEASE: i64 = MINUTE;

/// Lives of sixty days make six times as many turns as a year's.
const CONFIGURATION: &str = "validity = \"60d\"\nrenew_before = \"30d\"\nurgent_before = \"7d\"\n";

/// Two members stand still while one restarts, and do so in a window only.
const WINDOW: &str = "[[window]]\nstart = \"03:00\"\nlength = \"2h\"\n";

pub struct Fleet {
    pub mode: CoordinationMode,
    pub tally: Tally,
    settings: Settings,
    chance: Chance,
    now: i64,
    nodes: Vec<Node>,
    peers: Vec<Peer>,
    /// No space in etcd; and none of the members runs.
    full: Weather,
    dark: Weather,
    /// The holder of the lock, and the time when it expires.
    lock: Option<(usize, Option<i64>)>,
}

impl Fleet {
    pub fn new(size: usize, seed: u64) -> Self {
        let mut chance = Chance::new(seed, size);
        let window = if size == 2 { WINDOW } else { "" };
        let settings = settings(&format!("{CONFIGURATION}{window}"));
        // kubeadm makes a cluster within an hour, so everything is due on the same day.
        let ends = |chance: &mut Chance| START + 60 * DAY + weather::between(chance, 0, HOUR);
        let nodes: Vec<_> = (1..=size)
            .map(|number| {
                let ends = ends(&mut chance);
                Node::new(number, &settings, ends, &mut chance, START)
            })
            .collect();
        let peer = |number: usize| Peer {
            id: number as u64,
            name: format!("node-{number}"),
            client_urls: vec![format!("https://10.0.0.{number}:2379")],
            is_learner: false,
        };
        Fleet {
            mode: CoordinationMode::Auto,
            tally: Tally::default(),
            peers: (1..=size).map(peer).collect(),
            full: Weather::new(300 * DAY, lasts(8 * HOUR, 10 * DAY), &mut chance, START),
            dark: Weather::new(150 * DAY, lasts(30 * DAY, 60 * DAY), &mut chance, START),
            settings,
            chance,
            now: START,
            nodes,
            lock: None,
        }
    }

    pub fn live(&mut self, days: i64) {
        let end = START + days * DAY;
        while self.now < end {
            let next = self.next_event().max(self.now + 1);
            self.pass(next - self.now);
            self.now = next;
            self.weather();
            self.turns_end();
            self.lock_goes_on();
            self.daemons_wake();
        }
    }

    fn next_event(&self) -> i64 {
        let of_node = |node: &Node| {
            let turn = node.turn.map(|turn| turn.ends);
            let wakes = node.is_up().then(|| node.wakes());
            let waits = node.waits.map(|(until, ..)| until);
            let changes = node.off.changes.min(node.down.changes).min(node.member.changes);
            [turn, wakes, waits, Some(changes)].into_iter().flatten().min()
        };
        let nodes = self.nodes.iter().filter_map(of_node).min();
        let lock = self.lock.and_then(|(_, until)| until);
        let all = [nodes, lock, Some(self.full.changes), Some(self.dark.changes)];
        all.into_iter().flatten().min().expect("something always comes")
    }

    /// Time goes by: who is due waits, who has not been renewed expires.
    fn pass(&mut self, seconds: i64) {
        let now = self.now + seconds;
        let is_calm = self.is_calm();
        let before = seconds_of(self.settings.renew_before);
        let urgent = seconds_of(self.settings.urgent_before);
        for node in &mut self.nodes {
            if now + before < node.ends {
                continue;
            }
            // From the moment on at which it became due.
            let since = (now + before - node.ends).min(seconds);
            let due = node.due.get_or_insert(0);
            node.was_disturbed |= !is_calm;
            if node.down.bad {
                continue;
            }
            *due += since;
            node.urgent += (now + urgent - node.ends).clamp(0, seconds);
            if now >= node.ends && !node.has_expired {
                node.has_expired = true;
                self.tally.expired += 1;
                self.tally.expired_up = self.tally.expired_up.max(node.urgent);
            }
        }
    }

    /// Nothing is wrong anywhere.
    fn is_calm(&self) -> bool {
        let is_well = |node: &Node| node.serves(self.now) && !node.off.bad && !node.marked;
        !self.full.bad && !self.dark.bad && self.nodes.iter().all(|node| is_well(node) || node.turn.is_some())
    }

    fn weather(&mut self) {
        let now = self.now;
        for weather in [&mut self.full, &mut self.dark] {
            if weather.changes <= now {
                weather.change(&mut self.chance);
            }
        }
        for place in 0..self.nodes.len() {
            let node = &mut self.nodes[place];
            if node.member.changes <= now {
                node.member.change(&mut self.chance);
            }
            if node.off.changes <= now {
                node.off.change(&mut self.chance);
                node.skew = weather::skew(&mut self.chance, node.off.bad);
                // The daemon notices within a second.
                self.wake(place);
            }
            if self.nodes[place].down.changes <= now {
                self.nodes[place].down.change(&mut self.chance);
                if self.nodes[place].down.bad {
                    self.dies(place);
                } else {
                    self.comes_up(place);
                }
            }
        }
    }

    fn dies(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        node.waits = None;
        if node.turn.take().is_some() {
            node.interrupted = true;
            self.tally.died += 1;
        }
        if let Some((holder, until)) = &mut self.lock
            && *holder == place
        {
            until.get_or_insert(self.now + LEASE);
        }
    }

    /// An interrupted turn is rolled back or finished; one of a hundred was on the point of being
    /// proven.
    fn comes_up(&mut self, place: usize) {
        let finished = self.chance.one_in(10);
        let wall = self.nodes[place].wall(self.now);
        let node = &mut self.nodes[place];
        if std::mem::take(&mut node.interrupted) && finished {
            self.renewed(place, wall);
        }
        self.nodes[place].restart(&self.settings, self.now);
        self.look(place);
        // What is urgent is renewed at the first look.
        self.act(place, Job::Assessment);
    }

    fn renewed(&mut self, place: usize, wall: i64) {
        let node = &mut self.nodes[place];
        node.ends = wall + seconds_of(self.settings.validity);
        self.tally.renewals += 1;
        if let Some(due) = node.due.take() {
            self.tally.waits.push(due);
            if !std::mem::take(&mut node.was_disturbed) {
                self.tally.calm.push(due);
            }
        }
        (node.has_expired, node.was_disturbed, node.urgent) = (false, false, 0);
    }

    fn turns_end(&mut self) {
        for place in 0..self.nodes.len() {
            let Some(turn) = self.nodes[place].turn.filter(|turn| turn.ends <= self.now) else {
                continue;
            };
            if turn.fate == Fate::Dies {
                let node = &mut self.nodes[place];
                (node.down.bad, node.down.changes) = (false, self.now);
                node.down.change(&mut self.chance);
                self.dies(place);
                continue;
            }
            self.nodes[place].turn = None;
            let wall = self.nodes[place].wall(self.now);
            match turn.fate {
                Fate::Renewed => self.renewed(place, wall),
                _ => {
                    self.tally.undone += 1;
                    self.nodes[place].was_disturbed = true;
                }
            }
            if turn.locked {
                // Where etcd cannot be told, the lease ends by itself, and the mark stays until the
                // next look.
                let told = matches!(self.etcd(place), Etcd::Ready(_));
                self.nodes[place].marked = !told;
                self.lock = self
                    .lock
                    .filter(|_| !told)
                    .map(|(holder, _)| (holder, Some(self.now + LEASE)));
            }
        }
    }

    /// The lock of a holder that is gone ends; who waits for it gets it, or gives up.
    fn lock_goes_on(&mut self) {
        if self
            .lock
            .is_some_and(|(_, until)| until.is_some_and(|until| until <= self.now))
        {
            self.lock = None;
        }
        let mut waiting: Vec<_> = (0..self.nodes.len())
            .filter(|place| self.nodes[*place].waits.is_some())
            .collect();
        while self.lock.is_none() && !waiting.is_empty() {
            let place = waiting.swap_remove(self.chance.below(waiting.len()));
            if let Some((_, since, job)) = self.nodes[place].waits.take() {
                self.tally.waited += 1;
                self.tally.queued = self.tally.queued.max(self.now - since);
                self.has_lock(place, job);
            }
        }
        for place in waiting {
            let node = &mut self.nodes[place];
            if let Some((_, _, job)) = node.waits.filter(|(until, ..)| *until <= self.now) {
                node.waits = None;
                self.blocked(place, job, BLOCKED);
            }
        }
    }

    fn daemons_wake(&mut self) {
        for place in 0..self.nodes.len() {
            let node = &self.nodes[place];
            if node.is_up() && node.turn.is_none() && node.waits.is_none() && node.wakes() <= self.now {
                self.wake(place);
            }
        }
    }

    fn wake(&mut self, place: usize) {
        let reading = self.nodes[place].read_clocks(self.now);
        if self.nodes[place].down.bad || self.nodes[place].turn.is_some() || self.nodes[place].waits.is_some() {
            return;
        }
        if let Some(job) = self.nodes[place].schedule.due(reading) {
            self.look(place);
            self.act(place, job);
        }
    }

    /// Remembers the members, and removes the own mark.
    fn look(&mut self, place: usize) {
        if matches!(self.etcd(place), Etcd::Ready(_)) {
            let node = &mut self.nodes[place];
            if node.stored.is_empty() {
                node.stored.clone_from(&self.peers);
                node.slot = Slot::of(&node.name, &node.id, &node.stored);
            }
            node.marked &= node.turn.is_some();
        }
    }

    /// A cycle of the schedule, in a window, renews what is due; anything else only what is urgent.
    fn act(&mut self, place: usize, job: Job) {
        let node = &self.nodes[place];
        let wall = node.wall(self.now);
        let left = node.ends - wall;
        let opens = waits_until(&self.settings.windows, at(wall));
        let is_urgent = left < seconds_of(self.settings.urgent_before);
        let is_due = left < seconds_of(self.settings.renew_before);
        if !is_urgent
            && is_due
            && is_cycle(job)
            && let Some(opens) = opens
        {
            let wait = opens.unix_timestamp() - wall;
            return self.nodes[place].again(job, self.now, wait);
        }
        if !(is_urgent || is_due && is_cycle(job)) {
            return;
        }
        let facts = self.facts(place, is_urgent);
        let decision = decide(&facts);
        self.nodes[place].stored = facts.stored;
        match decision {
            Decision::NoLock(_) => self.begin(place, false),
            Decision::Alone(_) => {
                self.tally.alone += 1;
                self.begin(place, false);
            }
            Decision::Lock if self.lock.is_none() => self.has_lock(place, job),
            Decision::Lock => {
                let until = self.now + seconds_of(self.settings.coordination.wait);
                self.nodes[place].waits = Some((until, self.now, job));
            }
            Decision::Wait(blocked) => {
                let opens = blocked.until.map_or(BLOCKED, |until| until.unix_timestamp() - wall);
                self.blocked(place, job, opens.min(BLOCKED));
            }
        }
    }

    /// The stored list goes with them, and comes back.
    fn facts(&mut self, place: usize, urgent: bool) -> Facts {
        let etcd = self.etcd(place);
        let node = &mut self.nodes[place];
        Facts {
            mode: self.mode,
            etcd,
            is_member: true,
            runs_here: true,
            stored: std::mem::take(&mut node.stored),
            ends_soon: self.settings.is_urgent(at(node.ends), at(node.wall(self.now))),
            urgent,
            attended: false,
            slot: node.slot,
            now: at(node.wall(self.now)),
        }
    }

    /// The answer of etcd to a node.
    fn etcd(&self, place: usize) -> Etcd {
        let serving = self.nodes.iter().filter(|node| node.serves(self.now)).count();
        if self.dark.bad || serving == 0 {
            return Etcd::Silent("connection refused".into());
        }
        if self.now >= self.nodes[place].ends {
            return Etcd::Silent("certificate has expired".into());
        }
        if serving <= self.nodes.len() / 2 {
            return Etcd::Powerless("no leader".into());
        }
        if self.full.bad {
            return Etcd::Powerless("database space exceeded".into());
        }
        Etcd::Ready(self.nodes.len())
    }

    /// Decides if the holder of the lock begins, or gives it back.
    fn has_lock(&mut self, place: usize, job: Job) {
        let node = &self.nodes[place];
        let wall = node.wall(self.now);
        let is_urgent = node.ends - wall < seconds_of(self.settings.urgent_before);
        let marked = |(other, node): (usize, &Node)| other != place && node.marked;
        let beside_a_mark = self.nodes.iter().enumerate().any(marked);
        let may = !beside_a_mark && quorum::judge(&self.view(place), self.window(wall)).is_ok();
        if may || is_urgent {
            self.lock = Some((place, None));
            self.begin(place, true);
        } else {
            self.blocked(place, job, BLOCKED);
        }
    }

    fn view(&self, place: usize) -> View {
        let state = |node: &Node| match node.serves(self.now) {
            true => Ok("3.6.8".to_owned()),
            false => Err(UnhealthyMember {
                expired: node.is_up() && !node.member.bad,
                reason: "connection refused".into(),
            }),
        };
        let members = self.nodes.iter().zip(&self.peers).map(|(node, peer)| Member {
            peer: peer.clone(),
            state: state(node),
        });
        View {
            members: members.collect(),
            alarms: Vec::new(),
            own: Some(self.peers[place].id),
        }
    }

    fn window(&self, wall: i64) -> Window {
        let (windows, now) = (&self.settings.windows, at(wall));
        match windows.is_empty() {
            true => Window::None,
            false if window::is_open(windows, now) => Window::Open,
            false => Window::Closed(window::next(windows, now)),
        }
    }

    fn blocked(&mut self, place: usize, job: Job, wait: i64) {
        self.tally.blocked += 1;
        self.nodes[place].again(job, self.now, wait);
    }

    fn begin(&mut self, place: usize, locked: bool) {
        let left = self.nodes[place].ends - self.nodes[place].wall(self.now);
        let is_urgent = left < seconds_of(self.settings.urgent_before);
        let off = self.nodes[place].off.bad;
        for other in (0..self.nodes.len()).filter(|other| *other != place) {
            let other = &self.nodes[other];
            let theirs = match (other.turn, other.marked) {
                (Some(turn), _) => turn.locked,
                // Without a turn it died in one, or could not tell that it had ended.
                (None, true) => true,
                (None, false) => continue,
            };
            match (locked, theirs) {
                (true, true) if is_urgent => self.tally.urgent += 1,
                (false, false) if off || other.off.bad => self.tally.clocks += 1,
                (true, false) => self.tally.came_back += 1,
                // etcd went while the holder was in a cycle; or it has died, and what is urgent
                // here does not wait.
                (false, true) if is_urgent && self.mode != CoordinationMode::Off => self.tally.urgent += 1,
                _ => self.tally.together += 1,
            }
        }
        self.nodes[place].begin(locked, &mut self.chance, self.now);
    }
}

fn seconds_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).expect("seconds")
}

fn settings(text: &str) -> Settings {
    let mut problems = Vec::new();
    let source = Source::parse("simulation".into(), text.to_owned(), &mut problems);
    let settings = Settings::check(&[source], &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    settings
}
