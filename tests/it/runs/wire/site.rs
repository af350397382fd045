//! A server that plays a script on each connection, and a certificate authority for it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::version::{TLS12, TLS13};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// What a server does next; at the end of the script it closes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Play {
    Say(&'static str),
    Bytes(&'static [u8]),
    /// Reads so many bytes.
    Read(usize),
    /// Reads a line, and keeps it.
    Line,
    /// Waits for a TLS handshake.
    Shake,
    /// Says it for as long as somebody listens.
    Fill(&'static str),
    /// Waits for the client to close.
    Hold,
    Reset,
}

type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// A running server; dropped, it stops.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Server {
    /// The nth connection plays the nth script, and all later ones the last.
    pub(super) async fn start(scripts: &[&[Play]], tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scripts: Vec<_> = scripts.iter().map(|script| script.to_vec()).collect();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let book = heard.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            for connection in 0.. {
                let (tcp, _) = listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                let script = scripts.get(connection).or(scripts.last()).unwrap();
                // However the client leaves, the next one is served.
                let _ = play(tcp, script, tls.as_ref(), &book).await;
            }
        });
        Self {
            address,
            heard,
            _task: task,
        }
    }

    /// The lines that it kept.
    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn play(
    tcp: TcpStream,
    script: &[Play],
    tls: Option<&Arc<ServerConfig>>,
    book: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut stream: Stream = Either::Left(tcp);
    for play in script {
        match play {
            Play::Say(text) => write(&mut stream, text.as_bytes()).await?,
            Play::Bytes(bytes) => write(&mut stream, bytes).await?,
            Play::Fill(text) => loop {
                write(&mut stream, text.as_bytes()).await?;
            },
            Play::Read(count) => {
                stream.read_exact(&mut vec![0; *count]).await?;
            }
            Play::Line => {
                let mut line = Vec::new();
                while line.last() != Some(&b'\n') {
                    line.push(stream.read_u8().await?);
                }
                let line = String::from_utf8(line).unwrap();
                book.lock().unwrap().push(line.trim_end().to_owned());
            }
            Play::Shake => {
                let Either::Left(tcp) = stream else {
                    panic!("shakes once");
                };
                let accepted = TlsAcceptor::from(tls.unwrap().clone()).accept(tcp);
                stream = match accepted.into_fallible().await {
                    Ok(stream) => Either::Right(stream),
                    Err((_, mut tcp)) => {
                        // Closing before all is read would reset, and overtake the alert.
                        let _ = tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await;
                        return Ok(());
                    }
                };
            }
            Play::Hold => while stream.read_u8().await.is_ok() {},
            Play::Reset => {
                if let Either::Left(tcp) = &stream {
                    tcp.set_zero_linger()?;
                }
                return Ok(());
            }
        }
    }
    stream.shutdown().await?;
    // What the client still says is read, or closing would reset.
    while stream.read_u8().await.is_ok() {}
    Ok(())
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Signs the certificates of servers.
pub(super) struct Authority {
    /// Its own certificate.
    pub(super) file: NamedTempFile,
    issuer: Issuer<'static, KeyPair>,
}

/// How a server shakes hands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Manner {
    /// From and to which year the certificate is valid; without them it is.
    pub(super) years: Option<(i32, i32)>,
    pub(super) only_1_2: bool,
    /// The one protocol that it speaks.
    pub(super) alpn: Option<&'static str>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), params.self_signed(&key).unwrap().pem()).unwrap();
        Self {
            file,
            issuer: Issuer::new(params, key),
        }
    }

    /// `[target.NAME]` keys that trust it.
    pub(super) fn trusted(&self, keys: &str) -> String {
        let file = self.file.path().display();
        format!("tls = {{ ca_file = \"{file}\"{keys} }}")
    }

    /// The configuration of a server with these names.
    pub(super) fn server(&self, names: &[&str], manner: Manner) -> Arc<ServerConfig> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "shop");
        params.is_ca = IsCa::ExplicitNoCa;
        if let Some((from, to)) = manner.years {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let versions: &[_] = if manner.only_1_2 {
            &[&TLS12]
        } else {
            &[&TLS13, &TLS12]
        };
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.into()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            );
        let mut config = config.unwrap();
        let protocols = manner.alpn.into_iter();
        config.alpn_protocols = protocols.map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}
