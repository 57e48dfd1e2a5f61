//! A client of the cluster's etcd, over all endpoints in turn.

use std::time::{Duration, Instant};

use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, TlsOptions};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::lab::Lab;

/// For one write or read at one endpoint.
const ONE: Duration = Duration::from_secs(1);

pub struct Clients {
    runtime: Runtime,
    endpoints: Vec<String>,
    options: ConnectOptions,
    open: Vec<Option<Client>>,
    next: usize,
}

impl Clients {
    /// With the credential of the first node's healthcheck client as it is now.
    pub fn of(lab: &Lab) -> Self {
        let pki = |name: &str| lab.nodes[0].tree.read(&format!("etc/kubernetes/pki/etcd/{name}"));
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(pki("ca.crt")))
            .identity(Identity::from_pem(
                pki("healthcheck-client.crt"),
                pki("healthcheck-client.key"),
            ));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Clients {
            runtime: runtime.expect("a runtime"),
            endpoints: lab.nodes.iter().map(super::node::Node::endpoint).collect(),
            options: ConnectOptions::new().with_connect_timeout(ONE).with_tls(tls),
            open: vec![None; lab.nodes.len()],
            next: 0,
        }
    }

    /// The client of the next endpoint; one that fails is made again when its turn comes.
    fn turn<T>(&mut self, call: impl AsyncFn(&mut Client) -> Result<T, etcd_client::Error>) -> Result<T, String> {
        let place = self.next;
        self.next = (self.next + 1) % self.endpoints.len();
        let (endpoint, options) = (&self.endpoints[place], &self.options);
        let open = self.open[place].take();
        let work = async {
            let mut client = match open {
                Some(client) => client,
                None => Client::connect([endpoint], Some(options.clone())).await?,
            };
            let answer = call(&mut client).await?;
            Ok::<_, etcd_client::Error>((client, answer))
        };
        match self.runtime.block_on(async { timeout(ONE, work).await }) {
            Ok(Ok((client, answer))) => {
                self.open[place] = Some(client);
                Ok(answer)
            }
            Ok(Err(error)) => Err(format!("{endpoint}: {error}")),
            Err(_) => Err(format!("{endpoint}: no answer within {ONE:?}")),
        }
    }

    /// Writes once, and where that fails tries the next endpoints until one takes it: how long it
    /// took, and how often it failed.
    pub fn put(&mut self, key: &str, value: &str, limit: Duration) -> Result<(Duration, usize), String> {
        let began = Instant::now();
        let mut failed = 0;
        loop {
            let put = self.turn(async |client| client.put(key, value, None).await.map(drop));
            match put {
                Ok(()) => return Ok((began.elapsed(), failed)),
                Err(reason) if began.elapsed() > limit => {
                    return Err(format!("not written within {limit:?}, {failed} attempts: {reason}"));
                }
                Err(_) => failed += 1,
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Keys and values below a prefix, from the member that answers first.
    pub fn below(&mut self, prefix: &str, limit: Duration) -> Result<Vec<(String, String)>, String> {
        let deadline = Instant::now() + limit;
        loop {
            let options = GetOptions::new().with_prefix();
            let got = self.turn(async |client| client.get(prefix, Some(options.clone())).await);
            match got {
                Ok(answer) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    return Ok(answer
                        .kvs()
                        .iter()
                        .map(|kv| (text(kv.key()), text(kv.value())))
                        .collect());
                }
                Err(reason) if Instant::now() > deadline => return Err(reason),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}
