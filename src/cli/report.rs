//! What `check` and `list` print.

use std::collections::HashSet;
use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

use crate::plan::{Forecast, Plan};
use crate::spec::Scheduled;

/// What a good plan will cost.
pub(super) fn check(plan: &Plan) -> String {
    let forecast = &plan.forecast;
    let settings = &plan.settings;
    let mut text = format!(
        "ok: {} of {} specs, {} scheduled by {} on {}\n",
        used(plan),
        plan.known.len(),
        count(forecast.scheduled, "variant"),
        count(settings.probes.len(), "probe"),
        count(settings.targets.len(), "target"),
    );
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<22}{value}");
    };
    row("runs per hour", format!("{:.0}", forecast.runs_per_hour));
    row(
        "requests per second",
        format!("{:.1} at most", forecast.requests_per_second),
    );
    row(
        "series",
        format!("{} (limit {})", forecast.series, settings.series_limit),
    );
    row("longest wait", waiting(forecast));
    row("longest teardown", human(forecast.longest_teardown));
    let enough = if forecast.stop_timeout > settings.stop_grace {
        " (longer: what is not undone by then stays owed)"
    } else {
        ""
    };
    row(
        "stop timeout",
        format!(
            "{} lets every teardown end; stop_grace is {}{enough}",
            human(forecast.stop_timeout),
            human(settings.stop_grace),
        ),
    );
    text
}

/// What a target costs that does not answer any more.
fn waiting(forecast: &Forecast) -> String {
    let Some(queue) = &forecast.queue else {
        return "none: each target has a place for each of its runs".to_owned();
    };
    // Nobody reads milliseconds of minutes.
    let wait = Duration::from_secs(queue.wait.as_secs() + u64::from(queue.wait.subsec_nanos() > 0));
    let enough = if queue.is_too_long() {
        format!(
            " (longer than its interval of {}: slots are skipped then)",
            human(queue.interval)
        )
    } else {
        String::new()
    };
    format!(
        "{} on {} if it hangs: {} share {}{enough}",
        human(wait),
        queue.target,
        count(queue.runs, "run"),
        count(queue.places as usize, "place"),
    )
}

fn used(plan: &Plan) -> usize {
    let scheduled = scheduled(plan);
    let known = plan.known.iter();
    known.filter(|spec| scheduled.contains(&*spec.name)).count()
}

fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        many => format!("{many} {thing}s"),
    }
}

fn human(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Every spec: what is scheduled, then what nobody selects.
pub(super) fn list(plan: &Plan) -> String {
    let header = ["TARGET", "SPEC", "VARIANT", "PROBE", "EVERY", "TAGS"].map(str::to_owned);
    let names = scheduled(plan);
    let scheduled = plan.scheduled.iter().map(|spec| {
        let Scheduled { info, .. } = spec.as_ref();
        [
            info.identity.target.clone(),
            info.identity.spec.clone(),
            dash(&info.identity.variant),
            info.probe.clone(),
            human(info.interval),
            info.tags.join(","),
        ]
    });
    let unused = plan
        .known
        .iter()
        .filter(|spec| !names.contains(&*spec.name))
        .map(|spec| {
            [
                dash(""),
                spec.name.clone(),
                dash(""),
                dash(""),
                dash(""),
                spec.tags.join(","),
            ]
        });
    let rows: Vec<_> = std::iter::once(header)
        .chain(scheduled)
        .chain(unused)
        .collect();
    let mut text = table(&rows);
    for spec in plan.known.iter().filter(|spec| spec.replaces_built_in) {
        let _ = writeln!(
            text,
            "{} replaces the built-in one: {}",
            spec.name, spec.declared
        );
    }
    text
}

/// The names of the specs that some probe selects.
fn scheduled(plan: &Plan) -> HashSet<&str> {
    let scheduled = plan.scheduled.iter();
    scheduled
        .map(|spec| spec.info.identity.spec.as_str())
        .collect()
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

/// The same for machines.
pub(super) fn list_json(plan: &Plan) -> String {
    let scheduled = plan.scheduled.iter().map(|spec| {
        let info = &spec.info;
        json!({
            "target": info.identity.target,
            "spec": info.identity.spec,
            "variant": info.identity.variant,
            "probe": info.probe,
            "interval_seconds": info.interval.as_secs_f64(),
            "timeout_seconds": info.timeout.as_secs_f64(),
            "tags": info.tags,
            "steps": info.steps.iter().map(|step| &*step.name).collect::<Vec<_>>(),
        })
    });
    let specs = plan.known.iter().map(|spec| {
        json!({
            "name": spec.name,
            "description": spec.description,
            "tags": spec.tags,
            "declared": spec.declared,
            "replaces_built_in": spec.replaces_built_in,
        })
    });
    let listing = json!({
        "scheduled": scheduled.collect::<Vec<_>>(),
        "specs": specs.collect::<Vec<_>>(),
    });
    format!("{listing:#}\n")
}
