//! `check-expiration`: kubeadm's tables and kubeadm's document.

use serde::Serialize;

use super::{Format, json, yaml};
use crate::catalog::RenewedBy;
use crate::format::text;
use crate::inventory::{Credential, Inventory, Location, Signer, State};
use crate::model::{Certificate, Failure, ReadError, Timestamp};

/// kubeadm's `CertificateExpirationInfo` (kubernetes `cmd/kubeadm/app/apis/output/v1alpha3`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    kind: &'static str,
    api_version: &'static str,
    certificates: Vec<Row>,
    certificate_authorities: Vec<Row>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    expiration_date: Option<String>,
    residual_time: i64,
    externally_managed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_name: Option<String>,
    missing: bool,
    /// The reasons that files cannot be read. Not part of kubeadm's document, and present only if
    /// kubeadm would print none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    ends: Option<Timestamp>,
    #[serde(skip)]
    wide: Vec<String>,
}

/// Renders the inventory.
pub fn render(inventory: &Inventory, format: Format) -> Result<String, Failure> {
    let listed = inventory
        .credentials
        .iter()
        .filter(|c| c.spec.renewed_by == RenewedBy::Us);
    let document = Document {
        kind: "CertificateExpirationInfo",
        api_version: "output.kubeadm.k8s.io/v1alpha3",
        certificates: listed.map(|c| credential(inventory, c)).collect(),
        certificate_authorities: inventory
            .authorities
            .iter()
            .map(|a| authority(inventory.at, a))
            .collect(),
    };
    match format {
        Format::Json => json(&document),
        Format::Yaml => yaml(&document),
        Format::Text => Ok(tables(&document, false)),
        Format::Wide => Ok(tables(&document, true) + &beside(inventory)),
    }
}

/// Returns a sentence for each file that exists and cannot be read.
pub fn unreadable(inventory: &Inventory) -> Vec<String> {
    let credentials = inventory.credentials.iter().filter_map(|c| match &c.state {
        State::Unreadable(reason) => Some(format!("{}: {reason}", c.spec.name)),
        _ => None,
    });
    let authorities = inventory.authorities.iter().filter_map(|a| match &a.certificate {
        Err(ReadError::Because(reason)) => Some(format!("{}: {} {reason}", a.spec.name, a.spec.certificate.display())),
        _ => None,
    });
    credentials.chain(authorities).collect()
}

fn row(name: &str, now: Timestamp, certificate: Option<&Certificate>) -> Row {
    let ends = certificate.map(|c| c.validity.not_after);
    Row {
        name: name.to_owned(),
        expiration_date: ends.map(text::rfc3339),
        residual_time: ends.map_or(0, |ends| (ends - now).whole_seconds()),
        externally_managed: false,
        ca_name: None,
        missing: false,
        error: None,
        ends,
        wide: Vec::new(),
    }
}

fn credential(inventory: &Inventory, credential: &Credential) -> Row {
    let spec = &credential.spec;
    let path = spec.storage.path().display().to_string();
    let readers = spec.readers.join(",");
    let certificate = match &credential.state {
        State::Present(present) => Some(&present.certificate),
        _ => None,
    };
    let mut row = row(&spec.name, inventory.at, certificate);
    match &credential.state {
        State::Missing => row.missing = true,
        State::Unreadable(reason) => row.error = Some(reason.clone()),
        State::Present(_) => {
            row.ca_name = Some(spec.ca.clone());
            row.externally_managed = inventory
                .authority(&spec.ca)
                .is_none_or(|a| matches!(a.signer, Signer::External));
        }
    }
    let serial = certificate.map(|c| c.serial.to_string()).unwrap_or_default();
    let key = certificate.map(|c| c.key.to_string()).unwrap_or_default();
    row.wide = vec![path, serial, key, readers, spec.purpose.clone()];
    row
}

