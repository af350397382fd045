//! Carries out one undo record. The same code for a run's own teardown and for the sweeper, so that
//! recovery is used all the time and cannot rot.

use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::limits::Limits;
use super::perform::{Stage, race};
use crate::client::Client;
use crate::event::HttpPhases;
use crate::outcome::{Cause, Failure};
use crate::secret::Redactor;
use crate::spec::{Record, Run, Scope, Target, Undoer, Undone};

/// Undoes what a record says, raced against its limits.
pub(super) async fn carry_out(
    record: &Record,
    undoer: fn(&str) -> Option<Undoer>,
    stage: &mut Stage<'_>,
    limits: &Limits,
    http: &mut Vec<HttpPhases>,
) -> Result<Undone, Failure> {
    let kind = &record.undo.kind;
    let Some(undo) = undoer(kind) else {
        let what = format!("nothing here can undo `{kind}`");
        return Err(Failure::new(Cause::Input, what));
    };
    let mut context = stage.context(limits.deadline, http);
    let undone = race(async { undo(record, &mut context).await }, limits, true).await;
    undone.map_err(|failure| stage.told(failure, record.may_show_secrets))
}

/// What undoing proves: after a create that nobody confirmed, "not found" proves nothing yet.
#[must_use]
pub fn proves(undone: Undone, record: &Record) -> bool {
    match undone {
        Undone::Undone => true,
        Undone::NotFound => record.created,
    }
}

/// Undoes what a record says, outside any run.
///
/// # Errors
/// If it failed; the record is then still owed. Secrets of the target are not in the message.
pub async fn undo(
    record: &Record,
    undoer: fn(&str) -> Option<Undoer>,
    target: &Target,
    client: &Client,
    cancel: &CancellationToken,
) -> Result<Undone, Failure> {
    let mut redactor = Redactor::default();
    let run = Run::new(&record.instance, &record.run);
    let scope = Scope::new(&run);
    let mut stage = Stage::new(run, scope, target, client, &mut redactor);
    let limits = || Limits::from_now(Duration::from_millis(record.timeout_ms), cancel);
    stage.prepare(&mut redactor, &limits()).await;
    let limits = limits();
    carry_out(record, undoer, &mut stage, &limits, &mut Vec::new())
        .map(|undone| undone.map_err(|failure| failure.redacted(&redactor)))
        .await
}
