//! From files as written to settings: parses every value, checks every relation, and keeps all
//! problems.

use std::path::PathBuf;

use toml::Spanned;

use super::Problem;
use super::file::{File, Number, Source, Text, Texts};
use super::settings::{Coordination, Paths, Restart, Settings, Timetable};
use super::values::{cron, duration, duration_or_none, one_of, path, path_or_auto, seconds, time_zone};
use crate::catalog;

impl Settings {
    /// Returns the settings of `sources` (the later one wins), and adds every problem with them to
    /// `problems`.
    pub fn check(sources: &[Source], problems: &mut Vec<Problem>) -> Self {
        let mut c = Checker { sources, problems };
        let zone = c.text("timezone", |f| &f.timezone, "UTC", time_zone);
        let (cron, text) = c.text("schedule", |f| &f.schedule, "0 17 3 * * *", cron);
        let renew_before = c.text("renew_before", |f| &f.renew_before, "30d", duration);
        let urgent_before = c.text("urgent_before", |f| &f.urgent_before, "7d", duration);
        let validity = c.text("validity", |f| &f.validity, "365d", duration);
        let clock_wait = c.text("clock_wait", |f| &f.clock_wait, "15m", duration_or_none);
        let spread = c.text("spread", |f| &f.spread, "1h", duration_or_none);
        let first_look = c.text("first_look", |f| &f.first_look, "report", one_of);
        let settings = Self {
            schedule: Timetable {
                cron,
                text,
                zone: zone.clone(),
            },
            spread,
            first_look,
            backup: c.backup(&zone),
            etcd: c.etcd(),
            renew_before,
            urgent_before,
            validity,
            clock_wait,
            paths: c.paths(),
            restart: c.restart(),
            metrics: c.metrics(),
            hooks: c.hooks(),
            coordination: c.coordination(),
            authorities: c.authorities(),
            extra: c.extra(),
            copies: c.copies(),
            readers: c.readers(),
            windows: c.windows(&zone),
        };
        c.relations(&settings);
        settings
    }
}

