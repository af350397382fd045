//! Peers that never pause: each floods one of the readers there are with what costs it the most. A
//! deadline is kept all the same, also in a teardown, a sweep and when a token is asked for; and
//! nobody else notices (`e2e::floods`).

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustls::ServerConfig;
use testerd::event::Event;

use super::server::{Do, Server, flood, say};
use crate::authority::{Authority, Holds};
use crate::runs::{World, spec};

/// One peer, and a spec that has to do with it.
#[derive(Clone)]
pub(crate) struct Flood {
    pub(crate) name: &'static str,
    /// The target's type and the scheme of its endpoint.
    kind: &'static str,
    scheme: &'static str,
    /// The keys of the target that ask the peer for a token.
    token: bool,
    parts: String,
    script: Vec<Do>,
}

/// A peer that floods.
pub(crate) struct Flooding {
    server: Server,
    flood: Flood,
}

/// What it is allowed, and what it takes at most on a busy machine, built without optimization.
pub(crate) const DEADLINE: &str = "300ms";
const PATIENCE: Duration = Duration::from_secs(10);

/// Whoever floods stands back behind the tests beside it, some of which have a clock. What this
/// thread starts does too.
pub(crate) fn stand_back() {
    rustix::process::nice(5).unwrap();
}

impl Flood {
    pub(crate) fn new(name: &'static str, parts: String, script: Vec<Do>) -> Self {
        Self {
            name,
            kind: "http",
            scheme: "http",
            token: false,
            parts,
            script,
        }
    }

    /// The same within TLS.
    pub(crate) fn secure(self) -> Self {
        Self {
            scheme: "https",
            ..self
        }
    }

    pub(crate) fn start(self) -> Flooding {
        let tls = (self.scheme == "https").then(certified);
        Flooding {
            server: Server::start(self.script.clone(), tls),
            flood: self,
        }
    }
}

impl Flooding {
    pub(crate) fn name(&self) -> &'static str {
        self.flood.name
    }

    /// Whether it came to that, where it depends on what is asked.
    fn has_flooded(&self) -> bool {
        let depends = matches!(self.flood.script[..], [Do::Asked(_)]);
        !depends || self.server.has_flooded()
    }

    fn endpoint(&self) -> String {
        format!("{}://{}", self.flood.scheme, self.server.address())
    }

    /// More keys of the target.
    fn keys(&self) -> String {
        let login = self.flood.token.then(|| {
            format!(
                "auth.oauth2 = {{ token_url = \"http://{}/token\", client_id = \"me\", \
                 client_secret = {{ env = \"PATH\" }}, timeout = \"{DEADLINE}\" }}\n",
                self.server.address()
            )
        });
        let trust = (self.flood.scheme == "https").then_some("tls.insecure_skip_verify = true\n");
        login.unwrap_or_default() + trust.unwrap_or_default()
    }

    /// Its target in a configuration, called so.
    pub(crate) fn target(&self, name: &str) -> String {
        let (kind, endpoint, keys) = (self.flood.kind, self.endpoint(), self.keys());
        format!("[target.{name}]\ntype = \"{kind}\"\nendpoint = \"{endpoint}\"\n{keys}")
    }

    /// Its spec, called so.
    pub(crate) fn spec(&self, name: &str, timeout: &str) -> String {
        let keys = format!("tags = [\"{name}\"]\ntimeout = \"{timeout}\"");
        spec(&keys, std::slice::from_ref(&self.flood.parts))
            .replace("\"s\"", &format!("\"{name}\""))
    }
}

fn certified() -> Arc<ServerConfig> {
    let signed = Authority::new("ours").sign(&["127.0.0.1"], Holds::Now);
    signed.server(&["h2", "http/1.1"])
}

/// A step that never passes.
pub(crate) fn step(action: &str, keys: &str) -> String {
    format!("[[spec.steps]]\nname = \"look\"\nuse = \"{action}\"\n{keys}\n")
}

pub(crate) fn http(keys: &str) -> String {
    step(
        "http",
        &format!("path = \"/\"\nexpect = {{ text = \"never\" }}\n{keys}"),
    )
}

const OK: &str = "HTTP/1.1 200 OK\r\n";
const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";

fn asked(script: Vec<Do>) -> Vec<Do> {
    [vec![Do::Request], script].concat()
}

fn after(head: &str, flood: &[u8]) -> Vec<Do> {
    asked(vec![say(&format!("{OK}{head}")), Do::Flood(flood.to_vec())])
}

