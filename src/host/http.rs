//! Asks a server for its certificate and for the answer to one GET. TLS by rustls, HTTP by hyper.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;

use super::Host;

/// A client certificate with its chain, and its key, as PEM.
pub type Identity<'a> = (&'a str, &'a str);

/// TLS options.
#[derive(Debug, Clone, Copy)]
pub struct Tls<'a> {
    /// Client certificate. `None` means an anonymous client.
    pub identity: Option<Identity<'a>>,
    /// CAs (DER), to one of which the server's chain must lead. Empty accepts any certificate. The
    /// server's name is never checked, since it is asked by an address of this node, which its SANs
    /// need not have.
    pub authorities: &'a [Vec<u8>],
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The server's leaf (DER), whose key it has proven to hold.
    pub served: Option<Vec<u8>>,
    /// HTTP status, or the reason that there was none.
    pub status: Result<u16, String>,
}

impl Host {
    /// Requests `path` within `limit`.
    ///
    /// # Errors
    ///
    /// Fails if the server cannot be reached, or does not speak TLS although it should.
    pub fn ask(
        &self,
        address: SocketAddr,
        tls: Option<Tls<'_>>,
        path: &str,
        limit: Duration,
    ) -> Result<Answer, String> {
        within(limit, address, exchange(address, tls, path))
    }

    /// Returns the leaf (DER) that a server shows in the handshake, without any request.
    pub fn served(&self, address: SocketAddr, limit: Duration) -> Result<Vec<u8>, String> {
        let tls = Tls {
            identity: None,
            authorities: &[],
        };
        self.stop.beat();
        within(limit, address, async {
            let stream = connect(address).await?;
            let (served, shaken) = handshake(address, stream, tls).await?;
            served.ok_or_else(|| format!("{address}: {}", shaken.err().unwrap_or_default()))
        })
    }
}

fn within<T>(
    limit: Duration,
    address: SocketAddr,
    asked: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let asked = tokio::time::timeout(limit, asked).await;
        asked.unwrap_or_else(|_| Err(format!("{address} does not answer within {} s", limit.as_secs())))
    })
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let connected = TcpStream::connect(address).await;
    connected.map_err(|e| format!("{address}: {}", super::reason(&e)))
}

/// Returns the leaf that was shown, whether the handshake succeeded or not, and the stream or the
/// reason that there is none.
async fn handshake(
    address: SocketAddr,
    stream: TcpStream,
    tls: Tls<'_>,
) -> Result<(Option<Vec<u8>>, Result<TlsStream<TcpStream>, String>), String> {
    let witness = Arc::new(Witness::new(tls.authorities)?);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config(&witness, tls.identity)?));
    let shaken = connector.connect(ServerName::from(address.ip()), stream).await;
    let served = witness.seen.lock().ok().and_then(|mut seen| seen.take());
    Ok((served, shaken.map_err(|e| e.to_string())))
}

async fn exchange(address: SocketAddr, tls: Option<Tls<'_>>, path: &str) -> Result<Answer, String> {
    let stream = connect(address).await?;
    let Some(tls) = tls else {
        let status = get(stream, address, path).await;
        return Ok(Answer { served: None, status });
    };
    let (served, shaken) = handshake(address, stream, tls).await?;
    let status = match shaken {
        Ok(stream) => get(stream, address, path).await,
        Err(e) => Err(e),
    };
    match (&served, status) {
        (None, Err(reason)) => Err(format!("{address}: {reason}")),
        (_, status) => Ok(Answer { served, status }),
    }
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    path: &str,
) -> Result<u16, String> {
    let text = |e: hyper::Error| {
        std::error::Error::source(&e).map_or_else(|| e.to_string(), |source| format!("{e}: {source}"))
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(text)?;
    let request = hyper::Request::get(path)
        .header("host", address.to_string())
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let answer = async {
        sender
            .send_request(request)
            .await
            .map(|answer| answer.status().as_u16())
    };
    tokio::select! {
        answer = answer => answer.map_err(text),
        // It ends with the connection. The other branch has the answer, or the reason that there is
        // none.
        Err(e) = connection => Err(text(e)),
    }
}

fn config(witness: &Arc<Witness>, identity: Option<Identity<'_>>) -> Result<ClientConfig, String> {
    let config = ClientConfig::builder_with_provider(witness.provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(witness.clone());
    let Some((certificate, key)) = identity else {
        return Ok(config.with_no_client_auth());
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let chain = chain.map_err(|e| format!("the client certificate cannot be used: {e}"))?;
    let key =
        PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| format!("the client key cannot be used: {e}"))?;
    config
        .with_client_auth_cert(chain, key)
        .map_err(|e| format!("the client certificate cannot be used: {e}"))
}

/// Records the server's certificate, and checks its chain if authorities are given.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    seen: Mutex<Option<Vec<u8>>>,
}

impl Witness {
    fn new(authorities: &[Vec<u8>]) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots
                .add(CertificateDer::from(authority.as_slice()))
                .map_err(|e| format!("the CA cannot be used: {e}"))?;
        }
        let chain = (!roots.is_empty())
            .then(|| WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build())
            .transpose();
        Ok(Self {
            chain: chain.map_err(|e| format!("the CA cannot be used: {e}"))?,
            provider,
            seen: Mutex::new(None),
        })
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Ok(mut seen) = self.seen.lock() {
            *seen = Some(leaf.to_vec());
        }
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(leaf, intermediates, name, ocsp, now) {
            // The chain is checked before the name.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
