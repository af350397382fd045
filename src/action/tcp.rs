//! `tcp`: connects, and says and hears what its `dialog` has, one thing after the other.
//!
//! `expect` waits for a line that matches, and passes over those that do not. A handshake in the
//! middle (`starttls`) refuses whatever came before it and was not waited for.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use regex::Regex;
use serde_json::Value;

use super::capture::{SECRET, read_sources};
use super::content::{PATTERN, pattern};
use super::kind::{FLAG, INTEGER, Kind, NAMED, TABLES, TEXT};
use super::wire::{PEER, Peer, bytes, hear, line_like};
use super::{Built, Key, Part, Shape, refused};
use crate::client::Dialog;
use crate::outcome::{Cause, Failure, Reason};
use crate::secret::Redactor;
use crate::spec::{Action, Capture, Context, Done, Work};
use crate::text::{Fields, Template, plain};

/// Its keys.
pub const KEYS: &[Part] = &[
    PEER,
    Part::own(&[
        Key::optional("tls", FLAG, "whether TLS is spoken from the beginning")
            .default("as the target's endpoint says; with `address` false"),
        Key::optional(
            "dialog",
            TABLES,
            "what is said and heard, one thing after the other; each has one of these keys, and \
             `capture` stands beside `expect`",
        )
        .of(TURN),
        Key::optional("read_limit", INTEGER, "how many bytes may come in all").default("1 MiB"),
    ]),
];

const TURN: &[Part] = &[Part::own(&[
    Key::optional(
        "send",
        TEXT,
        "says this; a line ends with `\\r\\n` or `\\n`, as the protocol has it",
    ),
    Key::optional("send_hex", HEX, "says these bytes"),
    Key::optional(
        "expect",
        PATTERN,
        "waits for a line that matches; others are passed over. None may have more than 64 KiB",
    ),
    Key::optional(
        "capture",
        NAMED,
        "what is kept of the line, to be read as `${step.NAME}`",
    )
    .of(&[Part::own(&[Key::optional(
        "*",
        SOURCE,
        "where it is taken from; as a table, also whether it is secret",
    )
    .of(&[Part::own(&[
        Key::required("from", SOURCE, "where it is taken from"),
        SECRET,
    ])])])]),
    Key::optional("expect_hex", HEX, "the next bytes must be these"),
    Key::optional("starttls", FLAG, "shakes hands, and goes on in TLS"),
    Key::optional("close", FLAG, "waits for the other side to close"),
])];

const HEX: Kind = Kind::new("hexadecimal digits", "'00 ff'", "'0'");
const SOURCE: Kind = Kind::new("`\"line\"` or `\"group:name\"`", "'line'", "1");

/// How many bytes may come when nobody says otherwise.
const DEFAULT_LIMIT: u64 = 1 << 20;

/// The most that may be allowed.
const LARGEST_LIMIT: u64 = 1 << 30;

struct Tcp {
    peer: Peer,
    tls: Option<bool>,
    limit: u64,
    dialog: Vec<Turn>,
}

/// One thing said, heard or done.
enum Turn {
    Send(Template),
    SendBytes(Vec<u8>),
    Expect(Regex, Vec<(String, Source, bool)>),
    ExpectBytes(Vec<u8>),
    StartTls,
    Close,
}

/// What may be taken from a line.
enum Source {
    Line,
    Group(String),
}

const TURNS: &str =
    "write one of `send`, `send_hex`, `expect`, `expect_hex`, `starttls` and `close`";

const SOURCES: &str =
    "take it from \"line\", or from \"group:name\" if `expect` has a group (?<name>…)";

