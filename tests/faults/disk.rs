//! A disk that loses its power: only what was synced is sure to be there afterwards.
//!
//! fsync(2) of a file makes its content and attributes durable, fsync of a directory the names in
//! it. Of everything else any part may have reached the disk, since file systems order these writes
//! as they like; the names of one rename change together.

use super::image::{Attributes, Entry, Image, Kind};
use super::trace::Call;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The state of the disk after the power is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survives {
    /// Only the synced data.
    Synced,
    /// Everything that was done.
    All,
    /// The synced data, and a part of the rest that depends on this number.
    Some(u64),
}

#[derive(Clone)]
enum Content {
    File(Arc<Vec<u8>>),
    Directory(BTreeMap<String, usize>),
    Symlink(String),
}

#[derive(Clone)]
struct State {
    content: Content,
    attributes: Attributes,
    modified: (i64, i64),
}

/// Names that are set (to an inode) or removed together.
type Change = Vec<(String, Option<usize>)>;

struct Inode {
    now: State,
    synced: State,
    /// The changes to a directory since it was synced.
    waiting: Vec<Change>,
}

/// Inodes by number; the root is the first.
pub struct Disk(Vec<Inode>);

impl Disk {
    /// A tree that is wholly on the disk.
    pub fn of(image: &Image) -> Self {
        let mut disk = Disk(Vec::new());
        disk.new_inode(Content::Directory(BTreeMap::new()), Attributes::plain(0o755));
        let mut numbers = BTreeMap::new();
        for (path, entry) in &image.0 {
            let number = *numbers.entry(entry.inode).or_insert_with(|| {
                let content = match &entry.kind {
                    Kind::File(bytes) => Content::File(Arc::clone(bytes)),
                    Kind::Directory => Content::Directory(BTreeMap::new()),
                    Kind::Symlink(target) => Content::Symlink(target.clone()),
                };
                let number = disk.new_inode(content, entry.attributes.clone());
                disk.0[number].now.modified = entry.modified;
                number
            });
            let (directory, name) = disk.place(path);
            disk.change(directory, vec![(name, Some(number))]);
        }
        (0..disk.0.len()).for_each(|number| disk.sync(number));
        disk
    }

    /// Does what a traced call did.
    pub fn apply(&mut self, call: &Call) {
        if !call.succeeded() {
            return;
        }
        let path = call.paths[0].as_str();
        match call.name.as_str() {
            "openat" => self.open(path, call.word(2), call.word(3)),
            "open" => self.open(path, call.word(1), call.word(2)),
            "write" => {
                let written = usize::try_from(call.returned.unwrap_or(0)).unwrap_or(0);
                assert_eq!(call.bytes(1).len(), written, "the trace holds all data");
                self.edit(path, |bytes| bytes.extend_from_slice(call.bytes(1)));
            }
            "ftruncate" => self.edit(path, |bytes| bytes.truncate(number(call.word(1), 10))),
            "fsync" | "fdatasync" => {
                let inode = self.find(path);
                self.sync(inode);
            }
            "rename" | "renameat" | "renameat2" => self.rename(path, &call.paths[1]),
            "link" | "linkat" => {
                let inode = self.find(path);
                let (directory, name) = self.place(&call.paths[1]);
                self.change(directory, vec![(name, Some(inode))]);
            }
            "unlink" | "unlinkat" | "rmdir" => {
                let (directory, name) = self.place(path);
                self.change(directory, vec![(name, None)]);
            }
            "mkdir" | "mkdirat" => {
                let mode = number(call.word(if call.name == "mkdir" { 1 } else { 2 }), 8) as u32;
                self.add(path, Content::Directory(BTreeMap::new()), mode);
            }
            "symlink" | "symlinkat" => self.add(path, Content::Symlink(text(call.bytes(0))), 0o777),
            _ => self.dress(path, call),
        }
    }

    fn dress(&mut self, path: &str, call: &Call) {
        let inode = self.find(path);
        let now = &mut self.0[inode].now;
        match call.name.as_str() {
            "fchmod" | "chmod" => now.attributes.mode = number(call.word(1), 8) as u32,
            "fchown" | "chown" | "lchown" => {
                now.attributes.uid = number(call.word(1), 10) as u32;
                now.attributes.gid = number(call.word(2), 10) as u32;
            }
            "setxattr" | "lsetxattr" | "fsetxattr" => {
                now.attributes
                    .extended
                    .insert(text(call.bytes(1)), call.bytes(2).to_vec());
            }
            "utimensat" => {
                let modified = call.word(2).rsplit_once("{tv_sec=").expect("a time of modification").1;
                let (seconds, rest) = modified.split_once(", tv_nsec=").expect("nanoseconds");
                now.modified = (number(seconds, 10) as i64, number(rest, 10) as i64);
            }
            other => panic!("the model of the disk does not know {other} ({path})"),
        }
    }

