//! Verification: probes components until each proves that it uses the renewed credential, or a
//! deadline passes. [`probes`] says what to ask.

pub mod probes;
pub mod served;

use std::time::{Duration, Instant};

use serde::Serialize;
use strum::IntoStaticStr;

use crate::host::Host;
use crate::host::http::Tls;
use probes::{Health, Login, Probe, Question};

/// Longest time for one probe.
const ONE: Duration = Duration::from_secs(3);
/// Time between two tries of a probe.
const EVERY: Duration = Duration::from_millis(250);
/// Time after which a server that cannot be reached is not probed any longer. The server's own
/// proof shows whether it should run.
const UNREACHABLE: Duration = Duration::from_secs(10);

/// Evidence that a renewed credential is in use, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "snake_case")]
pub enum Proof {
    /// The port that serves it shows the new certificate.
    Served,
    /// The process that cached the old one is gone, and a new one is healthy.
    Restarted,
    /// A server accepted a login with it.
    Accepted,
    /// The reader reloads it, by the reader's version, and cannot be probed.
    Assumed,
    /// The reader does not run, or still has to be restarted.
    Pending,
}

/// The proof for one credential and one of its readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProofResult {
    /// The reader. `None` for credentials that people and tools log in with.
    pub reader: Option<String>,
    /// Name of the credential.
    pub credential: String,
    /// The evidence.
    pub proof: Proof,
    /// A remark for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Returns an error with the component's answer if it is not healthy.
pub fn is_well(host: &Host, health: &Health) -> Result<(), String> {
    let tls = health.tls.then_some(Tls {
        identity: None,
        authorities: &[],
    });
    let answer = host.ask(health.address, tls, health.path, ONE)?;
    match answer.status {
        Ok(200) => Ok(()),
        // It answers 401 or 403 if anonymous access is off.
        Ok(401 | 403) if health.tls => Ok(()),
        Ok(status) => Err(format!("{}{} says {status}", health.address, health.path)),
        Err(reason) => Err(format!("{}: {reason}", health.address)),
    }
}

/// Probes once.
///
/// # Errors
///
/// Returns what is missing from the proof.
pub fn ask(host: &Host, probe: &Probe) -> Result<(Proof, Option<String>), ProofFailure> {
    match &probe.question {
        Question::Nothing => Ok((Proof::Assumed, None)),
        Question::Served(addresses, leaf) => {
            addresses.iter().try_for_each(|address| {
                let tls = Tls {
                    identity: None,
                    authorities: &[],
                };
                let answer = host
                    .ask(*address, Some(tls), "/", ONE)
                    .map_err(ProofFailure::Unreachable)?;
                if answer.served.as_ref() == Some(leaf) {
                    return Ok(());
                }
                Err(ProofFailure::Not(format!(
                    "{address} still serves another certificate than the renewed {}",
                    probe.credential
                )))
            })?;
            Ok((Proof::Served, None))
        }
        Question::Accepted(login) => log_in(host, login, &probe.credential),
    }
}

/// The reason that a proof is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofFailure {
    /// The answer was the wrong one.
    Not(String),
    /// The server did not answer.
    Unreachable(String),
}

fn log_in(host: &Host, login: &Login, credential: &str) -> Result<(Proof, Option<String>), ProofFailure> {
    let mut unreachable = String::new();
    let (certificate, key) = &login.identity;
    for address in &login.addresses {
        let tls = Tls {
            identity: Some((certificate, key)),
            authorities: &login.authorities,
        };
        match host.ask(*address, Some(tls), login.path, ONE) {
            Err(reason) => unreachable = reason,
            Ok(answer) => match answer.status {
                Ok(401) => return Err(ProofFailure::Not(format!("{address} does not accept {credential}"))),
                // 403 proves that the server accepted the certificate.
                Ok(_) => return Ok((Proof::Accepted, None)),
                Err(reason) => {
                    return Err(ProofFailure::Not(format!(
                        "{address} does not accept {credential}: {reason}"
                    )));
                }
            },
        }
    }
    Err(ProofFailure::Unreachable(unreachable))
}

/// Probes until everything is proven, `limit` has passed, or the process is asked to end.
///
/// A login to a server that cannot be reached is given up after ten seconds and counts as assumed:
/// the server's own proof shows whether it should run.
pub fn prove(host: &Host, reader: Option<&str>, probes: &[Probe], limit: Duration) -> Result<Vec<ProofResult>, String> {
    let begun = Instant::now();
    let mut proven = Vec::new();
    for probe in probes {
        let (proof, note) = loop {
            let reason = match ask(host, probe) {
                Ok(proof) => break proof,
                Err(ProofFailure::Unreachable(reason))
                    if matches!(probe.question, Question::Accepted(_)) && begun.elapsed() >= UNREACHABLE.min(limit) =>
                {
                    break (Proof::Assumed, Some(format!("no server answered: {reason}")));
                }
                Err(ProofFailure::Not(reason) | ProofFailure::Unreachable(reason)) => reason,
            };
            if begun.elapsed() >= limit || host.stop.requested() {
                return Err(reason);
            }
            std::thread::sleep(EVERY);
        };
        proven.push(ProofResult {
            reader: reader.map(str::to_owned),
            credential: probe.credential.clone(),
            proof,
            note,
        });
    }
    Ok(proven)
}
