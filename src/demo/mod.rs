//! What `testerd demo` probes, inside its own process: a small shop, and a stand-in for a Backend.AI
//! manager. Nothing else in testerd knows that they are ours; the tests probe them too.

pub mod backendai;
mod dice;
mod shop;

pub use shop::Shop;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use tokio_util::sync::CancellationToken;

use backendai::{Pace, Setup, StandIn};

/// The key pair in `config/demo.toml`: the published example of the vendor, and no secret.
const KEYS: (&str, &str) = (
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
);

/// What the demo probes, with addresses but not open yet.
#[derive(Debug)]
pub struct Targets {
    shop: Shop,
    cluster: TcpListener,
}

impl Targets {
    /// Takes an address for each.
    pub fn bind() -> io::Result<Self> {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        Ok(Self {
            shop: Shop::bind(any)?,
            cluster: backendai::bind(any)?,
        })
    }

    /// Where they are, by the names that `config/demo.toml` gives them.
    pub fn addresses(&self) -> io::Result<[(&'static str, SocketAddr); 2]> {
        Ok([
            ("shop", self.shop.addr()),
            ("cluster", self.cluster.local_addr()?),
        ])
    }

    /// Serves until `shutdown`, then answers what has been asked and returns.
    pub async fn serve(self, shutdown: CancellationToken) -> io::Result<()> {
        let setup = Setup {
            email: "demo@example.invalid".to_owned(),
            password: "demo".to_owned(),
            access_key: KEYS.0.to_owned(),
            secret_key: KEYS.1.to_owned(),
            pace: Pace::BRISK,
            templates_fail: false,
        };
        let cluster = StandIn::new(&setup).serve(self.cluster, shutdown.clone());
        tokio::try_join!(self.shop.serve(shutdown), cluster).map(|_| ())
    }
}

/// The demo's configuration and its name; the endpoints in it are replaced.
pub const CONFIG: (&str, &str) = ("config/demo.toml", include_str!("../../config/demo.toml"));

/// The example specs, which the demo runs.
pub const SPECS: [(&str, &str); 7] = [
    (
        "config/specs/examples/cart-lifecycle.toml",
        include_str!("../../config/specs/examples/cart-lifecycle.toml"),
    ),
    (
        "config/specs/examples/catalog.toml",
        include_str!("../../config/specs/examples/catalog.toml"),
    ),
    (
        "config/specs/examples/checkout.toml",
        include_str!("../../config/specs/examples/checkout.toml"),
    ),
    (
        "config/specs/examples/health.toml",
        include_str!("../../config/specs/examples/health.toml"),
    ),
    (
        "config/specs/examples/login.toml",
        include_str!("../../config/specs/examples/login.toml"),
    ),
    (
        "config/specs/examples/refusal.toml",
        include_str!("../../config/specs/examples/refusal.toml"),
    ),
    (
        "config/specs/examples/visit.toml",
        include_str!("../../config/specs/examples/visit.toml"),
    ),
];
