//! Archives: compresses or encrypts the files of a backup, and reads them again.
//!
//! A cycle may have to put the plain files back, so they are archived after it has ended. A crash
//! at any moment leaves a whole backup: the archive is complete before the manifest names it, and
//! the manifest names it before the plain files are removed.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zstd::stream::{read::Decoder, write::Encoder};

use super::stored::{self, ARCHIVE, Entry, FILES, Kind, MANIFEST, Manifest, Payload, StoredBackup};
use crate::config::Settings;
use crate::config::settings::Compress;
use crate::format::digest::sha256;
use crate::format::text::printable;
use crate::host::Host;
use crate::host::files::{LARGEST, can_be_read_back};
use crate::host::progress::Progress;
use crate::host::stream::NewFile;
use crate::host::write::Attributes;
use crate::model::{Bytes, Failure};

/// Prefix of an archive's name until it is complete.
const GROWING: &str = ".growing-";
/// zstd's default level: faster than a disk, and three times smaller for keys and YAML.
const LEVEL: i32 = 3;

/// Writes a payload as the settings say. `fill` writes the plain side.
pub(super) fn write<T>(
    host: &Host,
    settings: &Settings,
    directory: &Path,
    name: &str,
    fill: impl FnOnce(&mut dyn Write, &Path) -> Result<T, Failure>,
) -> Result<(T, Payload), Failure> {
    let compress = settings.backup.compress;
    let mut file = name.to_owned();
    if compress == Compress::Zstd {
        file.push_str(".zst");
    }
    let encrypt = &settings.backup.encrypt_with;
    if !encrypt.is_empty() {
        file.push_str(".enc");
    }
    let path = directory.join(&file);
    let fill = |out: &mut dyn Write| match compress {
        Compress::None => fill(out, &path),
        Compress::Zstd => {
            let fail = |e: io::Error| NewFile::failed(&path, &e);
            let mut encoder = Encoder::new(out, LEVEL).map_err(fail)?;
            let filled = fill(&mut encoder, &path)?;
            encoder.finish().map_err(fail)?;
            Ok(filled)
        }
    };
    let (filled, size, sha256) = if encrypt.is_empty() {
        let mut new = host.new_file(&path)?;
        let filled = fill(&mut new)?;
        let (size, sha256) = new.finish()?;
        (filled, size, sha256)
    } else {
        let filled = host.pipe_into(encrypt, &path, fill)?;
        let size = host.size(&path).unwrap_or(0);
        let mut progress = Progress::of("checksum", size);
        let read = host.digest_of(&path, &mut progress);
        let sha256 = read.map_err(|e| Failure::new(format!("cannot read {}: {e}", path.display())))?;
        (filled, size, sha256)
    };
    Ok((filled, Payload { file, size, sha256 }))
}

/// Reads a payload. `read` gets the plain side.
pub(super) fn read<T>(
    host: &Host,
    settings: &Settings,
    directory: &Path,
    payload: &Payload,
    read: impl FnOnce(&mut dyn Read) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let path = directory.join(&payload.file);
    let plain = payload.file.trim_end_matches(".enc");
    let unpacked = |sealed: &mut dyn Read| {
        if !plain.ends_with(".zst") {
            return read(sealed);
        }
        let decoder = Decoder::new(sealed);
        read(&mut decoder.map_err(|e| Failure::new(format!("cannot read {}: {e}", path.display())))?)
    };
    if plain == payload.file {
        return unpacked(&mut host.open(&path)?);
    }
    if settings.backup.decrypt_with.is_empty() {
        return Err(Failure::new(format!("cannot read {}: it is encrypted", path.display()))
            .hint("set [backup] decrypt_with to a program that decrypts it"));
    }
    host.pipe_from(&settings.backup.decrypt_with, &path, unpacked)
}

/// Returns true if this node can read the contents of the backup now.
pub(super) fn is_readable(settings: &Settings, manifest: &Manifest) -> bool {
    let is_encrypted = manifest.payloads.iter().any(|payload| payload.file.ends_with(".enc"));
    !is_encrypted || !settings.backup.decrypt_with.is_empty()
}

/// Archives every backup that is still plain and should not be: that of the last cycle, and those
/// that a crash left. Must not run while a cycle is unfinished. Returns a failure for each backup
/// that stays plain.
pub fn archive_all(host: &Host, settings: &Settings) -> Vec<Failure> {
    let directory = &settings.backup.directory;
    let names = host.names(directory).unwrap_or_default();
    let ids = names.into_iter().filter_map(|name| name.into_string().ok());
    let plain = ids.filter(|id| stored::is_set(id) && host.exists(&directory.join(id).join(FILES)));
    plain
        .map(|id| stored::read(host, directory, id))
        .filter_map(|backup| seal_one(host, settings, &backup).err())
        .collect()
}

