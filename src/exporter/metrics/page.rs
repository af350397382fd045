//! The table of all metrics with their types and help texts, as a page that is filled once per
//! scrape: Prometheus' text format 0.0.4.
//!
//! Each series becomes text as it is filled in, because thousands of specs as values would take
//! many times the memory of their text. The `prometheus` crate, which has no such way, also tells
//! the children of its vectors apart by a hash over the values of their labels put together, so
//! that spec `a` with variant `b` and spec `ab` without one are the same.

use std::borrow::Cow;
use std::fmt::{Display, Write};

use super::histogram::Histogram;

/// The labels of one series.
pub(super) type Labels<'a> = [(&'static str, &'a str)];

/// All series of one name.
pub(super) struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    lines: String,
}

impl Family {
    pub(super) fn count(&mut self, labels: &Labels<'_>, value: u64) {
        self.line("", braced(labels), value);
    }

    pub(super) fn value(&mut self, labels: &Labels<'_>, value: f64) {
        self.line("", braced(labels), value);
    }

    /// A histogram always has labels.
    pub(super) fn histogram(&mut self, labels: &Labels<'_>, histogram: &Histogram) {
        let labels = text(labels);
        for (bound, count) in histogram.buckets() {
            let labels = format_args!("{{{labels},le=\"{bound}\"}}");
            self.line("_bucket", labels, count);
        }
        let count = histogram.count();
        let every = format_args!("{{{labels},le=\"+Inf\"}}");
        self.line("_bucket", every, count);
        let labels = format_args!("{{{labels}}}");
        self.line("_sum", labels, histogram.sum().as_secs_f64());
        self.line("_count", labels, count);
    }

    fn line(&mut self, suffix: &str, labels: impl Display, value: impl Display) {
        let Self { name, lines, .. } = self;
        // A string takes all that is written.
        let _ = writeln!(lines, "{name}{suffix}{labels} {value}");
    }
}

fn braced(labels: &Labels<'_>) -> String {
    match labels {
        [] => String::new(),
        labels => format!("{{{}}}", text(labels)),
    }
}

fn text(labels: &Labels<'_>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{name}=\"{}\"", escaped(value));
    }
    text
}

fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return value.into();
    }
    let value = value.replace('\\', r"\\").replace('"', "\\\"");
    value.replace('\n', r"\n").into()
}

macro_rules! page {
    ($($field:ident: $kind:ident $name:literal $help:literal;)+) => {
        /// One answer to a scrape, in the order of the contract.
        pub(super) struct Page {
            $(pub(super) $field: Family,)+
        }

        impl Page {
            pub(super) fn new() -> Self {
                Self {
                    $($field: Family {
                        name: $name,
                        kind: stringify!($kind),
                        help: $help,
                        lines: String::new(),
                    },)+
                }
            }

            fn families(self) -> Vec<Family> {
                vec![$(self.$field,)+]
            }
        }
    };
}

page! {
    runs: counter "testerd_runs_total"
        "Runs that judged the target: they passed or failed.";
    failures: counter "testerd_run_failures_total"
        "Runs that failed, by the reason of the first step that did: the target's fault.";
    inconclusive: counter "testerd_runs_inconclusive_total"
        "Runs that say nothing about the target: they were cancelled, failed by our own fault, or the target lacks what the spec requires.";
    run_duration: histogram "testerd_run_duration_seconds"
        "From the start of a run to the end of its teardown, inconclusive runs excepted.";
    step_duration: histogram "testerd_step_duration_seconds"
        "From the first attempt of a step to its last, waits included; failed steps too, but none that says nothing about the target.";
    step_failures: counter "testerd_step_failures_total"
        "Steps that failed by the target's fault, also those that are allowed to.";
    step_retries: counter "testerd_step_retries_total"
        "Further attempts of a step after one that failed.";
    http_phase: histogram "testerd_http_phase_duration_seconds"
        "Where the time of each HTTP attempt of a step went; its teardown is not in it.";
    state: gauge "testerd_state"
        "Whether the target is healthy (1) or failing (0) by the rule of the probe.";
    success: gauge "testerd_last_run_success"
        "Whether the last run that judged the target passed.";
    consecutive: gauge "testerd_consecutive_failures"
        "How many runs have failed since the last that passed.";
    last_run: gauge "testerd_last_run_timestamp_seconds"
        "When the last run that judged the target ended. Runs follow their own schedule, not scrapes.";
    last_success: gauge "testerd_last_success_timestamp_seconds"
        "When the last run that passed ended.";
    slots_due: counter "testerd_slots_due_total"
        "Slots of the schedule that have fallen due, by the clock.";
    slots: counter "testerd_slots_total"
        "What became of the slots that fell due.";
    lateness: histogram "testerd_schedule_lateness_seconds"
        "How long after its due time the scheduler took up a slot.";
    queue_wait: histogram "testerd_queue_wait_seconds"
        "How long runs waited for their permits.";
    info: gauge "testerd_spec_info"
        "The tags of a spec, separated by commas, and the probe that selected it.";
    interval: gauge "testerd_spec_interval_seconds"
        "From one slot of a spec to the next.";
    timeout: gauge "testerd_spec_timeout_seconds"
        "The deadline of a run, its teardown excepted.";
    objective: gauge "testerd_spec_objective_ratio"
        "The availability that is wanted.";
    in_use: gauge "testerd_permits_in_use"
        "Permits taken by runs.";
    limit: gauge "testerd_permits_limit"
        "Permits that there are.";
    queue_length: gauge "testerd_queue_length"
        "Runs that wait for a permit.";
    teardowns: counter "testerd_teardowns_total"
        "How undoing what runs had made ended.";
    owed: gauge "testerd_journal_owed"
        "Undos that are owed and in no run's hands.";
    oldest: gauge "testerd_journal_oldest_seconds"
        "How long ago the oldest of them was written down; 0 when nothing is owed.";
    stuck: gauge "testerd_journal_stuck"
        "How many of them have been owed for longer than stuck_after.";
    swept: counter "testerd_swept_total"
        "What the sweeper tried, and how it ended.";
    blind: counter "testerd_blind_searches_total"
        "How often a search by name did not find what had certainly been made.";
    damaged: gauge "testerd_journal_damaged"
        "Damaged journals in the state directory: set aside and kept, what they owe is not known.";
    replaced: counter "testerd_journal_replaced_total"
        "How often the journal was removed or changed under the daemon, and written anew.";
    dropped: counter "testerd_exporter_dropped_total"
        "What an exporter dropped because its queue was full.";
    reload: gauge "testerd_config_last_reload_successful"
        "Whether the last configuration that was read is the one that is running.";
    reloaded: gauge "testerd_config_last_reload_success_timestamp_seconds"
        "When the running configuration was taken on.";
    build: gauge "testerd_build_info"
        "The version, the revision and the compiler of this program.";
    cpu: counter "process_cpu_seconds_total"
        "CPU time spent, user and system.";
    open_fds: gauge "process_open_fds"
        "File descriptors in use.";
    max_fds: gauge "process_max_fds"
        "File descriptors that may be in use.";
    virtual_memory: gauge "process_virtual_memory_bytes"
        "Virtual memory.";
    resident_memory: gauge "process_resident_memory_bytes"
        "Resident memory.";
    start_time: gauge "process_start_time_seconds"
        "When the process started.";
}

impl Page {
    /// The whole text. Names without series are left out.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut families = self.families();
        families.retain(|family| !family.lines.is_empty());
        let mut page = String::new();
        for Family {
            name,
            kind,
            help,
            lines,
        } in families
        {
            let _ = write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}");
        }
        page.into_bytes()
    }
}
