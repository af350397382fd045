//! `sse`: waits on a stream of server-sent events for one of them, what it should be, and what is
//! kept of it.
//!
//! `until` picks the event by name and data; events that it does not pick are passed over, and
//! `expect` must hold of the one that it picks. An event that `fail_on` picks ends the step, and so
//! does the stream's own end, unless `reconnect` is set: then a stream that is lost or over is asked
//! for again, as a browser does it.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};

use super::capture::{CAPTURE, Captures};
use super::content::{CONTENT, Content, excerpt};
use super::expect::{Expectation, Reply};
use super::kind::{FLAG, Kind, TABLE};
use super::request::{ELSEWHERE, PLACE, RUNNING, RequestTemplate, SENDING};
use super::{Built, Key, Part, Shape};
use crate::client::{ClientError, Event, EventStream, Stream};
use crate::outcome::{Failure, Fault, Message, Reason};
use crate::spec::{Action, Context, Done, Scope, Work};
use crate::text::{Fields, Raw};

/// How long to wait before connecting again when the server does not say.
const RETRY: Duration = Duration::from_secs(1);

/// Never less, whatever the server says: a broken one must not be hammered.
const SHORTEST_RETRY: Duration = Duration::from_millis(100);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Its keys.
pub const KEYS: &[Part] = &[
    PLACE,
    ELSEWHERE,
    SENDING,
    RUNNING,
    Part::own(&[
        Key::optional(
            "until",
            TABLE,
            "which event is waited for; others are passed over",
        )
        .of(FILTER)
        .default("the first"),
        Key::optional("fail_on", TABLE, "an event that ends the step").of(FILTER),
        Key::optional("expect", TABLE, "what must hold of the event's data").of(&[CONTENT]),
        Key::optional(
            "reconnect",
            FLAG,
            "whether a stream that is lost or over is asked for again, with `last-event-id`",
        )
        .default("false"),
        CAPTURE,
    ]),
];

const FILTER: &[Part] = &[
    Part::own(&[
        Key::optional("event", EVENT, "the event's name, or one of several").default("any"),
    ]),
    CONTENT,
];

const EVENT: Kind = Kind::new("text or array of texts", "['a']", "1");

struct Sse {
    request: RequestTemplate,
    until: Filter,
    fail_on: Option<Filter>,
    expect: Content,
    captures: Captures,
    reconnect: bool,
}

/// Picks events.
#[derive(Default)]
struct Filter {
    /// Any name, if there is none.
    names: Vec<String>,
    content: Content,
}

/// Reads the keys of a request, `until`, `fail_on`, `expect`, `capture` and `reconnect`.
pub fn build(fields: &mut Fields<'_, '_>, _: Shape<'_>) -> Option<Built> {
    let until = fields.table("until").map(Filter::read).unwrap_or_default();
    let fail_on = fields.table("fail_on").map(Filter::read);
    let expect = fields.table("expect").map(|mut expect| {
        let content = Content::read(&mut expect);
        expect.finish();
        content
    });
    let captures = fields
        .table("capture")
        .map(Captures::read)
        .unwrap_or_default();
    let reconnect = fields.flag("reconnect");
    let request = RequestTemplate::read(fields, http::Method::GET)?.in_pieces(fields);
    Some(Built {
        writes: captures.writes(),
        recorded: Vec::new(),
        work: Work::Act(Box::new(Sse {
            request,
            until,
            fail_on,
            expect: expect.unwrap_or_default(),
            captures,
            reconnect,
        })),
    })
}

impl Filter {
    /// Reads `event`, a name or several, and what the data should be.
    fn read(mut fields: Fields<'_, '_>) -> Self {
        let one = fields
            .entry("event")
            .is_some_and(|entry| matches!(entry.node.raw, Raw::String(_)));
        let names = if one {
            fields.string("event").into_iter().collect()
        } else {
            let names = fields.strings("event").into_iter();
            names.map(|(name, _)| name).collect()
        };
        let content = Content::read(&mut fields);
        fields.finish();
        Self { names, content }
    }

    /// Why it does not pick this event, if it does not.
    fn passes_over(&self, event: &Heard<'_>) -> Result<Option<Failure>, Failure> {
        let name = excerpt(&event.name);
        let over = |what: String| Failure::new(Reason::Assertion, what);
        if !self.names.is_empty() && !self.names.contains(&event.name) {
            return Ok(Some(over(format!("`{name}`"))));
        }
        let differs = self.content.differs(&event.reply, event.scope)?;
        Ok(differs.map(|why| over(format!("`{name}`: {}", why.message))))
    }

    fn describe(&self) -> String {
        match self.names.as_slice() {
            [] => "the event".into(),
            names => format!("`{}`", names.join("` or `")),
        }
    }
}

/// One event, to be looked at.
struct Heard<'a> {
    name: String,
    reply: Reply,
    scope: &'a Scope,
}

impl Action for Sse {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        async move {
            let mut passed = Passed::default();
            let mut stream = self.connect(context, "").await?;
            loop {
                // What is told of the events was searched one by one.
                context.note(Message::searched(self.waiting(&passed)));
                let failure = match stream.next().await {
                    Ok(Some(event)) => {
                        if let Some(done) = self.hear(event, &stream, context, &mut passed)? {
                            return Ok(done);
                        }
                        continue;
                    }
                    Ok(None) => self.ended(&passed),
                    // It would come again, and be as long.
                    Err(error @ ClientError::TooLong { .. }) => return Err(error.into()),
                    Err(error) => error.into(),
                };
                if !self.reconnect {
                    return Err(failure);
                }
                stream = self.reconnect(&stream, context).await?;
            }
        }
        .boxed()
    }
}

