//! etcd's API (etcd.proto: Maintenance and Cluster; KV and Lease in [`store`]). Only this module
//! uses etcd-client.
//!
//! Calls block the calling thread: each client has its own runtime, so that a caller writes the
//! pieces of a snapshot on its own thread. Every call has a deadline.

pub mod store;

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::format::text::printable;
use crate::model::{Bytes, Failure};

/// Time limit for a connection, and for each request that is answered from memory or by an
/// agreement of the members.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Time limit for the next piece of a snapshot. A busy member, or one on a slow disk, reads ahead
/// before it sends.
const NEXT_PIECE: Duration = Duration::from_secs(60);

/// Endpoint and credentials of a member.
#[derive(Debug, Clone)]
pub struct Access {
    /// `https://HOST:PORT`, or `http://` without TLS.
    pub endpoint: String,
    /// CA of the server's certificate, client certificate and key, as PEM.
    pub tls: Option<Tls>,
}

/// CA and client credential, as PEM.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Tls {
    pub ca: Bytes,
    pub certificate: Bytes,
    pub key: Bytes,
}

/// Status of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Version, for example `3.5.21`.
    pub version: String,
    /// Size of its database on disk, in bytes. A snapshot has 32 bytes more.
    pub db_size: u64,
    /// Revision of the store.
    pub revision: i64,
    /// Id of the member.
    pub member: u64,
    /// Id of the cluster.
    pub cluster: u64,
    /// True if it knows a leader, which needs a majority.
    pub has_leader: bool,
    /// Names and peer URLs of the members. Empty if it does not know them.
    pub members: Vec<(String, Vec<String>)>,
}

/// The reason that an endpoint gave no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// Nothing answers at its address: another certificate would not help.
    Unreachable(String),
    /// The member answers, but does not accept this client or this request.
    Refused(String),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreachable(reason) | Self::Refused(reason)) = self;
        f.write_str(reason)
    }
}

/// A connection to one member.
pub struct Member {
    runtime: Runtime,
    client: Client,
    patience: Duration,
    /// Endpoint of the member.
    pub endpoint: String,
}

impl Member {
    /// Connects and asks for the status, so that the returned member is known to answer.
    pub fn connect(access: &Access) -> Result<(Self, Status), ConnectError> {
        let mut member = Self::open(access, PATIENCE)?;
        let status = member.status()?;
        Ok((member, status))
    }

    /// Connects, and gives each request this time limit. The first request shows whether the member
    /// accepts the client.
    pub fn open(access: &Access, patience: Duration) -> Result<Self, ConnectError> {
        let name = match address(&access.endpoint) {
            Ok(address) => reachable(address, patience)
                .map(|()| None)
                .map_err(ConnectError::Unreachable)?,
            Err(name) => Some(name),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| ConnectError::Refused(e.to_string()))?;
        let client = runtime.block_on(async {
            if let Some(name) = name {
                found(name, patience).await.map_err(ConnectError::Unreachable)?;
            }
            let mut options = ConnectOptions::new().with_connect_timeout(patience);
            if let Some(tls) = &access.tls {
                options = options.with_tls(
                    TlsOptions::new()
                        .ca_certificate(Certificate::from_pem(&*tls.ca))
                        .identity(Identity::from_pem(&*tls.certificate, &*tls.key)),
                );
            }
            in_time(patience, Client::connect([&access.endpoint], Some(options))).await
        })?;
        Ok(Self {
            runtime,
            client,
            patience,
            endpoint: access.endpoint.clone(),
        })
    }

    /// Returns the status of the member.
    pub fn status(&mut self) -> Result<Status, ConnectError> {
        let (client, patience) = (&mut self.client, self.patience);
        self.runtime.block_on(async {
            let status = in_time(patience, client.status()).await?;
            // A member without a majority does not list the others, and its snapshot is the more
            // valuable.
            let members = in_time(patience, client.member_list()).await.map(|list| {
                let urls = |urls: &[String]| urls.iter().map(|url| printable(url)).collect();
                let of = |member: &etcd_client::Member| (printable(member.name()), urls(member.peer_urls()));
                list.members().iter().map(of).collect()
            });
            let header = status.header();
            Ok(Status {
                version: printable(status.version()),
                db_size: u64::try_from(status.db_size()).unwrap_or(0),
                revision: header.map_or(0, etcd_client::ResponseHeader::revision),
                member: header.map_or(0, etcd_client::ResponseHeader::member_id),
                cluster: header.map_or(0, etcd_client::ResponseHeader::cluster_id),
                has_leader: status.leader() != 0,
                members: members.unwrap_or_default(),
            })
        })
    }

    /// Reads a snapshot to its end, piece by piece as the member sends it (32 KiB each, etcd
    /// `mvcc/backend`), with one piece in memory. [`crate::backup`] checks it.
    pub fn snapshot(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let fail =
            |error: ConnectError| Failure::new(format!("cannot read the snapshot from {}: {error}", self.endpoint));
        let client = &mut self.client;
        self.runtime.block_on(async {
            let mut stream = in_time(NEXT_PIECE, client.snapshot()).await.map_err(fail)?;
            while let Some(piece) = in_time(NEXT_PIECE, stream.message()).await.map_err(fail)? {
                take(piece.blob())?;
            }
            Ok(())
        })
    }
}

impl super::Host {
    /// Returns true if a process listens at an endpoint of this machine.
    pub fn listens(&self, endpoint: &str) -> bool {
        address(endpoint).is_ok_and(|address| reachable(address, Duration::from_secs(1)).is_ok())
    }
}

/// Returns the address of an endpoint, or its host name as the error.
fn address(endpoint: &str) -> Result<SocketAddr, &str> {
    let address = endpoint.split_once("://").map_or(endpoint, |(_, address)| address);
    address.parse().map_err(|_| address)
}

/// Connects once: the client itself would try until its deadline, and not give the reason.
fn reachable(address: SocketAddr, patience: Duration) -> Result<(), String> {
    match std::net::TcpStream::connect_timeout(&address, patience) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::TimedOut => Err(late(patience)),
        Err(e) => Err(super::reason(&e)),
    }
}

/// Connects once to a host name, which has to be looked up.
async fn found(name: &str, patience: Duration) -> Result<(), String> {
    match timeout(patience, TcpStream::connect(name)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(super::reason(&e)),
        Err(_) => Err(late(patience)),
    }
}

async fn in_time<T>(
    limit: Duration,
    what: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, ConnectError> {
    match timeout(limit, what).await {
        Ok(done) => done.map_err(|e| ConnectError::Refused(words(&e))),
        Err(_) => Err(ConnectError::Unreachable(late(limit))),
    }
}

fn late(limit: Duration) -> String {
    format!("no answer within {:.0} s", limit.as_secs_f64())
}

/// Returns the innermost cause. The outer ones say only that there was an error.
fn words(error: &etcd_client::Error) -> String {
    let innermost = |outer: &dyn Error| {
        let mut words = outer.to_string();
        let mut cause = outer.source();
        while let Some(inner) = cause {
            words = inner.to_string();
            cause = inner.source();
        }
        words
    };
    printable(&match error {
        etcd_client::Error::GRpcStatus(status) if status.source().is_none() => status.message().to_owned(),
        etcd_client::Error::GRpcStatus(status) => innermost(status),
        etcd_client::Error::TransportError(error) => innermost(error),
        other => other.to_string(),
    })
}
