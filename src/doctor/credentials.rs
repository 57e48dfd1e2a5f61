//! Checks of certificates: those that have expired, that cannot be renewed, or that expire with
//! their CA.

use super::{Evidence, Finding};
use crate::catalog::{RenewedBy, Storage};
use crate::format::text::{self, date};
use crate::inventory::{Authority, Credential, Signer, State};
use crate::model::Timestamp;
use crate::plan::{Decision, refusal};

/// Hint for a CA that must be replaced.
const REPLACE_CA: &str = "replace the CA: https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/";

fn has_broken_pair(credential: &Credential) -> bool {
    matches!(&credential.state, State::Present(material) if material.key.is_err())
}

/// Finds credentials that have expired, or that cannot be read or renewed.
pub(super) fn state(evidence: &Evidence<'_>) -> Vec<Finding> {
    let items = evidence.plan.with_credentials(evidence.inventory);
    let ours = items.filter(|(_, credential)| credential.spec.renewed_by == RenewedBy::Us);
    let found = ours.filter_map(|(item, credential)| {
        let (name, path) = (&item.name, item.path.display());
        let ends = item.expires.unwrap_or(Timestamp::UNIX_EPOCH);
        let renew = format!("kubecertd renew {name}");
        match &item.decision {
            Decision::Unreadable(reason) => Some(
                Finding::fault(name, format!("cannot be read: {reason}"))
                    .hint("run `kubecertd restore --dry-run`: the newest good backup may have it"),
            ),
            Decision::Blocked { because, obstacle } if obstacle.is_fault() => {
                Some(Finding::fault(name, format!("cannot be renewed: {because}")))
            }
            _ if item.expires.is_some() && ends < evidence.plan.at => {
                Some(Finding::fault(name, format!("expired on {} ({path})", date(ends))).hint(renew))
            }
            Decision::Renew { because, .. } if has_broken_pair(credential) => {
                Some(Finding::fault(name, because.clone()).hint(renew))
            }
            Decision::Blocked { because, .. } if item.is_urgent(evidence.settings, evidence.plan.at) => {
                Some(Finding::fault(
                    name,
                    format!("expires {} and is not renewed here: {because}", date(ends)),
                ))
            }
            Decision::Blocked { because, .. } => Some(Finding::warning(
                name,
                format!("expires {} and is not renewed here: {because}", date(ends)),
            )),
            Decision::Renew { .. } if item.is_urgent(evidence.settings, evidence.plan.at) => {
                Some(Finding::warning(name, format!("expires {} and was not renewed in time", date(ends))).hint(renew))
            }
            _ => None,
        }
    });
    found.collect()
}

/// Finds credentials whose renewal will fail once they are due.
pub(super) fn refused(evidence: &Evidence<'_>) -> Vec<Finding> {
    let items = evidence.plan.with_credentials(evidence.inventory);
    // `state` reports those that are due already.
    let later = items.filter(|(item, _)| !matches!(item.decision, Decision::Blocked { .. }) && item.due.is_some());
    let found = later.filter_map(|(item, credential)| {
        let State::Present(present) = &credential.state else {
            return None;
        };
        let reason = refusal(evidence.inventory, present)?;
        Some(
            Finding::warning(&item.name, format!("will not be renewed when it is due: {reason}"))
                .hint(format!("fix this before {}", item.due.map(date).unwrap_or_default())),
        )
    });
    found.collect()
}

/// Finds CAs that have expired, that expire before the certificates that they will sign, or that
/// cannot sign.
pub(super) fn authorities(evidence: &Evidence<'_>) -> Vec<Finding> {
    evidence
        .inventory
        .authorities
        .iter()
        .filter_map(|authority| of_authority(evidence, authority))
        .collect()
}