fn seal_one(host: &Host, settings: &Settings, backup: &StoredBackup) -> Result<(), Failure> {
    let Ok(manifest) = &backup.manifest else { return Ok(()) };
    let files = backup.directory.join(FILES);
    if manifest.is_archived() {
        // A crash came between the two.
        return host.remove_tree(&files);
    }
    if manifest.seal.is_none() || !settings.backup.archives() {
        return Ok(());
    }
    clear(host, &backup.directory, GROWING)?;
    let growing = format!("{GROWING}{ARCHIVE}");
    let written = write(host, settings, &backup.directory, &growing, |out, path| {
        pack(host, &files, &manifest.entries, out).map_err(|e| NewFile::failed(path, &e))
    });
    let ((), grown) = written.inspect_err(|_| {
        // The first failure is the one to report.
        let _ = clear(host, &backup.directory, GROWING);
    })?;
    let file = grown.file[GROWING.len()..].to_owned();
    host.rename(&backup.directory.join(&grown.file), &backup.directory.join(&file))?;
    host.sync_directory(&backup.directory)?;
    let mut sealed = manifest.clone();
    sealed.payloads.push(Payload { file, ..grown });
    host.replace(
        &backup.directory.join(MANIFEST),
        &json(&sealed)?,
        &Attributes::plain(0o600),
    )?;
    host.remove_tree(&files)
}

/// Removes the rest of an incomplete payload.
pub(super) fn clear(host: &Host, directory: &Path, begin: &str) -> Result<(), Failure> {
    for name in host.names(directory).unwrap_or_default() {
        if name.to_str().is_some_and(|name| name.starts_with(begin)) {
            host.unlink(&directory.join(name))?;
        }
    }
    Ok(())
}

/// Returns the manifest as it is written.
pub(super) fn json(manifest: &Manifest) -> Result<Vec<u8>, Failure> {
    let fail = |reason: String| Failure::new(format!("cannot write the manifest of the backup: {reason}"));
    let json = serde_json::to_vec(manifest).map_err(|e| fail(e.to_string()))?;
    // A manifest that cannot be read again is useless.
    can_be_read_back(&json, "the manifest of the backup")?;
    Ok(json)
}

fn pack(host: &Host, files: &Path, entries: &[Entry], out: &mut dyn Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(out);
    let total = entries.iter().filter_map(|entry| entry.size).sum();
    let mut progress = Progress::of("archiving the backup", total);
    for entry in entries {
        let inside = entry.path.strip_prefix("/").unwrap_or(&entry.path);
        let mut header = tar::Header::new_gnu();
        header.set_mode(entry.mode);
        header.set_uid(entry.uid.into());
        header.set_gid(entry.gid.into());
        header.set_mtime(entry.mtime.try_into().unwrap_or(0));
        header.set_size(0);
        match entry.kind {
            Kind::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                archive.append_data(&mut header, inside, io::empty())?;
            }
            Kind::Symlink => {
                header.set_entry_type(tar::EntryType::Symlink);
                archive.append_link(&mut header, inside, entry.target.as_deref().unwrap_or(Path::new("")))?;
            }
            Kind::File => {
                let size = entry.size.unwrap_or(0);
                header.set_size(size);
                let file = host
                    .open(&files.join(inside))
                    .map_err(|e| io::Error::other(e.message))?;
                archive.append_data(&mut header, inside, SizedReader { file, left: size })?;
                progress.add(usize::try_from(size).unwrap_or(usize::MAX));
            }
        }
    }
    archive.finish()?;
    progress.end();
    Ok(())
}

/// A reader that fails unless the file has exactly the given length: a tar needs the length in
/// advance.
struct SizedReader<R> {
    file: R,
    left: u64,
}

