//! The settings in effect as TOML.

use std::fmt::Write as _;
use std::path::Path;

use super::settings::Settings;
use crate::catalog::Store;
use crate::format::text::{duration, exact_bytes};

/// Every key with its value, in the order of the shipped file. The result is a valid configuration with the same meaning.
pub fn show(s: &Settings) -> String {
    let mut out = String::new();
    let quoted = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let path = |value: &Path| quoted(&value.to_string_lossy());
    let auto = |value: &Option<std::path::PathBuf>| value.as_deref().map_or_else(|| quoted("auto"), path);
    let list = |words: &[String]| format!("[{}]", words.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(", "));
    let max_size = s.backup.max_size.map_or("unlimited".into(), exact_bytes);
    let lines = [
        format!("schedule = {}", quoted(&s.schedule.text)),
        format!("timezone = {}", quoted(s.schedule.zone.name())),
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
        format!("before_renewal = {}", quoted(s.backup.before_renewal.word())),
        format!(
            "schedule = {}",
            quoted(s.backup.schedule.as_ref().map_or("off", |it| &it.text))
        ),
        format!("compress = {}", quoted(s.backup.compress.word())),
        format!("encrypt_with = {}", list(&s.backup.encrypt_with)),
        format!("decrypt_with = {}", list(&s.backup.decrypt_with)),
        "\n[etcd]".into(),
        format!("endpoints = {}", list(&s.etcd.endpoints)),
        format!("ca = {}", auto(&s.etcd.ca)),
        format!("certificate = {}", auto(&s.etcd.certificate)),
        format!("key = {}", auto(&s.etcd.key)),
        "\n[restart]".into(),
        format!("scope = {}", quoted(s.scope.word())),
    ];
    for line in lines {
        out.push_str(&line);
        out.push('\n');
    }
    for ca in &s.authorities {
        let (name, certificate, key) = (quoted(&ca.name), path(&ca.certificate), path(&ca.key));
        let _ = writeln!(out, "\n[[ca]]\nname = {name}\npath = {certificate}\nkey = {key}");
    }
    for extra in &s.extra {
        let (table, place) = match &extra.store {
            Store::Pair { certificate, key } => (
                "certificate",
                format!("path = {}\nkey = {}", path(certificate), path(key)),
            ),
            Store::Kubeconfig { path: file } => ("kubeconfig", format!("path = {}", path(file))),
        };
        let (name, ca) = (quoted(&extra.name), quoted(&extra.ca));
        let _ = writeln!(
            out,
            "\n[[{table}]]\nname = {name}\n{place}\nca = {ca}\nreaders = {}",
            list(&extra.readers)
        );
    }
    out
}
