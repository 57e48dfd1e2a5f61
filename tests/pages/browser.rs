//! A headless Chromium with one page, in a network namespace with nothing in it, and the pictures
//! that it takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// No run takes longer, or it hangs.
const DEADLINE: &str = "60";

/// The window: all of the page's rows are in it.
const SIZE: &str = "1320,1900";

/// The preferred color scheme of the system.
#[derive(Clone, Copy, Debug)]
pub enum Scheme {
    Light,
    Dark,
}

pub struct Browser {
    directory: TempDir,
    name: String,
}

/// The pixels of a picture.
pub struct Picture {
    width: usize,
    pixels: Vec<[u8; 3]>,
}

impl Browser {
    /// With this page; pictures are called by `name`.
    pub fn with(name: &str, html: &str) -> Self {
        let directory = TempDir::with_prefix("kubecertd-browser-").expect("a temporary directory");
        fs::write(directory.path().join("page.html"), html).expect("the page");
        let name = name.to_owned();
        Browser { directory, name }
    }

    fn page(&self) -> PathBuf {
        self.directory.path().join("page.html")
    }

    /// Opens the page.
    #[track_caller]
    fn run(&self, options: &[String]) -> Output {
        let profile = self.directory.path().join("profile");
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", DEADLINE, "unshare", "--net", "chromium"]);
        // Root needs --no-sandbox; the rest keeps the browser from looking for updates and fonts of
        // its own.
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-background-networking",
        ]);
        command.arg(format!("--user-data-dir={}", profile.display()));
        command.arg(format!("--window-size={SIZE}")).args(options);
        let output = command
            .arg(format!("file://{}", self.page().display()))
            .output()
            .expect("timeout(1) starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", output.status);
        output
    }

    /// The document as it is after it was read.
    pub fn document(&self) -> String {
        let output = self.run(&["--dump-dom".to_owned()]);
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The addresses that the page asked for, itself apart.
    pub fn requests(&self) -> Vec<String> {
        let log = self.directory.path().join("net.json");
        self.run(&[format!("--log-net-log={}", log.display()), "--dump-dom".to_owned()]);
        let text = fs::read_to_string(&log).expect("the log");
        let log: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let events = log["events"].as_array().expect("events");
        // What the browser asks for on its own behalf (updates) has no origin.
        let by_page = |event: &&serde_json::Value| {
            let initiator = event["params"]["initiator"].as_str();
            initiator.is_some_and(|initiator| initiator != "not an origin")
        };
        let asked = events
            .iter()
            .filter(by_page)
            .filter_map(|event| event["params"]["url"].as_str());
        let mut asked: Vec<_> = asked
            .filter(|url| !url.starts_with("file:"))
            .map(str::to_owned)
            .collect();
        asked.sort();
        asked.dedup();
        asked
    }

    /// A picture of it, which stays in target/pages.
    pub fn picture(&self, scheme: Scheme) -> Picture {
        let pages = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("pages");
        fs::create_dir_all(&pages).expect("target/pages");
        let (word, preferred) = match scheme {
            Scheme::Light => ("light", 1),
            Scheme::Dark => ("dark", 0),
        };
        let file = pages.join(format!("{}-{word}.png", self.name));
        self.run(&[
            format!("--blink-settings=preferredColorScheme={preferred}"),
            format!("--screenshot={}", file.display()),
        ]);
        Picture::read(&file)
    }

    /// html5lib, in its strict mode, is the judge.
    #[track_caller]
    pub fn is_valid(&self) {
        let judge =
            "import html5lib, sys; html5lib.HTMLParser(strict=True).parse(open(sys.argv[1], encoding='utf-8').read())";
        let output = Command::new("/usr/bin/python3")
            .args(["-c", judge])
            .arg(self.page())
            .output()
            .expect("python3 starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Picture {
    fn read(png: &Path) -> Self {
        let output = Command::new("pngtopnm").arg(png).output().expect("pngtopnm starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // ppm(5): P6, width and height, the largest value, one line each.
        let mut parts = output.stdout.splitn(4, |byte| *byte == b'\n');
        assert_eq!(parts.next(), Some(&b"P6"[..]));
        let size = String::from_utf8_lossy(parts.next().expect("a size")).into_owned();
        let (width, height) = size.split_once(' ').expect("two numbers");
        let (width, height): (usize, usize) = (width.parse().expect("width"), height.parse().expect("height"));
        assert_eq!(parts.next(), Some(&b"255"[..]));
        let pixels: Vec<[u8; 3]> = parts.next().expect("pixels").as_chunks().0.to_vec();
        assert_eq!(pixels.len(), width * height);
        Picture { width, pixels }
    }

    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        self.pixels[y * self.width + x]
    }

    pub fn count(&self, colour: [u8; 3]) -> usize {
        self.pixels.iter().filter(|pixel| **pixel == colour).count()
    }

    /// Start and length of the longest run of a color, for every bar (lines one under
    /// the other with a run of `least` at least), from the top.
    pub fn runs(&self, colour: [u8; 3], least: usize) -> Vec<(usize, usize)> {
        let mut bars: Vec<(usize, usize)> = Vec::new();
        let mut was_in = false;
        for line in self.pixels.chunks(self.width) {
            let found = longest(line, colour).filter(|(_, length)| *length >= least);
            match (found, was_in) {
                (Some(run), false) => bars.push(run),
                // The ends of a bar are rounded off by the grid that it lies on.
                (Some(run), true) => bars.iter_mut().next_back().expect("a bar").1 = run.1.max(bars[bars.len() - 1].1),
                (None, _) => {}
            }
            was_in = found.is_some();
        }
        bars
    }
}

fn longest(line: &[[u8; 3]], colour: [u8; 3]) -> Option<(usize, usize)> {
    let mut best = None;
    let mut x = 0;
    while x < line.len() {
        let length = line[x..].iter().take_while(|pixel| **pixel == colour).count();
        if length > best.map_or(0, |(_, length)| length) {
            best = Some((x, length));
        }
        x += length.max(1);
    }
    best
}

/// `--NAME: #RRGGBB` of a style.
pub fn colour(style: &str, name: &str) -> [u8; 3] {
    let begin = format!("--{name}: #");
    let at = style.find(&begin).unwrap_or_else(|| panic!("no --{name}")) + begin.len();
    let part = |n: usize| u8::from_str_radix(&style[at + 2 * n..at + 2 * n + 2], 16).expect("hex");
    [part(0), part(1), part(2)]
}

/// WCAG 2.1, "contrast ratio".
pub fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let luminance = |colour: [u8; 3]| {
        let linear = colour.map(|part| {
            let share = f64::from(part) / 255.0;
            if share <= 0.040_45 {
                share / 12.92
            } else {
                ((share + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    };
    let (a, b) = (luminance(one), luminance(other));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}
