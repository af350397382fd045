//! A server that answers each path as it was told, in the clear or over TLS, and keeps what it
//! heard: for tests about how a request comes, and where from.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::version::{TLS12, TLS13};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::World;

/// What is answered to a path.
struct Says {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// A request as it came.
pub(super) struct Asked {
    /// Method and path, with its query.
    pub(super) line: String,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Asked {
    /// A header, or nothing.
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default()
    }
}

#[derive(Default)]
struct Shared {
    says: Mutex<BTreeMap<String, Says>>,
    asked: Mutex<Vec<Asked>>,
}

/// A running server; dropped, it stops.
pub(super) struct Origin {
    pub(super) url: String,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

/// What a server speaks.
#[derive(Clone)]
pub(super) enum Speaks {
    /// HTTP/1.1 in the clear.
    Clear,
    /// HTTP/2 in the clear.
    ClearTwo,
    /// Whatever its TLS configuration offers.
    Tls(Arc<ServerConfig>),
}

impl Origin {
    /// HTTP/1.1 in the clear, on a host of its own.
    pub(super) async fn on(host: &str) -> Self {
        Self::start(host, Speaks::Clear).await
    }

    pub(super) async fn start(host: &str, speaks: Speaks) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = match speaks {
            Speaks::Tls(_) => "https",
            Speaks::Clear | Speaks::ClearTwo => "http",
        };
        let shared = Arc::new(Shared::default());
        let known = shared.clone();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                open.spawn(converse(tcp, speaks.clone(), known.clone()));
            }
        });
        Self {
            url: format!("{scheme}://{host}:{port}"),
            shared,
            _serving: serving,
        }
    }

    /// From now on this path has this answer; what has none is 200, `{"ok":true}`.
    pub(super) fn says(
        &self,
        path: &str,
        status: u16,
        headers: &[(&'static str, &str)],
        body: impl Into<Vec<u8>>,
    ) {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let says = Says {
            status,
            headers: headers.collect(),
            body: body.into(),
        };
        self.shared
            .says
            .lock()
            .unwrap()
            .insert(path.to_owned(), says);
    }

    /// What was asked since this was asked last.
    pub(super) fn heard(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.shared.asked.lock().unwrap())
    }

    /// The same, only method and path.
    pub(super) fn lines(&self) -> Vec<String> {
        self.heard().into_iter().map(|asked| asked.line).collect()
    }

    /// A world whose target it is.
    pub(super) fn world(&self) -> World {
        World::new().at(&self.url)
    }
}

async fn converse(tcp: TcpStream, speaks: Speaks, shared: Arc<Shared>) {
    let service = service_fn(|request| answer(request, shared.clone()));
    let one = http1::Builder::new();
    let two = http2::Builder::new(TokioExecutor::new());
    // How a conversation ends is the client's affair.
    match speaks {
        Speaks::Clear => drop(one.serve_connection(TokioIo::new(tcp), service).await),
        Speaks::ClearTwo => drop(two.serve_connection(TokioIo::new(tcp), service).await),
        Speaks::Tls(config) => {
            let Ok(tls) = TlsAcceptor::from(config).accept(tcp).await else {
                return;
            };
            if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
                drop(two.serve_connection(TokioIo::new(tls), service).await);
            } else {
                drop(one.serve_connection(TokioIo::new(tls), service).await);
            }
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = head.uri.path_and_query().unwrap();
    let mut response = Response::new(Full::from("{\"ok\":true}"));
    if let Some(says) = shared.says.lock().unwrap().get(head.uri.path()) {
        *response.body_mut() = Full::from(says.body.clone());
        *response.status_mut() = says.status.try_into().unwrap();
        for (name, value) in &says.headers {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
    }
    shared.asked.lock().unwrap().push(Asked {
        line: format!("{} {path}", head.method),
        version: head.version,
        headers: head.headers,
        body,
    });
    Ok(response)
}

/// Signs certificates; its own lies in a file.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "ours");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        std::fs::write(folder.path().join("ca.pem"), pem).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            folder,
        }
    }

    /// A server on 127.0.0.1 whose certificate is still valid for so long.
    pub(super) fn server(&self, valid: Duration, only_1_2: bool, protocols: &[&str]) -> Speaks {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.not_after = (testerd::text::wall_clock() + valid).into();
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let versions: &[_] = if only_1_2 {
            &[&TLS12]
        } else {
            &[&TLS13, &TLS12]
        };
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(versions)
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![leaf.into()],
                    PrivateKeyDer::Pkcs8(key.serialize_der().into()),
                )
                .unwrap();
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = protocols.collect();
        Speaks::Tls(Arc::new(config))
    }

    /// What a target needs to trust it.
    pub(super) fn trust(&self) -> String {
        let file = self.folder.path().join("ca.pem");
        format!("tls = {{ ca_file = \"{}\" }}\n", file.display())
    }
}
