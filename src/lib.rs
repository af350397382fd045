//! testerd runs real user scenarios against a live cluster, again and again, and tells the truth
//! about them. `ARCHITECTURE.md` has the picture; the modules below stand in the order of the flow.

pub mod client;
pub mod contract;
pub mod event;
pub mod exporter;
pub mod grid;
pub mod http;
pub mod outcome;
pub mod secret;
pub mod spec;
pub mod text;
