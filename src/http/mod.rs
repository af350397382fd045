//! What the daemon serves: metrics, health, and a page for people. Says what it is told by the
//! exporters; changes nothing.

mod connection;
mod headers;
mod host;
mod page;
mod scrapes;
mod server;
mod shared;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::sync::Mutex;
use tokio::time::timeout;

use self::connection::WhenSent;
use self::headers::{Coding, precondition};
pub use self::host::Names;
use self::scrapes::Scrapes;
pub use self::server::{BindError, Server};
use self::shared::{MakeError, Shared};
use crate::exporter::history::History;
use crate::exporter::metrics::Metrics;
use crate::outcome::chain;

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
    /// What the daemon is called.
    names: RwLock<Names>,
    scrapes: Scrapes,
    landing: Arc<Mutex<Shared>>,
    plain: Arc<Mutex<Shared>>,
    zipped: Arc<Mutex<Shared>>,
}

impl Site {
    /// Serves what these two know, to who calls it by one of the names.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, history: Arc<History>, names: Names) -> Self {
        Self {
            metrics,
            history,
            names: RwLock::new(names),
            scrapes: Scrapes::default(),
            landing: Arc::default(),
            plain: Arc::default(),
            zipped: Arc::default(),
        }
    }

    /// Goes by other names from now on.
    pub fn rename(&self, names: Names) {
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names;
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
        let scraped = async {
            for page in [&self.plain, &self.zipped] {
                page.lock().await.renew();
            }
            self.scrapes.wait(at_most).await;
        };
        // The one page that is being made may take its time.
        let _ = timeout(at_most, scraped).await;
    }
}

fn routes(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(landing))
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(async || "healthy\n"))
        .route("/-/ready", get(ready))
        .layer(from_fn(conditional))
        .layer(from_fn_with_state(Arc::clone(&site), host::at_home))
        .with_state(site)
}

async fn landing(State(site): State<Arc<Site>>) -> Response {
    let ours = Arc::clone(&site);
    let page = Shared::get(&site.landing, move || {
        let entries = ours.history.snapshot();
        let refused = !ours.metrics.is_config_current();
        let page = page::render(
            entries.as_deref(),
            &ours.history.blind(),
            refused,
            ours.last_scrape(),
            crate::text::wall_clock(),
        );
        Ok(page.into_bytes())
    });
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
    match page.await {
        Ok(page) => (headers, page).into_response(),
        Err(error) => not_made("the page", &error),
    }
}

async fn ready(State(site): State<Arc<Site>>) -> (StatusCode, &'static str) {
    if site.history.has_plan() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no plan is running yet\n")
    }
}

async fn metrics(State(site): State<Arc<Site>>, method: Method, headers: HeaderMap) -> Response {
    let vary = (header::VARY, HeaderValue::from_static("accept-encoding"));
    let Some(coding) = Coding::asked(&headers) else {
        let what = "only gzip and identity are spoken here\n";
        return (StatusCode::NOT_ACCEPTABLE, [vary], what).into_response();
    };
    // Whoever asks for the head alone, or for nothing that is there, has not seen the metrics.
    let scrape =
        (method == Method::GET && precondition(&headers).is_none()).then(|| site.scrapes.begin());
    let ours = Arc::clone(&site);
    let page = match coding {
        Coding::Identity => Shared::get(&site.plain, move || Ok(ours.metrics.encode())).await,
        Coding::Gzip => Shared::get(&site.zipped, move || compress(&ours.metrics.encode())).await,
    };
    match page {
        Ok(page) => {
            let kind = (header::CONTENT_TYPE, METRICS_TYPE);
            let mut response = ([kind, vary], page).into_response();
            if let Coding::Gzip = coding {
                let gzip = HeaderValue::from_static("gzip");
                response
                    .headers_mut()
                    .insert(header::CONTENT_ENCODING, gzip);
            }
            if let Some(scrape) = scrape {
                let sent = WhenSent(Arc::new(move || site.scrapes.finish(scrape)));
                response.extensions_mut().insert(sent);
            }
            response
        }
        Err(error) => not_made("the metrics", &error),
    }
}

fn not_made(what: &str, error: &MakeError) -> Response {
    tracing::error!(error = %chain(error), "cannot make {what}");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

fn compress(text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text)?;
    encoder.finish()
}

/// Answers by the preconditions of a request where it would have been answered with what it asks.
async fn conditional(request: Request, next: Next) -> Response {
    let reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let otherwise = precondition(request.headers());
    let mut response = next.run(request).await;
    if let Some(status) = otherwise
        && reading
        && response.status().is_success()
    {
        *response.status_mut() = status;
        *response.body_mut() = Body::empty();
        let headers = response.headers_mut();
        for of_the_body in [
            header::CONTENT_TYPE,
            header::CONTENT_LENGTH,
            header::CONTENT_ENCODING,
        ] {
            headers.remove(of_the_body);
        }
    }
    response
}
