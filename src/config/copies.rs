//! `[[kubeconfig_copy]]`: copies of kubeconfigs.

use std::path::Path;

use toml::Spanned;

use super::check::Checker;
use super::settings::Settings;
use crate::catalog::{self, CopySpec, RenewedBy, Storage};

impl Checker<'_> {
    pub(super) fn copies(&mut self) -> Vec<CopySpec> {
        let mut found: Vec<CopySpec> = Vec::new();
        for source in self.sources {
            for copy in &source.file.kubeconfig_copy {
                let [path, of] = [(&copy.path, "path"), (&copy.of, "of")]
                    .map(|(value, key)| self.required(source, "kubeconfig_copy", value, key));
                if let (Some(path), Some(of)) = (path, of) {
                    let path = self.checked_path(source, "kubeconfig_copy.path", &copy.path, &path);
                    if found.iter().any(|earlier| earlier.path == path) {
                        let span = copy.path.as_ref().map_or(0..0, Spanned::span);
                        let message = format!("{} is there twice", path.display());
                        self.problems
                            .push(source.problem(span, "kubeconfig_copy.path", message));
                    }
                    found.push(CopySpec { path, of });
                }
            }
        }
        found
    }

    /// Checks that every copy is one of a renewed kubeconfig, and that no copy is a file of a
    /// credential or a CA.
    pub(super) fn known_originals(&mut self, s: &Settings) {
        let credentials = catalog::credentials(&s.paths.kubernetes, &s.paths.pki, &s.extra);
        let authorities = catalog::authorities(&s.paths.pki, &s.authorities);
        let mut taken: Vec<&Path> = authorities
            .iter()
            .flat_map(|a| [a.certificate.as_path(), &a.key])
            .collect();
        taken.extend(credentials.iter().map(|credential| credential.storage.path()));
        let originals: Vec<_> = credentials
            .iter()
            .filter(|c| matches!(c.storage, Storage::Kubeconfig { .. }) && c.renewed_by == RenewedBy::Us)
            .map(|c| c.name.as_str())
            .collect();
        for source in self.sources {
            for copy in &source.file.kubeconfig_copy {
                if let Some(of) = copy
                    .of
                    .as_ref()
                    .filter(|of| !originals.contains(&of.get_ref().as_str()))
                {
                    let message = format!("no kubeconfig `{}`; known are {}", of.get_ref(), originals.join(", "));
                    self.problems
                        .push(source.problem(of.span(), "kubeconfig_copy.of", message));
                }
                let is_taken = |path: &&Spanned<String>| taken.contains(&Path::new(path.get_ref().as_str()));
                if let Some(path) = copy.path.as_ref().filter(is_taken) {
                    let message = format!("{} is not a copy: it is renewed or protected itself", path.get_ref());
                    self.problems
                        .push(source.problem(path.span(), "kubeconfig_copy.path", message));
                }
            }
        }
    }
}
