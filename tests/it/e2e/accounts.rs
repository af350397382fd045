//! What became of every slot, on the running program: due = run + skipped + missed, and every run
//! ends once. And a target that hangs takes nothing from another.

use std::collections::BTreeSet;

use super::daemon::Daemon;
use super::page::Page;
use crate::rig::{Fault, Rig};

/// The books of one scheduled spec.
#[derive(Debug, Clone, Copy)]
struct Account {
    due: u64,
    run: u64,
    skipped_overlap: u64,
    skipped_capacity: u64,
    missed: u64,
    /// Passed or failed.
    judged: u64,
    inconclusive: u64,
}

impl Account {
    fn of(page: &Page, spec: &str) -> Self {
        let labels = [("spec", spec)];
        let slots = |outcome| {
            page.count(
                "testerd_slots_total",
                &[("spec", spec), ("outcome", outcome)],
            )
        };
        assert_eq!(slots("skipped_maintenance"), 0);
        Self {
            due: page.count("testerd_slots_due_total", &labels),
            run: slots("run"),
            skipped_overlap: slots("skipped_overlap"),
            skipped_capacity: slots("skipped_capacity"),
            missed: slots("missed"),
            judged: page.count("testerd_runs_total", &labels),
            inconclusive: page.count("testerd_runs_inconclusive_total", &labels),
        }
    }

    fn ended(self) -> u64 {
        self.run + self.skipped_overlap + self.skipped_capacity + self.missed
    }

    /// What holds at every moment: no slot ends before it is due or twice, and a spec runs once at
    /// a time.
    fn check(self) {
        assert!(self.ended() <= self.due, "{self:?}");
        let in_flight = self.run.checked_sub(self.judged + self.inconclusive);
        assert!(in_flight.is_some_and(|runs| runs <= 1), "{self:?}");
    }

    /// What holds in the end.
    fn check_closed(self) {
        assert_eq!(self.ended(), self.due, "{self:?}");
        assert_eq!(self.run, self.judged + self.inconclusive, "{self:?}");
    }
}

fn specs_of(page: &Page) -> BTreeSet<String> {
    let infos = page.select("testerd_spec_info", &[]);
    infos.map(|info| info.label("spec").to_owned()).collect()
}

fn queue(page: &Page, pool: &str) -> u64 {
    page.count("testerd_queue_length", &[("pool", pool)])
}

fn check_all(page: &Page) {
    for spec in specs_of(page) {
        Account::of(page, &spec).check();
    }
}

/// Whether every slot that fell due has ended, but for those that wait for a permit.
fn is_quiet(page: &Page) -> bool {
    let open = |account: Account| account.due - account.ended();
    let specs = specs_of(page);
    let waiting: u64 = specs.iter().map(|spec| open(Account::of(page, spec))).sum();
    waiting == queue(page, "target:narrow") && queue(page, "target:wide") == 0
}

fn one_step(name: &str, tag: &str, path: &str) -> String {
    format!(
        r#"
        [[spec]]
        name = "{name}"
        tags = ["{tag}"]
        timeout = "700ms"
        [[spec.steps]]
        name = "ask"
        use = "http"
        path = "{path}"
        "#
    )
}

fn target(name: &str, rig: &Rig, concurrency: u32) -> String {
    let url = rig.url();
    format!("[target.{name}]\ntype = \"http\"\nendpoint = \"{url}\"\nconcurrency = {concurrency}\n")
}

fn probe(target: &str, tag: &str, interval: &str) -> String {
    format!("[[probe]]\ntarget = \"{target}\"\ntags = [\"{tag}\"]\ninterval = \"{interval}\"\n")
}

