//! `Retry-After`: who is asked to wait waits, and does not ask again where that would be too late.

use std::time::Duration;

use testerd::event::Event;

use super::origin::Origin;
use super::{Told, spec, step};

async fn told(asks: Option<&str>, keys: &str) -> (Told, usize) {
    let target = Origin::on("127.0.0.1").await;
    let headers: Vec<_> = asks.map(|asks| ("retry-after", asks)).into_iter().collect();
    target.says("/busy", 503, &headers, "busy");
    let told = target
        .world()
        .run(&spec("", &[step("look", "/busy", keys)]))
        .await;
    (told, target.heard().len())
}

/// How long the step took.
fn took(told: &Told) -> Duration {
    let took = told.events.iter().find_map(|event| match event {
        Event::StepFinished { end, .. } => Some(end.duration),
        _ => None,
    });
    took.unwrap()
}

const RETRIES: &str = "timeout = \"20s\"\nretry = { attempts = 2, delay = \"1ms\" }";
const POLLS: &str = "timeout = \"300ms\"\npoll = { every = \"1ms\", until = { status = 200 } }";

#[tokio::test]
async fn a_retry_waits_as_long_as_it_is_asked_to() {
    // What is asked for, how many requests that makes, and how long they take at least.
    for (asks, requests, least) in [
        (None, 2, 0),
        (Some("0"), 2, 0),
        (Some("1"), 2, 1),
        (Some("Sun, 06 Nov 1994 08:49:37 GMT"), 2, 0),
        (Some("soon"), 2, 0),
        (Some("-5"), 2, 0),
        (Some("99999999999999999999999"), 2, 0),
        // Too late for the deadline: nobody waits for what will not be.
        (Some("3600"), 1, 0),
        (Some("18446744073709551615"), 1, 0),
        (Some("Fri, 31 Dec 2100 23:59:59 GMT"), 1, 0),
    ] {
        let (told, heard) = told(asks, RETRIES).await;
        assert_eq!(heard, requests, "{asks:?}: {}", told.story);
        assert!(took(&told) >= Duration::from_secs(least), "{asks:?}");
        assert!(told.story.contains("status is 503"), "{}", told.story);
    }
}

#[tokio::test]
async fn a_poll_waits_as_long_as_it_is_asked_to() {
    for (asks, once) in [
        (None, false),
        (Some("0"), false),
        (Some("soon"), false),
        (Some("3600"), true),
        (Some("Fri, 31 Dec 2100 23:59:59 GMT"), true),
    ] {
        let (told, heard) = told(asks, POLLS).await;
        assert_eq!(heard == 1, once, "{asks:?} {heard}: {}", told.story);
        assert!(told.story.contains("still waiting"), "{}", told.story);
    }
}
