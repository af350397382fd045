//! Ends that are not kills: a signal in the middle of a create, a second one in the middle of a
//! delete that hangs, and deletes that fail for so long that nothing more may be made.

use std::time::Duration;

use rustix::process::Signal;

use super::site::Site;
use super::{LONG, probe};
use crate::e2e::child::Child;
use crate::e2e::eventually;
use crate::rig::{Fault, get};

const SETTINGS: &str = "cleanup.settle = \"1s\"\ntester.stop_grace = \"20s\"";

#[test]
fn a_signal_during_setup_leaves_nothing() {
    let after_a_while = Fault::LateEffect(Duration::from_millis(150));
    for (spec, nth) in [("single", 1), ("nested", 1), ("nested", 2), ("nested", 3)] {
        let site = Site::new(SETTINGS, &probe(spec, "100ms"));
        site.rig.snare("POST /items", nth, Some(after_a_while));
        let mut daemon = site.serve();
        assert!(site.rig.has_snared(LONG));
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait_exit(), Some(0));
        assert_eq!(
            site.rig.alive(),
            Vec::<String>::new(),
            "{spec}, create {nth}"
        );
        assert_eq!(site.owed(), Vec::<String>::new(), "{spec}, create {nth}");
        assert!(site.rig.created().len() >= nth);
    }
}

#[test]
fn a_second_signal_ends_a_hanging_teardown_and_the_next_start_carries_it_out() {
    let site = Site::new(SETTINGS, &probe("single", "100ms"));
    site.rig.snare("DELETE /items/{id}", 1, Some(Fault::Hang));
    let mut daemon = site.serve();
    assert!(site.rig.has_snared(LONG));
    daemon.signal(Signal::TERM);
    daemon.hear("that it stops", |line| {
        line.contains("stopping").then_some(())
    });
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_exit(), Some(130));
    assert_eq!((site.rig.alive().len(), site.owed().len()), (1, 1));

    site.configure(SETTINGS, &probe("idle", "100ms"));
    let _daemon = site.serve();
    site.settles("after a second signal");
    assert!(site.rig.alive().is_empty());
}

/// The runs that ended because too much is owed.
fn refused(daemon: &mut Child) -> f64 {
    let address = daemon.hear("its address", |line| {
        let (_, rest) = line.split_once("addresses=")?;
        Some(rest.split_whitespace().next()?.trim_matches('"').to_owned())
    });
    let page = get(&format!("http://{address}/metrics")).text;
    let mut lines = page.lines();
    let line = lines.find(|line| {
        line.starts_with("testerd_runs_inconclusive_total") && line.contains("cause=\"owed\"")
    });
    line.map_or(0.0, |line| {
        line.rsplit(' ').next().unwrap().parse().unwrap()
    })
}

#[test]
fn a_broken_delete_cannot_eat_the_target() {
    let settings = format!("{SETTINGS}\ncleanup.max_owed = 3\ntester.concurrency = 1");
    let site = Site::new(&settings, &probe("single", "100ms"));
    // A teardown that fails goes on until its time is over.
    let (long, short) = ("teardown_timeout = \"20s\"", "teardown_timeout = \"500ms\"");
    site.edit("specs.toml", long, short);
    site.rig
        .fail("DELETE /items/{id}", Fault::FailBeforeEffect(500));
    let mut daemon = site.serve();
    eventually("runs are refused", || {
        (refused(&mut daemon) > 0.0).then_some(())
    });
    let (made, alive) = (site.rig.created().len(), site.rig.alive().len());
    assert_eq!((made, alive, site.owed().len()), (3, 3, 3));
    eventually("more are refused", || {
        (refused(&mut daemon) > 5.0).then_some(())
    });
    assert_eq!(site.rig.created().len(), made, "nothing more may be made");

    site.rig.heal("DELETE /items/{id}");
    eventually("all is undone", || {
        (site.sweep(&[]).code == Some(0)).then_some(())
    });
    assert!(
        site.rig.reaches("POST /items", made + 3, LONG),
        "no run begins again"
    );
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_exit(), Some(0));
    assert!(site.rig.alive().is_empty());
}
