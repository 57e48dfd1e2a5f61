//! etcd's API (etcd.proto: Maintenance and Cluster; KV and Lease in [`store`]). The only place that knows etcd-client.
//!
//! Blocking, on the calling thread: each client has a runtime of its own, so what a caller writes while it reads a snapshot is
//! written by the caller's thread. Every call has a deadline.

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

/// For one connection, and for each question that is answered from memory or by an agreement of the members.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// For the next piece of a snapshot. A member under load, or on a slow disk, reads ahead for a while before it sends.
const NEXT_PIECE: Duration = Duration::from_secs(60);

/// How to reach one member.
#[derive(Debug, Clone)]
pub struct Access {
    /// `https://HOST:PORT`, or `http://` without the rest.
    pub endpoint: String,
    /// The CA of its certificate, the client's certificate and its key: PEM.
    pub tls: Option<Tls>,
}

/// What proves both sides to each other, PEM.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Tls {
    pub ca: Bytes,
    pub certificate: Bytes,
    pub key: Bytes,
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `3.5.21`.
    pub version: String,
    /// Bytes of its database as it is on disk; a snapshot has as many, and 32 more.
    pub db_size: u64,
    /// The store's revision.
    pub revision: i64,
    /// Its id.
    pub member: u64,
    /// The cluster's id.
    pub cluster: u64,
    /// It knows a leader: the members that it sees have a majority.
    pub has_leader: bool,
    /// The members' names and peer URLs; empty where it does not say.
    pub members: Vec<(String, Vec<String>)>,
}

/// Why an endpoint gave no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// Nothing answers at its address: another certificate would not help.
    Unreachable(String),
    /// It answers, but does not accept this client or this question.
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
    /// Where it is.
    pub endpoint: String,
}

impl Member {
    /// Connects and asks for the status, so that the returned member is known to answer.
    pub fn connect(access: &Access) -> Result<(Self, Status), ConnectError> {
        let mut member = Self::open(access, PATIENCE)?;
        let status = member.status()?;
        Ok((member, status))
    }

    /// Connects, and gives each question so much time. Whether the other side lets us in is known after the first one.
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

    /// Its status.
    pub fn status(&mut self) -> Result<Status, ConnectError> {
        let (client, patience) = (&mut self.client, self.patience);
        self.runtime.block_on(async {
            let status = in_time(patience, client.status()).await?;
            // A member that has lost its quorum says nothing about the others, and its snapshot is worth the more.
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

    /// Reads a snapshot to its end, piece by piece as the member sends it (32 KiB each, etcd `mvcc/backend`), and never more than
    /// one of them at a time. What it is worth is for [`crate::backup`] to say.
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
    /// Whether anybody listens at an endpoint of this machine.
    pub fn listens(&self, endpoint: &str) -> bool {
        address(endpoint).is_ok_and(|address| reachable(address, Duration::from_secs(1)).is_ok())
    }
}

/// The address of an endpoint; the error is its name, where it has one.
fn address(endpoint: &str) -> Result<SocketAddr, &str> {
    let address = endpoint.split_once("://").map_or(endpoint, |(_, address)| address);
    address.parse().map_err(|_| address)
}

/// Whether anybody listens there: the client itself would try again until its deadline, and not say why.
fn reachable(address: SocketAddr, patience: Duration) -> Result<(), String> {
    match std::net::TcpStream::connect_timeout(&address, patience) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::TimedOut => Err(late(patience)),
        Err(e) => Err(super::reason(&e)),
    }
}

/// The same for a name, which has to be looked up.
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

/// The innermost cause: what is around it says only that there was an error.
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
