//! Settings and specs become a plan: pure, no I/O, every problem at once.
//!
//! After this nobody can tell which file or sugar a tree came from, and nothing in it is unchecked:
//! every reference is written before it is read, every deadline fits its parent's, every name and
//! label is known, and so is the number of series.

mod declared;
mod forecast;
mod keys;
mod like;
mod lower;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::config::{Probe, Settings, Sources, TargetSettings};
use crate::contract;
use crate::event::{Identity, PoolInfo, SpecInfo};
use crate::spec::{Needs, Scheduled};
use crate::text::{NamedFile, Notes, Params, Problem, Severity, nearest};

use declared::{Declared, Variant};
pub use forecast::Forecast;
pub use keys::{POLLING, RESOURCE, STEP};
use lower::Lowered;

/// Everything that will run.
pub struct Plan {
    /// The configuration it was made from.
    pub settings: Settings,
    /// What is run, by probe in the order of the file.
    pub scheduled: Vec<Arc<Scheduled>>,
    /// Every spec there is, selected or not, sorted by name.
    pub known: Vec<KnownSpec>,
    /// Problems that do not stop it.
    pub warnings: Vec<Problem>,
    /// Files that will be read when they are needed.
    pub files: Vec<NamedFile>,
    /// What it will cost.
    pub forecast: Forecast,
}

/// A spec that could run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSpec {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Sorted.
    pub tags: Vec<String>,
    /// The file and line where it is declared.
    pub declared: String,
    /// Whether it replaces a built-in one of the same name.
    pub replaces_built_in: bool,
}

impl Plan {
    /// The pools that runs take places in; the global one is the last.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolInfo> {
        pools(&self.settings, &self.scheduled)
    }
}

fn pools(settings: &Settings, scheduled: &[Arc<Scheduled>]) -> Vec<PoolInfo> {
    let probed = scheduled.iter().map(|spec| spec.target.name.as_str());
    let probed: HashSet<_> = probed.collect();
    let share = contract::fair_share(settings.concurrency, probed.len());
    let limits = settings.limits.iter();
    let limits = limits.map(|(name, limit)| (format!("limit:{name}"), *limit, 0));
    let targets = settings
        .targets
        .values()
        .map(|TargetSettings { target, .. }| {
            let share = if probed.contains(target.name.as_str()) {
                share.min(target.concurrency)
            } else {
                0
            };
            (format!("target:{}", target.name), target.concurrency, share)
        });
    let pools = limits
        .chain(targets)
        .chain([("global".to_owned(), settings.concurrency, 0)]);
    pools
        .map(|(name, limit, share)| PoolInfo { name, limit, share })
        .collect()
}

/// Makes the plan.
///
/// # Errors
/// Every problem of configuration and specs, in the order of the files, if one of them is more
/// than a warning.
pub fn compile(sources: Sources) -> Result<Plan, Vec<Problem>> {
    let Sources {
        settings,
        specs,
        mut notes,
    } = sources;
    let declared = declared::read(&specs, &mut notes);
    let mut compiler = Compiler {
        settings: &settings,
        declared: &declared,
        notes: &mut notes,
        claims: BTreeMap::new(),
        used: BTreeSet::new(),
        scheduled: Vec::new(),
        series: 0,
        cut_short: false,
    };
    for probe in &settings.probes {
        compiler.probe(probe);
    }
    compiler.try_unused();
    let cut_short = compiler.cut_short;
    let scheduled = compiler.scheduled;
    // Built-in specs for a type of target that nobody has are of no interest.
    let targets = || settings.targets.values();
    let has = |needs: Needs| targets().any(|t| needs.fits(t.target.kind));
    let known = declared
        .iter()
        .filter(|spec| !spec.built_in || spec.needs.is_none_or(has))
        .map(Declared::known)
        .collect();
    let forecast = Forecast::of(&scheduled, &pools(&settings, &scheduled));
    if forecast.series > settings.series_limit {
        notes.problems.push(Problem::error(
            &settings.at,
            "metrics.series_limit",
            format!(
                "the plan has {}{} series on {}, more than {}",
                if cut_short { "at least " } else { "" },
                forecast.series,
                match settings.targets.len() {
                    1 => "1 target".to_owned(),
                    many => format!("{many} targets"),
                },
                settings.series_limit
            ),
            "select fewer specs or targets, shorten deadlines (they make the histograms long), or raise the limit",
        ));
    }
    let (mut problems, mut files) = (notes.problems, notes.files);
    // Each variant and each target has read them.
    files.sort();
    files.dedup();
    problems.sort_by(|a, b| (&a.at, &a.key, &a.what).cmp(&(&b.at, &b.key, &b.what)));
    problems.dedup();
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return Err(problems);
    }
    Ok(Plan {
        settings,
        scheduled,
        known,
        warnings: problems,
        files,
        forecast,
    })
}

/// What a probe and a target give to specs.
type Given<'a> = HashMap<&'a str, &'a Value>;