#[test]
fn every_slot_ends_once_and_every_run_too() {
    let rig = Rig::start();
    let config = [
        target("wide", &rig, 10),
        target("narrow", &rig, 1),
        probe("wide", "quick", "100ms"),
        probe("wide", "slow", "300ms"),
        probe("wide", "hanging", "200ms"),
        probe("narrow", "starved", "100ms"),
    ];
    let specs = [
        one_step("quick", "quick", "/ok"),
        one_step("slow", "slow", "/delay?ms=50"),
        one_step("hanging", "hanging", "/hang"),
        one_step("starved-a", "starved", "/delay?ms=130"),
        one_step("starved-b", "starved", "/delay?ms=140"),
    ];
    let mut daemon = Daemon::start(&config.concat(), &specs.concat());
    daemon.comes_to("some of everything", |page| {
        check_all(page);
        let of = |spec| Account::of(page, spec);
        of("quick").judged >= 20
            && of("slow").judged >= 5
            && of("hanging").skipped_overlap >= 6
            && of("hanging").judged >= 2
            && of("starved-a").skipped_capacity + of("starved-b").skipped_capacity >= 3
    });
    daemon.comes_to("a quiet moment", |page| {
        check_all(page);
        is_quiet(page)
    });

    let last = daemon.stop();
    for spec in specs_of(&last) {
        Account::of(&last, &spec).check_closed();
    }
    for gauge in ["testerd_permits_in_use", "testerd_queue_length"] {
        // Of two targets, and of all.
        assert_eq!(last.select(gauge, &[]).count(), 3);
        assert_eq!(last.count(gauge, &[]), 0, "{gauge}");
    }
    // Each run asks once; one that was cancelled perhaps not at all.
    let (asked, quick) = (rig.count("/ok") as u64, Account::of(&last, "quick"));
    assert!(
        (quick.judged..=quick.run).contains(&asked),
        "{asked}, {quick:?}"
    );
    let timeouts = [("spec", "hanging"), ("reason", "timeout")];
    let failures = last.count("testerd_run_failures_total", &timeouts);
    assert_eq!(failures, Account::of(&last, "hanging").judged);
}

#[test]
fn a_target_that_hangs_takes_nothing_from_another() {
    let (sick, well) = (Rig::start(), Rig::start());
    sick.fail("/ok", Fault::Hang);
    let names = |kind: &str| (0..8).map(|n| format!("{kind}-{n}")).collect::<Vec<_>>();
    let config = [
        // Room for one of the two, but not for all that the sick one would like.
        "concurrency = 7\n".to_owned(),
        target("sick", &sick, 4),
        target("well", &well, 4),
        probe("sick", "sick", "100ms"),
        // Longer than a busy machine may stall.
        probe("well", "well", "1s"),
    ];
    let of = |kind: &'static str| {
        let specs = names(kind).into_iter();
        specs.map(move |name| one_step(&name, kind, &format!("/ok?id={name}")))
    };
    let specs: String = of("sick").chain(of("well")).collect();
    let mut daemon = Daemon::start(&config.concat(), &specs);
    let page = daemon.comes_to("four runs of each healthy spec", |page| {
        check_all(page);
        let healthy = names("well");
        healthy
            .iter()
            .all(|spec| Account::of(page, spec).judged >= 4)
    });
    for spec in names("well") {
        let account = Account::of(&page, &spec);
        assert_eq!(account.ended(), account.run, "{spec}: {account:?}");
    }
    // It was not for want of trouble.
    assert!(
        names("sick")
            .iter()
            .any(|spec| Account::of(&page, spec).skipped_capacity > 0)
    );
    // Not at every moment: those that gave up wait again when they fall due.
    daemon.comes_to("a queue for the sick target", |page| {
        queue(page, "target:sick") > 0
    });

    let last = daemon.stop();
    for spec in names("well") {
        let account = Account::of(&last, &spec);
        let asked = well.count(&format!("/ok#{spec}")) as u64;
        assert!(
            (account.judged..=account.run).contains(&asked),
            "{spec}: {asked}, {account:?}"
        );
        assert_eq!(
            last.count("testerd_run_failures_total", &[("spec", &spec)]),
            0
        );
    }
}
