//! Tables of the configuration that may be repeated: CAs, certificates, kubeconfigs, readers,
//! windows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use toml::Spanned;

use super::check::Checker;
use super::file::{self, Source, Text};
use super::values::{duration, path, time_of_day, time_zone};
use super::window::{DAYS, Window};
use crate::catalog::readers::{ReaderSpec, RestartMethod};
use crate::catalog::{AuthoritySpec, Extra, Storage};

impl Checker<'_> {
    pub(super) fn authorities(&mut self) -> Vec<AuthoritySpec> {
        let mut found = Vec::new();
        for source in self.sources {
            for ca in &source.file.ca {
                let [name, certificate, key] = [(&ca.name, "name"), (&ca.path, "path"), (&ca.key, "key")]
                    .map(|(value, key)| self.required(source, "ca", value, key));
                if let (Some(name), Some(certificate), Some(key)) = (name, certificate, key) {
                    let certificate = self.checked_path(source, "ca.path", &ca.path, &certificate);
                    let key = self.checked_path(source, "ca.key", &ca.key, &key);
                    found.push(AuthoritySpec { name, certificate, key });
                }
            }
        }
        found
    }

    pub(super) fn extra(&mut self) -> Vec<Extra> {
        let mut found: Vec<Extra> = Vec::new();
        for source in self.sources {
            for c in &source.file.certificate {
                let name = self.required(source, "certificate", &c.name, "name");
                let path = self.required(source, "certificate", &c.path, "path");
                let ca = self.required(source, "certificate", &c.ca, "ca");
                if let (Some(name), Some(path), Some(ca)) = (name, path, ca) {
                    let certificate = self.checked_path(source, "certificate.path", &c.path, &path);
                    let key = match &c.key {
                        Some(key) => self.checked_path(source, "certificate.key", &c.key, key.get_ref()),
                        None => certificate.clone(),
                    };
                    self.pattern(source, "certificate", &c.path, &[&name, &path, &key.to_string_lossy()]);
                    found.push(Extra {
                        name,
                        storage: Storage::Pair { certificate, key },
                        ca,
                        readers: list(&c.readers),
                    });
                }
            }
            for k in &source.file.kubeconfig {
                let name = self.required(source, "kubeconfig", &k.name, "name");
                let path = self.required(source, "kubeconfig", &k.path, "path");
                let ca = self.required(source, "kubeconfig", &k.ca, "ca");
                if let (Some(name), Some(path), Some(ca)) = (name, path, ca) {
                    self.pattern(source, "kubeconfig", &k.path, &[&name, &path]);
                    let path = self.checked_path(source, "kubeconfig.path", &k.path, &path);
                    found.push(Extra {
                        name,
                        storage: Storage::Kubeconfig { path },
                        ca,
                        readers: list(&k.readers),
                    });
                }
            }
        }
        found
    }

    pub(super) fn required(&mut self, source: &Source, table: &str, value: &Text, key: &str) -> Option<String> {
        match value {
            Some(value) if !value.get_ref().is_empty() => Some(value.get_ref().clone()),
            _ => {
                let span = value.as_ref().map_or(0..0, Spanned::span);
                let message = format!("every [[{table}]] needs a `{key}`");
                self.problems
                    .push(source.problem(span, &format!("{table}.{key}"), message));
                None
            }
        }
    }

    pub(super) fn checked_path(&mut self, source: &Source, key: &str, value: &Text, text: &str) -> PathBuf {
        path(text).unwrap_or_else(|e| {
            let span = value.as_ref().map_or(0..0, Spanned::span);
            self.problems.push(source.problem(span, key, e));
            PathBuf::from(text)
        })
    }

    /// Checks a pattern: a `*` stands for the same text in path, key and name, and is allowed only
    /// in the last part of a path.
    fn pattern(&mut self, source: &Source, table: &str, at: &Text, parts: &[&str]) {
        let stars: Vec<_> = parts.iter().map(|part| part.matches('*').count()).collect();
        let in_directory = parts[1..]
            .iter()
            .any(|p| Path::new(p).parent().is_some_and(|p| p.to_string_lossy().contains('*')));
        if in_directory || stars.iter().any(|n| *n != stars[0] || *n > 1) {
            let span = at.as_ref().map_or(0..0, Spanned::span);
            let message = "a `*` must stand once in name, path and key alike, and in the file's name only";
            self.problems
                .push(source.problem(span, &format!("{table}.path"), message));
        }
    }

    pub(super) fn readers(&mut self) -> Vec<ReaderSpec> {
        let mut found: Vec<ReaderSpec> = Vec::new();
        for source in self.sources {
            for reader in &source.file.reader {
                let Some(name) = self.required(source, "reader", &reader.name, "name") else {
                    continue;
                };
                let (means, probe) = (self.means(source, reader), self.probe(source, reader));
                found.retain(|earlier| earlier.name != name);
                found.push(ReaderSpec { name, means, probe });
            }
        }
        found
    }

    fn means(&mut self, source: &Source, reader: &file::Reader) -> Option<RestartMethod> {
        let span = reader.name.as_ref().map_or(0..0, Spanned::span);
        let reload = reader.reload.as_ref().is_some_and(|reload| *reload.get_ref());
        let means = match (&reader.unit, reader.exec.as_slice()) {
            (Some(unit), []) => is_unit(unit.get_ref()).map(|()| RestartMethod::Unit {
                unit: unit.get_ref().clone(),
                reload,
            }),
            (None, [program, ..]) => path(program.get_ref()).map(|_| RestartMethod::Exec {
                command: list(&reader.exec),
            }),
            (None, []) if reader.probe.is_some() => return None,
            (None, []) => Err("has neither `unit`, `exec` nor `probe`".into()),
            (Some(_), _) => Err("has `unit` and `exec`; give one of them".into()),
        };
        let means = match means {
            Ok(RestartMethod::Exec { .. }) if reload => Err("has `reload`, which goes with `unit` only".into()),
            means => means,
        };
        means
            .map_err(|message| self.problems.push(source.problem(span, "reader", message)))
            .ok()
    }

    fn probe(&mut self, source: &Source, reader: &file::Reader) -> Option<std::net::SocketAddr> {
        let probe = reader.probe.as_ref()?;
        let parsed = probe.get_ref().parse();
        if parsed.is_err() {
            let message = format!(
                "`{}` is not an address and a port, for example `127.0.0.1:2379`",
                probe.get_ref()
            );
            self.problems
                .push(source.problem(probe.span(), "reader.probe", message));
        }
        parsed.ok()
    }

    pub(super) fn windows(&mut self, zone: &TimeZone) -> Vec<Window> {
        let mut found = Vec::new();
        for source in self.sources {
            for window in &source.file.window {
                let days = self.days(source, window);
                let start = self.checked(source, "window.start", &window.start, time_of_day);
                let length = self.checked(source, "window.length", &window.length, |s| {
                    let day = Duration::from_secs(86_400);
                    duration(s).and_then(|length| {
                        if length > day {
                            Err(format!("`{s}` is longer than a day"))
                        } else {
                            Ok(length)
                        }
                    })
                });
                let zone = match &window.timezone {
                    None => Some(zone.clone()),
                    some => self.checked(source, "window.timezone", some, time_zone),
                };
                if let (Some(days), Some(start), Some(length), Some(zone)) = (days, start, length, zone) {
                    found.push(Window {
                        days,
                        start,
                        length,
                        zone,
                    });
                }
            }
        }
        found
    }

    /// Parses the days of a window. No days means every day.
    fn days(&mut self, source: &Source, window: &file::Window) -> Option<[bool; 7]> {
        let mut days = [window.days.is_empty(); 7];
        for day in &window.days {
            let Some(at) = DAYS.iter().position(|known| known == day.get_ref()) else {
                let message = format!("`{}` is not one of {}", day.get_ref(), DAYS.join(", "));
                self.problems.push(source.problem(day.span(), "window.days", message));
                return None;
            };
            days[at] = true;
        }
        Some(days)
    }

    /// Parses a value that must be present.
    fn checked<T>(
        &mut self,
        source: &Source,
        key: &str,
        value: &Text,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let span = value.as_ref().map_or(0..0, Spanned::span);
        let text = value.as_ref().map_or("", |value| value.get_ref().as_str());
        let parsed = if text.is_empty() {
            Err("is missing".into())
        } else {
            parse(text)
        };
        parsed
            .map_err(|message| self.problems.push(source.problem(span, key, message)))
            .ok()
    }
}

/// Checks that systemd could have a service with this name, and that systemctl does not take it for
/// an option or a pattern.
fn is_unit(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@:\\".contains(c);
    let plain = name.len() < 256 && !name.starts_with('-') && name.chars().all(is_plain) && name.contains('.');
    plain
        .then_some(())
        .ok_or_else(|| format!("`{name}` is not a unit, for example `etcd.service`"))
}

fn list(list: &[Spanned<String>]) -> Vec<String> {
    list.iter().map(|r| r.get_ref().clone()).collect()
}
