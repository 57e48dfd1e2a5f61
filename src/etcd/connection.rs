//! Connects to etcd: tries each endpoint with each client certificate until one answers.

use std::path::Path;

use super::member::MemberConfig;
use crate::host::Host;
use crate::host::etcd::{Access, ConnectError, Member, Status, Tls};

/// A member that answers.
pub struct Connection {
    /// Client of the member.
    pub member: Member,
    /// Status of the member.
    pub status: Status,
    /// Endpoint and credentials. With another endpoint, they reach the other members.
    pub access: Access,
}

/// Connects to the first endpoint that accepts one of the client certificates, or returns the
/// reasons that none does.
pub fn connect(host: &Host, known: &MemberConfig) -> Result<(Member, Status), String> {
    let found = connect_any(host, known, &known.endpoints)?;
    Ok((found.member, found.status))
}

/// Connects to the first of these endpoints that accepts one of the client certificates, or returns
/// the reasons that none does.
pub fn connect_any(host: &Host, known: &MemberConfig, endpoints: &[String]) -> Result<Connection, String> {
    let mut reasons = Vec::new();
    for endpoint in endpoints {
        match connect_one(host, known, endpoint) {
            Ok(found) => return Ok(found),
            Err(tried) => reasons.extend(tried),
        }
    }
    match reasons.is_empty() {
        true if endpoints.is_empty() => Err("the address of etcd's API is unknown".into()),
        true => Err("cannot read a client certificate for etcd's API".into()),
        false => Err(format!("etcd's API does not answer ({})", reasons.join("; "))),
    }
}

/// Connects to one endpoint, or returns the reason for each certificate.
fn connect_one(host: &Host, known: &MemberConfig, endpoint: &str) -> Result<Connection, Vec<String>> {
    let mut reasons = Vec::new();
    if endpoint.starts_with("http://") {
        return connect_with(endpoint, None).map_err(|reason| vec![format!("{endpoint}: {reason}")]);
    }
    for (certificate, key) in &known.clients {
        let read = |path: &Path| host.read(path).ok().map(|file| file.bytes);
        let (Some(ca), Some(pem), Some(key)) = (read(&known.ca), read(certificate), read(key)) else {
            continue;
        };
        let tls = Tls {
            ca,
            certificate: pem,
            key,
        };
        let error = match connect_with(endpoint, Some(tls)) {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        reasons.push(format!("{endpoint} with {}: {error}", certificate.display()));
        if let ConnectError::Unreachable(_) = error {
            break;
        }
    }
    Err(reasons)
}

fn connect_with(endpoint: &str, tls: Option<Tls>) -> Result<Connection, ConnectError> {
    let access = Access {
        endpoint: endpoint.to_owned(),
        tls,
    };
    let (member, status) = Member::connect(&access)?;
    Ok(Connection { member, status, access })
}