/// Reads where to connect to, `tls`, `dialog` and `read_limit`.
pub fn build(fields: &mut Fields<'_, '_>, _: Shape<'_>) -> Option<Built> {
    let peer = Peer::read(fields);
    let tls = fields.has("tls").then(|| fields.flag("tls"));
    let limit = fields.integer("read_limit", 1..=LARGEST_LIMIT);
    let mut dialog = Vec::new();
    let mut writes = Vec::new();
    let mut secure = tls == Some(true);
    for table in fields.tables("dialog") {
        let mut turn = fields.one_of("dialog", table);
        if let Some(Turn::Close) = dialog.last() {
            let help = "let `close` be the last, or leave it out";
            turn.problem("", "comes after the other side has closed", help);
        }
        let read = Turn::read(&mut turn);
        if let Some(Turn::StartTls) = read {
            if secure {
                let help = "keep one of `tls = true` and `starttls = true`, and that once";
                turn.problem("starttls", "comes where TLS is spoken already", help);
            }
            secure = true;
        }
        for (key, secret) in read.iter().flat_map(Turn::writes) {
            if writes.iter().any(|(other, _)| *other == key) {
                let what = format!("`{key}` is captured twice");
                turn.problem("capture", what, "give each capture a name of its own");
            }
            writes.push((key, secret));
        }
        turn.finish();
        dialog.extend(read);
    }
    Some(Built {
        writes,
        recorded: Vec::new(),
        work: Work::Act(Box::new(Tcp {
            peer,
            tls,
            limit: limit.unwrap_or(DEFAULT_LIMIT),
            dialog,
        })),
    })
}

impl Turn {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let mut turns = Vec::new();
        turns.extend(fields.template("send").map(Self::Send));
        turns.extend(hex(fields, "send_hex").map(Self::SendBytes));
        let pattern = pattern(fields, "expect");
        let source = |text: &str| source(text, pattern.as_ref()).ok_or(SOURCES);
        let captures = fields
            .table("capture")
            .map(|table| read_sources(table, "the line", SOURCES, source));
        if captures.is_some() && !fields.has("expect") {
            let help = "capture from a line that `expect` waits for";
            fields.problem("capture", "stands without `expect`", help);
        }
        let captures = captures.unwrap_or_default();
        turns.extend(pattern.map(|pattern| Self::Expect(pattern, captures)));
        turns.extend(hex(fields, "expect_hex").map(Self::ExpectBytes));
        turns.extend(fields.flag("starttls").then_some(Self::StartTls));
        turns.extend(fields.flag("close").then_some(Self::Close));
        let verbs = [
            "send",
            "send_hex",
            "expect",
            "expect_hex",
            "starttls",
            "close",
        ];
        let given = verbs.into_iter().filter(|verb| fields.has(verb));
        match given.count() {
            0 => fields.problem("", "says nothing and hears nothing", TURNS),
            // What is written in vain, such as `close = false`.
            1 if turns.is_empty() && (fields.has("starttls") || fields.has("close")) => {
                fields.problem("", "does nothing", "write `true`, or leave it out");
            }
            1 => {}
            _ => fields.problem("", "does several things at once", TURNS),
        }
        turns.into_iter().next()
    }

    fn writes(&self) -> Vec<(String, bool)> {
        let Self::Expect(_, captures) = self else {
            return Vec::new();
        };
        let writes = captures
            .iter()
            .map(|(key, _, secret)| (key.clone(), *secret));
        writes.collect()
    }
}

