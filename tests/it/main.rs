//! The promises, tried from outside: one test binary, one module per promise or surface.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs
)]
// Configurations and answers are put together from short texts, where speed is no matter.
#![allow(clippy::format_collect, clippy::format_push_string)]

mod authority;
mod rig;
mod tools;

mod backendai;
mod crash;
mod cli;
mod dashboards;
mod docs;
mod e2e;
mod faults;
mod journal;
mod large;
mod leaks;
mod plans;
mod regressions;
mod runs;
mod schedule;
mod servers;
mod shop;
mod tidy;
mod unit;
mod unwind;