pub(super) struct Checker<'a> {
    pub(super) sources: &'a [Source],
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Checker<'_> {
    /// Returns the value in the last file that sets the key.
    pub(super) fn last<T>(&self, get: impl Fn(&File) -> &Option<Spanned<T>>) -> Option<(&Source, &Spanned<T>)> {
        self.sources
            .iter()
            .rev()
            .find_map(|source| Some((source, get(&source.file).as_ref()?)))
    }

    pub(super) fn text<T>(
        &mut self,
        key: &str,
        get: impl Fn(&File) -> &Text,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let found = self
            .last(get)
            .map(|(source, value)| parse(value.get_ref()).map_err(|e| source.problem(value.span(), key, e)));
        match found {
            Some(Ok(value)) => return value,
            Some(Err(problem)) => self.problems.push(problem),
            None => {}
        }
        // Defaults are constants of this file, parsed by the same function, and a test parses them
        // all.
        parse(default).unwrap_or_else(|e| unreachable!("default of {key}: {e}"))
    }

    pub(super) fn number(
        &mut self,
        key: &str,
        get: impl Fn(&File) -> &Number,
        default: usize,
        allowed: std::ops::RangeInclusive<i64>,
    ) -> usize {
        let found = self.last(get).map(|(source, value)| {
            if allowed.contains(value.get_ref()) {
                usize::try_from(*value.get_ref()).map_err(|e| source.problem(value.span(), key, e.to_string()))
            } else {
                let message = format!(
                    "{} is not between {} and {}",
                    value.get_ref(),
                    allowed.start(),
                    allowed.end()
                );
                Err(source.problem(value.span(), key, message))
            }
        });
        match found {
            Some(Ok(value)) => value,
            Some(Err(problem)) => {
                self.problems.push(problem);
                default
            }
            None => default,
        }
    }

    fn paths(&mut self) -> Paths {
        let kubernetes = self.text("paths.kubernetes", |f| &f.paths.kubernetes, "/etc/kubernetes", path);
        let pki = kubernetes.join("pki");
        Paths {
            pki: self.text("paths.pki", |f| &f.paths.pki, &pki.to_string_lossy(), path),
            kubernetes,
            manifests: self.text("paths.manifests", |f| &f.paths.manifests, "auto", path_or_auto),
            etcd_data: self.text("paths.etcd_data", |f| &f.paths.etcd_data, "auto", path_or_auto),
            kubelet: self.text("paths.kubelet", |f| &f.paths.kubelet, "/var/lib/kubelet", path),
        }
    }

    /// Parses every member of a list. A missing list is empty.
    pub(super) fn texts(
        &mut self,
        key: &str,
        get: impl Fn(&File) -> &Texts,
        parse: fn(&str) -> Result<String, String>,
    ) -> Vec<String> {
        let Some((source, list)) = self.last(get) else {
            return Vec::new();
        };
        let parsed = list
            .get_ref()
            .iter()
            .map(|value| parse(value.get_ref()).map_err(|e| source.problem(value.span(), key, e)));
        let (good, bad): (Vec<_>, Vec<_>) = parsed.partition(Result::is_ok);
        self.problems.extend(bad.into_iter().filter_map(Result::err));
        good.into_iter().filter_map(Result::ok).collect()
    }

    fn restart(&mut self) -> Restart {
        Restart {
            scope: self.text("restart.scope", |f| &f.restart.scope, "needed", one_of),
            method: self.text("restart.method", |f| &f.restart.method, "touch", one_of),
            grace: self.text("restart.grace", |f| &f.restart.grace, "10s", |s| seconds(s, 1, 600)),
            timeout: self.text("restart.timeout", |f| &f.restart.timeout, "3m", |s| seconds(s, 5, 3600)),
        }
    }

    fn coordination(&mut self) -> Coordination {
        Coordination {
            mode: self.text("coordination.mode", |f| &f.coordination.mode, "auto", one_of),
            lease: self.text(
                "coordination.lease",
                |f| &f.coordination.lease,
                "60s",
                |s| seconds(s, 15, 600),
            ),
            wait: self.text(
                "coordination.wait",
                |f| &f.coordination.wait,
                "30m",
                |s| seconds(s, 0, 86_400),
            ),
        }
    }

    /// Checks the relations between values.
    fn relations(&mut self, s: &Settings) {
        if s.renew_before > s.validity / 2 {
            let message = "is longer than half of `validity`: everything would be renewed all the time";
            self.wrong("renew_before", |f| &f.renew_before, message.into());
        }
        if s.urgent_before > s.renew_before {
            self.wrong(
                "urgent_before",
                |f| &f.urgent_before,
                "is longer than `renew_before`".into(),
            );
        }
        if s.schedule.next(crate::model::Timestamp::UNIX_EPOCH).is_none() {
            self.wrong("schedule", |f| &f.schedule, "never fires".into());
        }
        let manifests = s
            .paths
            .manifests
            .clone()
            .unwrap_or_else(|| s.paths.kubernetes.join("manifests"));
        let backed_up = [&s.paths.kubernetes, &s.paths.pki, &manifests];
        if let Some(directory) = backed_up
            .into_iter()
            .find(|directory| s.backup.directory.starts_with(directory))
        {
            let message = format!("lies inside {}, which is backed up", directory.display());
            self.wrong("backup.directory", |f| &f.backup.directory, message);
        }
        if s.backup
            .schedule
            .as_ref()
            .is_some_and(|it| it.next(crate::model::Timestamp::UNIX_EPOCH).is_none())
        {
            self.wrong("backup.schedule", |f| &f.backup.schedule, "never fires".into());
        }
        self.known_authorities(s);
        self.known_originals(s);
    }

    pub(super) fn wrong(&mut self, key: &str, get: fn(&File) -> &Text, message: String) {
        let problem = match self.last(get) {
            Some((source, value)) => source.problem(value.span(), key, message),
            // The default does not fit another value, so the last file is as good a place as any.
            None => Problem {
                file: self.sources.last().map_or_else(PathBuf::new, |s| s.path.clone()),
                at: None,
                key: key.into(),
                message,
            },
        };
        self.problems.push(problem);
    }

    /// Checks that a known CA signs every credential.
    fn known_authorities(&mut self, s: &Settings) {
        let known: Vec<String> = catalog::authorities(&s.paths.pki, &s.authorities)
            .into_iter()
            .map(|authority| authority.name)
            .collect();
        for source in self.sources {
            let certificates = source.file.certificate.iter().map(|c| ("certificate.ca", &c.ca));
            let kubeconfigs = source.file.kubeconfig.iter().map(|k| ("kubeconfig.ca", &k.ca));
            for (key, ca) in certificates.chain(kubeconfigs) {
                if let Some(ca) = ca.as_ref().filter(|ca| !known.contains(ca.get_ref())) {
                    let message = format!(
                        "no CA `{}`; known are {}, more with [[ca]]",
                        ca.get_ref(),
                        known.join(", ")
                    );
                    self.problems.push(source.problem(ca.span(), key, message));
                }
            }
        }
    }
}
