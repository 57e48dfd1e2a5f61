//! The settings in effect, as TOML.

use std::fmt::Write as _;
use std::path::Path;

use super::settings::Settings;
use super::window::DAYS;
use crate::catalog::Storage;
use crate::catalog::readers::RestartMethod;
use crate::format::text::{duration, exact_bytes};

/// Returns every key with its value, in the order of the shipped file. The result is a valid
/// configuration with the same meaning.
pub fn show(s: &Settings) -> String {
    let mut out = String::new();
    values(s, &mut out);
    effects(s, &mut out);
    credentials(s, &mut out);
    for copy in &s.copies {
        let (path, of) = (path(&copy.path), quoted(&copy.of));
        let _ = writeln!(out, "\n[[kubeconfig_copy]]\npath = {path}\nof = {of}");
    }
    readers(s, &mut out);
    windows(s, &mut out);
    out
}

fn quoted(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

fn list(words: &[String]) -> String {
    format!(
        "[{}]",
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ")
    )
}

fn path(value: &Path) -> String {
    quoted(&value.to_string_lossy())
}

fn values(s: &Settings, out: &mut String) {
    let auto = |value: &Option<std::path::PathBuf>| value.as_deref().map_or_else(|| quoted("auto"), path);
    let max_size = s.backup.max_size.map_or("unlimited".into(), exact_bytes);
    let lines = [
        format!("schedule = {}", quoted(&s.schedule.text)),
        format!("timezone = {}", quoted(s.schedule.zone.iana_name().unwrap_or("UTC"))),
        format!("spread = {}", quoted(&duration(s.spread))),
        format!("first_look = {}", quoted(<&str>::from(s.first_look))),
        format!("renew_before = {}", quoted(&duration(s.renew_before))),
        format!("urgent_before = {}", quoted(&duration(s.urgent_before))),
        format!("validity = {}", quoted(&duration(s.validity))),
        format!("clock_wait = {}", quoted(&duration(s.clock_wait))),
        "\n[paths]".into(),
        format!("kubernetes = {}", path(&s.paths.kubernetes)),
        format!("pki = {}", path(&s.paths.pki)),
        format!("manifests = {}", auto(&s.paths.manifests)),
        format!("etcd_data = {}", auto(&s.paths.etcd_data)),
        format!("kubelet = {}", path(&s.paths.kubelet)),
        "\n[backup]".into(),
        format!("directory = {}", path(&s.backup.directory)),
        format!("keep = {}", s.backup.keep),
        format!("keep_within = {}", quoted(&duration(s.backup.keep_within))),
        format!("max_size = {}", quoted(&max_size)),
        format!("before_renewal = {}", quoted(<&str>::from(s.backup.before_renewal))),
        format!(
            "schedule = {}",
            quoted(s.backup.schedule.as_ref().map_or("off", |it| &it.text))
        ),
        format!("compress = {}", quoted(<&str>::from(s.backup.compress))),
        format!("encrypt_with = {}", list(&s.backup.encrypt_with)),
        format!("decrypt_with = {}", list(&s.backup.decrypt_with)),
        "\n[etcd]".into(),
        format!("endpoints = {}", list(&s.etcd.endpoints)),
        format!("ca = {}", auto(&s.etcd.ca)),
        format!("certificate = {}", auto(&s.etcd.certificate)),
        format!("key = {}", auto(&s.etcd.key)),
    ];
    write(&lines, out);
}

/// Writes the tables about restarts, metrics and hooks.
fn effects(s: &Settings, out: &mut String) {
    let lines = [
        "\n[restart]".into(),
        format!("scope = {}", quoted(<&str>::from(s.restart.scope))),
        format!("method = {}", quoted(<&str>::from(s.restart.method))),
        format!("grace = {}", quoted(&duration(s.restart.grace))),
        format!("timeout = {}", quoted(&duration(s.restart.timeout))),
        "\n[coordination]".into(),
        format!("mode = {}", quoted(<&str>::from(s.coordination.mode))),
        format!("lease = {}", quoted(&duration(s.coordination.lease))),
        format!("wait = {}", quoted(&duration(s.coordination.wait))),
        "\n[metrics]".into(),
        format!(
            "textfile_directory = {}",
            s.metrics
                .textfile_directory
                .as_deref()
                .map_or_else(|| quoted("none"), path)
        ),
        "\n[hooks]".into(),
        format!("on_expiring = {}", list(&s.hooks.on_expiring)),
        format!("on_renewed = {}", list(&s.hooks.on_renewed)),
        format!("on_failed = {}", list(&s.hooks.on_failed)),
        format!("timeout = {}", quoted(&duration(s.hooks.timeout))),
    ];
    write(&lines, out);
}

fn write(lines: &[String], out: &mut String) {
    for line in lines {
        out.push_str(line);
        out.push('\n');
    }
}

fn credentials(s: &Settings, out: &mut String) {
    for ca in &s.authorities {
        let (name, certificate, key) = (quoted(&ca.name), path(&ca.certificate), path(&ca.key));
        let _ = writeln!(out, "\n[[ca]]\nname = {name}\npath = {certificate}\nkey = {key}");
    }
    for extra in &s.extra {
        let (table, place) = match &extra.storage {
            Storage::Pair { certificate, key } => (
                "certificate",
                format!("path = {}\nkey = {}", path(certificate), path(key)),
            ),
            Storage::Kubeconfig { path: file } => ("kubeconfig", format!("path = {}", path(file))),
        };
        let (name, ca) = (quoted(&extra.name), quoted(&extra.ca));
        let _ = writeln!(
            out,
            "\n[[{table}]]\nname = {name}\n{place}\nca = {ca}\nreaders = {}",
            list(&extra.readers)
        );
    }
}

fn readers(s: &Settings, out: &mut String) {
    for reader in &s.readers {
        let _ = writeln!(out, "\n[[reader]]\nname = {}", quoted(&reader.name));
        match &reader.means {
            Some(RestartMethod::Unit { unit, reload }) => {
                let _ = writeln!(out, "unit = {}\nreload = {reload}", quoted(unit));
            }
            Some(RestartMethod::Exec { command }) => {
                let _ = writeln!(out, "exec = {}", list(command));
            }
            Some(RestartMethod::Pod { .. }) | None => {}
        }
        if let Some(probe) = reader.probe {
            let _ = writeln!(out, "probe = {}", quoted(&probe.to_string()));
        }
    }
}

fn windows(s: &Settings, out: &mut String) {
    for window in &s.windows {
        let days = DAYS.iter().zip(window.days).filter(|(_, opens)| *opens);
        let days: Vec<_> = days.map(|(day, _)| quoted(day)).collect();
        let (start, length) = (window.start.strftime("%H:%M").to_string(), duration(window.length));
        let _ = writeln!(
            out,
            "\n[[window]]\ndays = [{}]\nstart = {}\nlength = {}\ntimezone = {}",
            days.join(", "),
            quoted(&start),
            quoted(&length),
            quoted(window.zone.iana_name().unwrap_or("UTC"))
        );
    }
}
