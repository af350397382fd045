//! The sections `[server]`, `[tester]`, `[metrics]`, `[limits]` and `[[probe]]`.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use super::shelf::{Seen, Shelf};
use super::{
    DEFAULT_PORT, DEFAULT_STATE_DIR, HostPattern, LONGEST_INSTANCE, Overrides, Param, Patience,
    Probe, Settings, default_instance,
};
use crate::event::StateRule;
use crate::spec::{NamePattern, Selection};
use crate::text::{At, Entry, Fields, Notes, Raw, Table, nearest};

/// The shortest interval of a probe.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// More than this at once needs more descriptors than the shipped unit allows.
const MOST_RUNS: u64 = 10_000;

impl Settings {
    /// Reads the document; what is wrong goes to `notes`, and a default takes its place.
    /// Targets files are on the shelf.
    pub fn read(
        document: &Table,
        overrides: &Overrides,
        shelf: &dyn Shelf,
        notes: &mut Notes,
    ) -> Self {
        let mut fields = Fields::new(document, "", None, notes);
        let mut settings = Self::defaults(At::file(&document.at.file));
        settings.read_server(&mut fields);
        if !overrides.listen.is_empty() {
            settings.listen.clone_from(&overrides.listen);
        }
        settings.read_tester(&mut fields);
        settings.read_cleanup(&mut fields);
        if let Some(folder) = &overrides.state_dir {
            settings.state_dir.clone_from(folder);
        }
        if let Some(mut metrics) = fields.table("metrics") {
            if let Some(limit) = metrics.integer("series_limit", 1..=100_000_000) {
                settings.series_limit = limit;
            }
            settings.http_phases = metrics.flag("http_phases");
            metrics.finish();
        }
        if let Some(mut limits) = fields.table("limits") {
            settings.limits = read_limits(&mut limits);
        }
        let (targets, seen) =
            super::targets::read(&mut fields, settings.concurrency, overrides, shelf);
        (settings.targets, settings.targets_files) = (targets, seen);
        settings.target_names = match document.get("target").map(|entry| &entry.node.raw) {
            Some(Raw::Table(targets)) => targets.entries.iter().map(|e| e.key.clone()).collect(),
            _ => Vec::new(),
        };
        let probes = fields.tables("probe");
        if probes.is_empty() && !document.entries.iter().any(|entry| entry.key == "probe") {
            let what = "there is none, so nothing would run";
            fields.problem(
                "probe",
                what,
                "add a [[probe]] with target, tags and interval",
            );
        }
        for table in probes {
            let probe = read_probe(table, fields.notes());
            settings.probes.extend(probe);
        }
        fields.finish();
        settings.check(notes);
        settings
    }

    fn defaults(at: At) -> Self {
        Self {
            listen: vec![format!("127.0.0.1:{DEFAULT_PORT}")],
            hosts: Vec::new(),
            instance: default_instance(),
            concurrency: 10,
            state_dir: PathBuf::from(DEFAULT_STATE_DIR),
            patience: Patience {
                settle: Duration::from_secs(30),
                stuck_after: Duration::from_secs(3600),
            },
            max_owed: 5,
            specs: Vec::new(),
            stop_grace: Duration::from_secs(30),
            series_limit: 200_000,
            http_phases: false,
            limits: BTreeMap::new(),
            targets: BTreeMap::new(),
            target_names: Vec::new(),
            targets_files: Seen::default(),
            probes: Vec::new(),
            at,
        }
    }

    fn read_server(&mut self, fields: &mut Fields<'_, '_>) {
        let Some(mut server) = fields.table("server") else {
            return;
        };
        if let Some(listen) = server.string("listen") {
            self.listen = vec![listen];
        }
        for (text, _) in server.strings("hosts") {
            match HostPattern::new(&text) {
                Some(host) => self.hosts.push(host),
                None => server.problem(
                    "hosts",
                    format!("`{text}` is no name of a host"),
                    "write it without scheme and port, such as \"testerd.example.org\" or \"*.example.org\"; addresses need no entry",
                ),
            }
        }
        server.finish();
    }

