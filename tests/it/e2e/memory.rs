//! How much memory answers cost: ten runs at once, each of whose peers sends what takes the most, and
//! the peak of the real daemon above what it took when nothing ran.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::daemon::Daemon;
use crate::faults::floods::{Flood, Flooding, frame, http, stand_back, step};
use crate::faults::server::{Do, flood, say};

/// Runs at once.
const RUNS: usize = 10;

/// What answers may cost.
const MOST: u64 = 64 << 20;

/// Long enough for much to pile up.
const TIMEOUT: &str = "2s";

const LONGEST: usize = 8 << 20;

fn asked(script: Vec<Do>) -> Vec<Do> {
    [vec![Do::Request], script].concat()
}

fn whole(headers: &str, body: Vec<u8>) -> Vec<Do> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\n\r\n");
    asked(vec![say(&head), Do::Say(body)])
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(content).unwrap();
    gzip.finish().unwrap()
}

fn bodies() -> Vec<Flood> {
    let json = |text: &str| {
        let rest = LONGEST / text.len() - 2;
        [b"[", text.repeat(rest).as_bytes(), b"0]"].concat()
    };
    let looks = "path = \"/\"\nexpect = { json = { \"/0/x\" = 1 } }";
    let paths = "path = \"/\"\nexpect = { json = { \"$..x\" = 1 } }";
    let keeps = "path = \"/\"\ncapture = { all = \"body\" }";
    let headers: String = (0..90)
        .map(|n| format!("x-{n}: {}\r\n", "y".repeat(4000)))
        .collect();
    let cookies: String = (0..90)
        .map(|n| format!("set-cookie: c{n}={}\r\n", "y".repeat(4000)))
        .collect();
    let polls = "path = \"/\"\npoll = { every = \"100ms\", until = { text = \"never\" } }";
    vec![
        Flood::new("text", http(""), whole("", vec![b'x'; LONGEST])),
        Flood::new("no-text", http(""), whole("", b"\xffa".repeat(LONGEST / 2))),
        Flood::new(
            "half-text",
            http(""),
            whole("", b"\xffaaa".repeat(LONGEST / 4)),
        ),
        Flood::new(
            "shift-jis",
            http(""),
            whole(
                "content-type: text/plain; charset=shift_jis\r\n",
                b"\x8f\xe1".repeat(LONGEST / 2),
            ),
        ),
        Flood::new(
            "utf-16",
            http(""),
            whole(
                "content-type: text/plain; charset=utf-16le\r\n",
                b"\x1c\x96".repeat(LONGEST / 2),
            ),
        ),
        Flood::new("numbers", step("http", looks), whole("", json("0,"))),
        Flood::new("arrays", step("http", looks), whole("", json("[0],"))),
        Flood::new("objects", step("http", paths), whole("", json("{\"\":0},"))),
        Flood::new("texts", step("http", looks), whole("", json("\"\","))),
        Flood::new("kept", step("http", keeps), whole("", vec![b'x'; LONGEST])),
        Flood::new(
            "packed",
            http("compression = true"),
            whole("content-encoding: gzip\r\n", gzip(&vec![b'x'; LONGEST])),
        ),
        Flood::new(
            "bomb",
            http("compression = true"),
            whole(
                "content-encoding: gzip, gzip\r\n",
                gzip(&gzip(&vec![b'x'; 100 << 20])),
            ),
        ),
        Flood::new("headers", http(""), whole(&headers, vec![b'x'; 9])),
        Flood::new(
            "cookies",
            step("http", polls),
            whole(&cookies, vec![b'x'; 9]),
        ),
        Flood::new(
            "chunks",
            http(""),
            asked(vec![
                say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
                flood("1\r\nx\r\n"),
            ]),
        ),
    ]
}

