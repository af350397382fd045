//! testerd runs real user scenarios against a live cluster, again and again, and tells the truth
//! about them. `ARCHITECTURE.md` has the picture; the modules below stand in the order of the flow.
//! A module uses only those above it.

// Words: pure data and pure functions.
pub mod text;
pub mod secret;
pub mod outcome;
pub mod grid;
pub mod event;
pub mod contract;
pub mod offload;

// What a step can do.
pub mod client;
pub mod spec;
pub mod action;
pub mod backendai;
pub mod catalog;

// Text becomes a plan.
pub mod config;
pub mod plan;

// When and how it runs.
pub mod journal;
pub mod runner;
pub mod sweeper;
pub mod control;
pub mod tester;

// What people see.
pub mod exporter;
pub mod http;
pub mod demo;
pub mod service;
pub mod cli;