    fn read_tester(&mut self, fields: &mut Fields<'_, '_>) {
        let Some(mut tester) = fields.table("tester") else {
            return;
        };
        if let Some(instance) = tester.string("instance") {
            if !is_name(&instance) || instance.len() > LONGEST_INSTANCE {
                let what = format!("`{instance}` cannot begin the names of what is created");
                let help = format!(
                    "use at most {LONGEST_INSTANCE} lower-case letters, digits, `-` and `_`, beginning with a letter"
                );
                tester.problem("instance", what, help);
            }
            self.instance = instance;
        }
        if let Some(concurrency) = tester.integer("concurrency", 1..=MOST_RUNS) {
            self.concurrency = u32::try_from(concurrency).unwrap_or(u32::MAX);
        }
        if let Some(folder) = tester.string("state_dir") {
            self.state_dir = folder.into();
        }
        self.specs = tester.strings("specs");
        if let Some(grace) = tester.duration("stop_grace", Duration::from_secs(1)) {
            self.stop_grace = grace;
        }
        tester.finish();
    }

    fn read_cleanup(&mut self, fields: &mut Fields<'_, '_>) {
        let Some(mut cleanup) = fields.table("cleanup") else {
            return;
        };
        if let Some(settle) = cleanup.duration("settle", Duration::ZERO) {
            self.patience.settle = settle;
        }
        if let Some(stuck_after) = cleanup.duration("stuck_after", Duration::ZERO) {
            self.patience.stuck_after = stuck_after;
        }
        if let Some(max_owed) = cleanup.integer("max_owed", 1..=1_000_000) {
            self.max_owed = usize::try_from(max_owed).unwrap_or(usize::MAX);
        }
        cleanup.finish();
    }

    /// What is wrong between sections.
    fn check(&self, notes: &mut Notes) {
        let known: HashSet<_> = self.target_names.iter().collect();
        for probe in &self.probes {
            if !known.contains(&probe.target) {
                let known = self.target_names.iter().map(String::as_str);
                let table = probe.target.split_once('/').map(|(table, _)| table);
                let table = table.filter(|table| known.clone().any(|known| known == *table));
                let help = match (table, nearest(&probe.target, known)) {
                    (Some(table), _) => {
                        format!("did you mean `{table}`? a probe is for all targets of a table")
                    }
                    (None, Some(near)) => format!("did you mean `{near}`?"),
                    (None, None) => format!("declare it: [target.{}]", probe.target),
                };
                let what = format!("there is no target `{}`", probe.target);
                let key = format!("probe.{}.target", probe.name);
                notes
                    .problems
                    .push(crate::text::Problem::error(&probe.at, key, what, help));
            }
        }
        let mut names = HashSet::new();
        for probe in &self.probes {
            if !names.insert(&probe.name) {
                notes.problems.push(crate::text::Problem::error(
                    &probe.at,
                    format!("probe.{}", probe.name),
                    "another probe has the same name",
                    "give each its own: name = \"…\"",
                ));
            }
        }
    }
}

fn read_limits(fields: &mut Fields<'_, '_>) -> BTreeMap<String, u32> {
    let mut limits = BTreeMap::new();
    for entry in fields.entries() {
        let places = match &entry.node.raw {
            Raw::Number(places) => places
                .as_u64()
                .and_then(|places| u32::try_from(places).ok()),
            _ => None,
        };
        let places = places.filter(|places| *places > 0);
        match places {
            _ if !is_name(&entry.key) => fields.problem_of(entry, "is not a name", NAME_HELP),
            Some(places) => {
                limits.insert(entry.key.clone(), places);
            }
            None => fields.problem(
                &entry.key,
                format!("is {}, not a positive integer", entry.node.kind()),
                "say how many may be used at once, such as gpu = 2",
            ),
        }
    }
    limits
}

