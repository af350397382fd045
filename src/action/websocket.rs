//! `websocket`: opens a WebSocket, and exchanges messages turn by turn.
//!
//! A turn of the `exchange` says something, hears something, or both, in this order. It hears the
//! next message, or with `until` the next one that is so, the others being passed over; `expect`
//! must hold of it. A server that closes before all is heard is a failure.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;

use super::capture::{CAPTURE, Captures};
use super::content::{CONTENT, Content, excerpt};
use super::expect::{Expectation, Reply};
use super::kind::{ANY, TABLE, TABLES, TEXT, WORD};
use super::request::{ELSEWHERE, PLACE, RequestTemplate};
use super::{Built, Key, Part, Shape, refused};
use crate::client::{self, Upgrade, WebSocketMessage as Message};
use crate::outcome::{Failure, Reason};
use crate::secret::Redactor;
use crate::spec::{Action, Capture, Context, Done, Scope, Work};
use crate::text::{Fields, Template, ValueTemplate, plain};

/// Its keys.
pub const KEYS: &[Part] = &[
    PLACE,
    ELSEWHERE,
    Part::own(&[
        Key::optional(
            "subprotocol",
            WORD,
            "what is spoken over it; the server must agree",
        ),
        Key::optional("exchange", TABLES, "what is said and heard, turn by turn").of(TURN),
    ]),
];

const TURN: &[Part] = &[Part::own(&[
    Key::optional("send", TEXT, "what is said first"),
    Key::optional("send_json", ANY, "the same as JSON, instead of `send`"),
    Key::optional(
        "until",
        TABLE,
        "which message is heard; others are passed over",
    )
    .of(&[CONTENT])
    .default("the next"),
    Key::optional("expect", TABLE, "what must hold of the message").of(&[CONTENT]),
    CAPTURE,
])];

struct WebSocket {
    request: RequestTemplate,
    subprotocol: Option<HeaderValue>,
    exchange: Vec<Turn>,
}

/// One thing said, one thing heard.
struct Turn {
    say: Option<Say>,
    hear: Option<Hear>,
}

enum Say {
    Text(Template),
    Json(ValueTemplate),
}

#[derive(Default)]
struct Hear {
    until: Option<Content>,
    expect: Content,
    captures: Captures,
}

/// Reads the keys of a request without a body, `subprotocol` and `exchange`.
pub fn build(fields: &mut Fields<'_, '_>, _: Shape<'_>) -> Option<Built> {
    let subprotocol = read_subprotocol(fields);
    let mut exchange = Vec::new();
    let mut writes = Vec::new();
    for table in fields.tables("exchange") {
        let mut turn = fields.one_of("exchange", table);
        let Some(read) = Turn::read(&mut turn) else {
            let help = "write `send` or `send_json`, and `until`, `expect` or `capture`";
            turn.problem("", "says nothing and hears nothing", help);
            turn.finish();
            continue;
        };
        for (key, secret) in read.hear.iter().flat_map(|hear| hear.captures.writes()) {
            if writes.iter().any(|(other, _)| *other == key) {
                let what = format!("`{key}` is captured twice");
                turn.problem("capture", what, "give each capture a name of its own");
            }
            writes.push((key, secret));
        }
        turn.finish();
        exchange.push(read);
    }
    let request = RequestTemplate::read_bare(fields)?.in_pieces(fields);
    Some(Built {
        writes,
        recorded: Vec::new(),
        work: Work::Act(Box::new(WebSocket {
            request,
            subprotocol,
            exchange,
        })),
    })
}

fn read_subprotocol(fields: &mut Fields<'_, '_>) -> Option<HeaderValue> {
    let name = fields.string("subprotocol")?;
    // RFC 6455, 4.1: a token. A list would be understood, but what was chosen would not be known.
    let token = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        let help = "write one name, such as \"graphql-transport-ws\"";
        fields.problem("subprotocol", "is not the name of a subprotocol", help);
        return None;
    }
    HeaderValue::try_from(name).ok()
}

impl Turn {
    /// `None` if there is nothing in it.
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let say = match (fields.template("send"), fields.value("send_json")) {
            (Some(_), Some(_)) => {
                fields.problem("send_json", "stands beside `send`", "keep one of the two");
                None
            }
            (Some(text), None) => Some(Say::Text(text)),
            (None, Some(json)) => Some(Say::Json(json)),
            (None, None) => None,
        };
        let says = fields.has("send") || fields.has("send_json");
        let content = |mut fields: Fields<'_, '_>| {
            let content = Content::read(&mut fields);
            fields.finish();
            content
        };
        let hears = fields.has("until") || fields.has("expect") || fields.has("capture");
        let hear = Hear {
            until: fields.table("until").map(content),
            expect: fields.table("expect").map(content).unwrap_or_default(),
            captures: fields
                .table("capture")
                .map(Captures::read)
                .unwrap_or_default(),
        };
        let hear = hears.then_some(hear);
        (says || hears).then_some(Self { say, hear })
    }
}

