//! `testerd check --online`: what the targets are like, and which of the selected specs can run.

use std::collections::BTreeMap;

use super::{Logging, block_on};
use crate::catalog;
use crate::cli::{Exit, say};
use crate::client::Client;
use crate::outcome::{Cause, Fault};
use crate::plan::Plan;
use crate::runner;
use crate::spec::Target;
use crate::text::Params;

/// Asks every target of the plan, or only those named.
#[must_use]
pub fn online(plan: &Plan, only: &[String], logging: Logging) -> Exit {
    block_on(logging, |_| asking(plan, only))
}

async fn asking(plan: &Plan, only: &[String]) -> Exit {
    let client = Client::new();
    let mut exit = Exit::Done;
    for settings in plan.settings.targets.values() {
        let target = &settings.target;
        let asked = |by: &String| Target::is_called(&target.name, by);
        if !only.is_empty() && !only.iter().any(asked) {
            continue;
        }
        say(&format!("\n{target}\n"));
        // Nearest first, so the nearest is set last.
        let vars = settings.vars.iter().rev();
        let vars: Params = vars
            .map(|var| (var.name.clone(), var.value.clone()))
            .collect();
        let examiner = catalog::examiner(target.kind);
        for finding in runner::examine(target, &vars, examiner, &client).await {
            say(&format!("  {:<14}{}\n", finding.subject, finding.found));
            if let Some(remedy) = finding.remedy {
                say(&format!("  {:<14}help: {remedy}\n", ""));
                exit = Exit::Failed;
            }
        }
        exit = specs(plan, &target.name, &client).await.unwrap_or(exit);
    }
    exit
}

/// Asks which specs can run. What is missing is told once, with all that need it.
async fn specs(plan: &Plan, target: &str, client: &Client) -> Option<Exit> {
    let mut exit = None;
    let mut can = 0;
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let here = plan.scheduled.iter();
    let here = here.filter(|spec| spec.info.identity.target == target);
    for spec in here {
        let Err(failed) = runner::requirements(spec, client).await else {
            can += 1;
            continue;
        };
        let identity = &spec.info.identity;
        let mut name = identity.spec.clone();
        if !identity.variant.is_empty() {
            name = format!("{name}/{}", identity.variant);
        }
        let failure = &failed.failure;
        // What names the one request is of no interest here, and would set equal answers apart.
        let message = failure
            .message
            .split(" (request ")
            .next()
            .unwrap_or_default();
        let why = match failure.fault {
            Fault::Ours(Cause::NotApplicable) => format!("{}: {message}", failed.step),
            fault => {
                exit = Some(Exit::Failed);
                format!("{} could not be asked ({fault}): {message}", failed.step)
            }
        };
        missing.entry(why).or_default().push(name);
    }
    say(&format!("  {:<14}{can} can run here\n", "specs"));
    for (why, specs) in missing {
        say(&format!("  not applicable: {} specs; {why}\n", specs.len()));
        for name in specs {
            say(&format!("    {name}\n"));
        }
    }
    exit
}
