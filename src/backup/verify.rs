//! Verifies a backup: compares every file with the manifest, and etcd's snapshot with its own
//! checksum.

use std::io::Read;

use super::archive::{self, each_file};
use super::stored::{BAD, Entry, FILES, Kind, MANIFEST, Manifest, Payload, SNAPSHOT, StoredBackup};
use crate::config::Settings;
use crate::format::digest::Sha256;
use crate::format::snapshot::Trailer;
use crate::format::text::printable;
use crate::host::Host;
use crate::host::progress::Progress;
use crate::host::write::Attributes;
use crate::model::Failure;

/// Returns a sentence for each fault of a backup. Empty for a good one.
pub fn verify(host: &Host, settings: &Settings, backup: &StoredBackup) -> Vec<String> {
    let manifest = match &backup.manifest {
        Ok(manifest) => manifest,
        Err(reason) => return vec![reason.clone()],
    };
    if manifest.format != 1 {
        return vec![format!(
            "its format is {}, but this version of kubecertd knows only 1",
            manifest.format
        )];
    }
    let mut check = Check {
        host,
        settings,
        backup,
        manifest,
        progress: Progress::of("verifying the backup", backup.size()),
        wrong: Vec::new(),
    };
    check.payloads();
    if manifest.is_archived() {
        check.sealed();
    } else {
        check.plain();
    }
    check.modes();
    check.progress.end();
    check.wrong
}

/// Returns true if [`verify`] can read the contents of the archives, and not only compare their
/// bytes.
pub fn reads_inside(settings: &Settings, backup: &StoredBackup) -> bool {
    backup
        .manifest
        .as_ref()
        .is_ok_and(|manifest| archive::is_readable(settings, manifest))
}

/// Records the faults in the backup, so that lists and retention no longer count it as good.
pub fn remember(host: &Host, backup: &StoredBackup, wrong: &[String]) -> Result<(), Failure> {
    let mark = backup.directory.join(BAD);
    match wrong.first() {
        Some(first) => host.replace(&mark, printable(first).as_bytes(), &Attributes::plain(0o600)),
        None => host.unlink(&mark),
    }
}

struct Check<'a> {
    host: &'a Host,
    settings: &'a Settings,
    backup: &'a StoredBackup,
    manifest: &'a Manifest,
    progress: Progress,
    wrong: Vec<String>,
}

impl Check<'_> {
    fn payloads(&mut self) {
        for payload in &self.manifest.payloads {
            let file = &payload.file;
            match self
                .host
                .digest_of(&self.backup.directory.join(file), &mut self.progress)
            {
                Ok(digest) if digest == payload.sha256 => self.trailer(payload),
                Ok(_) => self
                    .wrong
                    .push(format!("{file} is damaged: its digest does not match the manifest")),
                Err(reason) => self.wrong.push(format!("{file} cannot be read: {reason}")),
            }
        }
    }

    /// The digest proves that it is what was written; the trailer, that it is what etcd sent.
    fn trailer(&mut self, payload: &Payload) {
        if !payload.file.starts_with(SNAPSHOT) || !archive::is_readable(self.settings, self.manifest) {
            return;
        }
        let mut trailer = Trailer::default();
        let read = archive::read(self.host, self.settings, &self.backup.directory, payload, |plain| {
            drain(plain, |piece| trailer.update(piece))
        });
        let checked = read
            .map_err(|failure| format!("cannot be read: {failure}"))
            .and_then(|()| trailer.check());
        if let Err(reason) = checked {
            self.wrong.push(format!("{} {reason}", payload.file));
        }
    }

    fn plain(&mut self) {
        for entry in &self.manifest.entries {
            let inside = entry.path.strip_prefix("/").unwrap_or(&entry.path);
            let copy = self.backup.directory.join(FILES).join(inside);
            let path = entry.path.display();
            match entry.kind {
                Kind::File => match self.host.digest_of(&copy, &mut self.progress) {
                    Ok(digest) if Some(&digest) == entry.sha256.as_ref() => {}
                    Ok(_) => self.wrong.push(damaged(entry)),
                    Err(reason) => self.wrong.push(format!("{path} cannot be read: {reason}")),
                },
                Kind::Directory | Kind::Symlink if self.host.exists(&copy) => {}
                Kind::Directory | Kind::Symlink => self.wrong.push(format!("{path} is missing")),
            }
        }
    }

    fn sealed(&mut self) {
        if !archive::is_readable(self.settings, self.manifest) {
            return;
        }
        let (mut seen, mut damage) = (0, Vec::new());
        let read = each_file(self.host, self.settings, self.backup, self.manifest, |entry, plain| {
            let mut digest = Sha256::default();
            drain(plain, |piece| digest.update(piece))?;
            seen += 1;
            if Some(digest.finish()) != entry.sha256 {
                damage.push(damaged(entry));
            }
            Ok(())
        });
        self.wrong.append(&mut damage);
        let files = self.manifest.entries.iter().filter(|entry| entry.kind == Kind::File);
        match read {
            Err(failure) => self.wrong.push(failure.message),
            Ok(()) if seen != files.clone().count() => {
                let listed = files.count();
                self.wrong.push(format!(
                    "its archive holds {seen} of the {listed} files in its manifest"
                ));
            }
            Ok(()) => {}
        }
    }

    /// Checks that only root can read the directory, the manifest, and the files next to it. The
    /// directory protects the contents of `files/`.
    fn modes(&mut self) {
        let directory = &self.backup.directory;
        let own = self
            .manifest
            .payloads
            .iter()
            .map(|payload| payload.file.as_str())
            .chain([MANIFEST]);
        let all = std::iter::once(directory.clone()).chain(own.map(|name| directory.join(name)));
        let wide = all.filter_map(|path| self.host.wider_than_root(&path));
        self.wrong
            .extend(wide.map(|reason| format!("other users can read it: {reason}")));
    }
}

fn damaged(entry: &Entry) -> String {
    format!(
        "{} is damaged: its digest does not match the manifest",
        entry.path.display()
    )
}

fn drain(from: &mut dyn Read, mut take: impl FnMut(&[u8])) -> Result<(), Failure> {
    let mut piece = zeroize::Zeroizing::new(vec![0; 1 << 16]);
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => take(&piece[..count]),
            Err(e) => return Err(Failure::new(printable(&e.to_string()))),
        }
    }
}
