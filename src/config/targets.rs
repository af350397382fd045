//! The section `[target.NAME]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::settings::{is_name, params};
use super::{Overrides, TargetSettings};
use crate::client::Endpoint;
use crate::secret::{Secret, SecretSource};
use crate::spec::{Auth, Target, TargetKind};
use crate::text::{Entry, Fields, Problem, Raw};

const SECRET_HELP: &str =
    "write { file = \"…\" }, { env = \"…\" } or { credential = \"…\" } (systemd's LoadCredential=)";

/// Reads every target.
pub(super) fn read(
    fields: &mut Fields<'_, '_>,
    concurrency: u32,
    overrides: &Overrides,
) -> BTreeMap<String, TargetSettings> {
    let mut targets = BTreeMap::new();
    let Some(mut table) = fields.table("target") else {
        return targets;
    };
    for entry in table.entries() {
        if !is_name(&entry.key) {
            let help = "use lower-case letters, digits, `-` and `_`, beginning with a letter";
            table.problem(&entry.key, "is not a name for a target", help);
        }
        let endpoint = overrides.endpoints.get(&entry.key).map(String::as_str);
        let target = table
            .table_of(entry)
            .and_then(|fields| read_one(fields, &entry.key, concurrency, endpoint));
        targets.extend(target.map(|target| (entry.key.clone(), target)));
    }
    targets
}

fn read_one(
    mut fields: Fields<'_, '_>,
    name: &str,
    concurrency: u32,
    endpoint: Option<&str>,
) -> Option<TargetSettings> {
    let kinds: Vec<_> = TargetKind::ALL.iter().map(|(word, _)| *word).collect();
    let kind_help = format!("write type = \"{}\"", kinds.join("\" or \""));
    let kind = fields.required_string("type", &kind_help).and_then(|text| {
        let kind = TargetKind::ALL.into_iter().find(|(word, _)| *word == text);
        if kind.is_none() {
            fields.problem(
                "type",
                format!("`{text}` is not a type of target"),
                &kind_help,
            );
        }
        kind.map(|(_, kind)| kind)
    });
    let text = fields.required_string(
        "endpoint",
        "say where it is, such as \"http://127.0.0.1:8091\"",
    );
    let endpoint = endpoint.map(str::to_owned).or(text).and_then(|text| {
        Endpoint::parse(&text)
            .map_err(|error| fields.problem("endpoint", error.to_string(), ENDPOINT_HELP))
            .ok()
    });
    let auth = fields.table("auth").and_then(read_auth);
    let concurrency = fields
        .integer("concurrency", 1..=10_000)
        .map_or(concurrency, |places| {
            u32::try_from(places).unwrap_or(u32::MAX)
        });
    let vars = fields
        .table("vars")
        .map(|table| params(table.entries()))
        .unwrap_or_default();
    fields.finish();
    Some(TargetSettings {
        target: Arc::new(Target {
            name: name.to_owned(),
            kind: kind?,
            endpoint: endpoint?,
            auth,
            concurrency,
        }),
        vars,
    })
}

const ENDPOINT_HELP: &str =
    "write scheme, host, port and perhaps a path, such as \"https://api.example.org/v2\"";

/// Reads `bearer = …` or `username = …, password = …`.
fn read_auth(mut fields: Fields<'_, '_>) -> Option<Auth> {
    let bearer = fields
        .entry("bearer")
        .and_then(|entry| read_secret(&mut fields, entry));
    let username = fields.string("username");
    let password = fields
        .entry("password")
        .and_then(|entry| read_secret(&mut fields, entry));
    let auth = match (bearer, username, password) {
        (Some(token), None, None) => Some(Auth::Bearer(token)),
        (None, Some(username), Some(password)) => Some(Auth::Basic { username, password }),
        // What is there but unreadable has its problem already.
        _ if fields.has("bearer") != (fields.has("username") && fields.has("password")) => None,
        _ => {
            let help = "give either `bearer`, or `username` and `password`";
            fields.problem("", "is neither bearer nor basic authentication", help);
            None
        }
    };
    fields.finish();
    auth
}

/// Reads where a secret comes from; one that stands in the file itself is a warning.
fn read_secret(fields: &mut Fields<'_, '_>, entry: &Entry) -> Option<SecretSource> {
    if let Raw::String(text) = &entry.node.raw {
        let key = fields.key(&entry.key);
        let what =
            "the secret stands in the configuration, where everybody who may read it sees it";
        let problem = Problem::warning(&entry.node.at, key, what, SECRET_HELP);
        fields.notes().problems.push(problem);
        return Some(SecretSource::Literal(Secret::new(text)));
    }
    let mut source = fields.table_of(entry)?;
    let file = source.string("file");
    let env = source.string("env");
    let credential = source.string("credential");
    let found = match (file, env, credential) {
        (Some(path), None, None) => Some(SecretSource::File(PathBuf::from(path))),
        (None, Some(name), None) => Some(SecretSource::Env(name)),
        (None, None, Some(name)) => Some(SecretSource::Credential(name)),
        _ => {
            source.problem("", "does not say where the secret is", SECRET_HELP);
            None
        }
    };
    source.finish();
    found
}