fn authority(now: Timestamp, authority: &crate::inventory::Authority) -> Row {
    let mut row = row(&authority.spec.name, now, authority.certificate.as_ref().ok());
    match &authority.certificate {
        Ok(certificate) => {
            row.externally_managed = matches!(authority.signer, Signer::External);
            let path = authority.spec.certificate.display().to_string();
            row.wide = vec![path, certificate.serial.to_string(), certificate.key.to_string()];
        }
        Err(ReadError::Missing) => row.missing = true,
        Err(ReadError::Because(reason)) => row.error = Some(reason.clone()),
    }
    row
}

fn tables(document: &Document, wide: bool) -> String {
    let mut head = vec![
        "CERTIFICATE",
        "EXPIRES",
        "RESIDUAL TIME",
        "CERTIFICATE AUTHORITY",
        "EXTERNALLY MANAGED",
    ];
    let mut ca_head = vec![
        "CERTIFICATE AUTHORITY",
        "EXPIRES",
        "RESIDUAL TIME",
        "EXTERNALLY MANAGED",
    ];
    if wide {
        head.extend(["PATH", "SERIAL", "KEY", "READ BY", "PURPOSE"]);
        ca_head.extend(["PATH", "SERIAL", "KEY"]);
    }
    let table = |head: Vec<&str>, rows: &[Row], with_ca: bool| {
        let head: Vec<String> = head.into_iter().map(str::to_owned).collect();
        let cells = rows.iter().map(|row| cells(row, head.len(), with_ca, wide));
        text::table(&std::iter::once(head.clone()).chain(cells).collect::<Vec<_>>())
    };
    format!(
        "{}\n{}",
        table(head, &document.certificates, true),
        table(ca_head, &document.certificate_authorities, false)
    )
}

fn cells(row: &Row, columns: usize, with_ca: bool, wide: bool) -> Vec<String> {
    let mut cells = match row.ends {
        Some(ends) => {
            let managed = if row.externally_managed { "yes" } else { "no" };
            let mut cells = vec![
                row.name.clone(),
                text::date(ends),
                text::residual(time::Duration::seconds(row.residual_time)),
            ];
            if with_ca {
                cells.push(row.ca_name.clone().unwrap_or_default());
            }
            // kubeadm pads the last column to eight itself.
            cells.push(format!("{managed:<8}"));
            cells
        }
        None => {
            let mark = if row.error.is_some() {
                "!UNREADABLE!"
            } else {
                "!MISSING!"
            };
            let mut cells = vec![String::new(); columns - if wide { row.wide.len() } else { 0 }];
            cells[0] = format!("{mark} {}", row.name);
            cells
        }
    };
    if wide {
        cells.extend(row.wide.iter().cloned());
    }
    cells.resize(columns, String::new());
    cells
}

/// Returns the rows that kubeadm does not list: the kubelet's credential and the service account
/// keys.
fn beside(inventory: &Inventory) -> String {
    let mut out = String::from("\n");
    if let Some(kubelet) = inventory.kubelet() {
        let where_it_is = match &kubelet.state {
            State::Missing => "is missing".to_owned(),
            State::Unreadable(reason) => format!("cannot be read: {reason}"),
            State::Present(present) => {
                let ends = text::date(present.certificate.validity.not_after);
                match &present.location {
                    Location::Embedded { .. } => {
                        format!(
                            "holds its certificate itself, valid until {ends}; \
                             the kubelet does not rotate an embedded one"
                        )
                    }
                    Location::Files { certificate, .. } => {
                        format!(
                            "uses {}, good until {ends}; the kubelet rotates it",
                            certificate.file.real.display()
                        )
                    }
                }
            }
        };
        out.push_str(&format!("kubelet.conf {where_it_is}\n"));
    }
    match &inventory.service_account {
        Ok(()) => out.push_str("sa.key and sa.pub are a pair\n"),
        Err(reason) => out.push_str(&format!("service account keys: {reason}\n")),
    }
    out
}
