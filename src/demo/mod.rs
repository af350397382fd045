//! What `testerd demo` probes, inside its own process: a small shop, and a stand-in for a Backend.AI
//! manager. Nothing else in testerd knows that they are ours; the tests probe them too.

pub mod backendai;
mod dice;
mod shop;

pub use shop::Shop;

/// The demo's configuration and its name; the endpoint in it is replaced.
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
