//! The decision about one credential, from three questions: is a renewal wanted, is it possible,
//! and does it gain anything? Pure.

use super::refusal::refusal;
use super::{BACKDATE, Decision, Item, Obstacle, Request, WORTH_IT, Which};
use crate::catalog::RenewedBy;
use crate::config::Settings;
use crate::format::text;
use crate::inventory::{Credential, Inventory, Material, Signer, State};
use crate::model::{Timestamp, Validity};

/// Everything that a decision depends on, except the credential.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) settings: &'a Settings,
    pub(super) request: &'a Request,
}

impl Judge<'_> {
    /// Returns the item of a plan for a credential.
    pub(super) fn item(self, credential: &Credential) -> Item {
        let spec = &credential.spec;
        let mut item = Item {
            name: spec.name.clone(),
            path: spec.storage.path().to_owned(),
            decision: Decision::Missing,
            expires: None,
            due: None,
        };
        match &credential.state {
            State::Missing => {}
            State::Unreadable(reason) => item.decision = Decision::Unreadable(reason.clone()),
            State::Present(material) => {
                let validity = material.certificate.validity;
                item.expires = Some(validity.not_after);
                if spec.renewed_by == RenewedBy::Kubelet && !validity.has_ended(self.inventory.at) {
                    item.decision = Decision::Leave("the kubelet renews it itself".into());
                } else {
                    item.due = Some(self.settings.due_at(validity.not_after));
                    item.decision = self.decide(credential, material).unwrap_or_else(|other| other);
                }
            }
        }
        item
    }

    /// Returns a renewal, or as the error the decision that stands in its way.
    fn decide(self, credential: &Credential, material: &Material) -> Result<Decision, Decision> {
        let because = self.reason(credential, material)?;
        let ca_end = self.ca_end(credential)?;
        if let Some(because) = refusal(self.inventory, material) {
            return Err(Decision::Blocked {
                because,
                obstacle: Obstacle::NotKept,
            });
        }
        let validity = self.validity(credential, material, ca_end)?;
        Ok(Decision::Renew { because, validity })
    }

    /// Returns true if the request means this credential, whether it is due or not.
    fn is_requested(self, credential: &Credential) -> bool {
        match &self.request.which {
            Which::Due => self.request.force,
            Which::All => true,
            Which::Named(names) => names.contains(&credential.spec.name),
        }
    }

    /// Returns the reason to renew, or the decision to leave it alone.
    fn reason(self, credential: &Credential, material: &Material) -> Result<String, Decision> {
        let now = self.inventory.at;
        let validity = material.certificate.validity;
        let is_requested = self.is_requested(credential);
        let because = if let Err(reason) = &material.key {
            format!("its pair is broken: {reason}")
        } else if validity.has_ended(now) && credential.spec.renewed_by == RenewedBy::Kubelet {
            "it has expired, and the kubelet can no longer renew it itself".into()
        } else if validity.has_ended(now) {
            "it has expired".into()
        } else if self.settings.due_at(validity.not_after) < now {
            format!("less than {} is left", text::duration(self.settings.renew_before))
        } else if is_requested {
            "it was asked for".into()
        } else {
            return Err(Decision::Leave("it is not due".into()));
        };
        match self.request.which {
            Which::Named(_) if !is_requested => Err(Decision::Leave("it was not asked for".into())),
            _ => Ok(because),
        }
    }

    /// Returns the end of the CA that signs it, or the decision that the CA cannot sign.
    fn ca_end(self, credential: &Credential) -> Result<Timestamp, Decision> {
        let name = &credential.spec.ca;
        let blocked = |because: String, obstacle| Err(Decision::Blocked { because, obstacle });
        let Some(authority) = self.inventory.authority(name) else {
            // An external etcd has its CA on another node.
            return blocked(
                format!("its CA {name} is managed elsewhere"),
                Obstacle::AuthorityElsewhere,
            );
        };
        match (&authority.signer, &authority.certificate) {
            (Signer::Ready(_), Ok(certificate)) => Ok(certificate.validity.not_after),
            (Signer::External, _) => blocked(
                format!("the key of its CA {name} is kept elsewhere"),
                Obstacle::AuthorityElsewhere,
            ),
            (Signer::Unusable(reason), _) => blocked(
                format!("its CA {name} cannot sign: {reason}"),
                Obstacle::AuthorityUnusable,
            ),
            (Signer::Ready(_), Err(_)) => blocked(format!("its CA {name} cannot be read"), Obstacle::AuthorityUnusable),
        }
    }

    /// Returns the validity of the new certificate, or the decision that it is not worth a new key.
    fn validity(self, credential: &Credential, material: &Material, ca_end: Timestamp) -> Result<Validity, Decision> {
        let now = self.inventory.at;
        let old = material.certificate.validity;
        // X.509 dates have no fractions of a second (RFC 5280, 4.1.2.5).
        let second = now.replace_nanosecond(0).unwrap_or(now);
        let wanted = self.settings.new_end(second);
        let validity = Validity {
            not_before: second - BACKDATE,
            not_after: wanted.min(ca_end),
        };
        let gains = validity.not_after >= old.not_after.saturating_add(WORTH_IT);
        let is_bad = material.key.is_err() || old.has_ended(now);
        // A broken or expired credential is worth any gain. So is a request by name, unless the end
        // of the CA makes it useless.
        if gains || is_bad || self.request.force || (self.is_requested(credential) && ca_end >= wanted) {
            return Ok(validity);
        }
        let (because, obstacle) = if ca_end < wanted {
            ("the CA ends first", Obstacle::AuthorityEndsFirst)
        } else {
            ("a renewal would gain less than a day", Obstacle::NothingToGain)
        };
        Err(Decision::Blocked {
            because: because.to_owned(),
            obstacle,
        })
    }
}