/// So many steps of specs that nobody selects are tried; more are there by mistake, such as a
/// matrix of thousands of rows.
const MOST_TRIED: usize = 100_000;

/// With so many problems no more variants are looked at.
const MOST_PROBLEMS: usize = 100_000;

/// So many tags are named where none of them was meant.
const MOST_TAGS: usize = 50;

struct Compiler<'a> {
    settings: &'a Settings,
    declared: &'a [Declared],
    notes: &'a mut Notes,
    /// Which probe claimed an identity.
    claims: BTreeMap<Identity, &'a Probe>,
    /// The specs that some probe selected.
    used: BTreeSet<&'a str>,
    scheduled: Vec<Arc<Scheduled>>,
    /// That these have at least.
    series: u64,
    /// Whether there would be more of them.
    cut_short: bool,
}

impl<'a> Compiler<'a> {
    fn probe(&mut self, probe: &'a Probe) {
        let targets: Vec<_> = self.settings.targets_of(&probe.target).collect();
        let fits = |spec: &&Declared| match (spec.needs, targets.first()) {
            (Some(needs), Some(target)) => needs.fits(target.target.kind),
            _ => true,
        };
        let selected = self.declared.iter();
        let selected = selected.filter(|spec| probe.selection.selects(&spec.name, &spec.tags));
        let (selected, foreign): (Vec<_>, Vec<_>) = selected.partition(fits);
        for spec in &foreign {
            self.foreign(probe, spec);
        }
        if selected.is_empty() && foreign.is_empty() {
            self.empty_selection(probe);
        }
        self.unknown_params(probe, &selected);
        for target in &targets {
            // A targets file may name many times what there can be: nobody needs their trees.
            if self.series > self.settings.series_limit {
                self.cut_short = true;
                return;
            }
            self.used
                .extend(selected.iter().map(|spec| spec.name.as_str()));
            // What comes first is nearer, and takes the place of what comes later.
            let params = target.vars.iter().rev().chain(probe.params.iter().rev());
            let given = params.map(|param| (param.name.as_str(), &param.value));
            let given = given.collect();
            for spec in &selected {
                for variant in &spec.variants {
                    self.variant(probe, (target, &given), spec, variant);
                }
            }
        }
    }

