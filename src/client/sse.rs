//! Server-sent events, as the WHATWG's HTML standard says in 9.2: a parser that knows no I/O, and a
//! stream of events that feeds it. What an event means, and whether to connect once more, is left
//! to the actions.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::consume_budget;

use super::error::ClientError;
use super::stream::Stream;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its `event` field; `message` if it has none.
    pub name: String,
    /// Its `data` fields, a line each.
    pub data: String,
}

/// An event is longer than the parser allows. There is no way to go on after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is too long")]
pub struct TooLong;

/// Bytes go in, in pieces of any length, and events come out.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    /// A line whose end has not come yet.
    line: Vec<u8>,
    is_first_line: bool,
    /// A LF would only complete the CR before it.
    after_cr: bool,
    name: String,
    data: Option<String>,
    next_id: String,
    last_id: String,
    retry: Option<Duration>,
    ready: VecDeque<Event>,
    too_long: bool,
}

impl Parser {
    /// A parser that keeps at most about `limit` bytes of one event.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            is_first_line: true,
            after_cr: false,
            name: String::new(),
            data: None,
            next_id: String::new(),
            last_id: String::new(),
            retry: None,
            ready: VecDeque::new(),
            too_long: false,
        }
    }

    /// Takes in what came.
    pub fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let (false, Some(&first)) = (self.too_long, rest.first()) {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
            let end = rest.iter().position(is_end);
            self.line
                .extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            self.too_long = self.length() > self.limit;
            let Some(end) = end else { return };
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            self.end_line();
        }
    }

    /// The next event that is complete, if there is one. What the end of the stream cuts off never
    /// is.
    pub fn pull(&mut self) -> Result<Option<Event>, TooLong> {
        match self.ready.pop_front() {
            None if self.too_long => Err(TooLong),
            event => Ok(event),
        }
    }

    /// What `Last-Event-ID` would say now; empty for nothing.
    #[must_use]
    pub fn last_id(&self) -> &str {
        &self.last_id
    }

    /// How long the server wants a client to wait before it connects again.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn length(&self) -> usize {
        let data = self.data.as_ref().map_or(0, String::len);
        self.line.len() + self.name.len() + data
    }

    /// Neither of the bytes that end a line is ever a part of a longer character, so what is not
    /// UTF-8 spoils nothing but its own line.
    fn end_line(&mut self) {
        let bytes = std::mem::take(&mut self.line);
        let mut bytes = bytes.as_slice();
        if std::mem::take(&mut self.is_first_line) {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        if bytes.is_empty() {
            self.dispatch();
            return;
        }
        let colon = bytes.iter().position(|byte| *byte == b':');
        let (field, value) = bytes.split_at(colon.unwrap_or(bytes.len()));
        let value = value.strip_prefix(b":").unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let value = String::from_utf8_lossy(value);
        match field {
            b"event" => self.name = value.into_owned(),
            b"data" => match &mut self.data {
                None => self.data = Some(value.into_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(&value);
                }
            },
            b"id" if !value.contains('\0') => self.next_id = value.into_owned(),
            b"retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                let wait = value.parse().ok().map(Duration::from_millis);
                self.retry = wait.or(self.retry);
            }
            // A comment, or something that nobody knows.
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        self.next_id.clone_into(&mut self.last_id);
        let name = std::mem::take(&mut self.name);
        if let Some(data) = self.data.take() {
            let name = if name.is_empty() {
                "message".to_owned()
            } else {
                name
            };
            self.ready.push_back(Event { name, data });
        }
    }
}

/// An answer read as events. An event may be as long as the request allowed a body to be.
pub struct EventStream {
    stream: Stream,
    parser: Parser,
}

impl EventStream {
    /// Reads the body of this answer; whether it is a stream of events, see
    /// [`Stream::has_events`].
    #[must_use]
    pub fn over(stream: Stream) -> Self {
        let parser = Parser::new(stream.limit());
        Self { stream, parser }
    }

