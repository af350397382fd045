//! `[[spec]]` as written: name, tags, parameters and variants. Its tree is left to `lower`.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::{KnownSpec, like};
use crate::catalog;
use crate::config::Source;
use crate::spec::{Needs, TargetKind};
use crate::text::{At, Entry, Fields, Notes, Problem, Raw, Table};

/// A spec as its file declares it.
pub(super) struct Declared {
    /// Its name.
    pub(super) name: String,
    /// What it is for.
    pub(super) description: String,
    /// Sorted.
    pub(super) tags: Vec<String>,
    /// Its inputs.
    pub(super) params: Vec<Declaration>,
    /// At least one; a spec without matrix has one with an empty name.
    pub(super) variants: Vec<Variant>,
    /// The whole table.
    pub(super) table: Table,
    /// What it needs of a target, if anything.
    pub(super) needs: Option<Needs>,
    pub(super) built_in: bool,
    replaces_built_in: bool,
}

/// A declared parameter.
pub(super) struct Declaration {
    pub(super) name: String,
    pub(super) default: Option<Value>,
    pub(super) help: Option<String>,
}

/// One row of a matrix.
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) values: BTreeMap<String, Value>,
}

impl Declared {
    /// What `testerd list` says of it.
    pub(super) fn known(&self) -> KnownSpec {
        KnownSpec {
            name: self.name.clone(),
            description: self.description.clone(),
            tags: self.tags.clone(),
            declared: self.table.at.to_string(),
            replaces_built_in: self.replaces_built_in,
        }
    }

    /// The names of all parameters that a probe may give.
    pub(super) fn param_names(&self) -> impl Iterator<Item = &str> {
        self.params.iter().map(|param| param.name.as_str())
    }
}

/// Reads all specs; a user's replaces the built-in one of the same name.
pub(super) fn read(sources: &[Source], notes: &mut Notes) -> Vec<Declared> {
    for source in sources {
        let mut file = Fields::new(&source.document, "", None, notes);
        if file.tables("spec").is_empty() {
            let help = "begin with [[spec]] and name = \"…\"";
            file.problem("", "holds no [[spec]]", help);
        }
        file.finish();
    }
    let mut specs: BTreeMap<String, Declared> = BTreeMap::new();
    let whole = like::whole(sources);
    for (table, built_in) in &whole.all {
        let filled = whole.fill(table, &[], notes);
        let Some(spec) = filled.and_then(|table| read_one(table, *built_in, notes)) else {
            continue;
        };
        match specs.get(&spec.name) {
            Some(other) if other.built_in == spec.built_in => {
                let what = format!("is declared in {} too", other.table.at);
                let key = format!("spec.{}", spec.name);
                notes
                    .problems
                    .push(Problem::error(&table.at, key, what, "rename one of them"));
            }
            // Built-in specs come first.
            other => {
                let replaces_built_in = other.is_some();
                let spec = Declared {
                    replaces_built_in,
                    ..spec
                };
                specs.insert(spec.name.clone(), spec);
            }
        }
    }
    specs.into_values().collect()
}

/// What the steps of a table need of a target, the inner ones too.
fn needs(table: &Table) -> Option<Needs> {
    let of = |entry: &Entry| match &entry.node.raw {
        Raw::String(name) if entry.key == "use" => catalog::find(name)?.needs,
        Raw::Array(items) if ["requires", "wrap", "steps"].contains(&entry.key.as_str()) => {
            let tables = items.iter().filter_map(|item| match &item.raw {
                Raw::Table(table) => needs(table),
                _ => None,
            });
            tables.reduce(Needs::and)
        }
        _ => None,
    };
    table.entries.iter().filter_map(of).reduce(Needs::and)
}

/// Each variant has a value for each parameter; says when these are more than one spec may have.
fn too_many_values(variants: usize, params: usize) -> Option<String> {
    (variants > 1 && variants.saturating_mul(params) > MOST_VALUES).then(|| {
        format!(
            "has {variants} variants with {params} parameters, more than {MOST_VALUES} together"
        )
    })
}