fn of_authority(evidence: &Evidence<'_>, authority: &Authority) -> Option<Finding> {
    let (name, now) = (&authority.spec.name, evidence.plan.at);
    let is_used = evidence
        .inventory
        .credentials
        .iter()
        .any(|credential| credential.spec.ca == *name && !matches!(credential.state, State::Missing));
    let Ok(certificate) = &authority.certificate else {
        let Signer::Unusable(reason) = &authority.signer else {
            return None;
        };
        return is_used.then(|| Finding::fault(name, format!("cannot sign: {reason}")));
    };
    let ends = certificate.validity.not_after;
    if ends < now {
        let message = format!("expired on {}: every certificate that it signed is invalid", date(ends));
        return Some(Finding::fault(name, message).hint(REPLACE_CA));
    }
    if let Signer::Unusable(reason) = &authority.signer {
        return Some(Finding::fault(name, format!("cannot sign: {reason}")).hint(format!(
            "restore the key of {}, for example with `kubecertd restore --only pki`",
            authority.spec.certificate.display()
        )));
    }
    if ends < now + evidence.settings.renew_before {
        let message = format!(
            "expires {}, and every certificate that it signed expires with it",
            date(ends)
        );
        return Some(Finding::fault(name, message).hint(REPLACE_CA));
    }
    // Certificates that are renewed from now on cannot have their full lifetime.
    (ends < now + evidence.settings.validity).then(|| {
        let message = format!(
            "expires {}: renewed certificates are valid for less than {}",
            date(ends),
            text::duration(evidence.settings.validity)
        );
        Finding::warning(name, message).hint(REPLACE_CA)
    })
}

/// Finds an expired certificate of kubelet.conf. The API server rejects it, so that the kubelet
/// cannot rotate it.
pub(super) fn kubelet(evidence: &Evidence<'_>) -> Vec<Finding> {
    let Some(credential) = evidence.inventory.kubelet() else {
        return Vec::new();
    };
    let (name, path) = (&credential.spec.name, credential.spec.storage.path().display());
    match &credential.state {
        State::Missing => Vec::new(),
        State::Unreadable(reason) => vec![Finding::fault(name, format!("cannot be read: {reason}"))],
        State::Present(present) => {
            let ends = present.certificate.validity.not_after;
            let place = match present.files().first() {
                Some(file) if !present.is_embedded() => format!("in {}", file.real.display()),
                _ => "embedded, so that the kubelet never rotates it".into(),
            };
            let expired = Finding::fault(
                name,
                format!(
                    "{path} refers to a certificate that expired on {} ({place})",
                    date(ends)
                ),
            )
            .hint(format!("kubecertd renew {name}"));
            let is_over = present.certificate.validity.has_ended(evidence.plan.at);
            is_over.then_some(expired).into_iter().collect()
        }
    }
}

/// Finds a kubelet that does not rotate its certificate.
pub(super) fn rotation(evidence: &Evidence<'_>) -> Vec<Finding> {
    let config = evidence.settings.paths.kubelet.join("config.yaml");
    let is_off = evidence.scan.kubelet_rotates == Some(false)
        && evidence
            .inventory
            .kubelet()
            .is_some_and(|kubelet| !matches!(kubelet.state, State::Missing));
    let finding = || {
        Finding::warning(
            config.display(),
            "does not set `rotateCertificates: true`: the kubelet's certificate will expire",
        )
        .hint(format!(
            "set `rotateCertificates: true` in {}, then run `systemctl restart kubelet`",
            config.display()
        ))
    };
    is_off.then(finding).into_iter().collect()
}

/// Finds copies of kubeconfigs that are not updated together with their originals.
pub(super) fn copies(evidence: &Evidence<'_>) -> Vec<Finding> {
    let left = evidence
        .plan
        .copies
        .iter()
        .filter_map(|copy| Some((copy, copy.left.as_ref()?)));
    let found = left.map(|(copy, reason)| {
        let original = evidence.inventory.credential(&copy.of);
        let path = original.map(|original| match &original.spec.storage {
            Storage::Pair { certificate, .. } => certificate.display().to_string(),
            Storage::Kubeconfig { path } => path.display().to_string(),
        });
        Finding::note(
            copy.path.display(),
            format!("is not updated with {}: {reason}", copy.of),
        )
        .hint(format!(
            "compare it with {}, or remove it from [[kubeconfig_copy]]",
            path.unwrap_or_default()
        ))
    });
    found.collect()
}