    /// The next event; `None` at the end of the stream. It may be dropped while it waits and called
    /// again.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            // One piece may bring thousands, and somebody looks at each.
            consume_budget().await;
            let event = self.parser.pull();
            if let Some(event) = event.map_err(|TooLong| self.stream.too_long("an event"))? {
                return Ok(Some(event));
            }
            match self.stream.next().await? {
                Some(piece) => self.parser.push(&piece),
                None => return Ok(None),
            }
        }
    }

    /// The answer that the events come in.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// What `Last-Event-ID` would say now; empty for nothing.
    #[must_use]
    pub fn last_id(&self) -> &str {
        self.parser.last_id()
    }

    /// How long the server wants a client to wait before it connects again.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parser() -> Parser {
        Parser::new(1 << 20)
    }

    fn events(parser: &mut Parser) -> Vec<Event> {
        std::iter::from_fn(|| parser.pull().unwrap()).collect()
    }

    fn event(name: &str, data: &str) -> Event {
        let (name, data) = (name.to_owned(), data.to_owned());
        Event { name, data }
    }

    #[test]
    fn a_stream_is_read_as_the_standard_says() {
        let rows: [(&str, &[(&str, &str)]); 17] = [
            ("data: a\n\n", &[("message", "a")]),
            (
                "data:a\r\rdata:b\r\n\r\n",
                &[("message", "a"), ("message", "b")],
            ),
            ("event: x\ndata: a\ndata\ndata:  b\n\n", &[("x", "a\n\n b")]),
            (
                "data\n\ndata\ndata\n\n",
                &[("message", ""), ("message", "\n")],
            ),
            ("event: x\n\ndata: a\n\n", &[("message", "a")]),
            ("event: x\nevent: y\ndata: a\n\n", &[("y", "a")]),
            ("event: x\nevent\ndata: a\n\n", &[("message", "a")]),
            (": a comment\n\n:\ndata: a\n:\n\n", &[("message", "a")]),
            ("data: a: b\n\n", &[("message", "a: b")]),
            ("\u{feff}data: a\n\n", &[("message", "a")]),
            (
                "\u{feff}\u{feff}data: a\n\ndata: b\n\n",
                &[("message", "b")],
            ),
            ("\n\u{feff}data: a\n\n", &[]),
            ("Data: a\n data: a\ndata : a\nnonsense\n\n", &[]),
            ("nonsense\n: \ndata: a\n\n", &[("message", "a")]),
            ("data: a\n", &[]),
            ("data: a\n\ndata: b", &[("message", "a")]),
            ("data: a\n\ndata: b\n", &[("message", "a")]),
        ];
        for (text, expected) in rows {
            let mut parser = parser();
            parser.push(text.as_bytes());
            let expected: Vec<_> = expected.iter().map(|(n, d)| event(n, d)).collect();
            assert_eq!(events(&mut parser), expected, "{text:?}");
        }
    }

    #[test]
    fn an_event_is_there_as_soon_as_its_last_line_ends() {
        let mut parser = parser();
        parser.push(b"data: a\r\n\r");
        assert_eq!(events(&mut parser), [event("message", "a")]);
        parser.push(b"\ndata: b\n\n");
        assert_eq!(events(&mut parser), [event("message", "b")]);
    }

    #[test]
    fn what_is_not_utf_8_spoils_only_its_own_line() {
        let mut parser = parser();
        parser.push(b"data: \xe2\x82\n\xff\xfe: x\ndata: ok\n\ndata: \xe2\x82\xac\n\n");
        let expected = [event("message", "\u{fffd}\nok"), event("message", "€")];
        assert_eq!(events(&mut parser), expected);
    }

    #[test]
    fn ids_and_waits_are_remembered() {
        let rows = [
            ("id: 1\n", "", None),
            ("id: 1\n\n", "1", None),
            ("id: 1\ndata: a\n\ndata: b\n\n", "1", None),
            ("id: 1\n\nid\n\n", "", None),
            ("id: 1\n\nid: 2\u{0}3\n\n", "1", None),
            ("retry: 10\n", "", Some(10)),
            (
                "retry: 10\nretry: x\nretry: -1\nretry: 1.5\nretry\n",
                "",
                Some(10),
            ),
            ("retry: 99999999999999999999\n", "", None),
        ];
        for (text, id, retry) in rows {
            let mut parser = parser();
            parser.push(text.as_bytes());
            assert_eq!(parser.last_id(), id, "{text:?}");
            assert_eq!(parser.retry(), retry.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn no_event_takes_more_than_its_limit() {
        let endless = [
            "data: 0123456789\n\ndata: ".to_owned() + &"x".repeat(100),
            "data: 0123456789\n\n".to_owned() + &"data: 0123456789\n".repeat(10),
            "data: 0123456789\n\n".to_owned() + &"x".repeat(1000) + "\n\ndata: b\n\n",
        ];
        for text in endless {
            let mut parser = Parser::new(40);
            for byte in text.bytes() {
                parser.push(&[byte]);
            }
            assert!(parser.length() <= 41, "{}", parser.length());
            assert_eq!(parser.pull(), Ok(Some(event("message", "0123456789"))));
            assert_eq!(parser.pull(), Err(TooLong), "{text:?}");
        }
        let mut parser = Parser::new(40);
        parser.push("data: 0123456789\n\n".repeat(100).as_bytes());
        assert_eq!(events(&mut parser).len(), 100);
    }

    /// Lines such as a server might send, and such as none should.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            "(data|event|id|retry)(: ?[a-zä€\u{1f600}0-9:]{0,6})?",
            ":?[ -~]{0,9}",
            Just("\u{feff}".to_owned()),
        ];
        let line = line.prop_map(String::into_bytes);
        let line = prop_oneof![9 => line, 1 => prop::collection::vec(any::<u8>(), 0..9)];
        let end = prop_oneof![
            Just("\n"),
            Just("\r"),
            Just("\r\n"),
            Just("\n\n"),
            Just("\r\n\r\n")
        ];
        prop::collection::vec((line, end), 0..20).prop_map(|lines| {
            let lines = lines.into_iter();
            lines
                .flat_map(|(line, end)| [line, end.into()].concat())
                .collect()
        })
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_come(
            bytes in bytes(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let (mut whole, mut cut) = (parser(), parser());
            whole.push(&bytes);
            let mut told = Vec::new();
            for ends in cuts.windows(2) {
                cut.push(&bytes[ends[0]..ends[1]]);
                told.extend(events(&mut cut));
            }
            prop_assert_eq!(told, events(&mut whole));
            prop_assert_eq!(cut.last_id(), whole.last_id());
            prop_assert_eq!(cut.retry(), whole.retry());
        }

        #[test]
        fn what_is_sent_is_heard(
            sent in prop::collection::vec(("[^\r\n\u{0}]{1,9}", "[^\r]{0,30}"), 0..9),
            end in "\n|\r|\r\n", noise in "(:[ -~]{0,9}|[g-z]{1,5})?",
        ) {
            let mut parser = parser();
            for (name, data) in &sent {
                let data = data.split('\n').map(|line| format!("data: {line}{end}"));
                let data: String = data.collect();
                let text = format!("event: {name}{end}{noise}x{end}{data}{end}");
                parser.push(text.as_bytes());
            }
            let sent: Vec<_> = sent.iter().map(|(name, data)| event(name, data)).collect();
            prop_assert_eq!(events(&mut parser), sent);
        }
    }
}
