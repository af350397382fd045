//! One plain HTTP request from a test, blocking, on a connection of its own.

use std::time::Duration;

use serde_json::Value;

/// What came back, also with a status that says no.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Told {
    /// The body as JSON, or null.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// Sends one request with these headers, and waits so long for all of the answer. Redirects are
/// not followed.
pub(crate) fn ask_with(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    json: Option<&Value>,
    within: Duration,
) -> Result<Told, ureq::Error> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(within))
        .build()
        .new_agent();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = match json {
        Some(json) => agent.run(request.body(json.to_string()).unwrap())?,
        None => agent.run(request.body(()).unwrap())?,
    };
    Ok(Told {
        status: response.status().as_u16(),
        text: response.body_mut().read_to_string()?,
    })
}

/// Sends one request that is going to be answered.
pub(crate) fn ask(method: &str, url: &str, json: Option<&Value>) -> Told {
    ask_with(method, url, &[], json, Duration::from_secs(10)).unwrap()
}

/// `GET`.
pub(crate) fn get(url: &str) -> Told {
    ask("GET", url, None)
}