fn read_one(table: Table, built_in: bool, notes: &mut Notes) -> Option<Declared> {
    let called = match table.get("name").map(|entry| &entry.node.raw) {
        Some(Raw::String(name)) => format!("spec.{name}"),
        _ => "spec".to_owned(),
    };
    let mut fields = Fields::new(&table, called, None, notes);
    let name = fields.required_string("name", "give the spec a name, such as \"item-lifecycle\"");
    if let Some(name) = &name {
        check_name(&mut fields, name);
    }
    fields.string("title");
    let description = fields.string("description").unwrap_or_default();
    let mut tags = Vec::new();
    for (tag, _) in fields.strings("tags") {
        if !is_word(&tag) {
            fields.problem("tags", format!("`{tag}` is not a tag"), NAME_HELP);
        }
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    let mut params = fields.table("params").map(declarations).unwrap_or_default();
    let matrix = fields.tables("matrix");
    // These are read once the parameters have values.
    for key in ["timeout", "uses", "http_phases", "requires", "wrap"] {
        fields.entry(key);
    }
    let target_type = fields.string("target_type").and_then(|word| {
        let kind = TargetKind::named(&word);
        if kind.is_none() {
            let help = format!("write {}", TargetKind::help());
            fields.problem("target_type", format!("`{word}` is not one"), help);
        }
        kind
    });
    let needs = needs(&table);
    if let (Some(kind), Some(needs)) = (target_type, needs)
        && !needs.fits(kind)
    {
        let what = format!("is \"{kind}\", but a step needs {needs}");
        fields.problem("target_type", what, "remove one of the two");
    }
    if !fields.has("steps") {
        fields.missing(
            "steps",
            "say what it does: [[spec.steps]] with name and use",
        );
    }
    fields.finish();
    let variants = variants(&matrix, name.as_deref().unwrap_or_default(), notes);
    // What only the matrix gives is declared by it.
    let mut known: HashSet<String> = params.iter().map(|param| param.name.clone()).collect();
    for name in variants.iter().flat_map(|variant| variant.values.keys()) {
        if known.insert(name.clone()) {
            params.push(Declaration {
                name: name.clone(),
                default: None,
                help: None,
            });
        }
    }
    if let Some(what) = too_many_values(variants.len(), params.len()) {
        let key = format!("spec.{}.matrix", name?);
        let problem = Problem::error(&table.at, key, what, "make several specs of it");
        notes.problems.push(problem);
        return None;
    }
    Some(Declared {
        needs: target_type.map(Needs::Kind).or(needs),
        name: name?,
        description,
        tags,
        params,
        variants,
        table,
        built_in,
        replaces_built_in: false,
    })
}

fn declarations(mut fields: Fields<'_, '_>) -> Vec<Declaration> {
    let mut params = Vec::new();
    for entry in fields.entries() {
        let is_reference =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if entry.key.is_empty() || !entry.key.bytes().all(is_reference) {
            let help = "use lower-case letters, digits and `_`, so that ${…} can name it";
            fields.problem_of(entry, "is not a name for a parameter", help);
        }
        let Raw::Table(_) = &entry.node.raw else {
            let help = format!(
                "write {} = {{ default = … }} or {{ required = true }}",
                entry.key
            );
            fields.problem_of(entry, format!("is {}", entry.node.kind()), help);
            continue;
        };
        let Some(mut param) = fields.table_of(entry) else {
            continue;
        };
        let default = param.constant("default").map(|(value, _)| value);
        let required = param.flag("required");
        let help = param.string("help");
        if required == default.is_some() {
            let what = if required {
                "is required, so its default is never used"
            } else {
                "is neither required nor has a default"
            };
            param.problem(
                "",
                what,
                "write one of { required = true } and { default = … }",
            );
        }
        param.finish();
        params.push(Declaration {
            name: entry.key.clone(),
            default,
            help,
        });
    }
    params
}

fn variants(matrix: &[&Table], spec: &str, notes: &mut Notes) -> Vec<Variant> {
    let mut variants: Vec<Variant> = Vec::new();
    let mut names = HashSet::new();
    for (index, row) in matrix.iter().enumerate() {
        let mut fields = Fields::new(row, format!("spec.{spec}.matrix[{index}]"), None, notes);
        let name = fields.required_string("variant", "name the variant: variant = \"…\"");
        let Some(name) = name else { continue };
        if !is_word(&name) {
            fields.problem("variant", format!("`{name}` is not a name"), NAME_HELP);
        }
        if !names.insert(name.clone()) {
            fields.problem(
                "variant",
                format!("`{name}` stands twice"),
                "name each variant once",
            );
            continue;
        }
        let values = row.entries.iter().filter(|entry| entry.key != "variant");
        let values = values.map(|entry| (entry.key.clone(), entry.node.to_value()));
        variants.push(Variant {
            name,
            values: values.collect(),
        });
    }
    if variants.is_empty() {
        variants.push(Variant {
            name: String::new(),
            values: BTreeMap::new(),
        });
    }
    variants
}

/// So many values a matrix may give and ask for.
const MOST_VALUES: usize = 100_000;

pub(super) const NAME_HELP: &str =
    "use lower-case words of letters and digits, joined by `-` or `_`, 100 letters at most";

/// Notes a name that cannot be a label and a reference.
pub(super) fn check_name(fields: &mut Fields<'_, '_>, name: &str) {
    if !is_word(name) {
        fields.problem("name", format!("`{name}` is not a name"), NAME_HELP);
    }
}

/// Lower-case words joined by `-` or `_`.
fn is_word(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    text.len() <= 100 && text.split(['-', '_']).all(part)
}

/// Where something was declared first.
pub(super) type FirstAt = BTreeMap<String, At>;