fn streams() -> Vec<Flood> {
    let events = say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
    let sse = |name, bytes: Vec<u8>| {
        let keys = "path = \"/\"\nuntil = { event = \"never\", text = \"never\" }";
        let script = asked(vec![events.clone(), Do::Flood(bytes)]);
        Flood::new(name, step("sse", keys), script)
    };
    let event = [b"data: ", &b"x".repeat(500_000)[..], b"\n\n"].concat();
    let web_socket = |name, script: Vec<Do>| {
        let keys = "path = \"/\"\nexchange = [{ until = { text = \"never\" } }]";
        Flood::new(
            name,
            step("websocket", keys),
            [vec![Do::Upgrade], script].concat(),
        )
    };
    let message = |opcode: u8| {
        [
            &[opcode, 127, 0, 0, 0, 0, 0, 7, 0, 0][..],
            &b"x".repeat(0x70000),
        ]
        .concat()
    };
    let head = frame(1, 4, 1, &[0x88]);
    let http2 = |name, bytes| {
        let begin = [frame(4, 0, 0, &[]), head.clone()].concat();
        let script = vec![Do::Request2, Do::Say(begin), Do::Flood(bytes)];
        Flood::new(name, http("http_version = \"2\""), script)
    };
    vec![
        sse("events", event),
        sse("event", b"data: x\n".to_vec()),
        sse("line", b"x".to_vec()),
        web_socket(
            "pings",
            vec![flood([b"\x89\x7d", &b"p".repeat(125)[..]].concat())],
        ),
        web_socket("messages", vec![Do::Flood(message(0x81))]),
        web_socket(
            "fragments",
            vec![Do::Say(message(0x01)), flood(b"\x00\x01x")],
        ),
        web_socket(
            "announced",
            vec![flood(
                [&[0x82, 127, 0, 0, 0, 0, 0x3f, 255, 255, 255][..], b"x"].concat(),
            )],
        ),
        http2("h2-data", frame(0, 0, 1, b"x")),
        http2("h2-pings", frame(6, 0, 0, &[1; 8])),
        http2("h2-settings", frame(4, 0, 0, &[])),
    ]
}

/// What ten runs against such peers cost at the peak, above an idle daemon.
fn cost(peers: &[Flooding]) -> u64 {
    let mut config = format!("concurrency = {RUNS}\n");
    let mut specs = String::new();
    for (number, peer) in peers.iter().enumerate() {
        let name = format!("peer-{number}");
        config += &peer.target(&name);
        config += &format!(
            "[[probe]]\nname = \"{name}\"\ntarget = \"{name}\"\ntags = [\"{name}\"]\ninterval = \"2s\"\n"
        );
        specs += &peer.spec(&name, TIMEOUT);
    }
    let mut daemon = Daemon::start(&config, &specs);
    let idle = daemon.memory("VmRSS");
    daemon.comes_to("a run of each", |page| {
        (0..peers.len()).all(|number| {
            let labels = [("spec", format!("peer-{number}"))];
            let labels = labels
                .each_ref()
                .map(|(name, value)| (*name, value.as_str()));
            let ended = ["testerd_runs_total", "testerd_runs_inconclusive_total"];
            ended.iter().any(|name| page.count(name, &labels) > 0)
        })
    });
    let peak = daemon.memory("VmHWM");
    daemon.stop();
    peak.saturating_sub(idle)
}

fn check(kinds: Vec<Flood>) {
    stand_back();
    let mut over = Vec::new();
    for kind in kinds {
        let name = kind.name;
        let peers: Vec<_> = (0..RUNS).map(|_| kind.clone().start()).collect();
        let cost = cost(&peers);
        eprintln!("{name:<12} {:>4} MiB", cost >> 20);
        if cost > MOST {
            over.push(format!("{name}: {} MiB", cost >> 20));
        }
    }
    assert!(over.is_empty(), "{over:?}");
}

#[test]
fn bodies_have_a_bound() {
    check(bodies());
}

#[test]
fn streams_have_a_bound() {
    check(streams());
}
