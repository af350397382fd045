//! Another plan without a restart: targets files change, SIGHUP comes, and nothing that stays
//! notices.

use rustix::process::Signal;

use super::daemon::{Daemon, check};
use super::eventually;
use super::page::Page;
use crate::rig::{Fault, Rig};
use crate::runs::{spec, step, wrap};

const RELOADED: &str = "testerd_config_last_reload_successful";

const CONFIG: &str = "[target.shops]\ntype = \"http\"\ntargets_file = \"shops*.json\"\n\
     [[probe]]\ntarget = \"shops\"\ninterval = \"200ms\"\n";

/// A targets file with these members.
fn file(members: &[(&str, &Rig)]) -> String {
    let group = |(name, rig): &(&str, &Rig)| {
        let url = rig.url();
        format!("{{\"targets\": [\"{url}\"], \"labels\": {{\"name\": \"{name}\"}}}}")
    };
    let groups: Vec<_> = members.iter().map(group).collect();
    format!("[{}]", groups.join(",\n"))
}

fn runs(page: &Page, member: &str) -> u64 {
    page.count("testerd_runs_total", &[("target", member)])
}

fn targets(page: &Page) -> Vec<String> {
    let runs = page.select("testerd_runs_total", &[]);
    let mut names: Vec<_> = runs
        .map(|sample| sample.label("target").to_owned())
        .collect();
    names.sort();
    names
}

/// Every slot that became a run was judged, or was told to say nothing.
fn balances(page: &Page) {
    for target in targets(page) {
        let of = |name: &str, more: &[(&str, &str)]| {
            page.count(name, &[&[("target", target.as_str())], more].concat())
        };
        let runs = of("testerd_runs_total", &[]) + of("testerd_runs_inconclusive_total", &[]);
        assert_eq!(
            of("testerd_slots_total", &[("outcome", "run")]),
            runs,
            "{target}"
        );
        let slots = of("testerd_slots_total", &[]);
        assert_eq!(of("testerd_slots_due_total", &[]), slots, "{target}");
    }
}

#[test]
fn targets_come_and_go_while_it_runs() {
    let (a, b, c) = (Rig::start(), Rig::start(), Rig::start());
    let specs = spec("", &[step("look", "/ok", "")]);
    let first = file(&[("a", &a), ("b", &b)]);
    let mut daemon = Daemon::start_with(CONFIG, &specs, &[("shops.json", &first)]);
    let page = daemon.comes_to("both have run", |page| {
        runs(page, "shops/a") > 2 && runs(page, "shops/b") > 2
    });
    assert_eq!(targets(&page), ["shops/a", "shops/b"]);

    // One comes, one goes; who stays goes on counting.
    daemon.replace("shops.json", &file(&[("a", &a), ("c", &c)]));
    let next = daemon.comes_to("c runs and b is gone", |page| {
        targets(page) == ["shops/a", "shops/c"] && runs(page, "shops/c") > 2
    });
    assert!(runs(&next, "shops/a") > runs(&page, "shops/a"));
    assert_eq!(
        next.select("testerd_permits_limit", &[("pool", "target:shops/b")])
            .count(),
        0
    );
    let requests = b.count("*");

    // What is broken changes nothing, and is told once.
    daemon.replace("shops.json", "[{\"targets\": [");
    let broken = daemon.comes_to("it is refused", |page| {
        page.value(RELOADED, &[]) == Some(0.0)
    });
    daemon.comes_to("the old plan goes on", |page| {
        runs(page, "shops/a") > runs(&broken, "shops/a") + 20
            && runs(page, "shops/c") > runs(&broken, "shops/c") + 20
    });
    assert_eq!(daemon.logged("not valid JSON"), 1);
    assert_eq!(daemon.logged("configuration refused"), 1);

    // A file that the pattern did not mean before; the broken one is mended.
    daemon.replace("shops.json", "[]");
    daemon.replace("shops-too.json", &file(&[("a", &a)]));
    let last = daemon.comes_to("only a is left", |page| targets(page) == ["shops/a"]);
    assert!(runs(&last, "shops/a") > runs(&broken, "shops/a"));
    assert_eq!(last.value(RELOADED, &[]), Some(1.0));
    assert_eq!(b.count("*"), requests, "nothing was asked of who is gone");
    balances(&daemon.stop());
}

#[test]
fn who_is_taken_away_ends_its_run_and_leaves_nothing() {
    let (goes, stays) = (Rig::start(), Rig::start());
    let patient = "timeout = \"5m\"\npoll = { every = \"50ms\", until = { status = 200 } }";
    let specs = spec(
        "timeout = \"10m\"",
        &[wrap("item", ""), step("waits", "/ok", patient)],
    );
    goes.fail("/ok", Fault::Status(500));
    let first = file(&[("goes", &goes), ("stays", &stays)]);
    let mut daemon = Daemon::start_with(CONFIG, &specs, &[("shops.json", &first)]);
    eventually("its run is under way", || {
        (goes.count("/ok") > 2).then_some(())
    });

    daemon.replace("shops.json", &file(&[("stays", &stays)]));
    daemon.comes_to("the pool of who is gone is gone", |page| {
        let pool = [("pool", "target:shops/goes")];
        page.select("testerd_permits_limit", &pool).count() == 0
    });
    // Its series stay until its run is over: nothing is lost of what that comes to.
    assert_eq!(targets(&daemon.scrape()), ["shops/goes", "shops/stays"]);
    assert_eq!(goes.alive().len(), 1);
    goes.heal("/ok");
    daemon.comes_to("it is gone", |page| targets(page) == ["shops/stays"]);
    assert_eq!((goes.created().len(), goes.deleted().len()), (1, 1));
    assert_eq!(goes.alive(), [""; 0]);
    balances(&daemon.stop());
    assert_eq!(daemon.owed(), "nothing is owed\n");
}

