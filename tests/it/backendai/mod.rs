//! The built-in Backend.AI specs against the stand-in: that they pass, that they unwind, and what
//! they say when something is wrong.

mod bugs;
mod clock;
mod cluster;
mod passing;
mod site;
mod unwinding;
mod verdicts;
