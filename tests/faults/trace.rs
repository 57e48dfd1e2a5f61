//! Reads the output of strace: which calls a run made inside its tree, and the points at which it
//! can be killed or failed.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Every system call that changes files or makes them durable, and what its arguments are: `d` a
/// directory that the next path is relative to, `p` a path, `f` an open file, `_` something else.
/// The question mark lets strace pass over what a machine does not have.
const CALLS: [(&str, &str); 46] = [
    ("openat", "dp"),
    ("openat2", "dp"),
    ("open", "p"),
    ("creat", "p"),
    ("write", "f"),
    ("pwrite64", "f"),
    ("writev", "f"),
    ("pwritev", "f"),
    ("pwritev2", "f"),
    ("splice", "__f"),
    ("fallocate", "f"),
    ("copy_file_range", "f_f"),
    ("sendfile", "f"),
    ("fsync", "f"),
    ("fdatasync", "f"),
    ("rename", "pp"),
    ("renameat", "dpdp"),
    ("renameat2", "dpdp"),
    ("link", "pp"),
    ("linkat", "dpdp"),
    ("unlink", "p"),
    ("unlinkat", "dp"),
    ("rmdir", "p"),
    ("mkdir", "p"),
    ("mkdirat", "dp"),
    ("mknod", "p"),
    ("mknodat", "dp"),
    ("symlink", "_p"),
    ("symlinkat", "_dp"),
    ("fchmod", "f"),
    ("fchmodat", "dp"),
    ("fchmodat2", "dp"),
    ("chmod", "p"),
    ("fchown", "f"),
    ("fchownat", "dp"),
    ("chown", "p"),
    ("lchown", "p"),
    ("setxattr", "p"),
    ("lsetxattr", "p"),
    ("fsetxattr", "f"),
    ("removexattr", "p"),
    ("lremovexattr", "p"),
    ("fremovexattr", "f"),
    ("ftruncate", "f"),
    ("truncate", "p"),
    ("utimensat", "dp"),
];

/// One argument of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A path or data; strace shows data up to the length that `-s` says.
    Text(Vec<u8>),
    /// An open file or directory, by the path that it has now.
    Open(PathBuf),
    /// A number, flags, a structure.
    Other(String),
}

/// One call of the main thread, whether inside the tree or not.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    pub arguments: Vec<Argument>,
    /// Relative to the root of the tree; those outside are left out.
    pub paths: Vec<String>,
    /// The result of the call, or `None` if the process was killed in it.
    pub returned: Option<i64>,
}

/// A call at which a fault can be put: the `nth` call of this name by the main thread, as strace
/// counts for `when=`.
#[derive(Clone, Debug)]
pub struct Point {
    pub call: String,
    pub nth: usize,
    pub paths: Vec<String>,
}

/// For strace's `-e`: lists all of them.
pub fn all_calls() -> String {
    let names: Vec<_> = CALLS.iter().map(|(name, _)| format!("?{name}")).collect();
    format!("trace={}", names.join(","))
}

/// The calls of the first process, in order.
pub fn parse(log: &str, root: &Path) -> Vec<Call> {
    let main = log.split(' ').next().unwrap_or_default();
    let mut calls = Vec::new();
    let mut unfinished = String::new();
    for line in log.lines() {
        let Some(line) = line.strip_prefix(main).and_then(|rest| rest.strip_prefix(' ')) else {
            continue;
        };
        let line = line.trim_start();
        if let Some(start) = line.strip_suffix("<unfinished ...>") {
            unfinished = start.trim_end().to_owned();
            continue;
        }
        let whole = match line.split_once(" resumed>") {
            Some((_, rest)) if line.starts_with("<... ") => format!("{}{rest}", std::mem::take(&mut unfinished)),
            _ => line.to_owned(),
        };
        calls.extend(call(&whole, root));
    }
    // Killed while another thread was being written about.
    calls.extend(call(&format!("{unfinished}) = ?"), root));
    calls
}