    fn variant(
        &mut self,
        probe: &'a Probe,
        (target, given): (&TargetSettings, &Given<'_>),
        spec: &Declared,
        variant: &Variant,
    ) {
        // Nobody reads as many, and the next variant has the same ones.
        if self.notes.problems.len() > MOST_PROBLEMS {
            return;
        }
        // A matrix may have as many rows as there may be targets.
        if self.series > self.settings.series_limit {
            self.cut_short = true;
            return;
        }
        let parts = [variant.name.as_str(), probe.alias.as_deref().unwrap_or("")];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let identity = Identity {
            target: target.target.name.clone(),
            spec: spec.name.clone(),
            variant: parts.join("-"),
        };
        if let Some(other) = self.claims.get(&identity) {
            // Told once, not for each of the targets that the probe means.
            let claimed = Identity {
                target: probe.target.clone(),
                ..identity
            };
            let problem = Problem::error(
                &probe.at,
                format!("probe.{}", probe.name),
                format!("`{claimed}` is claimed by probe `{}` too", other.name),
                "exclude it from one of them, or give one an alias: as = \"…\"",
            );
            self.notes.problems.push(problem);
            return;
        }
        self.claims.insert(identity.clone(), probe);

        let given = |name: &str| given.get(name).map(|value| (*value).clone());
        let Some(params) = self.params(spec, variant, Some(probe), &target.target.name, given)
        else {
            return;
        };
        if let Some(lowered) = lower::lower(spec, Some(&target.target), &params, self.notes)
            && self.limits_suffice(spec, &lowered)
        {
            let scheduled = self.schedule(probe, target, spec, identity, lowered);
            self.series += contract::series_alone(&scheduled.info);
            self.scheduled.push(Arc::new(scheduled));
        }
    }

    fn schedule(
        &self,
        probe: &Probe,
        target: &TargetSettings,
        spec: &Declared,
        identity: Identity,
        lowered: Lowered,
    ) -> Scheduled {
        Scheduled {
            info: Arc::new(SpecInfo {
                identity,
                tags: spec.tags.clone(),
                description: spec.description.clone(),
                probe: probe.name.clone(),
                interval: probe.interval,
                timeout: lowered.timeout,
                longest: lowered.longest,
                overtime: lowered.overtime,
                objective: probe.objective,
                state: probe.state,
                steps: lowered.steps,
                kinds: lowered.kinds.into_iter().collect(),
                http_phases: self.settings.http_phases || lowered.http_phases,
            }),
            target: target.target.clone(),
            case: lowered.case,
            uses: lowered
                .uses
                .into_iter()
                .map(|(name, (places, _))| (name, places))
                .collect(),
            teardown: lowered.teardown,
            requests: lowered.requests,
        }
    }

    /// The values of a spec's parameters, nearest first: matrix row, probe, target, default.
    fn params(
        &mut self,
        spec: &Declared,
        variant: &Variant,
        probe: Option<&Probe>,
        target: &str,
        given: impl Fn(&str) -> Option<Value>,
    ) -> Option<Params> {
        let mut params = Params::from_iter([("target.name".to_owned(), Value::from(target))]);
        let mut complete = true;
        for param in &spec.params {
            let value = variant
                .values
                .get(&param.name)
                .cloned()
                .or_else(|| given(&param.name))
                .or_else(|| param.default.clone());
            match (value, probe) {
                (Some(value), _) => params.set(&param.name, value),
                (None, None) => complete = false,
                (None, Some(probe)) => {
                    complete = false;
                    let about = param
                        .help
                        .as_ref()
                        .map(|help| format!(" ({help})"))
                        .unwrap_or_default();
                    let problem = Problem::error(
                        &probe.at,
                        format!("probe.{}", probe.name),
                        format!(
                            "spec `{}` needs the parameter `{}`{about}",
                            spec.name, param.name
                        ),
                        format!(
                            "write {0} = … into [target.{1}.vars], or params = {{ {0} = … }} into the probe",
                            param.name, probe.target
                        ),
                    );
                    self.notes.problems.push(problem);
                }
            }
        }
        for (name, value) in &variant.values {
            params.set(name, value.clone());
        }
        complete.then_some(params)
    }

    fn limits_suffice(&mut self, spec: &Declared, lowered: &Lowered) -> bool {
        let mut suffice = true;
        for (name, (places, at)) in &lowered.uses {
            let (what, help) = match self.settings.limits.get(name) {
                Some(limit) if limit >= places => continue,
                Some(limit) => (
                    format!("takes {places} of the limit `{name}`, which has {limit}"),
                    format!("raise it: [limits] {name} = {places}"),
                ),
                None => (
                    format!("there is no limit `{name}`"),
                    format!("declare it: [limits] {name} = {places}"),
                ),
            };
            suffice = false;
            let key = format!("spec.{}.uses", spec.name);
            self.notes
                .problems
                .push(Problem::error(at, key, what, help));
        }
        suffice
    }

    /// A spec for another type of target: a tag means only those that fit, a name means this one.
    fn foreign(&mut self, probe: &Probe, spec: &Declared) {
        let (Some(needs), true) = (spec.needs, probe.selection.names_exactly(&spec.name)) else {
            return;
        };
        let problem = Problem::error(
            &probe.at,
            format!("probe.{}", probe.name),
            format!("spec `{}` needs {needs}", spec.name),
            "give the probe such a target, or name another spec",
        );
        self.notes.problems.push(problem);
    }

    fn empty_selection(&mut self, probe: &Probe) {
        let tags: BTreeSet<_> = self.declared.iter().flat_map(|spec| &spec.tags).collect();
        let tags: Vec<_> = tags.into_iter().map(String::as_str).collect();
        let mut wanted = probe.selection.tags.iter().chain(&probe.selection.all_tags);
        let near = wanted.find_map(|tag| nearest(tag, tags.iter().copied()));
        let help = match near {
            Some(near) => format!("did you mean the tag `{near}`? `testerd list` shows all specs"),
            None if self.declared.is_empty() => {
                "there are no specs at all: name their files in [tester] specs".to_owned()
            }
            None if tags.is_empty() => "no spec has a tag; select by names".to_owned(),
            None if tags.len() > MOST_TAGS => "`testerd list` shows all tags".to_owned(),
            None => format!("tags there are: {}", tags.join(", ")),
        };
        let key = format!("probe.{}", probe.name);
        let problem = Problem::error(&probe.at, key, "selects no spec", help);
        self.notes.problems.push(problem);
    }

    fn unknown_params(&mut self, probe: &Probe, selected: &[&Declared]) {
        let known = selected.iter().flat_map(|spec| spec.param_names());
        let known: BTreeSet<_> = known.collect();
        for param in &probe.params {
            if known.contains(param.name.as_str()) {
                continue;
            }
            let help = match nearest(&param.name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "specs declare their parameters in [spec.params]".to_owned(),
            };
            let key = format!("probe.{}.params.{}", probe.name, param.name);
            let what = "no spec that the probe selects has this parameter";
            self.notes
                .problems
                .push(Problem::error(&param.at, key, what, help));
        }
    }

    /// Specs that nobody selects are tried as far as their own defaults go, so that a file with
    /// mistakes is found before somebody needs it.
    fn try_unused(&mut self) {
        let mut tried = 0;
        for spec in self.declared {
            if self.used.contains(spec.name.as_str()) {
                continue;
            }
            for variant in &spec.variants {
                let params = self.params(spec, variant, None, "target", |_| None);
                if tried > MOST_TRIED {
                    return;
                }
                if let Some(params) = params {
                    let lowered = lower::lower(spec, None, &params, self.notes);
                    tried += lowered.map_or(1, |lowered| lowered.steps.len().max(1));
                }
            }
        }
    }
}
