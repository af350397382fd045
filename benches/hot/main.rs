//! What a daemon with many specs does all day, in time per call: one binary, one module per path.
//!
//! `scripts/bench` runs them; what a whole daemon costs beside a bare HTTP loop is measured from
//! outside, not here.
#![allow(missing_docs)]

mod event;
mod fixtures;
mod plan;
mod scrape;
mod walk;

use criterion::{Criterion, criterion_group, criterion_main};

criterion_group! {
    name = hot;
    // Another program on the machine moves the mean more than further samples mend it.
    config = Criterion::default().sample_size(50);
    targets = plan::compile, walk::three_steps, event::to_metric, scrape::encode
}
criterion_main!(hot);
