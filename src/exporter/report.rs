//! One finished run as text: a line for people with its failed steps below, or a JSON object on one
//! line for scripts. Where it goes is left to the terminal exporter.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::brief;
use crate::event::{FailedStep, HttpPhases, RunRef, StepEnd};
use crate::outcome::{Cause, Failure, Fault, Verdict};
use crate::text::is_unseen;

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// People.
    Lines,
    /// Scripts.
    Json,
}

/// A finished run.
pub(super) struct Ended<'a> {
    pub(super) run: &'a RunRef,
    pub(super) verdict: Verdict,
    pub(super) failed: Option<&'a FailedStep>,
    pub(super) duration: Duration,
    /// The steps that failed, those that do not count too; for scripts all.
    pub(super) steps: &'a [StepEnd],
}

impl Ended<'_> {
    /// The text of a run; it ends with its line.
    pub(super) fn text(&self, form: Form) -> String {
        match form {
            Form::Lines => self.lines(),
            Form::Json => self.json(),
        }
    }

    /// The failed steps that the verdict does not name.
    fn others(&self) -> impl Iterator<Item = (&StepEnd, &Failure)> {
        let named = |end: &&StepEnd| {
            self.failed
                .is_some_and(|failed| failed.step == end.step && failed.phase == end.phase)
        };
        let others = self.steps.iter().filter(move |end| !named(end));
        others.filter_map(|end| Some((end, end.failure.as_ref()?)))
    }

    fn lines(&self) -> String {
        let (word, reason) = match self.verdict {
            Verdict::Fail(reason) => ("FAIL", reason.as_str()),
            Verdict::Pass | Verdict::Inconclusive(Cause::Cancelled | Cause::NotApplicable) => {
                (self.verdict.as_str(), "")
            }
            Verdict::Inconclusive(cause) => (self.verdict.as_str(), cause.as_str()),
        };
        let mut line = format!("{word}  {}", self.run.spec.identity);
        if !reason.is_empty() {
            let _ = write!(line, "  {reason}");
        }
        if let Some(FailedStep { step, failure, .. }) = self.failed {
            let _ = write!(line, " at step {step}: {}", failure.message);
        }
        let _ = write!(line, "  {}", brief(self.duration));
        let mut text = printable(&line);
        for (end, failure) in self.others() {
            let (phase, duration) = (end.phase.as_str(), brief(end.duration));
            let allowed = if end.allowed { ", allowed" } else { "" };
            let line = format!("{} ({phase}{allowed}) {failure}  {duration}", end.step);
            let _ = write!(text, "\n      {}", printable(&line));
        }
        text.push('\n');
        text
    }

    fn json(&self) -> String {
        let identity = &self.run.spec.identity;
        let reason = match self.verdict {
            Verdict::Pass => None,
            Verdict::Fail(reason) => Some(reason.as_str()),
            Verdict::Inconclusive(cause) => Some(cause.as_str()),
        };
        let others = self.others().map(|(end, failure)| {
            json!({
                "step": &*end.step,
                "phase": end.phase.as_str(),
                "reason": word(failure.fault),
                "message": failure.message,
                "allowed": end.allowed,
            })
        });
        let steps = self.steps.iter().map(|end| {
            json!({
                "step": &*end.step,
                "phase": end.phase.as_str(),
                "reason": end.failure.as_ref().map(|failure| word(failure.fault)),
                "duration_seconds": end.duration.as_secs_f64(),
                "retries": end.retries,
                "http": end.http.iter().map(taken).collect::<Vec<_>>(),
            })
        });
        let told = json!({
            "target": identity.target,
            "spec": identity.spec,
            "variant": identity.variant,
            "verdict": self.verdict.as_str(),
            "reason": reason,
            "step": self.failed.map(|failed| &*failed.step),
            "phase": self.failed.map(|failed| failed.phase.as_str()),
            "message": self.failed.map(|failed| failed.failure.message.as_str()),
            "other_steps": others.collect::<Vec<_>>(),
            "duration_seconds": self.duration.as_secs_f64(),
            "steps": steps.collect::<Vec<_>>(),
            "run": &*self.run.id,
            "trace_id": self.run.trace_id(),
        });
        escaped(&told) + "\n"
    }
}

/// Seconds by `http_phase`.
fn taken(phases: &HttpPhases) -> Value {
    let seconds = |(label, taken): (&str, Duration)| (label.to_owned(), taken.as_secs_f64().into());
    Value::Object(phases.taken().map(seconds).collect())
}

fn word(fault: Fault) -> &'static str {
    match fault {
        Fault::Target(reason) => reason.as_str(),
        Fault::Ours(cause) => cause.as_str(),
    }
}

/// Messages hold what targets answered: control characters in it must not reach the terminal.
fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut text, next| {
        if is_unseen(next) {
            text.extend(next.escape_default());
        } else {
            text.push(next);
        }
        text
    })
}

