//! What the daemon serves: metrics, health, and a page for people. Says what it is told by the
//! exporters; changes nothing.

mod page;
mod scrapes;
mod server;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::Mutex;

use self::scrapes::Scrapes;
pub use self::server::{BindError, Server};
use crate::exporter::history::History;
use crate::exporter::metrics::Metrics;

/// The one form of metrics that every Prometheus takes.
const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The page runs nothing and loads nothing, whatever a target put into its error messages.
const PAGE_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");

/// All that is served.
pub struct Site {
    metrics: Arc<Metrics>,
    history: Arc<History>,
    scrapes: Scrapes,
    /// Held while metrics are encoded.
    encoding: Arc<Mutex<()>>,
}

impl Site {
    /// Serves what these two know.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, history: Arc<History>) -> Self {
        Self {
            metrics,
            history,
            scrapes: Scrapes::default(),
            encoding: Arc::default(),
        }
    }

    /// When `/metrics` was last scraped.
    #[must_use]
    pub fn last_scrape(&self) -> Option<SystemTime> {
        self.scrapes.last()
    }

    /// Waits until what is counted now has been scraped, so that a stop loses no result. Returns
    /// at once if nobody ever scraped; waits for `at_most`, and no longer than a scraper that still
    /// lives would need.
    pub async fn wait_for_scrape(&self, at_most: Duration) {
        self.scrapes.wait(at_most).await;
    }
}

fn routes(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(landing))
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(async || "healthy\n"))
        .route("/-/ready", get(ready))
        .with_state(site)
}

async fn landing(State(site): State<Arc<Site>>) -> Response {
    let entries = site.history.snapshot();
    let page = page::render(entries.as_deref(), site.last_scrape(), SystemTime::now());
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    (headers, page).into_response()
}

async fn ready(State(site): State<Arc<Site>>) -> (StatusCode, &'static str) {
    if site.history.has_plan() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no plan is running yet\n")
    }
}

async fn metrics(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let gzip = accepts_gzip(&headers);
    let scrape = site.scrapes.begin();
    // One at a time: each takes a few times the memory of its text, and many that come together
    // must not take it many times. Moved along, because a scraper that goes away ends only this.
    let turn = Arc::clone(&site.encoding).lock_owned().await;
    let ours = Arc::clone(&site);
    // With many specs this takes longer than a worker of the runtime may be kept from probing.
    let encoded = tokio::task::spawn_blocking(move || {
        let text = ours.metrics.encode();
        let body = if gzip { compress(&text) } else { Ok(text) };
        drop(turn);
        body
    });
    match encoded.await {
        Ok(Ok(body)) => {
            site.scrapes.finish(scrape);
            let mut response = body.into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, METRICS_TYPE);
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
            if gzip {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            response
        }
        failed => {
            tracing::error!(?failed, "cannot encode the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn compress(text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text)?;
    encoder.finish()
}

/// Whether gzip is named, and not with a weight of 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = parameters.trim().strip_prefix("q=").map(str::parse::<f32>);
            name.trim().eq_ignore_ascii_case("gzip") && weight != Some(Ok(0.0))
        })
}
