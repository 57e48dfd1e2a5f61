//! Events as an observer outside of the nodes sees them, in order: inotify(7) on the state
//! directories of all nodes, and on the directories that the commands of `[[reader]]` leave files
//! in. One queue, so the kernel orders the events of all nodes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::checker::{Event, What};
use super::lab::Lab;
use super::node::{EVENTS, STATE};

/// The journal of a transaction: it appears before the first replacement, and goes after the proof
/// or the undoing.
const JOURNAL: &str = "transaction.json";
/// Made in a watched directory to end the watch.
const STOP: &str = "stop";

/// The events so far. Every part of the test that changes a node adds to them.
#[derive(Clone)]
pub struct Seen {
    began: Instant,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Seen {
    pub fn add(&self, node: usize, what: What) {
        let at = self.began.elapsed();
        self.events
            .lock()
            .expect("no panic holds it")
            .push(Event { at, node, what });
    }

    pub fn all(&self) -> Vec<Event> {
        self.events.lock().expect("no panic holds it").clone()
    }

    /// Which nodes are between first replacement and proof.
    pub fn open(&self) -> Vec<usize> {
        let mut open = Vec::new();
        for event in self.events.lock().expect("no panic holds it").iter() {
            match event.what {
                What::Begins => open.push(event.node),
                What::Ends => open.retain(|node| *node != event.node),
                _ => {}
            }
        }
        open
    }

    pub fn elapsed(&self) -> std::time::Duration {
        self.began.elapsed()
    }
}

/// Looks until it is dropped.
pub struct Watch {
    pub seen: Seen,
    stop: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn begin(lab: &Lab) -> Self {
        let seen = Seen {
            began: Instant::now(),
            events: Arc::default(),
        };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC).expect("inotify");
        let mut places = HashMap::new();
        for node in &lab.nodes {
            let journal = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
            for (directory, flags) in [(STATE, journal), (EVENTS, AddWatchFlags::IN_CREATE)] {
                let watch = inotify.add_watch(&node.tree.path(directory), flags).expect("a watch");
                places.insert(watch, node.number);
            }
        }
        let stop = lab.nodes[0].tree.path(EVENTS).join(STOP);
        let _ = std::fs::remove_file(&stop);
        let thread = std::thread::spawn({
            let seen = seen.clone();
            move || look(&inotify, &places, &seen)
        });
        Watch {
            seen,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = std::fs::write(&self.stop, b"");
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look(inotify: &Inotify, places: &HashMap<WatchDescriptor, usize>, seen: &Seen) {
    let mut open = Vec::new();
    loop {
        for event in inotify.read_events().expect("events") {
            assert!(!event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW), "events were lost");
            let Some(name) = event.name.as_ref().and_then(|name| name.to_str()) else {
                continue;
            };
            if name == STOP {
                return;
            }
            let node = places[&event.wd];
            if let Some(what) = meaning(&event, name, open.contains(&node)) {
                match what {
                    What::Begins => open.push(node),
                    What::Ends => open.retain(|other| *other != node),
                    _ => {}
                }
                seen.add(node, what);
            }
        }
    }
}

/// A journal that is replaced by its next state does not count as a beginning.
fn meaning(event: &InotifyEvent, name: &str, is_open: bool) -> Option<What> {
    if name == JOURNAL {
        return match (event.mask.contains(AddWatchFlags::IN_DELETE), is_open) {
            (true, _) => Some(What::Ends),
            (false, false) => Some(What::Begins),
            (false, true) => None,
        };
    }
    let (verb, rest) = name.split_once('-')?;
    let reader = rest.rsplit_once('-')?.0.to_owned();
    match verb {
        "restarting" => Some(What::Restarting(reader)),
        "restarted" => Some(What::Restarted(reader)),
        _ => None,
    }
}
