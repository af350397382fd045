//! The version of the API that a manager and we both speak, asked once and then remembered.

use std::sync::Mutex;
use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use crate::client::{Connections, Request};
use crate::event::HttpPhases;
use crate::outcome::{Failure, Reason};
use crate::spec::Wire;
use crate::text::json;

/// Every version there has been, oldest first. A manager takes no other.
const VERSIONS: [&str; 7] = [
    "v6.20220615",
    "v6.20221201",
    "v6.20230315",
    "v7.20230615",
    "v8.20240315",
    "v8.20240915",
    "v9.20250722",
];

/// The oldest that has the calls we make: 23.09's.
const OLDEST: &str = "v7.20230615";

/// How long an answer is good for: a manager may be upgraded, but its `/` is limited to 1,000
/// requests in 15 minutes.
const FRESH: Duration = Duration::from_secs(600);

/// What was agreed on with one manager.
#[derive(Debug, Default)]
pub(super) struct Agreed(Mutex<Option<(&'static str, Instant)>>);

impl Agreed {
    /// The version to speak; the manager is asked if it is not known.
    pub(super) async fn version(&self, wire: Wire<'_>) -> Result<&'static str, Failure> {
        let known = *self.slot();
        if let Some((version, at)) = known
            && at.elapsed() < FRESH
        {
            return Ok(version);
        }
        let version = ask(wire).await?;
        *self.slot() = Some((version, Instant::now()));
        Ok(version)
    }

    /// A manager that refuses the version has been changed.
    pub(super) fn forget(&self) {
        *self.slot() = None;
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<(&'static str, Instant)>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn ask(wire: Wire<'_>) -> Result<&'static str, Failure> {
    let at = wire.http.len();
    wire.http.push(HttpPhases::default());
    let mut connections = Connections::new();
    let request = Request::new(Method::GET, "/");
    let sent = wire
        .client
        .send(wire.endpoint, request, &mut connections, &mut wire.http[at]);
    let sent = sent.await;
    connections.tidy().await;
    let answer = sent.map_err(|error| Failure::from(error).without_effect())?;
    let unclear = |reason: Reason, what: String| Failure::new(reason, what).without_effect();
    if answer.status != 200 {
        let what = format!(
            "asked for its API version, the manager answers {}",
            answer.status
        );
        return Err(unclear(Reason::of_status(answer.status), what));
    }
    let answer = json::parse(&answer.body).ok();
    let theirs = answer.as_ref().and_then(|json| json["version"].as_str());
    let Some(theirs) = theirs else {
        let what = "asked for its API version, the endpoint does not answer like a manager";
        return Err(unclear(Reason::Protocol, what.to_owned()));
    };
    agree(theirs).ok_or_else(|| {
        let what = format!("the manager speaks API version {theirs}, older than {OLDEST}");
        unclear(Reason::Protocol, what)
    })
}

/// The newest version that both know.
fn agree(theirs: &str) -> Option<&'static str> {
    // `v9.20250722` and the like order by number, then by date.
    let order = |version: &str| -> Option<(u32, u32)> {
        let (major, date) = version.strip_prefix('v')?.split_once('.')?;
        Some((major.parse().ok()?, date.parse().ok()?))
    };
    let limit = order(theirs)?;
    let common = VERSIONS.into_iter().rev();
    let mut common = common.filter(|version| order(version).is_some_and(|v| v <= limit));
    let best = common.next()?;
    (order(best) >= order(OLDEST)).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        for (theirs, spoken) in [
            ("v9.20250722", Some("v9.20250722")),
            ("v10.20270101", Some("v9.20250722")),
            ("v8.20240915", Some("v8.20240915")),
            ("v8.20250101", Some("v8.20240915")),
            ("v7.20230615", Some("v7.20230615")),
            ("v6.20230315", None),
            ("9", None),
        ] {
            assert_eq!(agree(theirs), spoken, "{theirs}");
        }
    }
}
