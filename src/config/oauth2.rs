//! The table `oauth2` of a target's `auth`.

use std::sync::Arc;
use std::time::Duration;

use super::targets::{SECRET_HELP, read_secret};
use crate::client::{Endpoint, Transport};
use crate::spec::{AuthStyle, ClientCredentials, Grant};
use crate::text::{Fields, Raw};

/// How long asking for a token may take when nothing says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

const URL_HELP: &str =
    "write the address of the token endpoint, such as \"https://login.example.org/oauth2/token\"";

/// What a request for a token always has, and other keys are for.
const RESERVED: [(&str, &str); 4] = [
    ("grant_type", "remove it: it is always client_credentials"),
    ("scope", "write scopes = [\"…\"] beside `params`"),
    ("client_id", "write client_id = \"…\" beside `params`"),
    (
        "client_secret",
        "write client_secret = { file = \"…\" } beside `params`",
    ),
];

/// Reads it. The token endpoint is reached as the target is.
pub(super) fn read(
    mut fields: Fields<'_, '_>,
    transport: &Arc<Transport>,
) -> Option<ClientCredentials> {
    let place = fields
        .required_string("token_url", URL_HELP)
        .and_then(|url| read_url(&mut fields, &url));
    let client_id = fields.required_string("client_id", "say who testerd is to the token endpoint");
    if !fields.has("client_secret") {
        fields.missing("client_secret", SECRET_HELP);
    }
    let client_secret = fields
        .entry("client_secret")
        .and_then(|entry| read_secret(&mut fields, entry));
    let scopes = read_scopes(&mut fields);
    let params = fields.table("params").map(read_params).unwrap_or_default();
    let style = match fields.string("auth_style").as_deref() {
        None | Some("basic") => AuthStyle::Basic,
        Some("body") => AuthStyle::Body,
        Some(other) => {
            let what = format!("`{other}` is no way to tell id and secret");
            fields.problem("auth_style", what, "write \"basic\" or \"body\"");
            AuthStyle::Basic
        }
    };
    let timeout = fields.duration("timeout", Duration::from_millis(1));
    fields.finish();
    let (endpoint, path) = place?;
    Some(ClientCredentials::new(Grant {
        endpoint: endpoint.via(transport.elsewhere()),
        path,
        client_id: client_id?,
        client_secret: client_secret?,
        scopes,
        params,
        style,
        timeout: timeout.unwrap_or(TIMEOUT),
    }))
}

fn read_url(fields: &mut Fields<'_, '_>, url: &str) -> Option<(Endpoint, String)> {
    match Endpoint::split(url) {
        Ok((endpoint, path)) if endpoint.takes(&path) => return Some((endpoint, path)),
        Ok(_) => {
            let what = "has a fragment, dot segments, or what is not percent-encoded";
            fields.problem("token_url", what, URL_HELP);
        }
        Err(error) => fields.problem("token_url", error.to_string(), URL_HELP),
    }
    None
}

fn read_scopes(fields: &mut Fields<'_, '_>) -> Vec<String> {
    let (mut scopes, mut strange) = (Vec::new(), false);
    for (scope, _) in fields.strings("scopes") {
        // RFC 6749, 3.3.
        let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
        strange |= scope.is_empty() || !scope.bytes().all(fits);
        scopes.push(scope);
    }
    if strange {
        let help = "write each scope apart: [\"read\", \"write\"]";
        fields.problem("scopes", "has a text that is no scope", help);
    }
    scopes
}

fn read_params(mut fields: Fields<'_, '_>) -> Vec<(String, String)> {
    let mut params = Vec::new();
    for entry in fields.entries() {
        if let Some((_, help)) = RESERVED.iter().find(|(name, _)| *name == entry.key) {
            fields.problem(&entry.key, "is no parameter of yours", *help);
        }
        if let Raw::String(text) = &entry.node.raw {
            params.push((entry.key.clone(), text.clone()));
        } else {
            let what = format!("is {}", entry.node.kind());
            fields.problem(&entry.key, what, "write a text, such as audience = \"api\"");
        }
    }
    params
}