impl<R: Read> Read for SizedReader<R> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let most = piece.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut piece[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::other("a file of the backup is shorter than in the manifest"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// Returns the bytes of the files that `wanted` selects, if they are small enough to be read whole.
/// Their digests must match the manifest.
pub fn contents(
    host: &Host,
    settings: &Settings,
    backup: &StoredBackup,
    manifest: &Manifest,
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<BTreeMap<PathBuf, Bytes>, Failure> {
    let mut found = BTreeMap::new();
    each_file(host, settings, backup, manifest, |entry, plain| {
        if !wanted(&entry.path) || entry.size.is_none_or(|size| size > LARGEST) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let fail = |reason: String| {
            Failure::new(format!(
                "cannot read {} in {}: {reason}",
                entry.path.display(),
                backup.id
            ))
        };
        let read = plain.take(LARGEST + 1).read_to_end(&mut bytes);
        let bytes = Bytes::new(bytes);
        read.map_err(|e| fail(printable(&e.to_string())))?;
        if Some(sha256(&bytes)) != entry.sha256 {
            return Err(fail("its digest does not match the manifest".into()));
        }
        found.insert(entry.path.clone(), bytes);
        Ok(())
    })?;
    Ok(found)
}

/// Writes a payload, plain, to a new file that only root can read.
pub fn extract_payload(
    host: &Host,
    settings: &Settings,
    backup: &StoredBackup,
    payload: &Payload,
    to: &Path,
) -> Result<(), Failure> {
    read(host, settings, &backup.directory, payload, |plain| {
        let mut new = host.new_file(to)?;
        let copied = io::copy(plain, &mut new);
        copied.map_err(|e| Failure::new(format!("cannot read {}: {}", payload.file, printable(&e.to_string()))))?;
        new.finish().map(drop)
    })
}

/// Restores the directory `from` of a backup as `to`, with its contents, owners and modes, and
/// compares it with the manifest.
pub fn extract_directory(
    host: &Host,
    settings: &Settings,
    backup: &StoredBackup,
    from: &Path,
    to: &Path,
) -> Result<(), Failure> {
    let manifest = backup
        .manifest
        .as_ref()
        .map_err(|reason| Failure::new(format!("cannot read the manifest of {}: {reason}", backup.id)))?;
    let place = |entry: &Entry| Some(to.join(entry.path.strip_prefix(from).ok()?));
    // The manifest lists directories after their contents, but they are made first.
    for directory in manifest
        .entries
        .iter()
        .rev()
        .filter(|entry| entry.kind == Kind::Directory)
    {
        if let Some(path) = place(directory) {
            host.make_directory_like(&path, &directory.attributes())?;
        }
    }
    let all = manifest.entries.iter().filter(|entry| entry.path.starts_with(from));
    let mut progress = Progress::of("restoring etcd's data", all.filter_map(|entry| entry.size).sum());
    each_file(host, settings, backup, manifest, |entry, plain| {
        let Some(path) = place(entry) else { return Ok(()) };
        let mut new = host.new_file(&path)?;
        let mut piece = vec![0; 1 << 16];
        loop {
            match plain.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    new.write_all(&piece[..count]).map_err(|e| NewFile::failed(&path, &e))?;
                    progress.add(count);
                }
                Err(e) => return Err(Failure::new(format!("cannot read {}: {e}", entry.path.display()))),
            }
        }
        let (_, sha256) = new.finish()?;
        if Some(&sha256) != entry.sha256.as_ref() {
            let path = entry.path.display();
            return Err(Failure::new(format!(
                "cannot use {path}: its digest does not match the manifest"
            )));
        }
        host.dress(&path, &entry.attributes())
    })?;
    host.sync_tree_directories(to)?;
    progress.end();
    Ok(())
}

/// Calls `each` with every file of a backup and its entry, from the archive or the plain files.
/// Other kinds of entries are skipped.
pub(super) fn each_file(
    host: &Host,
    settings: &Settings,
    backup: &StoredBackup,
    manifest: &Manifest,
    mut each: impl FnMut(&Entry, &mut dyn Read) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let is_file = |entry: &&Entry| entry.kind == Kind::File;
    let Some(archive) = manifest.archive() else {
        return manifest.entries.iter().filter(is_file).try_for_each(|entry| {
            let inside = entry.path.strip_prefix("/").unwrap_or(&entry.path);
            each(entry, &mut host.open(&backup.directory.join(FILES).join(inside))?)
        });
    };
    let fail = |e: io::Error| {
        Failure::new(format!(
            "cannot read {}: {}",
            backup.directory.join(&archive.file).display(),
            printable(&e.to_string())
        ))
    };
    read(host, settings, &backup.directory, archive, |plain| {
        let mut tar = tar::Archive::new(plain);
        for packed in tar.entries().map_err(fail)? {
            let mut packed = packed.map_err(fail)?;
            let path = Path::new("/").join(packed.path().map_err(fail)?);
            if let Some(entry) = manifest.entries.iter().filter(is_file).find(|entry| entry.path == path) {
                each(entry, &mut packed)?;
            }
        }
        Ok(())
    })
}
