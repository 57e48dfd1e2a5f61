//! What is served now: the ends of the certificates that the node's own ports show. A handshake and no more; nobody who does not answer is
//! waited for long, and nothing depends on it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::probes::Port;
use crate::format::x509;
use crate::host::Host;
use crate::model::Timestamp;

/// How long one handshake may take.
const ONE: Duration = Duration::from_secs(1);
/// And all of them together.
const ALL: Duration = Duration::from_secs(5);

/// What a port showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedCertificates {
    /// The port.
    pub port: Port,
    /// When the certificate ends that it showed.
    pub not_after: Timestamp,
}

/// Asks every port. Those that show nothing are left out.
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
