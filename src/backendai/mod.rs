//! Backend.AI: what is its own about requests, sessions, folders, users and model services.
//!
//! What any HTTP API could need is in `client` and `action`; here is only what this cluster's
//! manager does differently.

pub mod signing;