fn read_probe(table: &Table, notes: &mut Notes) -> Option<Probe> {
    // Problems name the probe by its name or target, whichever is there.
    let text = |key: &str| match table.get(key).map(|entry| &entry.node.raw) {
        Some(Raw::String(text)) => Some(text.clone()),
        _ => None,
    };
    let called = text("name").or_else(|| text("target")).unwrap_or_default();
    let path = if called.is_empty() {
        "probe".to_owned()
    } else {
        format!("probe.{called}")
    };
    let mut fields = Fields::new(table, path, None, notes);

    let target = fields.required_string("target", "name one of the [target.…] tables");
    let name = fields.string("name");
    if let Some(name) = &name
        && !is_name(name)
    {
        fields.problem("name", "is not a name", NAME_HELP);
    }
    let selection = read_selection(&mut fields);
    if !fields.has("interval") {
        fields.missing("interval", "say how often, such as interval = \"1m\"");
    }
    let interval = fields.duration("interval", SHORTEST_INTERVAL);
    let objective = fields.ratio("objective");
    let state = fields.table("state").map(read_state).unwrap_or_default();
    let params = fields
        .table("params")
        .map(|table| params(table.entries()))
        .unwrap_or_default();
    let alias = fields.string("as");
    if let Some(alias) = &alias
        && !is_name(alias)
    {
        fields.problem("as", "is not a name", NAME_HELP);
    }
    fields.finish();
    let target = target?;
    let tags = selection.tags.join("-");
    let default_name = if tags.is_empty() {
        target.clone()
    } else {
        format!("{target}-{tags}")
    };
    Some(Probe {
        name: name.unwrap_or(default_name),
        at: table.at.clone(),
        target,
        selection,
        interval: interval?,
        objective,
        state,
        params,
        alias,
    })
}

fn read_selection(fields: &mut Fields<'_, '_>) -> Selection {
    let words = |list: Vec<(String, At)>| list.into_iter().map(|(word, _)| word).collect();
    let mut patterns = |key: &'static str| {
        let mut patterns = Vec::new();
        for (text, _) in fields.strings(key) {
            match NamePattern::new(&text) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    let what = format!("`{text}` is not a pattern: {error}");
                    fields.problem(key, what, "use *, ? and […] as in a shell");
                }
            }
        }
        patterns
    };
    let (names, exclude_names) = (patterns("names"), patterns("exclude_names"));
    Selection {
        tags: words(fields.strings("tags")),
        all_tags: words(fields.strings("all_tags")),
        exclude_tags: words(fields.strings("exclude_tags")),
        names,
        exclude_names,
    }
}

/// Reads `fail_after = "2 of 3"` and `recover_after = 2`.
fn read_state(mut fields: Fields<'_, '_>) -> StateRule {
    let mut rule = StateRule::default();
    if let Some(text) = fields.string("fail_after") {
        let parsed = text.split_once(" of ").and_then(|(fails, of)| {
            let (fails, of) = (fails.trim().parse().ok()?, of.trim().parse().ok()?);
            (1 <= fails && fails <= of && of <= 100).then_some((fails, of))
        });
        match parsed {
            Some((fails, of)) => (rule.fails, rule.of) = (fails, of),
            None => fields.problem(
                "fail_after",
                format!("`{text}` is not a rule"),
                "write \"N of M\" with 1 ≤ N ≤ M ≤ 100, such as \"2 of 3\"",
            ),
        }
    }
    if let Some(passes) = fields.integer("recover_after", 1..=100) {
        rule.recover_after = u32::try_from(passes).unwrap_or(1);
    }
    fields.finish();
    rule
}

/// Reads a table of parameters.
pub(super) fn params(entries: &[Entry]) -> Vec<Param> {
    let param = |entry: &Entry| Param {
        name: entry.key.clone(),
        value: entry.node.to_value(),
        at: entry.at.clone(),
    };
    entries.iter().map(param).collect()
}

const NAME_HELP: &str = "use lower-case letters, digits, `-` and `_`, beginning with a letter";

/// Whether a text can be a name in labels and configuration.
pub(super) fn is_name(text: &str) -> bool {
    let word =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.len() <= 64
        && text.bytes().all(word)
}
