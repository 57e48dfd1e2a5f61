//! The certificates that the node's ports serve now, for the metrics. A short handshake with each
//! port; nothing depends on the answers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::probes::Port;
use crate::format::x509;
use crate::host::Host;
use crate::model::Timestamp;

/// Longest time for one handshake.
const ONE: Duration = Duration::from_secs(1);
/// Longest time for all handshakes together.
const ALL: Duration = Duration::from_secs(5);

/// The certificate that a port served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedCertificates {
    /// The port.
    pub port: Port,
    /// notAfter of the served certificate.
    pub not_after: Timestamp,
}

/// Asks every port. Ports that serve nothing are left out.
pub fn ask(host: &Host, ports: &[Port]) -> Vec<ServedCertificates> {
    let begun = Instant::now();
    let mut asked: Vec<(SocketAddr, Option<Timestamp>)> = Vec::new();
    let mut found = Vec::new();
    for port in ports {
        let known = asked.iter().find(|(address, _)| *address == port.address);
        let shown = match known {
            Some((_, shown)) => *shown,
            None if begun.elapsed() >= ALL || host.stop.requested() => None,
            None => {
                let leaf = host.served(port.address, ONE).ok();
                let shown = leaf.and_then(|leaf| Some(x509::parse(&leaf).ok()?.validity.not_after));
                asked.push((port.address, shown));
                shown
            }
        };
        found.extend(shown.map(|not_after| ServedCertificates {
            port: port.clone(),
            not_after,
        }));
    }
    found
}