fn http1() -> Vec<Flood> {
    let chunked = "transfer-encoding: chunked\r\n\r\n";
    let row = |name, script| Flood::new(name, http(""), script);
    vec![
        row("head", after("", b"x: y\r\n")),
        row("status-line", asked(vec![flood(b"\r\n")])),
        row("informational", asked(vec![flood(HINTS)])),
        row("body", after("\r\n", b"no end")),
        row("chunks", after(chunked, b"1\r\nx\r\n")),
        row("chunk-extension", after(&format!("{chunked}1;"), b"x")),
        row("trailers", after(&format!("{chunked}0\r\n"), b"x: y\r\n")),
        row(
            "redirects",
            asked(vec![say(
                "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
            )]),
        ),
        row("records", asked(vec![Do::FloodRecords(HINTS.to_vec())])).secure(),
        row(
            "tiny-records",
            asked(vec![Do::FloodRecords(b"\r\n".to_vec())]),
        )
        .secure(),
        row("new-keys", asked(vec![Do::Rekey])).secure(),
    ]
}

/// A frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

fn http2() -> Vec<Flood> {
    // `:status: 200`, to be continued or not, and `:status: 103`.
    let head = frame(1, 4, 1, &[0x88]);
    let open_head = frame(1, 0, 1, &[0x88]);
    let hints = frame(1, 4, 1, b"\x08\x03103");
    let goaway = [&[0x7f, 255, 255, 255][..], &[0; 4]].concat();
    let row = |name, before: &[u8], flood: Vec<u8>| {
        let begin = [&frame(4, 0, 0, &[]), before].concat();
        let script = vec![Do::Request2, Do::Say(begin), Do::Flood(flood)];
        Flood::new(name, http("http_version = \"2\""), script)
    };
    vec![
        row("h2-settings", &[], frame(4, 0, 0, &[])),
        row("h2-settings-acks", &[], frame(4, 1, 0, &[])),
        row("h2-pings", &[], frame(6, 0, 0, &[1; 8])),
        row("h2-pongs", &[], frame(6, 1, 0, &[1; 8])),
        row("h2-windows", &[], frame(8, 0, 0, &[0, 0, 0, 1])),
        row("h2-windows-of-stream", &head, frame(8, 0, 1, &[0, 0, 0, 1])),
        row("h2-priorities", &[], frame(2, 0, 1, &[0, 0, 0, 3, 1])),
        row("h2-unknown", &[], frame(0xbb, 0, 0, &[])),
        row("h2-informational", &[], hints),
        row("h2-continuations", &open_head, frame(9, 0, 1, &[])),
        row("h2-empty-data", &head, frame(0, 0, 1, &[])),
        row("h2-resets", &[], frame(3, 0, 1, &[0, 0, 0, 8])),
        row("h2-goodbyes", &[], frame(7, 0, 0, &goaway)),
        row("h2-tls-pings", &head, frame(6, 0, 0, &[1; 8])).secure(),
        row("h2-tls-empty-data", &head, frame(0, 0, 1, &[])).secure(),
    ]
}

fn streams() -> Vec<Flood> {
    let events = "content-type: text/event-stream\r\n\r\n";
    let sse = |name, flood: &[u8]| {
        let keys = "path = \"/\"\nuntil = { event = \"never\" }";
        Flood::new(name, step("sse", keys), after(events, flood))
    };
    let looked_at = "path = \"/\"\nuntil = { json = { '/a' = 1 }, matches = '^(a+)+$' }";
    let web_socket = |name, frames: &[u8]| {
        let keys = "path = \"/\"\nexchange = [{ until = { text = \"never\" } }]";
        let script = vec![Do::Upgrade, flood(frames)];
        Flood::new(name, step("websocket", keys), script)
    };
    vec![
        sse("events", b"data: x\n\n"),
        sse("comments", b":\n"),
        sse("empty-lines", b"\n"),
        sse("ids", b"id: 1\n\n"),
        Flood::new(
            "events-looked-at",
            step("sse", looked_at),
            after(events, b"data: {\"a\":2}\n\n"),
        ),
        web_socket("ws-texts", b"\x81\x01x"),
        web_socket("ws-empty-texts", b"\x81\x00"),
        web_socket("ws-binary", b"\x82\x01x"),
        web_socket("ws-pings", b"\x89\x01x"),
        web_socket("ws-empty-pings", b"\x89\x00"),
        web_socket("ws-pongs", b"\x8a\x00"),
        Flood {
            script: vec![
                Do::Upgrade,
                Do::Say(b"\x01\x01x".to_vec()),
                flood(b"\x00\x00"),
            ],
            ..web_socket("ws-fragments", b"")
        },
        web_socket("ws-fragments-that-end", b"\x01\x00\x00\x00\x80\x00"),
    ]
}

