//! Kills at every request of a run: before it has its effect, after the effect and before the
//! answer, at the answer, and with an effect that comes when the next daemon has swept already.

use std::time::Duration;

use rustix::process::Signal;

use super::site::Site;
use super::{LONG, probe};
use crate::rig::Fault;

/// Three creates, one look, three deletes.
const REQUESTS: usize = 7;

/// After the next daemon has looked for it in vain, before it may believe that.
const LATE: Fault = Fault::LateEffect(Duration::from_millis(500));
/// One run at a time: all requests before the snare closes are one run's.
const SETTINGS: &str = "cleanup.settle = \"1s\"\ntester.concurrency = 1";

/// Kills at the `nth` request, which has met `fault`; returns how many things were left.
fn check(nth: usize, fault: Option<Fault>) -> usize {
    let site = Site::new(SETTINGS, &probe("nested", "100ms"));
    let strangers = ["crash", "crash-0", "crashed"];
    for name in strangers {
        site.rig.seed(name);
    }
    site.rig.snare("*", nth, fault);
    let daemon = site.begin();
    let what = format!("killed at request {nth} with {fault:?}");
    assert!(site.rig.has_snared(LONG), "{what}");
    drop(daemon);
    let left = site.rig.alive().len() - strangers.len();

    // The next daemon makes nothing.
    site.configure(SETTINGS, &probe("idle", "100ms"));
    let mut daemon = site.serve();
    site.settles(&what);
    assert!(site.rig.is_quiet(LONG));
    assert_eq!(site.rig.alive(), strangers, "{what}");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_exit(), Some(0), "{what}");
    left
}

#[test]
fn nothing_is_left_after_a_kill_at_any_request() {
    let faults = [
        None,
        Some(Fault::Hang),
        Some(Fault::HangAfterEffect),
        Some(LATE),
    ];
    let left: usize = std::thread::scope(|scope| {
        let all = faults.map(|fault| {
            scope.spawn(move || (1..=REQUESTS).map(|nth| check(nth, fault)).sum::<usize>())
        });
        all.into_iter().map(|faults| faults.join().unwrap()).sum()
    });
    assert!(
        left > 3 * REQUESTS,
        "only {left} things were there to be swept"
    );
}