/// The same for JSON, which escapes only some of them by itself; the others stand in texts.
fn escaped(told: &Value) -> String {
    told.to_string()
        .chars()
        .fold(String::new(), |mut text, next| {
            if is_unseen(next) {
                let _ = write!(text, "\\u{:04x}", u32::from(next));
            } else {
                text.push(next);
            }
            text
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Event, Phase, SpecInfo};
    use crate::exporter::sample::{MILLI, run, spec, step};
    use crate::outcome::Reason;

    fn text(
        spec: SpecInfo,
        verdict: Verdict,
        failed: Option<(&str, Failure)>,
        form: Form,
    ) -> String {
        let run = run(&Arc::new(spec), "r");
        let ended = |failure: &Failure, name: &str, allowed| match step(
            &run,
            name,
            Phase::Body,
            Some(failure.clone()),
        ) {
            Event::StepFinished { end, .. } => StepEnd { allowed, ..end },
            _ => unreachable!(),
        };
        let missing = Failure::new(Cause::NotApplicable, "there is no such path");
        let refused = Failure::new(Reason::Status, "answered 500");
        let mut steps = vec![
            ended(&missing, "asked", false),
            ended(&refused, "tried", true),
        ];
        let failed = failed.map(|(name, failure)| {
            steps.push(ended(&failure, name, false));
            FailedStep {
                step: name.into(),
                phase: Phase::Body,
                failure,
            }
        });
        let told = Ended {
            run: &run,
            verdict,
            failed: failed.as_ref(),
            duration: 1500 * MILLI,
            steps: &steps,
        };
        told.text(form)
    }

    #[test]
    fn people_are_told_what_failed_and_what_was_left_out() {
        let told = text(
            spec("shop", "checkout", "big"),
            Verdict::Pass,
            None,
            Form::Lines,
        );
        assert_eq!(
            told,
            "pass  shop/checkout/big  1.5 s\n      \
             asked (body) not_applicable: there is no such path  30 ms\n      \
             tried (body, allowed) status: answered 500  30 ms\n"
        );
    }

    #[test]
    fn our_own_faults_are_told_apart() {
        let line = |cause| {
            let told = text(
                spec("shop", "checkout", ""),
                Verdict::Inconclusive(cause),
                None,
                Form::Lines,
            );
            told.lines().next().unwrap().to_owned()
        };
        assert_eq!(line(Cause::Journal), "error  shop/checkout  journal  1.5 s");
        assert_eq!(line(Cause::Cancelled), "cancelled  shop/checkout  1.5 s");
        assert_eq!(
            line(Cause::NotApplicable),
            "not_applicable  shop/checkout  1.5 s"
        );
    }

    #[test]
    fn scripts_are_told_the_same_on_one_line() {
        let failure = Failure::new(Reason::Assertion, "line one\nline \"two\"");
        let verdict = Verdict::Fail(Reason::Assertion);
        let told = text(
            spec("shop", "checkout", "big"),
            verdict,
            Some(("pay", failure)),
            Form::Json,
        );
        assert_eq!(told.lines().count(), 1);
        let step = |name: &str, reason: &str| {
            json!({
                "step": name, "phase": "body", "reason": reason, "duration_seconds": 0.03,
                "retries": u32::from(name == "pay"),
                "http": [{ "connect": 0.001, "first_byte": 0.02 }],
            })
        };
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            told,
            json!({
                "target": "shop",
                "spec": "checkout",
                "variant": "big",
                "verdict": "fail",
                "reason": "assertion",
                "step": "pay",
                "phase": "body",
                "message": "line one\nline \"two\"",
                "other_steps": [
                    { "step": "asked", "phase": "body", "reason": "not_applicable",
                      "message": "there is no such path", "allowed": false },
                    { "step": "tried", "phase": "body", "reason": "status",
                      "message": "answered 500", "allowed": true },
                ],
                "duration_seconds": 1.5,
                "steps": [
                    step("asked", "not_applicable"),
                    step("tried", "status"),
                    step("pay", "assertion"),
                ],
                "run": "r",
                "trace_id": crate::event::trace_id("r"),
            })
        );
        let passed = text(
            spec("shop", "checkout", ""),
            Verdict::Pass,
            None,
            Form::Json,
        );
        let passed: Value = serde_json::from_str(&passed).unwrap();
        assert_eq!(passed["verdict"], "pass");
        for key in ["reason", "step", "phase", "message"] {
            assert_eq!(passed.get(key), Some(&Value::Null), "{key}");
        }
    }

    #[test]
    fn what_targets_say_cannot_drive_the_terminal() {
        let said = "\x1b[2J gone\u{9b}";
        for (form, shown) in [
            (Form::Lines, "\\u{1b}[2J gone\\u{9b}"),
            (Form::Json, "\\u001b[2J gone\\u009b"),
        ] {
            let failure = Failure::new(Reason::Assertion, said);
            let verdict = Verdict::Fail(Reason::Assertion);
            let told = text(
                spec("shop", "checkout", ""),
                verdict,
                Some(("pay", failure)),
                form,
            );
            assert!(told.contains(shown), "{told}");
            assert!(
                !told.replace('\n', "").contains(char::is_control),
                "{told:?}"
            );
        }
    }
}
