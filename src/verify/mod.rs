//! Proof of use: what is asked is written down in [`probes`]; here it is asked, until the answer is the right one or a deadline has passed.

pub mod probes;
pub mod served;

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::host::Host;
use crate::host::http::Tls;
use probes::{Health, Login, Probe, Question};

/// How long one question may take.
const ONE: Duration = Duration::from_secs(3);
/// How often it is asked again.
const EVERY: Duration = Duration::from_millis(250);
/// A server that cannot be reached for so long cannot be asked: whether it should run is another question.
const UNREACHABLE: Duration = Duration::from_secs(10);

/// How it is known that a renewed credential is in use, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// The port that serves it shows it.
    Served,
    /// The process that held the old one is gone, and a new one is well.
    Restarted,
    /// A server let kubecertd in with it.
    Accepted,
    /// Its reader re-reads it, by its version, and there is nothing to ask.
    Assumed,
    /// Its reader does not run, or its restart is still to come.
    Pending,
}

impl Proof {
    /// One word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Restarted => "restarted",
            Self::Accepted => "accepted",
            Self::Assumed => "assumed",
            Self::Pending => "pending",
        }
    }
}

/// One credential and one reader of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProofResult {
    /// The reader; none for what people and tools log in with.
    pub reader: Option<String>,
    /// The credential.
    pub credential: String,
    /// How it is known.
    pub proof: Proof,
    /// What a person should know about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Whether a reader says that it is well; or what it says.
pub fn is_well(host: &Host, health: &Health) -> Result<(), String> {
    let tls = health.tls.then_some(Tls {
        identity: None,
        authorities: &[],
    });
    let answer = host.ask(health.address, tls, health.path, ONE)?;
    match answer.status {
        Ok(200) => Ok(()),
        // It answers, and anonymous access is off.
        Ok(401 | 403) if health.tls => Ok(()),
        Ok(status) => Err(format!("{}{} says {status}", health.address, health.path)),
        Err(reason) => Err(format!("{}: {reason}", health.address)),
    }
}

/// Asks once. The error says what is not as it should be yet.
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

/// Why something is not proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofFailure {
    /// The answer was the wrong one.
    Not(String),
    /// Nobody answered.
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
                // Whoever is known and may not have it is told so.
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

/// Asks everything until it is proven, `limit` has passed, or the process is asked to end.
///
/// A login to a server that cannot be reached is given up after ten seconds and counts as assumed: that it should run is
/// proven, or not, as that server's own.
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
                    break (Proof::Assumed, Some(format!("nobody could be asked: {reason}")));
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
