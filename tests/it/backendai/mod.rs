//! The built-in Backend.AI specs against the stand-in: that they pass, that they unwind, and what
//! they say when something is wrong.

mod bugs;
mod clock;
mod cluster;
mod examples;
mod passing;
mod recorded;
mod site;
mod unwinding;
mod verdicts;
