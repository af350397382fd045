//! The section `[target.NAME]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::members::{self, Member};
use super::settings::{is_name, params};
use super::shelf::{Seen, Shelf};
use super::{Overrides, TargetSettings};
use crate::backendai::KeyPair;
use crate::client::{Endpoint, EndpointError, Transport};
use crate::secret::{Secret, SecretSource};
use crate::spec::{Auth, HeaderAuth, Target, TargetKind};
use crate::text::{Entry, Fields, Outside, Problem, Raw};

pub(super) const SECRET_HELP: &str =
    "write { file = \"…\" }, { env = \"…\" } or { credential = \"…\" } (systemd's LoadCredential=)";

/// Reads every target, and says what the targets files were then.
pub(super) fn read(
    fields: &mut Fields<'_, '_>,
    concurrency: u32,
    overrides: &Overrides,
    shelf: &dyn Shelf,
) -> (BTreeMap<String, TargetSettings>, Seen) {
    let (mut targets, mut seen) = (BTreeMap::new(), Seen::default());
    let Some(mut table) = fields.table("target") else {
        return (targets, seen);
    };
    for entry in table.entries() {
        if !is_name(&entry.key) {
            let help = "use lower-case letters, digits, `-` and `_`, beginning with a letter";
            table.problem_of(entry, "is not a name for a target", help);
        }
        let endpoint = overrides.endpoints.get(&entry.key).map(String::as_str);
        let Some(fields) = table.table_of(entry) else {
            continue;
        };
        let mut files = |pattern: &str| seen.files(shelf, pattern);
        let read = read_one(fields, &entry.key, concurrency, endpoint, &mut files);
        let read = read.unwrap_or_default().into_iter();
        targets.extend(read.map(|target| (target.target.name.clone(), target)));
    }
    (targets, seen)
}

/// What a table's targets authenticate with.
enum Login {
    /// The same for all of them: a token is asked for once.
    Shared(Arc<dyn Auth>),
    /// Access key and secret key.
    Keys((SecretSource, SecretSource)),
}

impl Login {
    /// For one target: each has its own key pair, because that remembers what its manager answered.
    fn auth(&self) -> Arc<dyn Auth> {
        match self {
            Self::Shared(auth) => Arc::clone(auth),
            Self::Keys((access, secret)) => Arc::new(KeyPair::new(access.clone(), secret.clone())),
        }
    }
}

/// Reads one table: one target, or as many as its targets files name.
fn read_one(
    mut fields: Fields<'_, '_>,
    name: &str,
    concurrency: u32,
    endpoint: Option<&str>,
    files: &mut members::Find<'_>,
) -> Option<Vec<TargetSettings>> {
    let kind_help = format!("write type = {}", TargetKind::help());
    let kind = fields.required_string("type", &kind_help).and_then(|text| {
        let kind = TargetKind::named(&text);
        if kind.is_none() {
            let what = format!("`{text}` is not a type of target");
            fields.problem("type", what, &kind_help);
        }
        kind
    });
    let members = if fields.has("targets_file") {
        members::read(&mut fields, name, kind, files)
    } else {
        let endpoint = read_endpoint(&mut fields, kind, endpoint);
        endpoint.map(|endpoint| vec![Member::alone(name, endpoint)])
    };
    let transport = Arc::new(super::transport::read(&mut fields));
    let login = match kind {
        Some(TargetKind::BackendAi) => read_keys(&mut fields).map(Login::Keys),
        Some(TargetKind::Tcp) => {
            if fields.has("auth") {
                let help = "remove it; what a spec sends may hold ${secret.NAME} of `secrets`";
                fields.problem("auth", "means nothing to a target of type \"tcp\"", help);
            }
            Some(Login::Shared(Arc::new(HeaderAuth::Nobody)))
        }
        Some(TargetKind::Http | TargetKind::BackendAiWeb) | None => match fields.table("auth") {
            None => Some(Login::Shared(Arc::new(HeaderAuth::Nobody))),
            Some(table) => read_auth(table, &transport).map(Login::Shared),
        },
    };
    let secrets = fields.table("secrets").map(read_secrets);
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
    let (kind, login, secrets) = (kind?, login?, secrets.unwrap_or_default());
    let target = |member: Member| TargetSettings {
        target: Arc::new(Target {
            name: member.name,
            kind,
            endpoint: member.endpoint.via(Arc::clone(&transport)),
            auth: login.auth(),
            secrets: secrets.clone(),
            concurrency,
        }),
        table: name.to_owned(),
        vars: member.vars.into_iter().chain(vars.clone()).collect(),
    };
    Some(members?.into_iter().map(target).collect())
}

fn read_endpoint(
    fields: &mut Fields<'_, '_>,
    kind: Option<TargetKind>,
    instead: Option<&str>,
) -> Option<Endpoint> {
    let text = fields.required_string(
        "endpoint",
        "say where it is, such as \"http://127.0.0.1:8091\", or name a targets_file",
    );
    let text = instead.map(str::to_owned).or(text)?;
    parse_endpoint(&text, kind)
        .map_err(|(error, help)| fields.problem("endpoint", error.to_string(), help))
        .ok()
}

