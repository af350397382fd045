//! What is asked of a target outside any run, and changes nothing: what it is like, and which
//! specs can run on it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::limits::Limits;
use super::perform::{Stage, perform, race};
use crate::client::Client;
use crate::event::{FailedStep, Phase};
use crate::secret::Redactor;
use crate::spec::{Case, Examiner, Finding, Run, Scheduled, Scope, Step, Target};
use crate::text::Params;

/// How long one target, or one spec's requirements, may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What a target is like.
pub async fn examine(
    target: &Target,
    vars: &Params,
    examiner: Examiner,
    client: &Client,
) -> Vec<Finding> {
    let mut redactor = Redactor::default();
    let limits = Limits::from_now(LIMIT, &CancellationToken::new());
    let mut stage = stage(target, client, &mut redactor, &limits).await;
    let mut http = Vec::new();
    let mut context = stage.context(limits.deadline, &mut http);
    let findings = async { Ok(examiner(&mut context, vars).await) };
    let mut findings = race(findings, &limits, true)
        .await
        .unwrap_or_else(|failure| {
            let remedy = "see whether the target hangs";
            vec![Finding::bad("examination", failure.message, remedy)]
        });
    if let Err(failure) = stage.complete()
        && !findings.iter().any(|f| f.found.contains(&failure.message))
    {
        let remedy = "see the target's keys, auth and secrets";
        findings.push(Finding::bad("credentials", failure.message, remedy));
    }
    for finding in &mut findings {
        finding.found = redactor.redact(&finding.found);
    }
    findings
}

/// Whether a spec can run on its target.
///
/// # Errors
/// The first requirement that does not hold, or could not be asked for.
pub async fn requirements(spec: &Scheduled, client: &Client) -> Result<(), FailedStep> {
    let mut redactor = Redactor::default();
    let limits = Limits::from_now(LIMIT, &CancellationToken::new());
    let mut stage = stage(&spec.target, client, &mut redactor, &limits).await;
    for step in required(&spec.case) {
        let result = match stage.ready(step) {
            Ok(()) => {
                let limits = limits.within(step.timeout);
                perform(step, &mut stage, &limits, |_, _| {}).await.result
            }
            Err(failure) => Err(failure),
        };
        match result {
            Ok(done) => stage.scope.add(&step.name, done.captures),
            Err(failure) => {
                return Err(FailedStep {
                    step: step.name.clone(),
                    phase: Phase::Body,
                    failure: failure.redacted(&redactor),
                });
            }
        }
    }
    Ok(())
}

/// The steps that come before everything else to ask whether the spec can run.
fn required(case: &Case) -> impl Iterator<Item = &Step> {
    let cases = match case {
        Case::Sequence(sequence) => sequence.cases.as_slice(),
        Case::Step(_) | Case::Wrapper(_) => &[],
    };
    cases.iter().map_while(|case| match case {
        Case::Step(step) if step.prerequisite => Some(step),
        _ => None,
    })
}

async fn stage<'a>(
    target: &'a Target,
    client: &'a Client,
    redactor: &mut Redactor,
    limits: &Limits,
) -> Stage<'a> {
    let run = Run::new("check", "online");
    let scope = Scope::new(&run);
    let mut stage = Stage::new(run, scope, target, client, redactor);
    stage.prepare(redactor, limits).await;
    stage
}