/// The calls by which another thread or process changes something inside the tree. strace counts
/// calls per thread, so a fault can only be put at those of the main thread.
pub fn by_others(log: &str, root: &Path) -> Vec<String> {
    let main = log.split(' ').next().unwrap_or_default();
    let others = log.lines().filter(|line| line.split(' ').next() != Some(main));
    let calls = others.filter_map(|line| {
        let line = line.split_once(' ')?.1.trim_start();
        call(&line.replace("<unfinished ...>", ") = ?"), root)
    });
    let changing = calls.filter(|call| call.changes() && !call.paths.is_empty());
    changing.map(|call| format!("{} {:?}", call.name, call.paths)).collect()
}

/// Every call inside the tree that changes something, as a point.
pub fn points(calls: &[Call]) -> Vec<Point> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for call in calls {
        let nth = counts.entry(&call.name).or_default();
        *nth += 1;
        if call.changes() && !call.paths.is_empty() {
            points.push(Point {
                call: call.name.clone(),
                nth: *nth,
                paths: call.paths.clone(),
            });
        }
    }
    points
}

impl Point {
    /// Tells if a run that was traced with this call alone came to this point.
    pub fn is_in(&self, calls: &[Call]) -> bool {
        let same: Vec<_> = calls.iter().filter(|call| call.name == self.call).collect();
        same.get(self.nth - 1).is_some_and(|call| call.paths == self.paths)
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({})", self.call, self.nth, self.paths.join(" -> "))
    }
}

impl Call {
    /// An open for reading changes nothing.
    pub fn changes(&self) -> bool {
        let flags = match self.name.as_str() {
            "openat" => self.word(2),
            "open" => self.word(1),
            _ => return true,
        };
        ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"]
            .iter()
            .any(|flag| flags.contains(flag))
    }

    /// True if the call succeeded.
    pub fn succeeded(&self) -> bool {
        self.returned.is_some_and(|value| value >= 0)
    }

    pub fn word(&self, index: usize) -> &str {
        match self.arguments.get(index) {
            Some(Argument::Other(word)) => word,
            _ => "",
        }
    }

    pub fn bytes(&self, index: usize) -> &[u8] {
        match self.arguments.get(index) {
            Some(Argument::Text(bytes)) => bytes,
            _ => &[],
        }
    }
}

/// `name(arguments) = result`; none for signals and exits.
fn call(line: &str, root: &Path) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let shape = CALLS.iter().find(|(known, _)| *known == name)?.1;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')').unwrap_or(arguments);
    let arguments: Vec<_> = split(arguments).into_iter().map(argument).collect();
    let paths = paths(&arguments, shape);
    let inside = paths.iter().filter_map(|path| path.strip_prefix(root).ok());
    Some(Call {
        name: name.to_owned(),
        paths: inside.map(|path| path.to_string_lossy().into_owned()).collect(),
        arguments,
        returned: result.split([' ', '<']).next()?.parse().ok(),
    })
}

/// At the commas that stand in no string, structure or list. With `-xx` no string holds a quote, a
/// bracket or a comma.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

fn argument(text: &str) -> Argument {
    if let Some(quoted) = text.strip_prefix('"') {
        return Argument::Text(unhex(quoted.split('"').next().unwrap_or_default()));
    }
    match text.split_once('<') {
        Some((_, path)) if path.starts_with("\\x") => {
            let hex = path.split('>').next().unwrap_or_default();
            Argument::Open(PathBuf::from(std::ffi::OsString::from_vec(unhex(hex))))
        }
        _ => Argument::Other(text.to_owned()),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.split("\\x").skip(1);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("{pair:?} is no hex pair")))
        .collect()
}

fn paths(arguments: &[Argument], shape: &str) -> Vec<PathBuf> {
    let mut directory = PathBuf::new();
    let mut paths = Vec::new();
    for (argument, kind) in arguments.iter().zip(shape.chars()) {
        match (kind, argument) {
            ('d', Argument::Open(path)) => directory = path.clone(),
            ('f', Argument::Open(path)) => paths.push(path.clone()),
            ('p', Argument::Text(text)) => paths.push(directory.join(String::from_utf8_lossy(text).as_ref())),
            // utimensat(2) without a path is about the open file itself.
            ('p', Argument::Other(_)) => paths.push(directory.clone()),
            _ => {}
        }
    }
    paths
}
