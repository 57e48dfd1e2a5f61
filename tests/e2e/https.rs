//! The node's ports as a client sees them: whether a port answers, and with which certificate.

use super::node::Node;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// An API server that takes longer for `/readyz` is as good as away.
const PATIENCE: Duration = Duration::from_secs(2);

impl Node {
    /// Tells if `GET path` over TLS gives 200. The certificate is not checked, for two of the
    /// ports have self-signed ones.
    pub fn answers(&self, address: &str, path: &str) -> bool {
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        let command = ["timeout", "5", "openssl", "s_client", "-quiet", "-connect", address];
        let answer = self.run_with(&command, &request);
        answer.stdout.lines().next().is_some_and(|line| line.contains(" 200 "))
    }

    /// Returns the answer of a port of the node's loopback to `GET path` without TLS.
    pub fn answers_plainly(&self, port: u16, path: &str) -> String {
        let script =
            format!(r"exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET {path} HTTP/1.0\r\n\r\n' >&3 && cat <&3");
        self.run(&["timeout", "5", "bash", "-c", &script]).stdout
    }

    /// The serial number, hex, of the certificate that a port serves. etcd asks for a client
    /// certificate: it gets the health check's.
    #[track_caller]
    pub fn served_serial(&self, address: &str) -> String {
        let client = "/etc/kubernetes/pki/etcd/healthcheck-client";
        let (certificate, key) = (format!("{client}.crt"), format!("{client}.key"));
        let mut command = vec!["timeout", "5", "openssl", "s_client", "-connect", address];
        command.extend(["-cert", &certificate, "-key", &key]);
        let handshake = self.run(&command).stdout;
        let serial = self.run_with(&["openssl", "x509", "-noout", "-serial"], &handshake);
        serial.exits(0).stdout.trim().replace("serial=", "")
    }
}

/// A client of one port in the node's network that trusts the node's CA.
pub struct Client {
    config: Arc<ClientConfig>,
    address: &'static str,
}

impl Client {
    pub fn new(ca: &str, address: &'static str) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(certificate.expect("a CA in PEM")).expect("a CA certificate");
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Client {
            config: Arc::new(config),
            address,
        }
    }

    /// One new connection, one request: whether the answer is 200.
    pub fn ready(&self) -> bool {
        self.get("/readyz").is_some_and(|answer| answer.contains(" 200 "))
    }

    fn get(&self, path: &str) -> Option<String> {
        let address = self.address.parse().ok()?;
        let socket = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).ok()?;
        socket.set_write_timeout(Some(PATIENCE)).ok()?;
        let name = ServerName::from(address.ip());
        let connection = ClientConnection::new(self.config.clone(), name).ok()?;
        let mut stream = StreamOwned::new(connection, socket);
        stream
            .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
            .ok()?;
        let mut start = [0; 15];
        stream.read_exact(&mut start).ok()?;
        String::from_utf8(start.to_vec()).ok()
    }
}

/// Moves the calling thread into the node's network. For a thread of its own: it does not come
/// back.
pub fn enter_network(node_init: &std::fs::File) {
    let network = Some(rustix::thread::LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(node_init.as_fd(), network).expect("root may enter a network namespace");
}
