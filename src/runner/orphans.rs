//! Leftovers that no journal knows of: found by the name that only this instance gives.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::id;
use super::limits::Limits;
use super::perform::{Stage, race};
use crate::client::Client;
use crate::outcome::Failure;
use crate::secret::Redactor;
use crate::spec::{DEFAULT_TEARDOWN, Listed, Record, Resource, Run, Scheduled, Scope, reference};

/// Something on a target that this instance has made.
#[derive(Debug)]
pub struct Orphan {
    /// Its name.
    pub name: String,
    /// How long ago its run began, by the id in the name.
    pub age: Duration,
    /// Whether its name has the check of this instance. Names from before there was one do not, and
    /// names that others gave.
    pub checked: bool,
    /// What carries out its undo.
    pub record: Record,
}

/// What a resource of a spec lists under the names of this instance.
///
/// # Errors
/// If it cannot be listed, or its undo needs something that only a run knows.
pub async fn orphans(
    (step, resource): (&str, &dyn Resource),
    spec: &Scheduled,
    instance: &str,
    client: &Client,
) -> Result<Vec<Orphan>, Failure> {
    let mut redactor = Redactor::default();
    let target = spec.target.as_ref();
    let run = Run::new(instance, "none");
    // No run goes on, so nothing of one may be read.
    let scope = Scope::default();
    let mut stage = Stage::new(run, scope, target, client, &mut redactor);
    let limits = Limits::from_now(DEFAULT_TEARDOWN, &CancellationToken::new());
    stage.prepare(&mut redactor, &limits).await;
    let mut http = Vec::new();
    let mut context = stage.context(limits.deadline, &mut http);
    let listed = race(async { resource.list(&mut context).await }, &limits, true).await;
    let listed = listed.map_err(|failure| {
        let failure = stage.told(failure, spec.case.captures_secrets());
        failure.redacted(&redactor)
    })?;
    let ours = |listed: Listed| ours(listed, step, spec, instance);
    Ok(listed
        .unwrap_or_default()
        .into_iter()
        .filter_map(ours)
        .collect())
}

fn ours(listed: Listed, step: &str, spec: &Scheduled, instance: &str) -> Option<Orphan> {
    let now = crate::text::wall_clock();
    let found = id::find(instance, &listed.name, now)?;
    let captures = listed
        .captures
        .into_iter()
        .map(|capture| (capture.key, capture.value));
    Some(Orphan {
        age: now.duration_since(found.made).unwrap_or_default(),
        checked: found.checked,
        record: Record {
            undo: listed.undo,
            step: reference(step),
            captures: captures.collect::<BTreeMap<_, _>>(),
            created: true,
            delete_sent: false,
            search_is_blind: false,
            parent: None,
            target: spec.target.name.clone(),
            endpoint: spec.target.endpoint.to_string(),
            instance: instance.to_owned(),
            run: found.id.to_owned(),
            timeout_ms: u64::try_from(DEFAULT_TEARDOWN.as_millis()).unwrap_or(u64::MAX),
            armed_at: found.made,
            may_show_secrets: spec.case.captures_secrets(),
        },
        name: listed.name,
    })
}
