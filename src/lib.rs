//! testerd runs real user scenarios against a live cluster, again and again, and tells the truth
//! about them. `ARCHITECTURE.md` has the picture; the modules below stand in the order of the flow.

pub mod event;
pub mod grid;
pub mod outcome;
pub mod secret;
pub mod text;

pub mod action;
pub mod catalog;
pub mod client;
pub mod config;
pub mod journal;
pub mod plan;
pub mod runner;
pub mod spec;
pub mod tester;
