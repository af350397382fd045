//! How true the HTTP phases are, on loopback: beside what a server did keep of its own time, beside a
//! clock of our own around each request, and beside `blackbox_exporter`.
//!
//! Not a test: on a busy machine every clock is late. Each part prints a table and, where there is a
//! bound, ends with 1 if it does not hold.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

mod accuracy;
#[allow(dead_code)] // Shared with the tests, which use all of it.
#[path = "../../tests/it/authority.rs"]
mod authority;
mod blackbox;
mod figures;
mod program;
mod sums;
mod target;

use std::process::ExitCode;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let holds = match wanted.first().map(String::as_str) {
        Some("accuracy") => {
            let sums = sums::measure();
            accuracy::measure() && sums
        }
        Some("blackbox") => {
            blackbox::measure();
            true
        }
        // `cargo bench` without a name: nobody asked for minutes of this.
        _ => {
            println!("say accuracy or blackbox: scripts/bench-accuracy, scripts/bench-blackbox");
            true
        }
    };
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