/// Reads bytes as pairs of hexadecimal digits; spaces may stand anywhere.
fn hex(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Vec<u8>> {
    let text = fields.string(key)?;
    let digits: Option<Vec<_>> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let pairs = digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0);
    let Some(pairs) = pairs else {
        let help = "write two digits for each byte, such as \"00 ff\"";
        fields.problem(key, "is not made of hexadecimal digits", help);
        return None;
    };
    Some(pairs.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// The source that this text names; any group will do where the pattern is broken.
fn source(text: &str, pattern: Option<&Regex>) -> Option<Source> {
    if text == "line" {
        return Some(Source::Line);
    }
    let group = text.strip_prefix("group:")?;
    let is_group = |pattern: &Regex| pattern.capture_names().flatten().any(|own| own == group);
    pattern
        .is_none_or(is_group)
        .then(|| Source::Group(group.to_owned()))
}

impl Action for Tcp {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        async move {
            let endpoint = self.peer.endpoint(context, self.tls)?;
            let mut dialog = context.dial(&endpoint, &[], self.limit).await?;
            let mut captures = Vec::new();
            let mut known = Redactor::default();
            for (nth, turn) in self.dialog.iter().enumerate() {
                if let Turn::StartTls = turn {
                    dialog = secure(dialog, context).await?;
                    continue;
                }
                let taken = turn.take(&mut dialog, context, &known).await;
                let taken = taken.map_err(|failure| {
                    // A secret that was not taken yet may stand in whatever came.
                    if self.dialog[nth..].iter().any(Turn::takes_secrets) {
                        failure
                    } else {
                        failure.searched(&known)
                    }
                })?;
                for capture in taken.iter().filter(|capture| capture.secret) {
                    known.learn_value(&capture.value);
                }
                captures.extend(taken);
            }
            dialog.close();
            Ok(Done {
                captures,
                ..Done::default()
            })
        }
        .boxed()
    }
}

async fn secure(dialog: Dialog, context: &mut Context<'_>) -> Result<Dialog, Failure> {
    if dialog.session().is_some() {
        let what = "`starttls` comes where TLS is spoken already: set `tls = false`";
        return Err(Failure::new(Cause::Input, what));
    }
    context.secure(dialog, &[]).await
}

impl Turn {
    fn takes_secrets(&self) -> bool {
        let Self::Expect(_, sources) = self else {
            return false;
        };
        sources.iter().any(|(_, _, secret)| *secret)
    }

    /// Does it. No secret of an earlier turn is told.
    async fn take(
        &self,
        dialog: &mut Dialog,
        context: &mut Context<'_>,
        known: &Redactor,
    ) -> Result<Vec<Capture>, Failure> {
        match self {
            Self::Send(text) => {
                let text = text.text(context.scope, plain);
                let text = text.map_err(|error| refused(&error))?;
                dialog.send(text.as_bytes()).await?;
            }
            Self::SendBytes(bytes) => dialog.send(bytes).await?,
            Self::Expect(pattern, sources) => {
                let is_it = |line: &str| pattern.is_match(line);
                let awaited = line_like(pattern);
                let line = hear(dialog, context, &awaited, known, is_it).await?;
                return captures(pattern, &line, sources);
            }
            Self::ExpectBytes(wanted) => {
                let heard = bytes(dialog, context, wanted.len()).await?;
                if heard != *wanted {
                    let (heard, wanted) = (spaced(&heard), spaced(wanted));
                    let what = format!("the bytes are {heard}, expected {wanted}");
                    let short = format!("the bytes are not {wanted}");
                    return Err(Failure::new(Reason::Assertion, what).in_short(short));
                }
            }
            Self::StartTls => {}
            Self::Close => {
                context.note("the other side has not closed");
                while dialog.more().await? {
                    dialog.take(usize::MAX);
                }
            }
        }
        Ok(Vec::new())
    }
}

/// How bytes begin, in hexadecimal digits.
fn spaced(bytes: &[u8]) -> String {
    let shown: Vec<_> = bytes
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let more = if bytes.len() > shown.len() {
        " …"
    } else {
        ""
    };
    format!("{}{more}", shown.join(" "))
}

fn captures(
    pattern: &Regex,
    line: &str,
    sources: &[(String, Source, bool)],
) -> Result<Vec<Capture>, Failure> {
    let groups = pattern.captures(line);
    let captures = sources.iter().map(|(key, source, secret)| {
        let found = match source {
            Source::Line => Some(line),
            Source::Group(name) => groups
                .as_ref()
                .and_then(|groups| groups.name(name))
                .map(|found| found.as_str()),
        };
        let value = found.map(Value::from).ok_or_else(|| {
            let what = format!("the line that matches has nothing for the capture `{key}`");
            Failure::new(Reason::Capture, what).in_our_words()
        })?;
        Ok(Capture {
            key: key.clone(),
            value,
            secret: *secret,
        })
    });
    captures.collect()
}