const ENDPOINT_HELP: &str =
    "write scheme, host, port and perhaps a path, such as \"https://api.example.org/v2\"";

const WIRE_HELP: &str =
    "write scheme, host and port, such as \"tcp://mail.example:25\" or \"tls://mail.example:993\"";

/// An endpoint as targets of this kind have it; the error is what is wrong, and the remedy.
pub(super) fn parse_endpoint(
    text: &str,
    kind: Option<TargetKind>,
) -> Result<Endpoint, (EndpointError, &'static str)> {
    let http = || Endpoint::parse(text).map_err(|error| (error, ENDPOINT_HELP));
    let wire = || Endpoint::parse_wire(text).map_err(|error| (error, WIRE_HELP));
    match kind {
        Some(TargetKind::Tcp) => wire(),
        Some(_) => http(),
        // The type has its problem already.
        None => http().or_else(|error| wire().map_err(|_| error)),
    }
}

/// Reads `bearer = …`, or `username = …, password = …`, or `oauth2 = …`.
fn read_auth(mut fields: Fields<'_, '_>, transport: &Arc<Transport>) -> Option<Arc<dyn Auth>> {
    if fields.has("oauth2") {
        let other = ["bearer", "username", "password"].into_iter();
        let other: Vec<_> = other.filter(|key| fields.has(key)).collect();
        if let [key, ..] = other.as_slice() {
            fields.problem(key, "stands beside `oauth2`", AUTH_HELP);
        }
        let table = fields.table("oauth2");
        let auth = table.and_then(|table| super::oauth2::read(table, transport));
        fields.finish();
        return auth.map(|auth| Arc::new(auth) as _);
    }
    let bearer = fields
        .entry("bearer")
        .and_then(|entry| read_secret(&mut fields, entry));
    let username = fields.string("username");
    let password = fields
        .entry("password")
        .and_then(|entry| read_secret(&mut fields, entry));
    let auth = match (bearer, username, password) {
        (Some(token), None, None) => Some(HeaderAuth::Bearer(token)),
        (None, Some(username), Some(password)) => Some(HeaderAuth::Basic { username, password }),
        // What is there but unreadable has its problem already.
        _ if fields.has("bearer") != (fields.has("username") && fields.has("password")) => None,
        _ => {
            let what = "is neither bearer nor basic authentication nor oauth2";
            fields.problem("", what, AUTH_HELP);
            None
        }
    };
    fields.finish();
    auth.map(|auth| Arc::new(auth) as _)
}

const AUTH_HELP: &str = "give either `bearer`, or `username` and `password`, or `oauth2`";

/// Reads the key pair of a Backend.AI user.
fn read_keys(fields: &mut Fields<'_, '_>) -> Option<(SecretSource, SecretSource)> {
    let help = "give the key pair of the user that testerd is to be, such as { file = \"…\" }";
    let mut key = |name: &'static str| {
        if !fields.has(name) {
            fields.missing(name, help);
        }
        let entry = fields.entry(name)?;
        // The access key is a name rather than a secret; it may stand in the file.
        match &entry.node.raw {
            Raw::String(text) if name == "access_key" => {
                Some(SecretSource::Literal(Secret::new(text)))
            }
            _ => read_secret(fields, entry),
        }
    };
    let (access_key, secret_key) = (key("access_key"), key("secret_key"));
    Some((access_key?, secret_key?))
}

/// Reads what specs read as `${secret.NAME}`.
fn read_secrets(mut fields: Fields<'_, '_>) -> BTreeMap<String, SecretSource> {
    let mut secrets = BTreeMap::new();
    for entry in fields.entries() {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if entry.key.is_empty() || !entry.key.bytes().all(word) {
            let help = "use lower-case letters, digits and `_`, so that ${…} can name it";
            fields.problem_of(entry, "is not a name for a secret", help);
        }
        let source = read_secret(&mut fields, entry);
        secrets.extend(source.map(|source| (entry.key.clone(), source)));
    }
    secrets
}

/// Reads where a secret comes from; one that stands in the file itself is a warning.
pub(super) fn read_secret(fields: &mut Fields<'_, '_>, entry: &Entry) -> Option<SecretSource> {
    if let Raw::String(text) = &entry.node.raw {
        let key = fields.key(&entry.key);
        let what =
            "the secret stands in the configuration, where everybody who may read it sees it";
        let problem = Problem::warning(&entry.node.at, key, what, SECRET_HELP);
        fields.notes().problems.push(problem);
        return Some(SecretSource::Literal(Secret::new(text)));
    }
    let mut source = fields.table_of(entry)?;
    let file = source.path("file");
    let env = source.string("env");
    let credential = source.string("credential");
    if let Some(name) = &env {
        source.names("env", Outside::Variable(name.clone()));
    }
    if let Some(name) = &credential {
        source.names("credential", Outside::Credential(name.clone()));
    }
    let found = match (file, env, credential) {
        (Some(path), None, None) => Some(SecretSource::File(path)),
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
