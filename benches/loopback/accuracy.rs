//! A daemon's `first_byte` beside what the target's books say of how long it held the answer.

use std::fmt::Write;
use std::time::Duration;

use testerd::event::trace_id;

use crate::figures::{Figures, millis};
use crate::program::Daemon;
use crate::target::Target;

/// How much later than it left an answer may be said to have come, at the 99th percentile.
const BOUND: Duration = Duration::from_millis(2);

/// Each delay, how many specs meet it, and how often each of them.
const DELAYS: [(Duration, usize, &str); 3] = [
    (Duration::from_millis(5), 1, "100ms"),
    (Duration::from_millis(50), 1, "100ms"),
    (Duration::from_millis(500), 6, "600ms"),
];

/// How many requests with each delay.
const REQUESTS: usize = 400;

/// Prints the table; whether the bound holds in every row.
pub(crate) fn measure() -> bool {
    println!(
        "\nfirst_byte as a daemon tells it, less the time that the target held the answer, in ms"
    );
    println!("  delay beside       n      p50      p99      max");
    let alone = measure_beside(0);
    let crowded = measure_beside(200);
    println!("  bound at p99: {}", millis(BOUND));
    alone && crowded
}

fn measure_beside(others: usize) -> bool {
    let target = Target::start(None);
    let mut specs = String::new();
    let mut probes = String::new();
    for (delay, count, interval) in DELAYS {
        let delay = delay.as_millis();
        for copy in 0..count {
            specs += &spec(&format!("held-{delay}-{copy}"), &format!("/?ms={delay}"));
        }
        probes += &probe(&format!("held-{delay}-*"), interval);
    }
    for other in 0..others {
        specs += &spec(&format!("other-{other}"), "/?bytes=1000");
    }
    if others > 0 {
        probes += &probe("other-*", "1s");
    }
    let config = format!(
        "[target.t]\ntype = \"http\"\nendpoint = \"http://{}\"\n{probes}",
        target.address
    );
    let mut daemon = Daemon::start(&config, &specs);
    let mut late: [Vec<f64>; DELAYS.len()] = Default::default();
    while late.iter().any(|late| late.len() < REQUESTS) {
        let told = daemon.next("held-");
        let of = |(delay, ..): &(Duration, usize, &str)| {
            told.spec
                .starts_with(&format!("held-{}-", delay.as_millis()))
        };
        let nth = DELAYS.iter().position(of).unwrap();
        let held = target.books.lock().unwrap()[&trace_id(&told.run)];
        if late[nth].len() < REQUESTS {
            late[nth].push(told.phase("first_byte").unwrap() - held.as_secs_f64());
        }
    }
    let mut holds = true;
    for ((delay, ..), late) in DELAYS.into_iter().zip(late) {
        let late = Figures::new(late);
        let columns = late.columns(&[50, 99, 100]);
        let good = late.millis(99).abs() <= BOUND.as_secs_f64() * 1e3;
        holds &= good;
        let word = if good { "" } else { "  too late" };
        let (delay, count) = (millis(delay), late.count());
        println!("{delay:>7} {others:>6} {count:>7}{columns}{word}");
    }
    holds
}

fn spec(name: &str, path: &str) -> String {
    format!(
        "[[spec]]\nname = \"{name}\"\n\
         [[spec.steps]]\nname = \"get\"\nuse = \"http\"\npath = \"{path}\"\n"
    )
}

fn probe(names: &str, interval: &str) -> String {
    let mut text = String::new();
    let name = names.trim_end_matches("-*");
    let _ = writeln!(
        text,
        "[[probe]]\nname = \"{name}\"\ntarget = \"t\"\nnames = [\"{names}\"]\ninterval = \"{interval}\""
    );
    text
}
