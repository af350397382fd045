//! How attempts, steps and runs end: the closed lists of verdicts, reasons and causes.
//!
//! Pure data. What an error from the network *means* is decided in `client`, what a failed
//! expectation means in `action`; here are only the words they choose from.

use std::fmt;
use std::time::Duration;

use crate::secret::Redactor;

/// Why a run failed: the target's fault. A closed list, because it becomes a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The name does not resolve, or has no address of the family.
    Dns,
    /// Refused, unreachable, or reset before the handshake.
    Connect,
    /// Handshake or certificate.
    Tls,
    /// The step's or a parent's deadline passed.
    Timeout,
    /// An unexpected status.
    Status,
    /// 401, 403, or a login that was refused.
    Auth,
    /// 429, quota, not enough resources.
    Quota,
    /// Body, header, duration or event not as expected; a refusal that did not come.
    Assertion,
    /// A capture is absent or of the wrong kind.
    Capture,
    /// Broken HTTP, a body over its limit, a connection lost in the middle of an answer.
    Protocol,
    /// Everything passed and the teardown failed.
    Teardown,
}

impl Reason {
    /// Every reason, in the order of the table in `ARCHITECTURE.md`.
    pub const ALL: [Self; 11] = [
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Status,
        Self::Auth,
        Self::Quota,
        Self::Assertion,
        Self::Capture,
        Self::Protocol,
        Self::Teardown,
    ];

    /// The word used as the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Auth => "auth",
            Self::Quota => "quota",
            Self::Assertion => "assertion",
            Self::Capture => "capture",
            Self::Protocol => "protocol",
            Self::Teardown => "teardown",
        }
    }

    /// What a status that was not expected says about the target.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Auth,
            429 => Self::Quota,
            _ => Self::Status,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a run says nothing about the target: our fault, or nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Stop or reload.
    Cancelled,
    /// Code of ours panicked.
    Panic,
    /// The journal could not be written.
    Journal,
    /// No descriptors or memory left on this machine.
    Resources,
    /// A secret could not be read.
    Secret,
    /// A value was refused before anything was sent, for instance an empty one for a path.
    Input,
    /// Too much of this kind is still owed on this target.
    Owed,
    /// The target lacks what the spec requires.
    NotApplicable,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 8] = [
        Self::Cancelled,
        Self::Panic,
        Self::Journal,
        Self::Resources,
        Self::Secret,
        Self::Input,
        Self::Owed,
        Self::NotApplicable,
    ];

    /// The word used as the `cause` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Panic => "panic",
            Self::Journal => "journal",
            Self::Resources => "resources",
            Self::Secret => "secret",
            Self::Input => "input",
            Self::Owed => "owed",
            Self::NotApplicable => "not_applicable",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The target's: counts against its availability.
    Target(Reason),
    /// Ours, or a cancellation: the run is inconclusive.
    Ours(Cause),
}

impl Fault {
    /// What it says when a prerequisite was asked for: an answer other than the expected one means
    /// that the target lacks it; anything else is as always.
    #[must_use]
    pub fn of_prerequisite(self) -> Self {
        match self {
            Self::Target(Reason::Status | Reason::Assertion | Reason::Capture) => {
                Self::Ours(Cause::NotApplicable)
            }
            other => other,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(reason) => reason.fmt(f),
            Self::Ours(cause) => cause.fmt(f),
        }
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self::Target(reason)
    }
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        Self::Ours(cause)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Everything that had to pass did.
    Pass,
    /// The target's fault.
    Fail(Reason),
    /// Ours: `error`, or `cancelled`.
    Inconclusive(Cause),
}

impl Verdict {
    /// `pass`, `fail`, `error`, `cancelled` or `not_applicable`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Inconclusive(Cause::Cancelled) => "cancelled",
            Self::Inconclusive(Cause::NotApplicable) => "not_applicable",
            Self::Inconclusive(_) => "error",
        }
    }
}

impl From<Fault> for Verdict {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Target(reason) => Self::Fail(reason),
            Fault::Ours(cause) => Self::Inconclusive(cause),
        }
    }
}

/// What a failed attempt may have done to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It may have happened: a timeout, a lost connection, a 5xx, an unreadable answer.
    Unknown,
    /// It certainly did not: nothing was sent, or the target refused.
    Nothing,
}

/// What a message quotes of what the target said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quotes {
    /// Nothing: every word is ours.
    Nothing,
    /// It does, and every secret that can stand in it was looked for.
    Searched,
    /// Perhaps; here is what can be said without, if anything.
    Unsearched(Option<String>),
}

/// What a failure says, or what is waited for: a text that stands in the code quotes nobody, one
/// that was put together may.
#[derive(Debug)]
pub struct Message(String, Quotes);

impl Message {
    /// A text whose quotations were searched for secrets.
    #[must_use]
    pub fn searched(text: String) -> Self {
        Self(text, Quotes::Searched)
    }

    /// The text; none if a secret that nobody looked for may stand in it.
    #[must_use]
    pub fn told(self, may_hold_secret: bool) -> Option<String> {
        match self.1 {
            Quotes::Unsearched(short) if may_hold_secret => short,
            _ => Some(self.0),
        }
    }
}