#[test]
fn what_is_owed_waits_for_its_target_to_come_back() {
    let rig = Rig::start();
    let specs = spec("", &[wrap("item", ""), step("look", "/ok", "")]);
    rig.fail("DELETE /items/{id}", Fault::Status(500));
    let members = file(&[("goes", &rig)]);
    let mut daemon = Daemon::start_with(CONFIG, &specs, &[("shops.json", &members)]);
    let owed = |page: &Page| page.count("testerd_journal_owed", &[("target", "shops/goes")]);
    daemon.comes_to("something is owed", |page| owed(page) > 0);

    daemon.replace("shops.json", "[]");
    daemon.comes_to("it is gone", |page| targets(page).is_empty());
    rig.heal("DELETE /items/{id}");
    let gone = "there is no target `shops/goes` any more";
    eventually("it is refused", || (daemon.logged(gone) > 0).then_some(()));
    let left = rig.alive();
    assert!(!left.is_empty());
    assert!(owed(&daemon.scrape()) > 0, "and still told");

    daemon.replace("shops.json", &members);
    daemon.comes_to("nothing is owed", |page| owed(page) == 0);
    let alive = rig.alive();
    assert!(left.iter().all(|name| !alive.contains(name)), "{alive:?}");
    daemon.stop();
    assert_eq!(rig.alive(), [""; 0]);
}

#[test]
fn a_signal_reads_everything_again() {
    let rig = Rig::start();
    let config = |settings: &str, interval: &str| {
        let url = rig.url();
        format!(
            "{settings}\n[target.t]\ntype = \"http\"\nendpoint = \"{url}\"\n\
             [[probe]]\ntarget = \"t\"\ninterval = \"{interval}\"\n"
        )
    };
    let specs = spec("", &[step("look", "/ok", "")]);
    let mut daemon = Daemon::start(&config("", "300ms"), &specs);
    let interval = "testerd_spec_interval_seconds";
    daemon.comes_to("it runs", |page| runs(page, "t") > 2);

    daemon.configure(&config("", "100ms"));
    daemon.replace("specs.toml", &spec("", &[step("look", "/other", "")]));
    daemon.signal(Signal::HUP);
    let page = daemon.comes_to("the interval is another", |page| {
        page.value(interval, &[]) == Some(0.1)
    });
    assert!(runs(&page, "t") > 2, "its counts are kept");
    eventually("the other spec is run", || {
        (rig.count("/other") > 2).then_some(())
    });

    // What cannot change, and what is wrong, is refused as a whole.
    for (settings, told) in [
        ("stop_grace = \"1m\"", "tester.stop_grace"),
        ("[server]\nlisten = 1", "server.listen"),
    ] {
        daemon.configure(&config(settings, "1s"));
        daemon.signal(Signal::HUP);
        eventually(told, || (daemon.logged(told) == 1).then_some(()));
        daemon.comes_to("refused", |page| page.value(RELOADED, &[]) == Some(0.0));
        assert_eq!(daemon.scrape().value(interval, &[]), Some(0.1));
    }
    daemon.configure(&config("", "200ms"));
    daemon.signal(Signal::HUP);
    let page = daemon.comes_to("taken on", |page| page.value(RELOADED, &[]) == Some(1.0));
    assert_eq!(page.value(interval, &[]), Some(0.2));
    balances(&daemon.stop());
}

#[test]
fn a_refused_configuration_leaves_the_targets_files_followed() {
    let (a, b, c) = (Rig::start(), Rig::start(), Rig::start());
    let specs = spec("", &[step("look", "/ok", "")]);
    let first = file(&[("a", &a)]);
    let other = file(&[("a", &a), ("b", &b)]);
    let mut daemon = Daemon::start_with(CONFIG, &specs, &[("shops.json", &first)]);
    daemon.comes_to("it runs", |page| runs(page, "shops/a") > 0);
    let refused = |daemon: &Daemon, times: usize| {
        daemon.signal(Signal::HUP);
        eventually("it is refused", || {
            (daemon.logged("configuration refused") == times).then_some(())
        });
    };

    // It names other files, and cannot be taken on.
    let elsewhere = CONFIG.replace("shops*", "others*");
    daemon.configure(&format!("{elsewhere}[server]\nlisten = 1\n"));
    refused(&daemon, 1);
    daemon.replace("shops.json", &other);
    daemon.comes_to("b is there", |page| targets(page) == ["shops/a", "shops/b"]);

    // A good change together with a bad one, which nobody asks for again.
    daemon.configure(CONFIG);
    daemon.replace("specs.toml", "[[spec]]\nname = 1\n");
    daemon.replace("shops.json", &file(&[("a", &a), ("c", &c)]));
    refused(&daemon, 2);
    daemon.comes_to("c is there and b is gone", |page| {
        targets(page) == ["shops/a", "shops/c"]
    });
    assert_eq!(daemon.logged("configuration refused"), 2);
    balances(&daemon.stop());
}

#[test]
fn a_table_without_targets_is_a_warning() {
    let specs = spec("", &[step("look", "/ok", "")]);
    let said = check(CONFIG, &specs);
    assert!(
        said.contains("0 variants scheduled by 1 probe on 0 targets"),
        "{said}"
    );
}
