//! The `[backup]` and `[etcd]` tables.

use jiff::tz::TimeZone;

use super::check::Checker;
use super::file::{File, Texts};
use super::settings::{Backup, Etcd, Timetable};
use super::values::{cron, duration_or_none, endpoint, one_of, path, path_or_auto};
use crate::format::text;

/// Default of `[backup] directory`.
const DEFAULT_BACKUPS: &str = "/var/lib/kubecertd/backups";

impl Checker<'_> {
    pub(super) fn etcd(&mut self) -> Etcd {
        let etcd = Etcd {
            endpoints: self.texts("etcd.endpoints", |f| &f.etcd.endpoints, endpoint),
            ca: self.text("etcd.ca", |f| &f.etcd.ca, "auto", path_or_auto),
            certificate: self.text("etcd.certificate", |f| &f.etcd.certificate, "auto", path_or_auto),
            key: self.text("etcd.key", |f| &f.etcd.key, "auto", path_or_auto),
        };
        if etcd.certificate.is_some() != etcd.key.is_some() {
            let message = "`certificate` and `key` are set together or not at all".into();
            self.wrong("etcd.certificate", |f| &f.etcd.certificate, message);
        }
        etcd
    }

    pub(super) fn backup(&mut self, zone: &TimeZone) -> Backup {
        Backup {
            directory: self.text("backup.directory", |f| &f.backup.directory, DEFAULT_BACKUPS, path),
            keep: self.number("backup.keep", |f| &f.backup.keep, 5, 1..=10_000),
            keep_within: self.text("backup.keep_within", |f| &f.backup.keep_within, "0s", duration_or_none),
            max_size: self.text(
                "backup.max_size",
                |f| &f.backup.max_size,
                "unlimited",
                |s| match s {
                    "unlimited" => Ok(None),
                    _ => text::parse_bytes(s).map(Some).ok_or_else(|| {
                        format!("`{s}` is neither a size such as `20GiB` (B, KiB, MiB, GiB, TiB) nor `unlimited`")
                    }),
                },
            ),
            before_renewal: self.text(
                "backup.before_renewal",
                |f| &f.backup.before_renewal,
                "required",
                one_of,
            ),
            schedule: self.text(
                "backup.schedule",
                |f| &f.backup.schedule,
                "off",
                |s| match s {
                    "off" => Ok(None),
                    _ => match cron(s) {
                        Ok((cron, text)) => Ok(Some(Timetable {
                            cron,
                            text,
                            zone: zone.clone(),
                        })),
                        Err(e) => Err(format!("{e}, nor `off`")),
                    },
                },
            ),
            compress: self.text("backup.compress", |f| &f.backup.compress, "none", one_of),
            encrypt_with: self.command("backup.encrypt_with", |f| &f.backup.encrypt_with),
            decrypt_with: self.command("backup.decrypt_with", |f| &f.backup.decrypt_with),
        }
    }

    /// Parses a program and its arguments: an absolute path, or a name that is searched in the
    /// system's directories.
    pub(super) fn command(&mut self, key: &str, get: impl Fn(&File) -> &Texts + Copy) -> Vec<String> {
        let words = self.texts(key, get, |word| match word {
            "" => Err("an empty word is not a part of a command".into()),
            _ if word.contains('\0') => Err("a command has no NUL bytes".into()),
            _ => Ok(word.to_owned()),
        });
        let named = words
            .first()
            .is_none_or(|program| program.starts_with('/') || !program.contains('/'));
        if !named && let Some((source, list)) = self.last(get) {
            let message = format!("`{}` is neither an absolute path nor a plain name", words[0]);
            let problem = source.problem(list.span(), key, message);
            self.problems.push(problem);
        }
        words
    }
}
