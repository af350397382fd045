//! From an event to the counts behind `/metrics`, in the caller: what each step adds to its run.

use criterion::{Criterion, Throughput};
use testerd::event::Exporter;

use crate::fixtures;

/// The end of a step and of its run, each time of another of a thousand specs, so that no cache
/// holds them all ready.
pub(crate) fn to_metric(criterion: &mut Criterion) {
    let specs = fixtures::infos(1000);
    let metrics = fixtures::metrics(&specs);
    let events: Vec<_> = specs.iter().map(fixtures::ended).collect();
    let mut next = events.iter().cycle();

    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Elements(2));
    group.bench_function("to-metric-1000-specs", |bencher| {
        bencher.iter(|| {
            for event in next.next().into_iter().flatten() {
                metrics.export(event);
            }
        });
    });
    group.finish();
}
