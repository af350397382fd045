//! How the connections to a target are made: settings, and the TLS configuration made of them.
//!
//! Files are read when they are first needed, and again when they have changed: certificates are
//! renewed while the daemon runs. Who is reached is `endpoint`'s, the handshake itself `connect`'s.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::spawn_blocking;

use super::error::ClientError;
use super::proxy::Proxy;
use super::tls;

/// Which addresses of a name are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    pub(super) fn has(self, address: SocketAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Whom to trust, and who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// The roots that are trusted, as PEM, instead of this machine's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its chain, as PEM.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate, as PEM.
    pub key_file: Option<PathBuf>,
    /// Whom the certificate has to name, instead of the endpoint's host; it is asked for by SNI too.
    pub server_name: Option<ServerName<'static>>,
    /// TLS 1.3 and nothing older, instead of 1.2.
    pub only_1_3: bool,
    /// Any certificate will do. What is read from it is then worth nothing but its date.
    pub anybody: bool,
}

impl Trust {
    fn files(&self) -> impl Iterator<Item = &Path> {
        let files = [&self.ca_file, &self.cert_file, &self.key_file];
        files.into_iter().flatten().map(PathBuf::as_path)
    }

    /// When each file was written last, and how long it is.
    fn stamp(&self) -> Stamp {
        let of = |file: &Path| {
            let known = fs::metadata(file).ok()?;
            Some((known.modified().ok()?, known.len()))
        };
        self.files().map(of).collect()
    }
}

type Stamp = Vec<Option<(SystemTime, u64)>>;

/// How the connections to a target are made.
#[derive(Debug, Default)]
pub struct Transport {
    /// Which addresses are used; without it the first that the system names.
    pub family: Option<Family>,
    /// Through whom.
    pub proxy: Option<Proxy>,
    /// For `https` and `tls`.
    pub trust: Trust,
    loaded: Mutex<Option<(Stamp, Arc<ClientConfig>)>>,
    /// The way to others, made once: sessions are resumed only in the same configuration.
    elsewhere: OnceLock<Arc<Self>>,
}

impl PartialEq for Transport {
    fn eq(&self, other: &Self) -> bool {
        (self.family, &self.proxy, &self.trust) == (other.family, &other.proxy, &other.trust)
    }
}

impl Eq for Transport {}

impl Transport {
    /// With these settings; the default is straight, trusting the roots of this machine.
    #[must_use]
    pub fn new(family: Option<Family>, proxy: Option<Proxy>, trust: Trust) -> Self {
        Self {
            family,
            proxy,
            trust,
            loaded: Mutex::default(),
            elsewhere: OnceLock::new(),
        }
    }

    /// The same way to somebody else: who we are, and whom the target's certificate names, is
    /// between the target and us.
    #[must_use]
    pub fn elsewhere(self: &Arc<Self>) -> Arc<Self> {
        let trust = Trust {
            cert_file: None,
            key_file: None,
            server_name: None,
            ..self.trust.clone()
        };
        if trust == self.trust {
            return Arc::clone(self);
        }
        let made = || Arc::new(Self::new(self.family, self.proxy.clone(), trust));
        Arc::clone(self.elsewhere.get_or_init(made))
    }

    /// The same way, but the certificate has to name somebody else.
    #[must_use]
    pub fn naming(&self, name: ServerName<'static>) -> Arc<Self> {
        let trust = Trust {
            server_name: Some(name),
            ..self.trust.clone()
        };
        Arc::new(Self::new(self.family, self.proxy.clone(), trust))
    }

    /// The TLS configuration, without protocols and without resumption.
    pub(super) async fn config(
        &self,
        roots: Arc<RootCertStore>,
    ) -> Result<Arc<ClientConfig>, ClientError> {
        let stamp = self.trust.stamp();
        let loaded = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, config)) = &*loaded()
            && *known == stamp
        {
            return Ok(Arc::clone(config));
        }
        let trust = self.trust.clone();
        let config = spawn_blocking(move || tls::configure(&trust, roots)).await;
        let config = Arc::new(config.map_err(ClientError::roots)??);
        *loaded() = Some((stamp, Arc::clone(&config)));
        Ok(config)
    }

    /// Whether this machine's roots are needed.
    pub(super) fn needs_roots(&self) -> bool {
        self.trust.ca_file.is_none() && !self.trust.anybody
    }
}
