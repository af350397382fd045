//! One variant of a spec becomes a tree: wrappers are nested, parameters put in, every reference
//! and deadline checked on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::declared::{Declared, FirstAt, check_name};
use super::keys::{
    SHORTEST, Uses, read_acting, read_poll, read_retry, read_timeout, read_uses, used_action,
};
use crate::action::{Entry, Shape};
use crate::event::{Phase, StepInfo};
use crate::spec::{
    Case, DEFAULT_TEARDOWN, DEFAULT_TIMEOUT, Retry, Sequence, Step, Target, Work, Wrapper,
    reference,
};
use crate::text::{At, Fields, Notes, Params, Problem, Raw, Read, Severity, Table, nearest};

/// Deeper trees are a mistake, and recursion has an end.
const DEEPEST: usize = 16;

/// A variant's tree and what the plan must know of it.
pub(super) struct Lowered {
    pub(super) case: Case,
    pub(super) timeout: Duration,
    pub(super) steps: Vec<StepInfo>,
    pub(super) kinds: BTreeSet<&'static str>,
    pub(super) uses: BTreeMap<String, (u32, At)>,
    pub(super) teardown: Duration,
    pub(super) longest: Duration,
    pub(super) overtime: Duration,
    pub(super) requests: u32,
    pub(super) http_phases: bool,
}

/// Lowers one variant. `None` means that problems were noted.
pub(super) fn lower(
    spec: &Declared,
    target: Option<&Target>,
    params: &Params,
    notes: &mut Notes,
) -> Option<Lowered> {
    let before = errors(notes);
    let path = format!("spec.{}", spec.name);
    let mut fields = Fields::new(&spec.table, path.as_str(), Some(params), notes);
    let timeout = fields
        .duration("timeout", SHORTEST)
        .unwrap_or(DEFAULT_TIMEOUT);
    let http_phases = fields.flag("http_phases");
    let uses = fields.table("uses").map(read_uses).unwrap_or_default();
    let requires = fields.tables("requires");
    let suite = Suite {
        name: None,
        timeout: None,
        wraps: fields.tables("wrap"),
        steps: fields.tables("steps"),
    };
    let mut lowering = Lowering {
        params,
        target,
        names: FirstAt::new(),
        visible: BTreeMap::new(),
        held_uses: uses,
        step_uses: BTreeMap::new(),
        steps: Vec::new(),
        kinds: BTreeSet::new(),
        teardown: Duration::ZERO,
        longest: None,
        always: Duration::ZERO,
        requests: 0,
    };
    let before_all = lowering.requirements(&requires, &path, timeout, notes);
    let case = lowering
        .suite(suite, &path, timeout, 0, notes)
        .zip(before_all)
        .map(|(case, before_all)| after(before_all, case, false));
    if errors(notes) > before {
        return None;
    }
    let mut uses = lowering.held_uses;
    for (name, (places, at)) in lowering.step_uses {
        uses.entry(name).or_insert((0, at)).0 += places;
    }
    Some(Lowered {
        case: case?,
        timeout,
        steps: lowering.steps,
        kinds: lowering.kinds,
        uses,
        teardown: lowering.teardown,
        overtime: lowering.teardown + lowering.always,
        longest: lowering.longest.unwrap_or_default().max(timeout),
        requests: lowering.requests,
        http_phases,
    })
}

/// What must hold of the target comes before everything else, so that nothing is made in vain.
fn after(before_all: Vec<Case>, case: Case, optional: bool) -> Case {
    if before_all.is_empty() {
        return case;
    }
    Case::Sequence(Sequence {
        name: None,
        timeout: None,
        optional,
        cases: before_all.into_iter().chain([case]).collect(),
    })
}

/// A suite as written, its own keys read.
struct Suite<'t> {
    name: Option<Arc<str>>,
    timeout: Option<Duration>,
    wraps: Vec<&'t Table>,
    steps: Vec<&'t Table>,
}