impl Say {
    fn text(&self, scope: &Scope) -> Result<String, Failure> {
        let text = match self {
            Self::Text(text) => text.text(scope, plain),
            Self::Json(json) => json.value(scope).map(|value| value.to_string()),
        };
        text.map_err(|error| refused(&error))
    }
}

impl Action for WebSocket {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        async move {
            let mut socket = self.open(context).await?;
            let mut captures = Vec::new();
            let mut known = Redactor::default();
            for (nth, turn) in self.exchange.iter().enumerate() {
                if let Some(say) = &turn.say {
                    socket.send(say.text(context.scope)?).await?;
                }
                if let Some(hear) = &turn.hear {
                    let secrets = |turn: &Turn| {
                        let hear = turn.hear.as_ref();
                        hear.is_some_and(|hear| hear.captures.have_secrets())
                    };
                    let known_so_far = Known {
                        redactor: &known,
                        // A secret of a later turn may come before its time.
                        all: !self.exchange[nth + 1..].iter().any(secrets),
                    };
                    let heard = hear.hear(&mut socket, context, &known_so_far).await?;
                    for capture in heard.iter().filter(|capture| capture.secret) {
                        known.learn_value(&capture.value);
                    }
                    captures.extend(heard);
                }
            }
            socket.close().await;
            Ok(Done {
                captures,
                ..Done::default()
            })
        }
        .boxed()
    }
}

impl WebSocket {
    async fn open(&self, context: &mut Context<'_>) -> Result<client::WebSocket, Failure> {
        let offer = |name: &HeaderValue| (SEC_WEBSOCKET_PROTOCOL, name.clone());
        let headers = self.subprotocol.iter().map(offer);
        let opened = self.request.upgrade(context, context.scope, headers).await;
        match opened? {
            Upgrade::Open(socket) => Ok(socket),
            Upgrade::Answered(answer) => {
                let reason = context.reason(&answer);
                let reply = Reply::new(answer, Duration::ZERO, reason);
                let checked = Expectation::status(101).check(&reply, context.scope);
                // It has another status, so this fails.
                Err(checked
                    .err()
                    .unwrap_or_else(|| Failure::new(Reason::Status, "no websocket")))
            }
        }
    }
}

impl Hear {
    /// Waits for the message, and takes what is kept of it. No secret of an earlier turn is told.
    async fn hear(
        &self,
        socket: &mut client::WebSocket,
        context: &mut Context<'_>,
        known: &Known<'_>,
    ) -> Result<Vec<Capture>, Failure> {
        context.note("no message came");
        loop {
            let message = match socket.receive().await? {
                Message::Text(text) => text.into(),
                Message::Binary(bytes) => bytes,
                Message::Closed { code, reason } => {
                    // What was noted of earlier messages was searched.
                    let noted = context.waiting.take();
                    let noted = noted
                        .and_then(|noted| noted.told(false))
                        .unwrap_or_default();
                    let what = format!("{}; {noted}", closed(code, &reason));
                    let reply = Reply::part("the reason", 101, &socket.headers, reason);
                    let failure = Failure::new(Reason::Assertion, what);
                    let failure = failure.in_short("the server closed before the message came");
                    return Err(self.hush(&reply, failure, known));
                }
            };
            let reply = Reply::part("the message", 101, &socket.headers, message);
            let judged = self.judge(&reply, context.scope);
            match judged.map_err(|failure| self.hush(&reply, failure, known))? {
                Judged::Taken(captures) => return Ok(captures),
                Judged::PassedOver(why) => {
                    context.note(self.hush(&reply, why, known).without_quotes());
                }
            }
        }
    }

    /// What is said of a message, without the secrets of this turn and of those before.
    fn hush(&self, reply: &Reply, failure: Failure, known: &Known<'_>) -> Failure {
        let failure = failure.redacted(known.redactor);
        if known.all {
            self.captures.hush(reply, failure)
        } else {
            failure
        }
    }

    fn judge(&self, reply: &Reply, scope: &Scope) -> Result<Judged, Failure> {
        if let Some(until) = &self.until
            && let Some(why) = until.differs(reply, scope)?
        {
            return Ok(Judged::PassedOver(why));
        }
        self.expect.check(reply, scope)?;
        self.captures.take(reply).map(Judged::Taken)
    }
}

/// What one message came to.
enum Judged {
    Taken(Vec<Capture>),
    PassedOver(Failure),
}

/// The secrets that were taken before.
struct Known<'a> {
    redactor: &'a Redactor,
    /// Whether no later turn takes one.
    all: bool,
}

fn closed(code: Option<u16>, reason: &str) -> String {
    match (code, reason) {
        (None, _) => "the server closed".into(),
        (Some(code), "") => format!("the server closed with code {code}"),
        (Some(code), reason) => {
            format!("the server closed with code {code}: {}", excerpt(reason))
        }
    }
}
