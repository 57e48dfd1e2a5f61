//! A row for each certificate of a credential or a CA.

use std::path::Path;

use crate::catalog::Storage;
use crate::format::{kubeconfig, x509};
use crate::inventory::{Credential, Inventory, Location, State};
use crate::model::{Certificate, Serial, Timestamp};
use crate::plan::{Decision, Item, Plan};

use super::text::{Document, Labels};

/// State of a credential or CA in an assessment.
#[derive(Debug, Clone)]
pub(super) struct Row {
    name: String,
    /// `credential` or `authority`.
    kind: &'static str,
    /// Certificate. `None` if it cannot be read.
    certificate: Option<CertificateLabels>,
    /// Time from which it is due, and true if it is due.
    due: Option<(Timestamp, bool)>,
    /// Obstacle to its renewal.
    blocked: Option<&'static str>,
}

/// Labels and ends of a certificate.
#[derive(Debug, Clone)]
struct CertificateLabels {
    path: String,
    file: String,
    /// User of the kubeconfig that holds it. Empty for a file of its own.
    user: String,
    subject: String,
    issuer: String,
    serial: String,
    not_before: i64,
    not_after: i64,
}

impl CertificateLabels {
    fn new(certificate: &Certificate, path: &Path, user: String) -> Self {
        Self {
            path: path.display().to_string(),
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            user,
            subject: x509::common_name(&certificate.subject_der),
            issuer: x509::common_name(&certificate.issuer_der),
            serial: decimal(&certificate.serial),
            not_before: certificate.validity.not_before.unix_timestamp(),
            not_after: certificate.validity.not_after.unix_timestamp(),
        }
    }
}

/// Returns every credential whose file exists, then every CA.
pub(super) fn rows(inventory: &Inventory, plan: &Plan) -> Vec<Row> {
    let items = plan.with_credentials(inventory);
    let credentials = items.filter_map(|(item, found)| credential(found, plan, item));
    let authorities = inventory.authorities.iter().filter_map(|authority| {
        let certificate = authority.certificate.as_ref().ok()?;
        Some(Row {
            name: authority.spec.name.clone(),
            kind: "authority",
            certificate: Some(CertificateLabels::new(
                certificate,
                &authority.spec.certificate,
                String::new(),
            )),
            due: None,
            blocked: None,
        })
    });
    credentials.chain(authorities).collect()
}

fn credential(found: &Credential, plan: &Plan, item: &Item) -> Option<Row> {
    let certificate = match &found.state {
        State::Missing => return None,
        State::Unreadable(_) => None,
        State::Present(present) => {
            let user = match (&found.spec.storage, &present.location) {
                (Storage::Kubeconfig { .. }, Location::Embedded { file, .. }) => {
                    let parsed = file.bytes.text().and_then(kubeconfig::parse);
                    parsed.map(|parsed| parsed.user).unwrap_or_default()
                }
                _ => String::new(),
            };
            Some(CertificateLabels::new(&present.certificate, &item.path, user))
        }
    };
    let is_renewed = matches!(item.decision, Decision::Renew { .. } | Decision::With(_));
    Some(Row {
        name: item.name.clone(),
        kind: "credential",
        certificate,
        due: item.due.map(|due| (due, is_renewed || due < plan.at)),
        blocked: match &item.decision {
            Decision::Blocked { obstacle, .. } => Some(<&str>::from(obstacle)),
            Decision::Unreadable(_) => Some("unreadable"),
            _ => None,
        },
    })
}

pub(super) fn render(rows: &[Row], out: &mut Document) {
    let certificates = || rows.iter().filter_map(|row| Some((row, row.certificate.as_ref()?)));
    out.family(
        "x509_cert_not_before",
        "Start of the validity of the certificate in the file.",
        certificates().map(|(row, shown)| (row.labels(shown), shown.not_before)),
    );
    out.family(
        "x509_cert_not_after",
        "Expiration of the certificate in the file.",
        certificates().map(|(row, shown)| (row.labels(shown), shown.not_after)),
    );
    let unreadable = rows.iter().filter(|row| row.certificate.is_none()).count();
    out.one(
        "x509_read_errors",
        "Number of credentials that exist and cannot be read.",
        i64::try_from(unreadable).ok().filter(|_| !rows.is_empty()),
    );
    let due = || rows.iter().filter_map(|row| Some((row.by_name(), row.due?)));
    out.family(
        "kubecertd_credential_due",
        "1 if the credential is due for renewal.",
        due().map(|(labels, (_, is_due))| (labels, is_due.into())),
    );
    out.family(
        "kubecertd_credential_due_timestamp_seconds",
        "Time from which the credential is due.",
        due().map(|(labels, (at, _))| (labels, at.unix_timestamp())),
    );
    out.family(
        "kubecertd_credential_blocked",
        "1 if a credential cannot be renewed or read, by reason.",
        rows.iter().filter_map(|row| {
            let mut labels = row.by_name();
            labels.push(("reason", row.blocked?));
            Some((labels, 1))
        }),
    );
}

impl Row {
    fn by_name(&self) -> Labels<'_> {
        vec![("credential", &self.name)]
    }

    fn labels<'a>(&'a self, shown: &'a CertificateLabels) -> Labels<'a> {
        let mut labels = self.by_name();
        labels.push(("kind", self.kind));
        labels.extend([("filename", shown.file.as_str()), ("filepath", &shown.path)]);
        if !shown.user.is_empty() {
            labels.extend([("embedded_kind", "user"), ("embedded_key", shown.user.as_str())]);
        }
        labels.extend([
            ("subject_CN", shown.subject.as_str()),
            ("issuer_CN", &shown.issuer),
            ("serial_number", &shown.serial),
        ]);
        labels
    }
}

/// Returns a serial number as x509-certificate-exporter writes it, cut to the length of RFC 5280,
/// 4.1.2.2.
fn decimal(serial: &Serial) -> String {
    let mut digits = vec![0_u8];
    for byte in serial.0.iter().take(21) {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) * 256;
            *digit = (carry % 10) as u8;
            carry /= 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_decimal() {
        let of = |bytes: &[u8]| decimal(&Serial(bytes.to_vec()));
        assert_eq!(of(&[0]), "0");
        assert_eq!(of(&[0x01, 0x00]), "256");
        assert_eq!(of(&[0, 0xff, 0xff, 0xff, 0xff]), "4294967295");
        assert_eq!(of(&[0x7f; 8]), "9187201950435737471");
    }
}
