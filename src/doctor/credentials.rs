//! Certificates: what has ended, what will not be renewed, and what ends with its CA.

use super::{Evidence, Finding};
use crate::catalog::{RenewedBy, Storage};
use crate::format::text::{self, date};
use crate::inventory::{Authority, Credential, Signer, State};
use crate::model::Timestamp;
use crate::plan::{Decision, refusal};

/// What can be read about replacing a CA.
const REPLACE_CA: &str = "replace the CA: https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/";

fn has_broken_pair(credential: &Credential) -> bool {
    matches!(&credential.state, State::Present(material) if material.key.is_err())
}

/// What has expired, cannot be read, or should be renewed and cannot be.
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
                    .hint("`kubecertd backup list`, then `kubecertd restore ID --dry-run`: a backup may have it"),
            ),
            Decision::Blocked { because, obstacle } if obstacle.is_fault() => Some(Finding::fault(
                name,
                format!("should be renewed and cannot be: {because}"),
            )),
            _ if item.expires.is_some() && ends < evidence.plan.at => {
                Some(Finding::fault(name, format!("has expired on {} ({path})", date(ends))).hint(renew))
            }
            Decision::Renew { because, .. } if has_broken_pair(credential) => {
                Some(Finding::fault(name, because.clone()).hint(renew))
            }
            Decision::Blocked { because, .. } if item.is_urgent(evidence.settings, evidence.plan.at) => Some(
                Finding::fault(name, format!("ends {} and is not renewed here: {because}", date(ends))),
            ),
            Decision::Blocked { because, .. } => Some(Finding::warning(
                name,
                format!("ends {} and is not renewed here: {because}", date(ends)),
            )),
            Decision::Renew { .. } if item.is_urgent(evidence.settings, evidence.plan.at) => {
                Some(Finding::warning(name, format!("ends {}, and was not renewed in time", date(ends))).hint(renew))
            }
            _ => None,
        }
    });
    found.collect()
}

/// What would keep a credential from being renewed the day that it is due.
pub(super) fn refused(evidence: &Evidence<'_>) -> Vec<Finding> {
    let items = evidence.plan.with_credentials(evidence.inventory);
    // Those that are due are told with the reason already.
    let later = items.filter(|(item, _)| !matches!(item.decision, Decision::Blocked { .. }) && item.due.is_some());
    let found = later.filter_map(|(item, credential)| {
        let State::Present(present) = &credential.state else {
            return None;
        };
        let reason = refusal(evidence.inventory, present)?;
        Some(
            Finding::warning(&item.name, format!("will not be renewed when it is due: {reason}"))
                .hint(format!("mend that before {}", item.due.map(date).unwrap_or_default())),
        )
    });
    found.collect()
}

/// CAs that have ended or end before what they are to sign, and those that cannot sign.
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
        let message = format!("has expired on {}: nothing that it signed is good", date(ends));
        return Some(Finding::fault(name, message).hint(REPLACE_CA));
    }
    if let Signer::Unusable(reason) = &authority.signer {
        return Some(
            Finding::fault(name, format!("cannot sign: {reason}"))
                .hint(format!("put the key of {} back", authority.spec.certificate.display())),
        );
    }
    if ends < now + evidence.settings.renew_before {
        let message = format!("ends {}, and what it signs ends with it", date(ends));
        return Some(Finding::fault(name, message).hint(REPLACE_CA));
    }
    // What is renewed from now on cannot have its whole life.
    (ends < now + evidence.settings.validity).then(|| {
        let message = format!(
            "ends {}: what is renewed until then is good for less than {}",
            date(ends),
            text::duration(evidence.settings.validity)
        );
        Finding::warning(name, message).hint(REPLACE_CA)
    })
}

/// kubelet.conf leads to a certificate that has ended: the kubelet cannot renew it any more, since it is not let in.
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
                _ => "inside it, where the kubelet never renews it".into(),
            };
            let expired = Finding::fault(
                name,
                format!(
                    "{path} points at a certificate that has expired on {} ({place})",
                    date(ends)
                ),
            )
            .hint(format!("kubecertd renew {name}"));
            let is_over = present.certificate.validity.has_ended(evidence.plan.at);
            is_over.then_some(expired).into_iter().collect()
        }
    }
}

/// The kubelet does not rotate its certificate.
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
            "does not say `rotateCertificates: true`: the kubelet lets its certificate end",
        )
        .hint(format!(
            "set `rotateCertificates: true` in {}, then `systemctl restart kubelet`",
            config.display()
        ))
    };
    is_off.then(finding).into_iter().collect()
}

/// Copies of kubeconfigs that will not change with their originals, or did not.
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
            format!("does not change with {}: {reason}", copy.of),
        )
        .hint(format!(
            "compare it with {}, or take it out of [[kubeconfig_copy]]",
            path.unwrap_or_default()
        ))
    });
    found.collect()
}
