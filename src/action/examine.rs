//! What can be asked of any target: whether it is there, what time it has, and how long its
//! certificate is valid.

use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::DATE;
use http::{HeaderMap, Method};
use tokio::time::Instant;

use super::certificate::Certificate;
use crate::client::{Request, Session};
use crate::spec::{Context, Finding, Place};
use crate::text::{Params, rfc3339};

/// A clock that differs by more deserves a word: signed requests are refused at 15 minutes.
const SKEW: Duration = Duration::from_secs(60);

/// Examines a target of which nothing more is known.
pub fn examine<'a>(context: &'a mut Context<'_>, _: &'a Params) -> BoxFuture<'a, Vec<Finding>> {
    reach(context).boxed()
}

/// Examines a target that is reached over TCP, and perhaps TLS.
pub fn examine_tcp<'a>(context: &'a mut Context<'_>, _: &'a Params) -> BoxFuture<'a, Vec<Finding>> {
    connect(context).boxed()
}

/// Connects, and shakes hands where the endpoint has it.
async fn connect(context: &mut Context<'_>) -> Vec<Finding> {
    let begun = Instant::now();
    let endpoint = &context.target.endpoint;
    match context.dial(endpoint, &[], 1).await {
        Err(failure) => vec![Finding::bad("reachable", failure.message, UNREACHABLE)],
        Ok(dialog) => {
            let took = begun.elapsed();
            let session = dialog.session().cloned();
            dialog.close();
            match session {
                None => vec![Finding::good(
                    "reachable",
                    format!("connects in {took:.0?}"),
                )],
                Some(session) => {
                    let version = session.version;
                    let found = format!("speaks TLS {version} after {took:.0?}");
                    vec![Finding::good("reachable", found), certificate(&session)]
                }
            }
        }
    }
}

fn certificate(session: &Session) -> Finding {
    let leaf = session.certificates.first();
    match leaf.map(|der| Certificate::read(der)) {
        Some(Ok(leaf)) => {
            let found = format!("`{}`, until {}", leaf.called(), rfc3339(leaf.not_after));
            Finding::good("certificate", found)
        }
        _ => Finding::bad("certificate", "cannot be read", "look at it with openssl"),
    }
}

const UNREACHABLE: &str = "check the endpoint, the network, and that the target runs";

/// Asks for `/`: any answer will do.
pub(crate) async fn reach(context: &mut Context<'_>) -> Vec<Finding> {
    let begun = Instant::now();
    // Not as who we are to it: that is another question.
    let place = Place {
        ours: false,
        ..context.home()
    };
    let sent = context.send_to(&place, Request::new(Method::GET, "/"));
    match sent.await {
        Ok(answer) => {
            let found = format!("answers {} in {:.0?}", answer.status, begun.elapsed());
            let clock = clock(&answer.headers, crate::text::wall_clock());
            [Finding::good("reachable", found)]
                .into_iter()
                .chain(clock)
                .collect()
        }
        Err(failure) => vec![Finding::bad("reachable", failure.message, UNREACHABLE)],
    }
}

fn clock(headers: &HeaderMap, now: SystemTime) -> Option<Finding> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let theirs = httpdate::parse_http_date(date).ok()?;
    let (ahead, skew) = match theirs.duration_since(now) {
        Ok(skew) => ("ahead of", skew),
        Err(error) => ("behind", error.duration()),
    };
    // The header has whole seconds.
    let found = format!("{} s {ahead} ours", skew.as_secs());
    Some(if skew < SKEW {
        Finding::good("clock", found)
    } else {
        Finding::bad("clock", found, "let both machines keep their time by NTP")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_differs_is_told() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (theirs, found, good) in [
            (0, "0 s ahead of ours", true),
            (59, "59 s ahead of ours", true),
            (-900, "900 s behind ours", false),
        ] {
            let date = 1_800_000_000_i64 + theirs;
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs(date.unsigned_abs());
            let mut headers = HeaderMap::new();
            let text = httpdate::fmt_http_date(date);
            headers.insert(DATE, text.parse().unwrap());
            let finding = clock(&headers, now).unwrap();
            assert_eq!(
                (finding.found.as_str(), finding.remedy.is_none()),
                (found, good)
            );
        }
    }
}