    fn open(&mut self, path: &str, flags: &str, mode: &str) {
        match self.lookup(path) {
            None if flags.contains("O_CREAT") => self.add(path, Content::File(Arc::default()), number(mode, 8) as u32),
            Some(_) if flags.contains("O_TRUNC") => self.edit(path, Vec::clear),
            _ => {}
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        let inode = self.find(from);
        let ((from_directory, from_name), (to_directory, to_name)) = (self.place(from), self.place(to));
        assert_eq!(
            from_directory, to_directory,
            "the model of the disk knows renames within a directory only"
        );
        self.change(to_directory, vec![(from_name, None), (to_name, Some(inode))]);
    }

    fn edit(&mut self, path: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let inode = self.find(path);
        let Content::File(bytes) = &mut self.0[inode].now.content else {
            panic!("{path} is no file");
        };
        edit(Arc::make_mut(bytes));
    }

    fn add(&mut self, path: &str, content: Content, mode: u32) {
        let inode = self.new_inode(content, Attributes::plain(mode));
        let (directory, name) = self.place(path);
        self.change(directory, vec![(name, Some(inode))]);
    }

    /// The attributes of a new file are on the disk as soon as one of its names is; its bytes are
    /// not.
    fn new_inode(&mut self, content: Content, attributes: Attributes) -> usize {
        let state = State {
            content,
            attributes,
            modified: (0, 0),
        };
        self.0.push(Inode {
            now: state.clone(),
            synced: state,
            waiting: Vec::new(),
        });
        self.0.len() - 1
    }

    fn sync(&mut self, number: usize) {
        let inode = &mut self.0[number];
        inode.synced = inode.now.clone();
        inode.waiting.clear();
    }

    fn change(&mut self, directory: usize, change: Change) {
        let inode = &mut self.0[directory];
        apply(&mut inode.now.content, &change);
        inode.waiting.push(change);
    }

    /// The directory of a path, and the name in it.
    fn place(&self, path: &str) -> (usize, String) {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        (self.find(directory), name.to_owned())
    }

    fn find(&self, path: &str) -> usize {
        self.lookup(path)
            .unwrap_or_else(|| panic!("the model of the disk has no {path}"))
    }

    fn lookup(&self, path: &str) -> Option<usize> {
        let mut number = 0;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Content::Directory(names) = &self.0[number].now.content else {
                return None;
            };
            number = *names.get(name)?;
        }
        Some(number)
    }

    /// The tree that is found after the power was lost now.
    pub fn after_power_loss(&self, survives: Survives) -> Image {
        let mut image = Image::default();
        self.collect(0, "", survives, &mut image);
        image
    }

    fn collect(&self, number: usize, prefix: &str, survives: Survives, image: &mut Image) {
        let Content::Directory(names) = self.0[number].left(number, survives).content else {
            return;
        };
        for (name, child) in names {
            let path = format!("{prefix}{name}");
            let state = self.0[child].left(child, survives);
            let kind = match state.content {
                Content::File(bytes) => Kind::File(bytes),
                Content::Symlink(target) => Kind::Symlink(target),
                Content::Directory(_) => {
                    self.collect(child, &format!("{path}/"), survives, image);
                    Kind::Directory
                }
            };
            let entry = Entry {
                kind,
                attributes: state.attributes,
                modified: state.modified,
                inode: child as u64,
            };
            image.0.insert(path, entry);
        }
    }
}

impl Inode {
    fn left(&self, number: usize, survives: Survives) -> State {
        let seed = match survives {
            Survives::Synced => return self.synced.clone(),
            Survives::All => return self.now.clone(),
            Survives::Some(seed) => seed,
        };
        let mut chance = Chance::new(seed, number);
        let mut state = if chance.one_in(2) { &self.now } else { &self.synced }.clone();
        match (&self.now.content, &self.synced.content) {
            (Content::File(now), Content::File(synced)) if now != synced => {
                // Nothing, everything, or the first part of what was written.
                let length = chance.below(now.len() + 1);
                let torn = Arc::new(now[..length].to_vec());
                let choices = [synced, now, &torn];
                state.content = Content::File(Arc::clone(choices[chance.below(3)]));
            }
            (Content::Directory(_), synced) => {
                let in_order = chance.one_in(2);
                let end = if in_order {
                    chance.below(self.waiting.len() + 1)
                } else {
                    self.waiting.len()
                };
                state.content = synced.clone();
                for change in &self.waiting[..end] {
                    if in_order || chance.one_in(2) {
                        apply(&mut state.content, change);
                    }
                }
            }
            _ => {}
        }
        state
    }
}

fn apply(content: &mut Content, change: &Change) {
    let Content::Directory(names) = content else {
        panic!("a name in something that is no directory");
    };
    for (name, inode) in change {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

/// Reproducible dice (SplitMix64).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64, stream: usize) -> Self {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (stream as u64).wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// The number that a text starts with.
fn number(text: &str, radix: u32) -> usize {
    let digits = text.split(|c: char| !c.is_digit(radix)).next().unwrap_or_default();
    usize::from_str_radix(digits, radix).unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
