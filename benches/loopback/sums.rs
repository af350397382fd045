//! The sum of the phases beside a clock of our own around the whole request.

use std::time::Instant;

use http::Method;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use testerd::client::{Client, Connections, Endpoint, Request, Speak};
use testerd::event::HttpPhases;

use crate::authority::{Authority, Holds};
use crate::figures::Figures;
use crate::target::Target;

/// What the sum may lack: this share of the request, or so many seconds.
const SHARE: f64 = 0.01;
const SECONDS: f64 = 100e-6;

const REQUESTS: usize = 1000;

/// Prints the table; whether the bound holds in every row, at the 99th percentile: between two looks
/// at a clock any process may have to wait for its turn.
pub(crate) fn measure() -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ours = Authority::new("ours");
    let folder = tempfile::tempdir().unwrap();
    let root = CertificateDer::from_pem_file(ours.write(folder.path())).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let client = Client::with_roots(roots);
    let plain = Target::start(None).address;
    let signed = ours.sign(&["localhost"], Holds::Now);
    let tls = Target::start(Some(signed.server(&["http/1.1"]))).address;
    println!("a request less the sum of its phases, in ms");
    println!("  request                n      p50      p99      max   longest request p50");
    let mut holds = true;
    for (what, url, path, reuse) in [
        ("plain", format!("http://{plain}"), "/", false),
        ("plain, kept", format!("http://{plain}"), "/", true),
        ("1 MB", format!("http://{plain}"), "/?bytes=1000000", false),
        ("held for 5 ms", format!("http://{plain}"), "/?ms=5", false),
        (
            "name and TLS",
            format!("https://localhost:{}", tls.port()),
            "/?bytes=1000",
            false,
        ),
    ] {
        let endpoint = Endpoint::parse(&url).unwrap();
        let request = Request {
            reuse,
            speak: Speak::Http1,
            ..Request::new(Method::GET, path)
        };
        holds &= runtime.block_on(measure_one(&client, &endpoint, &request, what));
    }
    println!("  bound at p99: 0.1 ms, or 1 % of the request");
    holds
}

async fn measure_one(client: &Client, endpoint: &Endpoint, request: &Request, what: &str) -> bool {
    let mut connections = Connections::new();
    let (mut lacking, mut excess, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REQUESTS {
        let mut phases = HttpPhases::default();
        let request = request.clone();
        let begun = Instant::now();
        let answer = client
            .send(endpoint, request, &mut connections, &mut phases)
            .await;
        let own = begun.elapsed().as_secs_f64();
        connections.tidy().await;
        assert_eq!(answer.unwrap().status, 200);
        let sum: f64 = phases.taken().map(|(_, taken)| taken.as_secs_f64()).sum();
        lacking.push(own - sum);
        excess.push((own - sum).abs() - (own * SHARE).max(SECONDS));
        whole.push(own);
    }
    let lacking = Figures::new(lacking);
    let columns = lacking.columns(&[50, 99, 100]);
    let whole = Figures::new(whole).millis(50);
    let good = Figures::new(excess).millis(99) <= 0.0;
    let word = if good { "" } else { "  not the sum" };
    let count = lacking.count();
    println!("  {what:<16} {count:>7}{columns}{whole:>12.3}{word}");
    good
}
