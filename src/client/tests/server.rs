//! A server that plays the same script on each connection, and a certificate authority for it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::either::Either;

use super::Client;

/// What a server does next on a connection; at the end it closes it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Play {
    /// Reads a whole request.
    Request,
    /// Reads whatever comes.
    Read,
    /// Writes this.
    Say(&'static str),
    /// Writes bytes.
    Bytes(&'static [u8]),
    /// Agrees to a WebSocket handshake; these header lines are in the answer too.
    Upgrade(&'static str),
    /// Reads one short frame of a client.
    Frame,
    /// Writes chunks for as long as somebody reads.
    Fill,
    /// Lets time pass, where it is paused.
    Pass(Duration),
    /// Tells what it heard, and then waits for the client to close.
    Hold,
    /// Closes with a reset.
    Reset,
}

type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// A running server; dropped, it stops.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    scheme: &'static str,
    accepted: Arc<AtomicUsize>,
    heard: mpsc::Receiver<String>,
    _task: JoinSet<()>,
}

impl Server {
    /// Without TLS.
    pub(super) async fn start(script: impl Into<Vec<Play>>) -> Self {
        Self::serve(script, None).await
    }

    /// One connection after another.
    pub(super) async fn serve(
        script: impl Into<Vec<Play>>,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        Self::on("127.0.0.1", script, tls).await
    }

    /// At the first address of a name.
    pub(super) async fn on(
        host: &str,
        script: impl Into<Vec<Play>>,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let accepted = Arc::new(AtomicUsize::new(0));
        let (tell, heard) = mpsc::channel(16);
        let (script, count) = (script.into(), Arc::clone(&accepted));
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let mut log = Vec::new();
                if let Some(mut stream) = shake(tcp, tls.clone()).await {
                    for play in &script {
                        if let Err(error) = play.perform(&mut stream, &mut log, &tell).await {
                            log.extend(format!(" | {error}").into_bytes());
                            break;
                        }
                    }
                }
                // The stream is closed by now.
                tell.send(String::from_utf8_lossy(&log).into_owned())
                    .await
                    .unwrap();
            }
        });
        Self {
            address,
            scheme,
            accepted,
            heard,
            _task: task,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// How many connections it accepted.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// What it read on the next connection that ends; names of headers, which are the same in any
    /// case, in lower case.
    pub(super) async fn heard(&mut self) -> String {
        let heard = self.heard.recv().await.unwrap();
        let named = |line: &str| match line.split_once(':') {
            Some((name, value))
                if name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphabetic() || byte == b'-') =>
            {
                format!("{}:{value}", name.to_ascii_lowercase())
            }
            _ => line.to_owned(),
        };
        let lines: Vec<_> = heard.split("\r\n").map(named).collect();
        lines.join("\r\n")
    }
}

async fn shake(tcp: TcpStream, tls: Option<Arc<ServerConfig>>) -> Option<Stream> {
    let Some(config) = tls else {
        return Some(Either::Left(tcp));
    };
    match TlsAcceptor::from(config).accept(tcp).into_fallible().await {
        Ok(stream) => Some(Either::Right(stream)),
        Err((_, mut tcp)) => {
            // Closing before all is read would reset, and overtake the alert.
            let _ = tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await;
            None
        }
    }
}

impl Play {
    async fn perform(
        self,
        stream: &mut Stream,
        log: &mut Vec<u8>,
        tell: &mpsc::Sender<String>,
    ) -> io::Result<()> {
        match self {
            Self::Request => {
                let begin = log.len();
                while !is_whole(&log[begin..]) && stream.read_buf(log).await? > 0 {}
            }
            Self::Read => {
                log.reserve(0x4000);
                stream.read_buf(log).await?;
            }
            Self::Say(text) => {
                stream.write_all(text.as_bytes()).await?;
                stream.flush().await?;
            }
            Self::Bytes(bytes) => {
                stream.write_all(bytes).await?;
                stream.flush().await?;
            }
            Self::Upgrade(lines) => {
                let heard = String::from_utf8_lossy(log);
                let key = heard.split("Sec-Websocket-Key: ").nth(1).unwrap();
                let accept = derive_accept_key(key.lines().next().unwrap().as_bytes());
                let text = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                     Upgrade: WebSocket\r\nSec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
                );
                stream.write_all(text.as_bytes()).await?;
                stream.flush().await?;
            }
            Self::Frame => {
                let mut head = [0; 6];
                stream.read_exact(&mut head).await?;
                let mut payload = vec![0; usize::from(head[1] & 0x7f)];
                stream.read_exact(&mut payload).await?;
                let mask = head[2..].iter().cycle();
                let clear = payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask);
                log.extend(format!("[{:x} ", head[0]).into_bytes());
                log.extend(clear);
                log.push(b']');
            }
            Self::Fill => {
                let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
                while stream.write_all(chunk.as_bytes()).await.is_ok() {}
            }
            Self::Pass(time) => tokio::time::advance(time).await,
            Self::Hold => {
                let heard = std::mem::take(log);
                tell.send(String::from_utf8_lossy(&heard).into_owned())
                    .await
                    .unwrap();
                let _ = stream.read_buf(log).await;
                log.extend(b"the client closed");
            }
            Self::Reset => {
                // A reset may take back what was said: first the client, on the same thread,
                // gets its turns to read it.
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
                match stream {
                    Either::Left(tcp) => tcp.set_zero_linger()?,
                    Either::Right(tls) => tls.get_ref().0.set_zero_linger()?,
                }
            }
        }
        Ok(())
    }
}

fn is_whole(heard: &[u8]) -> bool {
    let text = String::from_utf8_lossy(heard);
    text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
        body.len() >= length.unwrap_or(0)
    })
}

/// Signs the certificates of servers.
pub(super) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap().into(),
            issuer: Issuer::new(params, key),
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }

    /// Its certificate, as a file has it.
    pub(super) fn pem(&self) -> String {
        let body = BASE64_STANDARD.encode(&self.certificate);
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }

    /// A client that trusts only this authority.
    pub(super) fn client(&self) -> Client {
        Client::with_roots(self.roots())
    }

    /// A server with this name.
    pub(super) fn server(&self, name: &str) -> Arc<ServerConfig> {
        self.sign(name, false)
    }

    /// The same, but it wants to see a certificate of the client.
    pub(super) fn picky_server(&self, name: &str) -> Arc<ServerConfig> {
        self.sign(name, true)
    }

    fn sign(&self, name: &str, picky: bool) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = IsCa::ExplicitNoCa;
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = if picky {
            WebPkiClientVerifier::builder_with_provider(self.roots().into(), provider.clone())
                .build()
                .unwrap()
        } else {
            WebPkiClientVerifier::no_client_auth()
        };
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![leaf.into()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            );
        Arc::new(config.unwrap())
    }
}