impl From<Failure> for Message {
    fn from(failure: Failure) -> Self {
        Self(failure.message, failure.quotes)
    }
}

impl From<&'static str> for Message {
    fn from(text: &'static str) -> Self {
        Self(text.to_owned(), Quotes::Nothing)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self(text, Quotes::Unsearched(None))
    }
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whose fault, and why.
    pub fault: Fault,
    /// For people; never a label.
    pub message: String,
    /// What it quotes.
    pub quotes: Quotes,
    /// What may have happened on the target all the same.
    pub effect: Effect,
    /// What was waited for has not come yet: with `poll` this is no end.
    pub not_yet: bool,
    /// How long the target wants to be left alone before it is asked again (`Retry-After`).
    pub pause: Option<Duration>,
    /// The deadline came first: nothing is known of what the work would have come to.
    pub late: bool,
}

impl Failure {
    /// A failure after which the target may have changed.
    pub fn new(fault: impl Into<Fault>, message: impl Into<Message>) -> Self {
        let Message(message, quotes) = message.into();
        Self {
            fault: fault.into(),
            message,
            quotes,
            effect: Effect::Unknown,
            not_yet: false,
            pause: None,
            late: false,
        }
    }

    /// The deadline came first.
    pub fn deadline() -> Self {
        Self {
            late: true,
            ..Self::new(Reason::Timeout, "no end in time")
        }
    }

    /// The same; the target wants to be left alone for so long.
    #[must_use]
    pub fn after(self, pause: Option<Duration>) -> Self {
        Self { pause, ..self }
    }

    /// The same; its message quotes nobody.
    #[must_use]
    pub fn in_our_words(self) -> Self {
        Self {
            quotes: Quotes::Nothing,
            ..self
        }
    }

    /// The same; this is what can be said of it without quoting the target.
    #[must_use]
    pub fn in_short(self, short: impl Into<String>) -> Self {
        Self {
            quotes: Quotes::Unsearched(Some(short.into())),
            ..self
        }
    }

    /// The same after a search for every secret that can stand in what it quotes.
    #[must_use]
    pub fn searched(self, redactor: &Redactor) -> Self {
        Self {
            quotes: Quotes::Searched,
            ..self.redacted(redactor)
        }
    }

    /// The same without these secrets; there may be others in what it quotes.
    #[must_use]
    pub fn redacted(self, redactor: &Redactor) -> Self {
        Self {
            message: redactor.redact(&self.message),
            quotes: match self.quotes {
                Quotes::Unsearched(Some(short)) => {
                    Quotes::Unsearched(Some(redactor.redact(&short)))
                }
                quotes => quotes,
            },
            ..self
        }
    }

    /// The same without what was not searched for secrets: for whatever deals with a secret that
    /// nobody may have learned.
    #[must_use]
    pub fn without_quotes(self) -> Self {
        let Quotes::Unsearched(short) = self.quotes else {
            return self;
        };
        let short = match (short, self.fault) {
            (Some(short), _) => format!("{short}; "),
            (None, Fault::Ours(cause)) if cause != Cause::Panic => {
                // The target has no part in it.
                return Self {
                    quotes: Quotes::Nothing,
                    ..self
                };
            }
            (None, _) => String::new(),
        };
        Self {
            message: format!("{short}{NOT_SHOWN}"),
            quotes: Quotes::Nothing,
            ..self
        }
    }

    /// The same, but certain to have changed nothing.
    #[must_use]
    pub fn without_effect(self) -> Self {
        Self {
            effect: Effect::Nothing,
            ..self
        }
    }

    /// The failure of something that may have changed the target before it came to this.
    #[must_use]
    pub fn with_unknown_effect(self) -> Self {
        Self {
            effect: Effect::Unknown,
            ..self
        }
    }

    /// The same, but only "not yet": polling goes on.
    #[must_use]
    pub fn waiting(self) -> Self {
        Self {
            not_yet: true,
            ..self
        }
    }
}

/// Stands for what a message does not quote.
const NOT_SHOWN: &str = "what came is not shown, because a secret may stand in it";

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fault, self.message)
    }
}

/// An error and its causes on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries print their cause themselves: say it once.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// How a due slot of a scheduled spec ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotOutcome {
    /// A run was started for it.
    Run,
    /// The last run of the same identity was still going.
    SkippedOverlap,
    /// It was still waiting for permits when the next slot fell due.
    SkippedCapacity,
    /// A maintenance window.
    SkippedMaintenance,
    /// The scheduler woke after the next slot was due: it was suspended or starved.
    Missed,
}

impl SlotOutcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [
        Self::Run,
        Self::SkippedOverlap,
        Self::SkippedCapacity,
        Self::SkippedMaintenance,
        Self::Missed,
    ];

    /// The word used as the `outcome` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::SkippedOverlap => "skipped_overlap",
            Self::SkippedCapacity => "skipped_capacity",
            Self::SkippedMaintenance => "skipped_maintenance",
            Self::Missed => "missed",
        }
    }
}