struct Lowering<'a> {
    params: &'a Params,
    /// What it will run on; `None` if nobody runs it.
    target: Option<&'a Target>,
    /// Names taken so far, `-` written as `_`.
    names: FirstAt,
    /// What can be read here: captures by name, and whether they are secret.
    visible: BTreeMap<String, BTreeMap<String, bool>>,
    /// Limits held for long: by the spec and by resources, summed.
    held_uses: Uses,
    /// Limits held by single steps: the most that one of them takes.
    step_uses: Uses,
    steps: Vec<StepInfo>,
    kinds: BTreeSet<&'static str>,
    teardown: Duration,
    /// The deadlines of the steps that always run, summed.
    always: Duration,
    /// The longest deadline of a single step.
    longest: Option<Duration>,
    requests: u32,
}

impl Lowering<'_> {
    /// Steps that ask whether the spec can run on this target at all.
    fn requirements(
        &mut self,
        tables: &[&Table],
        path: &str,
        within: Duration,
        notes: &mut Notes,
    ) -> Option<Vec<Case>> {
        let steps = tables.iter().map(|table| {
            let path = child(path, "requires", table);
            let mut step = self.leaf(table, &path, Phase::Body, within, notes)?;
            if let Work::Acquire { .. } = step.work {
                let what = "makes something, but is only there to ask";
                let help = "use an action that changes nothing";
                notes
                    .problems
                    .push(Problem::error(&table.at, path, what, help));
            }
            step.prerequisite = true;
            Some(Case::Step(step))
        });
        let steps: Vec<_> = steps.collect();
        steps.into_iter().collect()
    }

    /// `within` is the nearest deadline around the suite.
    fn suite(
        &mut self,
        suite: Suite<'_>,
        path: &str,
        within: Duration,
        depth: usize,
        notes: &mut Notes,
    ) -> Option<Case> {
        let within = suite.timeout.unwrap_or(within);
        let setups: Vec<_> = suite
            .wraps
            .iter()
            .map(|table| {
                self.leaf(
                    table,
                    &child(path, "wrap", table),
                    Phase::Setup,
                    within,
                    notes,
                )
            })
            .collect();
        let mut cases = Vec::new();
        for table in &suite.steps {
            let path = child(path, "steps", table);
            cases.push(if table.get("steps").is_some() {
                self.nested(table, &path, within, depth + 1, notes)
            } else {
                self.leaf(table, &path, Phase::Body, within, notes)
                    .map(Case::Step)
            });
        }
        // What is undone at the end of the suite can be read only inside it.
        let cases: Option<Vec<_>> = cases.into_iter().collect();
        let setups: Option<Vec<_>> = setups.into_iter().collect();
        let (cases, setups) = (cases?, setups?);
        for case in &cases {
            if let Case::Step(Step {
                name,
                work: Work::Acquire { .. },
                ..
            }) = case
            {
                self.visible.remove(&reference(name));
            }
        }
        for setup in &setups {
            self.visible.remove(&reference(&setup.name));
        }
        let sequence = |name, timeout, cases| {
            Case::Sequence(Sequence {
                name,
                timeout,
                optional: false,
                cases,
            })
        };
        if setups.is_empty() {
            return Some(sequence(suite.name, suite.timeout, cases));
        }
        let wrapped = setups
            .into_iter()
            .rev()
            .fold(sequence(None, None, cases), |inner, setup| {
                Case::Wrapper(Wrapper {
                    setup,
                    inner: Box::new(inner),
                })
            });
        Some(match (&suite.name, suite.timeout) {
            (None, None) => wrapped,
            // The deadline of a suite covers its setups too.
            _ => sequence(suite.name, suite.timeout, vec![wrapped]),
        })
    }

    fn nested(
        &mut self,
        table: &Table,
        path: &str,
        within: Duration,
        depth: usize,
        notes: &mut Notes,
    ) -> Option<Case> {
        let mut fields = Fields::new(table, path, Some(self.params), notes);
        let name = self.name(&mut fields);
        fields.string("title");
        let timeout = read_timeout(&mut fields, within);
        let suite = Suite {
            name: name.map(Into::into),
            timeout,
            wraps: fields.tables("wrap"),
            steps: fields.tables("steps"),
        };
        if suite.steps.is_empty() {
            fields.problem("steps", "is empty", "a suite has at least one step");
        }
        if depth > DEEPEST {
            fields.problem(
                "steps",
                format!("is nested more than {DEEPEST} deep"),
                "flatten it",
            );
            return None;
        }
        let requires = fields.tables("requires");
        fields.finish();
        let within = timeout.unwrap_or(within);
        let before_all = self.requirements(&requires, path, within, notes);
        let case = self.suite(suite, path, within, depth, notes)?;
        Some(after(before_all?, case, true))
    }

    fn leaf(
        &mut self,
        table: &Table,
        path: &str,
        phase: Phase,
        within: Duration,
        notes: &mut Notes,
    ) -> Option<Step> {
        notes.reads.clear();
        let mut fields = Fields::new(table, path, Some(self.params), notes);
        let name = self.name(&mut fields);
        let entry = used_action(&mut fields, phase);
        let always = fields.flag("always");
        let timeout = if always {
            fields
                .duration("timeout", SHORTEST)
                .or(Some(DEFAULT_TEARDOWN))
        } else {
            read_timeout(&mut fields, within)
        };
        let (name, entry) = (name?, entry?);
        let is_setup = phase == Phase::Setup;
        let (retry, poll) = (read_retry(&mut fields), read_poll(&mut fields, entry));
        let allow_failure = fields.flag("allow_failure");
        let acting = read_acting(&mut fields, entry);
        fields.string("title");
        let uses = fields.table("uses").map(read_uses).unwrap_or_default();
        let own = reference(&name);
        let built = (entry.build)(
            &mut fields,
            Shape {
                own: &own,
                polls: poll.is_some(),
            },
        );
        let teardown = entry.is_resource.then(|| {
            fields
                .duration("teardown_timeout", SHORTEST)
                .unwrap_or(DEFAULT_TEARDOWN)
        });
        if is_setup && (always || allow_failure || fields.has("expect_refused")) {
            let help = "`always`, `allow_failure` and `expect_refused` are for steps";
            fields.problem("", "is a wrapper, whose setup must pass", help);
        }
        fields.finish();
        let built = built?;
        let reads = self.check_reads(&own, path, entry.is_resource, &built, notes);
        self.steps.push(StepInfo {
            name: name.as_str().into(),
            phase,
            is_resource: entry.is_resource,
            may_retry: retry.attempts > 1,
            speaks_http: entry.speaks_http,
        });
        self.count_requests(entry, retry, poll.zip(timeout.or(Some(within))));
        self.count_uses(entry, uses);
        if let Some(teardown) = teardown {
            self.teardown += teardown;
            self.kinds.insert(entry.name);
        }
        if always {
            self.always += timeout.unwrap_or_default();
        }
        self.longest = self.longest.max(teardown).max(timeout);
        if !built.writes.is_empty() {
            let writes = built.writes.iter().cloned();
            self.visible.insert(own, writes.collect());
        }
        let work = match (built.work, teardown) {
            (Work::Acquire { resource, .. }, Some(teardown_timeout)) => Work::Acquire {
                resource,
                teardown_timeout,
            },
            (work, _) => work,
        };
        Some(Step {
            name: name.into(),
            timeout,
            work,
            retry,
            poll,
            always,
            allow_failure,
            prerequisite: false,
            acting,
            reads,
            writes: built.writes,
        })
    }

    fn count_requests(&mut self, entry: &Entry, retry: Retry, poll: Option<(Duration, Duration)>) {
        if !entry.speaks_http {
            return;
        }
        let polls = poll.map_or(1, |(every, timeout)| {
            let repeats = timeout.as_millis() / every.as_millis().max(1);
            1 + u32::try_from(repeats).unwrap_or(u32::MAX / 2)
        });
        // Undoing is a search, a delete, and another search.
        let undo = if entry.is_resource { 3 } else { 0 };
        let requests = retry.attempts.saturating_mul(polls).saturating_add(undo);
        self.requests = self.requests.saturating_add(requests);
    }

    fn count_uses(&mut self, entry: &Entry, uses: Uses) {
        for (limit, (places, at)) in uses {
            if entry.is_resource {
                self.held_uses.entry(limit).or_insert((0, at)).0 += places;
            } else {
                let most = &mut self.step_uses.entry(limit).or_insert((0, at)).0;
                *most = places.max(*most);
            }
        }
    }

    /// The step's name; a second one of the same name, `-` written as `_`, is a problem.
    fn name(&mut self, fields: &mut Fields<'_, '_>) -> Option<String> {
        let name = fields.required_string("name", "give it a name, such as \"read-back\"")?;
        check_name(fields, &name);
        let written = reference(&name);
        if ["run", "target", "secret"].contains(&written.as_str()) {
            fields.problem(
                "name",
                format!("`{name}` is taken"),
                "${run.…}, ${target.…} and ${secret.…} are built in",
            );
        }
        match self.names.get(&written) {
            Some(first) => {
                let what = format!("`{name}` is a name already, at {first}");
                fields.problem(
                    "name",
                    what,
                    "names are unique in a spec, `-` and `_` counting as the same",
                );
            }
            None => {
                self.names.insert(written, fields.at());
            }
        }
        Some(name)
    }

    /// Checks what the step reads, and returns what it needs of other steps.
    fn check_reads(
        &self,
        own: &str,
        path: &str,
        is_resource: bool,
        built: &crate::action::Built,
        notes: &mut Notes,
    ) -> Vec<Read> {
        let mut needed = Vec::new();
        for (read, at) in std::mem::take(&mut notes.reads) {
            let known = match read.name.as_str() {
                "run" => ["id", "name"].contains(&read.key.as_str()),
                "secret" => self
                    .target
                    .is_none_or(|target| target.secrets.contains_key(&read.key)),
                name if name == own && is_resource => {
                    built.writes.iter().any(|(key, _)| *key == read.key)
                }
                name => {
                    let captures = self.visible.get(name);
                    captures.is_some_and(|captures| captures.contains_key(&read.key))
                }
            };
            if !known {
                notes.problems.push(self.unwritten(own, path, &read, &at));
            } else if ![own, "run"].contains(&read.name.as_str()) {
                needed.push(read);
            }
        }
        for (read, at) in &built.recorded {
            let secret = self
                .visible
                .get(&read.name)
                .and_then(|captures| captures.get(&read.key));
            if secret == Some(&true) || read.name == "secret" {
                let what = format!(
                    "${{{}.{}}} is secret, but an undo is written down",
                    read.name, read.key
                );
                let help = "use the target's authentication in `find` and `delete`";
                notes.problems.push(Problem::error(at, path, what, help));
            }
        }
        needed.sort();
        needed.dedup();
        needed
    }

    fn unwritten(&self, own: &str, path: &str, read: &Read, at: &At) -> Problem {
        let what = format!(
            "nothing before this writes `${{{}.{}}}`",
            read.name, read.key
        );
        let help = match self.visible.get(&read.name) {
            _ if read.name == "run" => "there are ${run.name} and ${run.id}".to_owned(),
            _ if read.name == "secret" => {
                let target = self.target.map_or("NAME", |target| target.name.as_str());
                format!(
                    "write [target.{target}.secrets] {} = {{ file = … }}, or run the spec on a target that has it",
                    read.key
                )
            }
            _ if read.name == own => "a step cannot read its own captures".to_owned(),
            Some(captures) => {
                let keys: Vec<_> = captures.keys().map(String::as_str).collect();
                format!("`{}` captures: {}", read.name, keys.join(", "))
            }
            None => match nearest(&read.name, self.visible.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `${{{near}.…}}`?"),
                None if self.names.contains_key(&read.name) => {
                    format!("`{}` captures nothing that can be read here", read.name)
                }
                None => {
                    "captures of earlier steps can be read, and those of wrappers around".to_owned()
                }
            },
        };
        Problem::error(at, path, what, help)
    }
}

/// How many problems there are that keep a spec from being run.
fn errors(notes: &Notes) -> usize {
    let is_error = |problem: &&Problem| problem.severity == Severity::Error;
    notes.problems.iter().filter(is_error).count()
}

/// How problems call a step: by its name, or else by what it is.
fn child(path: &str, list: &str, table: &Table) -> String {
    match table.get("name").map(|entry| &entry.node.raw) {
        Some(Raw::String(name)) => format!("{path}.{list}.{name}"),
        _ => format!("{path}.{list}"),
    }
}
