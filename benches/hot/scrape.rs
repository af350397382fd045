//! One scrape, without its transfer: from the counts to the text.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use testerd::contract;
use testerd::event::Exporter;

use crate::fixtures;

const SERIES: u64 = 10_000;

/// As many specs as make ten thousand series, each judged once so that it has its gauges.
pub(crate) fn encode(criterion: &mut Criterion) {
    let one = contract::series(&fixtures::infos(1), &[], 0);
    let two = contract::series(&fixtures::infos(2), &[], 0);
    let specs = fixtures::infos(usize::try_from(SERIES / (two - one)).unwrap_or(1));
    let metrics = fixtures::metrics(&specs);
    for event in specs.iter().flat_map(fixtures::ended) {
        metrics.export(&event);
    }
    let series = contract::series(&specs, &fixtures::pools(), 0);
    let text = metrics.encode();
    let lines = text.split(|byte| *byte == b'\n');
    let samples = lines.filter(|line| line.first().is_some_and(u8::is_ascii_lowercase));
    assert_eq!(samples.count() as u64, series, "the contract counts right");

    let mut group = criterion.benchmark_group("scrape");
    group.throughput(Throughput::Elements(series));
    group.bench_function("encode-10000-series", |bencher| {
        bencher.iter(|| black_box(metrics.encode()));
    });
    group.finish();
}
