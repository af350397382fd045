//! What `tcp` and `tls` have in common: where they connect to, and how they listen.

use regex::Regex;
use rustls::pki_types::ServerName;
use tokio::task::consume_budget;

use super::content::excerpt;
use super::kind::Kind;
use super::{Key, Part, refused};
use crate::client::{ClientError, Dialog, Endpoint};
use crate::outcome::{Cause, Failure, Reason};
use crate::secret::Redactor;
use crate::spec::Context;
use crate::text::{Fields, Template, plain};

/// The keys of where to connect to.
pub(super) const PEER: Part = Part::shared(
    "where to connect to",
    &[
        Key::optional(
            "address",
            ADDRESS,
            "whom to connect to instead of the target; no client certificate is shown there",
        )
        .default("host and port of the target"),
        Key::optional(
            "server_name",
            NAME,
            "whom the certificate has to name; it is asked for by SNI too",
        )
        .default("that of the target's `tls`, or the host"),
    ],
);

const ADDRESS: Kind = Kind::new("host and port with `${…}`", "'mail.example:25'", "'a'");
const NAME: Kind = Kind::new("DNS name or IP address", "'a.example'", "'a b'");

/// Where to connect to.
pub(super) struct Peer {
    address: Option<Template>,
    name: Option<ServerName<'static>>,
}

impl Peer {
    /// Reads the keys of `PEER`.
    pub(super) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let address = fields.template("address");
        if let Some(Ok(constant)) = address.as_ref().and_then(Template::constant)
            && let Ok(text) = plain(&constant)
            && let Err(error) = endpoint(&text)
        {
            let help = "write host and port, such as \"mail.example:25\" or \"[2001:db8::1]:25\"";
            fields.problem("address", format!("is {error}"), help);
        }
        let name = fields.string("server_name").and_then(|text| {
            let name = ServerName::try_from(text).ok();
            if name.is_none() {
                let help = "write a DNS name such as \"shop.example\", or an IP address";
                let what = "is no name that a certificate could have";
                fields.problem("server_name", what, help);
            }
            name
        });
        Self { address, name }
    }

    /// The endpoint; without a word on TLS it is spoken where the target's own endpoint has it.
    pub(super) fn endpoint(
        &self,
        context: &Context<'_>,
        tls: Option<bool>,
    ) -> Result<Endpoint, Failure> {
        let own = &context.target.endpoint;
        let found = match &self.address {
            None => own.wire(tls.unwrap_or(own.is_tls())),
            Some(address) => {
                let text = address.text(context.scope, plain);
                let other = endpoint(&text.map_err(|error| refused(&error))?);
                let other = other.map_err(|error| {
                    let what = format!("`address` is {error}");
                    Failure::new(Cause::Input, what).without_effect()
                })?;
                context.elsewhere(other.wire(tls.unwrap_or(false))).endpoint
            }
        };
        Ok(match &self.name {
            None => found,
            Some(name) => {
                let transport = found.transport().naming(name.clone());
                found.via(transport)
            }
        })
    }
}

fn endpoint(address: &str) -> Result<Endpoint, String> {
    Endpoint::parse_wire(&format!("tcp://{address}"))
        .map_err(|error| format!("no host and port: {error}"))
}

/// What came while something else was waited for.
#[derive(Default)]
struct Passed {
    count: u64,
    last: String,
}

impl Passed {
    /// What a message says of it, and of what came after the last whole line.
    fn describe(&self, unread: &[u8], hush: &Redactor) -> String {
        let lines = match self.count {
            0 if unread.is_empty() => return "nothing came".into(),
            0 => String::new(),
            1 => format!("one line came: {}", shown(&self.last, hush)),
            count => format!("{count} lines came, the last: {}", shown(&self.last, hush)),
        };
        if unread.is_empty() {
            return lines;
        }
        // The mark of what is broken off: a secret may be, and is then known by its beginning.
        let (count, begin) = (unread.len(), unread.len().min(4 * LOOKED_AT));
        let text = String::from_utf8_lossy(&unread[..begin]);
        let text = shown(&format!("{text}…"), hush);
        let rest = format!("{count} bytes came without the end of a line: {text}");
        if lines.is_empty() {
            return rest;
        }
        format!("{lines}; then {rest}")
    }
}

/// How a text that somebody sent begins, fit to be shown.
pub(super) fn shown(text: &str, hush: &Redactor) -> String {
    let mut short: String = text.chars().take(LOOKED_AT).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    let printable = |c: char| {
        if c.is_control() && !c.is_whitespace() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    let text: String = hush.redact(&short).chars().map(printable).collect();
    format!("`{}`", excerpt(&text))
}

/// More than is ever shown of a text: a line may be long, and is looked at whenever more comes.
const LOOKED_AT: usize = 400;

/// Waits for a line that is so, and takes it and all before it. `awaited` says in messages what is
/// waited for.
pub(super) async fn hear(
    dialog: &mut Dialog,
    context: &mut Context<'_>,
    awaited: &str,
    hush: &Redactor,
    is_it: impl Fn(&str) -> bool,
) -> Result<String, Failure> {
    let mut passed = Passed::default();
    let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
    loop {
        while let Some(line) = dialog.line()? {
            consume_budget().await;
            let line = text(&line);
            if is_it(&line) {
                *context.waiting = None;
                return Ok(line);
            }
            passed.count += 1;
            passed.last = line;
        }
        let came = passed.describe(dialog.unread(), hush);
        context.note(format!("{awaited} has not come; {came}"));
        let more = dialog.more().await.map_err(|error| match error {
            ClientError::TooLong { .. } => error.into(),
            error => {
                let failure = Failure::from(error);
                let message = format!("{}; {came}", failure.message);
                let short = failure.message.clone();
                Failure { message, ..failure }.in_short(short)
            }
        });
        if more? {
            continue;
        }
        // The last line may lack its end.
        let rest = text(dialog.unread());
        if !rest.is_empty() && is_it(&rest) {
            dialog.take(usize::MAX);
            *context.waiting = None;
            return Ok(rest);
        }
        let short = format!("the other side closed before {awaited} came");
        let what = format!("{short}; {came}");
        return Err(Failure::new(Reason::Protocol, what).in_short(short));
    }
}

/// How messages call a line that matches.
pub(super) fn line_like(pattern: &Regex) -> String {
    format!("a line that matches `{pattern}`")
}

/// Waits for so many bytes, and takes them.
pub(super) async fn bytes(
    dialog: &mut Dialog,
    context: &mut Context<'_>,
    count: usize,
) -> Result<Vec<u8>, Failure> {
    loop {
        let came = dialog.unread().len();
        if came >= count {
            *context.waiting = None;
            return Ok(dialog.take(count));
        }
        context.note(format!("{came} of {count} bytes have come"));
        if !dialog.more().await? {
            let what = format!("the other side closed after {came} of {count} bytes");
            return Err(Failure::new(Reason::Protocol, what));
        }
    }
}
