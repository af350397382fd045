//! Sessions and their lives, from the queue to the end. What requests ask of them is in `calls`,
//! what may be created in `create`, what runs inside them in `code` and `execute`.

mod calls;
mod code;
mod create;
mod events;
mod execute;
mod home;

use std::collections::BTreeMap;
use std::time::Duration;

pub(super) use calls::{answer_created, routes};
pub(super) use create::{Created, LEAST_MEMORY, MOST_KERNELS};

use super::books::Change;
use super::gate::Caller;
use super::hall::{Due, Id, State};
use code::Query;

/// The states that a session passes here; of a real one's the others are detours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    Pending,
    Scheduled,
    Preparing,
    Prepared,
    Creating,
    Running,
    Terminating,
    Terminated,
    Cancelled,
}

impl Status {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Scheduled => "SCHEDULED",
            Self::Preparing => "PREPARING",
            Self::Prepared => "PREPARED",
            Self::Creating => "CREATING",
            Self::Running => "RUNNING",
            Self::Terminating => "TERMINATING",
            Self::Terminated => "TERMINATED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// The name of the event that tells it.
    fn event(self) -> String {
        match self {
            Self::Running => "session_started".into(),
            other => format!("session_{}", other.word().to_lowercase()),
        }
    }

    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Terminated | Self::Cancelled)
    }

    /// Whether an agent has something to do with it.
    pub(super) fn holds_agent(self) -> bool {
        self != Self::Pending && !self.is_over()
    }

    /// What comes next by itself, and what events give as the reason.
    fn next(self) -> Option<(Self, &'static str)> {
        const SCHEDULER: &str = "triggered-by-scheduler";
        Some(match self {
            Self::Pending => (Self::Scheduled, SCHEDULER),
            Self::Scheduled => (Self::Preparing, "passed-preconditions"),
            Self::Preparing => (Self::Prepared, SCHEDULER),
            Self::Prepared => (Self::Creating, SCHEDULER),
            Self::Creating => (Self::Running, SCHEDULER),
            Self::Terminating => (Self::Terminated, SCHEDULER),
            Self::Running | Self::Terminated | Self::Cancelled => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Interactive,
    Batch,
    Inference,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Batch => "batch",
            Self::Inference => "inference",
        }
    }
}

/// One container of a session.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    pub(super) id: Id,
    /// 0 is the main one.
    pub(super) index: usize,
}

impl Kernel {
    pub(super) fn role(&self) -> &'static str {
        if self.index == 0 { "main" } else { "sub" }
    }

    /// Main and subs are counted apart, from 1.
    pub(super) fn number(&self) -> usize {
        self.index.max(1)
    }
}

/// A folder in a session.
#[derive(Debug, Clone)]
pub(super) struct Mount {
    pub(super) folder: Id,
    pub(super) name: String,
    pub(super) path: String,
}

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) owner: Caller,
    pub(super) project: Id,
    pub(super) kind: Kind,
    pub(super) image: String,
    pub(super) cluster_mode: String,
    pub(super) kernels: Vec<Kernel>,
    pub(super) cpu: f64,
    /// In bytes.
    pub(super) memory: u64,
    pub(super) environ: BTreeMap<String, String>,
    pub(super) mounts: Vec<Mount>,
    /// What a batch session does.
    pub(super) command: String,
    pub(super) batch_timeout: Option<Duration>,
    pub(super) bootstrap: String,
    pub(super) depends_on: Vec<Id>,
    pub(super) info: Option<&'static str>,
    pub(super) result: &'static str,
    /// With the time since the opening; there is always one.
    pub(super) history: Vec<(Status, Duration)>,
    /// What was executed in it, by run id.
    queries: BTreeMap<String, Query>,
}

impl Session {
    pub(super) fn status(&self) -> Status {
        let last = self.history.last();
        last.map_or(Status::Pending, |(status, _)| *status)
    }

    pub(super) fn since(&self) -> Duration {
        self.history.last().map_or(Duration::ZERO, |(_, at)| *at)
    }

    pub(super) fn created(&self) -> Duration {
        self.history.first().map_or(Duration::ZERO, |(_, at)| *at)
    }

    pub(super) fn ended(&self) -> Option<Duration> {
        self.status().is_over().then(|| self.since())
    }
}

impl State {
    /// A new session at the end of the queue.
    pub(super) fn enqueue(&mut self, session: Session) -> Id {
        let id = session.id.clone();
        self.note(Change::Made, "session", &session.name, &id);
        self.sessions.insert(id.clone(), session);
        self.later(self.pace.state, Due::Session(id.clone(), Status::Pending));
        id
    }

