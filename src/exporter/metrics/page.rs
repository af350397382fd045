//! The table of all metrics with their types and help texts, as a page that is filled once per
//! scrape and encoded by the `prometheus` crate.
//!
//! The crate's own vectors are not used: they tell children apart by a hash over the values of
//! their labels put together, so spec `a` with variant `b` and spec `ab` without one are the same.

use prometheus::proto::{self, LabelPair, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::histogram::Histogram;

/// The labels of one series.
pub(super) type Labels<'a> = [(&'static str, &'a str)];

/// All series of one name.
pub(super) struct Family(MetricFamily);

impl Family {
    fn new(name: &str, kind: MetricType, help: &str) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self(family)
    }

    pub(super) fn count(&mut self, labels: &Labels<'_>, value: u64) {
        self.value(labels, float(value));
    }

    pub(super) fn value(&mut self, labels: &Labels<'_>, value: f64) {
        let mut metric = series(labels);
        if self.0.get_field_type() == MetricType::COUNTER {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.0.mut_metric().push(metric);
    }

    pub(super) fn histogram(&mut self, labels: &Labels<'_>, histogram: &Histogram) {
        let mut metric = series(labels);
        metric.set_histogram(histogram.sample());
        self.0.mut_metric().push(metric);
    }
}

fn series(labels: &Labels<'_>) -> proto::Metric {
    let pair = |(name, value): &(&'static str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    proto::Metric::from_label(labels.iter().map(pair).collect())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a sample is a double; counts stay exact up to 2^53"
)]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

macro_rules! page {
    ($($field:ident: $kind:ident $name:literal $help:literal;)+) => {
        /// One answer to a scrape, in the order of the contract.
        pub(super) struct Page {
            $(pub(super) $field: Family,)+
        }

        impl Page {
            pub(super) fn new() -> Self {
                Self { $($field: Family::new($name, MetricType::$kind, $help),)+ }
            }

            fn families(self) -> Vec<MetricFamily> {
                vec![$(self.$field.0,)+]
            }
        }
    };
}

page! {
    runs: COUNTER "testerd_runs_total"
        "Runs that judged the target: they passed or failed.";
    failures: COUNTER "testerd_run_failures_total"
        "Runs that failed, by the reason of the first step that did: the target's fault.";
    inconclusive: COUNTER "testerd_runs_inconclusive_total"
        "Runs that say nothing about the target: they were cancelled, or failed by our own fault.";
    run_duration: HISTOGRAM "testerd_run_duration_seconds"
        "From the start of a run to the end of its teardown, inconclusive runs excepted.";
    step_duration: HISTOGRAM "testerd_step_duration_seconds"
        "From the first attempt of a step to its last, waits included; failed steps too, but none that says nothing about the target.";
    step_failures: COUNTER "testerd_step_failures_total"
        "Steps that failed by the target's fault, also those that are allowed to.";
    step_retries: COUNTER "testerd_step_retries_total"
        "Further attempts of a step after one that failed.";
    http_phase: HISTOGRAM "testerd_http_phase_duration_seconds"
        "Where the time of each HTTP attempt of a step went; its teardown is not in it.";
    state: GAUGE "testerd_state"
        "Whether the target is healthy (1) or failing (0) by the rule of the probe.";
    success: GAUGE "testerd_last_run_success"
        "Whether the last run that judged the target passed.";
    consecutive: GAUGE "testerd_consecutive_failures"
        "How many runs have failed since the last that passed.";
    last_run: GAUGE "testerd_last_run_timestamp_seconds"
        "When the last run that judged the target ended. Runs follow their own schedule, not scrapes.";
    last_success: GAUGE "testerd_last_success_timestamp_seconds"
        "When the last run that passed ended.";
    slots_due: COUNTER "testerd_slots_due_total"
        "Slots of the schedule that have fallen due, by the clock.";
    slots: COUNTER "testerd_slots_total"
        "What became of the slots that fell due.";
    lateness: HISTOGRAM "testerd_schedule_lateness_seconds"
        "How long after its due time the scheduler took up a slot.";
    queue_wait: HISTOGRAM "testerd_queue_wait_seconds"
        "How long runs waited for their permits.";
    info: GAUGE "testerd_spec_info"
        "The tags of a spec, separated by commas, and the probe that selected it.";
    interval: GAUGE "testerd_spec_interval_seconds"
        "From one slot of a spec to the next.";
    timeout: GAUGE "testerd_spec_timeout_seconds"
        "The deadline of a run, its teardown excepted.";
    objective: GAUGE "testerd_spec_objective_ratio"
        "The availability that is wanted.";
    in_use: GAUGE "testerd_permits_in_use"
        "Permits taken by runs.";
    limit: GAUGE "testerd_permits_limit"
        "Permits that there are.";
    queue_length: GAUGE "testerd_queue_length"
        "Runs that wait for a permit.";
    teardowns: COUNTER "testerd_teardowns_total"
        "How undoing what runs had made ended.";
    owed: GAUGE "testerd_journal_owed"
        "Undos that are owed and in no run's hands.";
    oldest: GAUGE "testerd_journal_oldest_seconds"
        "How long ago the oldest of them was written down; 0 when nothing is owed.";
    stuck: GAUGE "testerd_journal_stuck"
        "How many of them have been owed for longer than stuck_after.";
    swept: COUNTER "testerd_swept_total"
        "What the sweeper tried, and how it ended.";
    damaged: GAUGE "testerd_journal_damaged"
        "Damaged journals in the state directory: set aside and kept, what they owe is not known.";
    dropped: COUNTER "testerd_exporter_dropped_total"
        "What an exporter dropped because its queue was full.";
    reload: GAUGE "testerd_config_last_reload_successful"
        "Whether the last configuration that was read is the one that is running.";
    reloaded: GAUGE "testerd_config_last_reload_success_timestamp_seconds"
        "When the running configuration was taken on.";
    build: GAUGE "testerd_build_info"
        "The version, the revision and the compiler of this program.";
    cpu: COUNTER "process_cpu_seconds_total"
        "CPU time spent, user and system.";
    open_fds: GAUGE "process_open_fds"
        "File descriptors in use.";
    max_fds: GAUGE "process_max_fds"
        "File descriptors that may be in use.";
    virtual_memory: GAUGE "process_virtual_memory_bytes"
        "Virtual memory.";
    resident_memory: GAUGE "process_resident_memory_bytes"
        "Resident memory.";
    start_time: GAUGE "process_start_time_seconds"
        "When the process started.";
}

impl Page {
    /// As text 0.0.4. Names without series are left out: the encoder takes none.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut families = self.families();
        families.retain(|family| !family.get_metric().is_empty());
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            tracing::error!(%error, "cannot encode the metrics");
            text.clear();
        }
        text
    }
}