fn dialogs() -> Vec<Flood> {
    let tcp = |name, dialog: &str, bytes: &[u8]| Flood {
        kind: "tcp",
        scheme: "tcp",
        ..Flood::new(
            name,
            step(
                "tcp",
                &format!("read_limit = 1073741824\ndialog = [{dialog}]"),
            ),
            vec![flood(bytes)],
        )
    };
    let never = "{ expect = \"^never$\" }";
    let mail = step("tls", "starttls = \"smtp\"");
    vec![
        tcp("lines", never, b"x\r\n"),
        tcp("empty-dialog-lines", never, b"\n"),
        tcp("line-without-end", never, b"x"),
        tcp("until-closed", "{ close = true }", b"x"),
        Flood {
            parts: mail,
            ..tcp("greetings", "", b"220-x\r\n")
        },
    ]
}

/// Bodies that are short, or unpack to nothing, and take long.
fn packed() -> Vec<Flood> {
    let member = {
        let empty = GzEncoder::new(Vec::new(), Compression::best());
        empty.finish().unwrap()
    };
    let zeros = {
        let mut zeros = GzEncoder::new(Vec::new(), Compression::best());
        zeros.write_all(&vec![0; 100 << 20]).unwrap();
        zeros.finish().unwrap()
    };
    // Frames of one byte each (RFC 8878), and brotli's empty blocks (RFC 7932).
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 0x09, 0, 0, b'x'];
    let mut blocks = vec![0x0c];
    blocks.extend([0x0c].repeat(1 << 20));
    [
        ("gzip-members", "gzip", member.repeat(200_000)),
        ("gzip-zeros", "gzip", zeros),
        ("zstd-frames", "zstd", frame.repeat(100_000)),
        ("brotli-blocks", "br", blocks),
    ]
    .map(|(name, coding, body)| {
        let length = body.len();
        let head = format!("{OK}content-encoding: {coding}\r\ncontent-length: {length}\r\n\r\n");
        let keys = "compression = true\nbody_limit = 1073741824";
        let script = asked(vec![say(&head), Do::Say(body)]);
        Flood::new(name, http(keys), script)
    })
    .into()
}

/// What is asked outside of a step's body.
fn around() -> Vec<Flood> {
    let made = "HTTP/1.1 201 Created\r\ncontent-length: 8\r\nconnection: close\r\n\r\n{\"id\":1}";
    let none = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\nconnection: close\r\n\r\n{\"found\":[]}";
    let item = format!(
        "{}\nteardown_timeout = \"{DEADLINE}\"\n",
        crate::runs::make("look", "")
    );
    let hints = || vec![flood(HINTS)];
    let chunks = || {
        let head = format!("{OK}transfer-encoding: chunked\r\n\r\n");
        vec![say(&head), flood(b"1\r\nx\r\n")]
    };
    let row = |name, script: Vec<(&'static str, Vec<Do>)>| {
        Flood::new(name, item.clone(), vec![Do::Asked(script)])
    };
    vec![
        row("search", vec![("POST", vec![say(made)]), ("GET", hints())]),
        row(
            "delete",
            vec![
                ("POST", vec![say(made)]),
                ("GET", vec![Do::Found]),
                ("DELETE", hints()),
            ],
        ),
        row(
            "search-after-delete",
            vec![
                ("POST", vec![say(made)]),
                ("DELETE GET", chunks()),
                ("GET", vec![Do::Found]),
                ("DELETE", vec![say(none)]),
            ],
        ),
        // The create's answer is lost, so that the sweeper looks for the thing.
        row("sweep", vec![("POST", vec![Do::Reset]), ("GET", hints())]),
        Flood {
            token: true,
            ..Flood::new("token", http(""), asked(hints()))
        },
        Flood {
            token: true,
            ..Flood::new("token-chunks", http(""), asked(chunks()))
        },
    ]
}

/// All of them.
pub(crate) fn all() -> Vec<Flood> {
    [http1(), http2(), streams(), dialogs(), packed(), around()]
        .into_iter()
        .flatten()
        .collect()
}

#[tokio::test]
async fn a_deadline_is_kept_whatever_comes() {
    stand_back();
    for flood in all() {
        let flooding = flood.start();
        let name = flooding.name();
        let world = World::new()
            .at(&flooding.endpoint())
            .speaking(flooding.flood.kind)
            .target(&flooding.keys());
        let begun = Instant::now();
        let told = world.run(&flooding.spec(name, DEADLINE)).await;
        let taken = begun.elapsed();
        let Some(Event::RunFinished { verdict, .. }) = told.events.last() else {
            panic!("no end: {}", told.story);
        };
        assert_eq!(verdict.as_str(), "fail", "{name}: {}", told.story);
        assert!(flooding.has_flooded(), "{name}: {}", told.story);
        assert!(taken < PATIENCE, "{name} took {taken:?}: {}", told.story);
    }
}