    /// Brings a session on, if it is still in the state in which this was planned.
    pub(super) fn go_on(&mut self, id: &Id, from: Status) {
        let Some(session) = self.sessions.get(id).filter(|found| found.status() == from) else {
            return;
        };
        if from == Status::Pending && !self.may_start(session) {
            return;
        }
        let Some((next, reason)) = from.next() else {
            return;
        };
        if next == Status::Running {
            self.start(id, reason);
        } else {
            self.change(id, next, reason);
        }
    }

    /// Whether the scheduler finds a place for it, now.
    fn may_start(&self, session: &Session) -> bool {
        let done = |id: &Id| {
            let before = self.sessions.get(id);
            before.is_some_and(|before| before.status().is_over() && before.result == "SUCCESS")
        };
        session.cpu <= f64::from(create::CPUS) && session.depends_on.iter().all(done)
    }

    fn change(&mut self, id: &Id, to: Status, reason: &str) {
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(id) {
            session.history.push((to, now));
        }
        self.notice(&to.event(), reason, id);
        if to.next().is_some() {
            self.later(self.pace.state, Due::Session(id.clone(), to));
        }
        if to.is_over() {
            let name = self.sessions.get(id).map(|session| session.name.clone());
            self.note(Change::Removed, "session", &name.unwrap_or_default(), id);
            self.wake_dependents(id);
        }
    }

    fn wake_dependents(&mut self, ended: &Id) {
        let waits = |session: &&Session| {
            session.status() == Status::Pending && session.depends_on.contains(ended)
        };
        let waiting: Vec<Id> = self
            .sessions
            .values()
            .filter(waits)
            .map(|session| session.id.clone())
            .collect();
        for id in waiting {
            self.later(self.pace.state, Due::Session(id, Status::Pending));
        }
    }

    /// The session runs; a batch session's command begins. A command that takes no time may end
    /// before anybody is told of its start.
    fn start(&mut self, id: &Id, reason: &str) {
        let command = self
            .sessions
            .get(id)
            .filter(|session| session.kind == Kind::Batch);
        let Some(session) = command else {
            self.change(id, Status::Running, reason);
            return;
        };
        let (takes, exit_code) = code::shell(&session.command);
        let limit = session.batch_timeout.filter(|limit| *limit < takes);
        let (after, ends) = match (limit, exit_code) {
            (Some(limit), _) => (limit, "task-timeout"),
            (None, 0) => (takes, "task-finished"),
            (None, _) => (takes, "task-failed"),
        };
        if after.is_zero() {
            self.tell_result(id, ends);
            self.change(id, Status::Running, reason);
            self.terminate(id, ends);
        } else {
            self.change(id, Status::Running, reason);
            self.later(after, Due::Batch(id.clone(), ends));
        }
    }

    /// A batch session's command is over.
    pub(super) fn end_batch(&mut self, id: &Id, reason: &'static str) {
        let session = self.sessions.get(id);
        if session.is_some_and(|session| session.status() == Status::Running) {
            self.tell_result(id, reason);
            self.terminate(id, reason);
        }
    }

    fn tell_result(&mut self, id: &Id, reason: &str) {
        let (result, event) = match reason {
            "task-finished" => ("SUCCESS", "session_success"),
            _ => ("FAILURE", "session_failure"),
        };
        if let Some(session) = self.sessions.get_mut(id) {
            session.result = result;
        }
        self.notice(event, reason, id);
    }

    /// As a user asks for it; by force nobody waits for the agent.
    fn destroy(&mut self, id: &Id, forced: bool) -> Option<&'static str> {
        if !forced {
            return self.terminate(id, "user-requested");
        }
        let how = self.terminate(id, "force-terminated");
        let status = self.sessions.get(id).map(Session::status);
        if status == Some(Status::Terminating) {
            self.change(id, Status::Terminated, "force-terminated");
        }
        how
    }

    /// Marks a session for its end, or takes it out of the queue; says how, or nothing if it was
    /// done before.
    pub(super) fn terminate(&mut self, id: &Id, reason: &'static str) -> Option<&'static str> {
        let session = self.sessions.get_mut(id)?;
        let (to, how) = match session.status() {
            Status::Pending => (Status::Cancelled, "cancelled"),
            Status::Terminating | Status::Terminated | Status::Cancelled => return None,
            _ => (Status::Terminating, "terminated"),
        };
        session.info = Some(reason);
        self.change(id, to, reason);
        Some(how)
    }
}