/// The events that were not the one.
#[derive(Default)]
struct Passed {
    count: u64,
    last: String,
}

impl Sse {
    /// Asks for the stream; anything but a stream of events is a failure.
    async fn connect(
        &self,
        context: &mut Context<'_>,
        last_id: &str,
    ) -> Result<EventStream, Failure> {
        let accept = (ACCEPT, HeaderValue::from_static("text/event-stream"));
        let last_id = Some(last_id).filter(|id| !id.is_empty());
        // What cannot stand in a header cannot be sent.
        let last_id = last_id.and_then(|id| HeaderValue::try_from(id).ok());
        let headers = [accept].into_iter();
        let headers = headers.chain(last_id.map(|id| (LAST_EVENT_ID, id)));
        let stream = self.request.open(context, context.scope, headers).await?;
        if stream.has_events() {
            return Ok(EventStream::over(stream));
        }
        Err(no_events(stream, context.scope).await)
    }

    /// Waits as the server wants it, and asks again until there is a stream or a refusal.
    async fn reconnect(
        &self,
        lost: &EventStream,
        context: &mut Context<'_>,
    ) -> Result<EventStream, Failure> {
        let wait = lost.retry().unwrap_or(RETRY).max(SHORTEST_RETRY);
        loop {
            tokio::time::sleep(wait).await;
            match self.connect(context, lost.last_id()).await {
                Err(failure) if is_lost(&failure) => context.note(failure),
                connected => return connected,
            }
        }
    }

    /// Looks at one event; the step is done when it is the one.
    fn hear(
        &self,
        event: Event,
        stream: &EventStream,
        context: &Context<'_>,
        passed: &mut Passed,
    ) -> Result<Option<Done>, Failure> {
        let stream = stream.stream();
        let heard = Heard {
            name: event.name,
            reply: Reply::part("the data", stream.status, &stream.headers, event.data),
            scope: context.scope,
        };
        let judged = self.judge(&heard);
        let judged = judged.map_err(|failure| self.captures.hush(&heard.reply, failure))?;
        Ok(match judged {
            Judged::Done(done) => Some(done),
            Judged::PassedOver(why) => {
                passed.count += 1;
                passed.last = self
                    .captures
                    .hush(&heard.reply, why)
                    .without_quotes()
                    .message;
                None
            }
        })
    }

    fn judge(&self, heard: &Heard<'_>) -> Result<Judged, Failure> {
        if let Some(fail_on) = &self.fail_on
            && fail_on.passes_over(heard)?.is_none()
        {
            let (name, data) = (excerpt(&heard.name), heard.reply.excerpt());
            let what = format!("the event `{name}` came; {data}");
            let short = "an event of `fail_on` came";
            return Err(Failure::new(Reason::Assertion, what).in_short(short));
        }
        if let Some(why) = self.until.passes_over(heard)? {
            return Ok(Judged::PassedOver(why));
        }
        self.expect.check(&heard.reply, heard.scope)?;
        Ok(Judged::Done(Done {
            captures: self.captures.take(&heard.reply)?,
            ..Done::default()
        }))
    }

    fn waiting(&self, passed: &Passed) -> String {
        format!("{} has not come{passed}", self.until.describe())
    }

    fn ended(&self, passed: &Passed) -> Failure {
        let awaited = self.until.describe();
        let what = format!("the stream of events ended before {awaited} came{passed}");
        // What is told of the events was searched one by one.
        Failure::new(Reason::Assertion, what).in_our_words()
    }
}

/// What one event came to.
enum Judged {
    Done(Done),
    PassedOver(Failure),
}

impl std::fmt::Display for Passed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { count, last } = self;
        match count {
            0 => f.write_str("; no event came"),
            1 => write!(f, "; one other came: {last}"),
            _ => write!(f, "; {count} others came, the last: {last}"),
        }
    }
}

/// Whether nobody refused anything: a network that comes and goes, or a server that starts again.
fn is_lost(failure: &Failure) -> bool {
    use Reason::{Connect, Dns, Protocol, Timeout, Tls};
    let lost = [Dns, Connect, Tls, Timeout, Protocol];
    matches!(failure.fault, Fault::Target(reason) if lost.contains(&reason))
}

/// How an answer is not a stream of events.
async fn no_events(stream: Stream, scope: &Scope) -> Failure {
    if stream.status == 200 {
        // Its body may never end, and says nothing here.
        let media_type = stream.headers.get(CONTENT_TYPE);
        let media_type = media_type.map(|value| String::from_utf8_lossy(value.as_bytes()));
        let what = match media_type {
            None => "there is no content-type".to_owned(),
            Some(media_type) => format!("content-type is `{}`", excerpt(&media_type)),
        };
        let what = format!("{what}, expected `text/event-stream`");
        return Failure::new(Reason::Assertion, what);
    }
    let answer = match stream.into_answer().await {
        Ok(answer) => answer,
        Err(error) => return error.into(),
    };
    let reason = Reason::of_status(answer.status);
    let reply = Reply::new(answer, Duration::ZERO, reason);
    let checked = Expectation::status(200).check(&reply, scope);
    // It has another status, so this fails.
    checked
        .err()
        .unwrap_or_else(|| Failure::new(Reason::Status, "no stream of events"))
}
