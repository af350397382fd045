//! Ways to refuse a connection, and ways to break an answer in HTTP/1.1.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::server::flood;
use super::{Do, Row, SHORT, check_scripts, closed, say};
use crate::rig::Fault;
use crate::runs::World;

const OK: &str = "HTTP/1.1 200 OK\r\n";
const SIZED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhush";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhush\r\n";

#[tokio::test]
async fn a_target_that_is_not_reached() {
    let refused = format!("http://{}", closed());
    for (endpoint, verdict, says) in [
        (refused.as_str(), "fail connect", "Connection refused"),
        // TCP goes to nobody by multicast, on any machine.
        (
            "http://224.0.0.1:80",
            "fail connect",
            "Network is unreachable",
        ),
        // Every resolver is to say that at once (RFC 6761).
        (
            "http://does-not-exist.invalid",
            "fail dns",
            "cannot resolve does-not-exist.invalid:80",
        ),
    ] {
        let row = Row {
            world: World::new().at(endpoint),
            keys: "",
            verdict,
            says,
        };
        row.check().await;
    }
}

#[tokio::test]
async fn an_answer_that_has_no_whole_head() {
    check_scripts([
        (
            vec![Do::Request, Do::Reset],
            "",
            "fail protocol",
            "Connection reset by peer",
        ),
        (
            vec![Do::Request],
            "",
            "fail protocol",
            "connection closed before message completed",
        ),
        (
            vec![Do::Request, say("HTTP/1.1 200 OK\r\ncontent-le")],
            "",
            "fail protocol",
            "connection closed before message completed",
        ),
        (
            vec![Do::Request, say("220 mail.example ESMTP\r\n")],
            "",
            "fail protocol",
            "invalid HTTP version parsed",
        ),
        (
            vec![Do::Request, say(OK), flood("x: y\r\n")],
            "",
            "fail protocol",
            "message head is too large",
        ),
        (
            vec![Do::Request, Do::Hold],
            SHORT,
            "fail timeout",
            "no end within 300",
        ),
        (
            vec![Do::Request, say(OK), Do::Drip("x: y\r\n")],
            SHORT,
            "fail timeout",
            "no end within 300",
        ),
    ])
    .await;
}

#[tokio::test]
async fn informational_answers_are_passed_over() {
    let noise = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let answer = format!("{}{OK}content-length: 2\r\n\r\nok", noise.repeat(100));
    let hints = "HTTP/1.1 103 Early Hints\r\n\r\n";
    check_scripts([
        (
            vec![Do::Request, say(&answer)],
            "expect = { text = \"ok\" }",
            "pass",
            "",
        ),
        // Not even without end do they keep the runner from its deadline.
        (
            vec![Do::Request, flood(hints)],
            SHORT,
            "fail timeout",
            "no end within 300",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_body_that_is_none() {
    let sized = |script: Vec<Do>| [vec![Do::Request, say(SIZED)], script].concat();
    let chunked = |script: Vec<Do>| [vec![Do::Request, say(CHUNKED)], script].concat();
    check_scripts([
        (
            sized(vec![Do::Reset]),
            "",
            "fail protocol",
            "Connection reset by peer",
        ),
        (
            sized(vec![]),
            "",
            "fail protocol",
            "end of file before message length reached",
        ),
        (
            sized(vec![Do::Hold]),
            SHORT,
            "fail timeout",
            "no end within 300",
        ),
        (
            chunked(vec![]),
            "",
            "fail protocol",
            "unexpected EOF during chunk size line",
        ),
        (
            chunked(vec![say("no length\r\n")]),
            "",
            "fail protocol",
            "Invalid chunk size line",
        ),
        (
            chunked(vec![say("fffffffffffffffff\r\n")]),
            "",
            "fail protocol",
            "overflow",
        ),
        (
            chunked(vec![Do::Drip("1\r\nx\r\n")]),
            SHORT,
            "fail timeout",
            "no end within 300",
        ),
        (
            chunked(vec![flood("8\r\nxxxxxxxx\r\n")]),
            "body_limit = 100000",
            "fail protocol",
            "is longer than 100000 bytes",
        ),
        (
            vec![Do::Request, say(OK), say("\r\n"), flood("no end")],
            "",
            "fail protocol",
            "is longer than 8388608 bytes",
        ),
        (
            vec![
                Do::Request,
                say("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
            ],
            "",
            "fail protocol",
            "invalid content-length parsed",
        ),
    ])
    .await;
}

/// Longer when it is unpacked than any answer may be.
fn bombs() -> [(&'static str, Vec<u8>); 3] {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&vec![b'x'; 16 << 20]).unwrap();
    // RFC 8878: magic, a frame of unknown length with a window of 8 MiB, blocks that say "128 KiB
    // of one byte", and never a last one.
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3];
    for _ in 0..256 {
        zstd.extend([0x02, 0x00, 0x10, b'x']);
    }
    // What a packer of RFC 7932 makes of 32 MiB of one letter.
    let brotli = "cbffff3ff825f0e2b14020f7fe8fffff7ff04b00c4611180eefd1fffffffe0970088c30200ddfb\
                  bffcffffc32f0110870500baf77f";
    let byte = |at: usize| u8::from_str_radix(&brotli[at..at + 2], 16).unwrap();
    let brotli = (0..brotli.len()).step_by(2).map(byte).collect();
    [
        ("gzip", gzip.finish().unwrap()),
        ("zstd", zstd),
        ("br", brotli),
    ]
}

fn packed(coding: &str, body: &[u8]) -> Vec<Do> {
    let length = body.len();
    let head = format!("{OK}content-encoding: {coding}\r\ncontent-length: {length}\r\n\r\n");
    vec![Do::Request, say(&head), Do::Say(body.to_vec())]
}

#[tokio::test]
async fn a_body_that_is_packed() {
    let asked = "compression = true";
    let mut hello = GzEncoder::new(Vec::new(), Compression::best());
    hello.write_all(b"hello").unwrap();
    let hello = hello.finish().unwrap();
    let twice = [&hello[..], &hello[..]].concat();
    let cut = &hello[..hello.len() - 4];
    check_scripts([
        (
            packed("gzip", &hello),
            "compression = true\nexpect = { text = \"hello\" }",
            "pass",
            "",
        ),
        // Several members are one body (RFC 1952, 2.2).
        (
            packed("gzip", &twice),
            "compression = true\nexpect = { text = \"hellohello\" }",
            "pass",
            "",
        ),
        (
            packed("gzip", cut),
            asked,
            "fail protocol",
            "cannot be unpacked",
        ),
        (
            packed("gzip", b"hello"),
            asked,
            "fail protocol",
            "cannot be unpacked",
        ),
        (
            packed("br", b"hello, hello"),
            asked,
            "fail protocol",
            "cannot be unpacked",
        ),
        (
            packed("zstd", b"hello"),
            asked,
            "fail protocol",
            "cannot be unpacked",
        ),
        // A window of 128 MiB, all of which would be unpacked first.
        (
            packed(
                "zstd",
                &[
                    0x28,
                    0xb5,
                    0x2f,
                    0xfd,
                    0x00,
                    17 << 3,
                    0x03,
                    0x00,
                    0x10,
                    b'x',
                ],
            ),
            asked,
            "fail protocol",
            "window",
        ),
        (
            packed("compress", b"hello"),
            asked,
            "fail protocol",
            "`compress` is not gzip, br or zstd",
        ),
    ])
    .await;
    let says = "the unpacked http answer from";
    let rows = bombs().map(|(coding, bomb)| {
        assert!(bomb.len() < 100_000, "{coding}");
        (packed(coding, &bomb), asked, "fail protocol", says)
    });
    check_scripts(rows).await;
}

#[tokio::test]
async fn an_answer_that_says_no() {
    for (fault, verdict) in [
        (Fault::Status(401), "fail auth"),
        (Fault::Status(403), "fail auth"),
        (Fault::Status(429), "fail quota"),
        (Fault::Status(404), "fail status"),
        (Fault::Status(500), "fail status"),
        (Fault::Status(502), "fail status"),
        (Fault::Status(503), "fail status"),
        (Fault::Status(504), "fail status"),
        (Fault::Hang, "fail timeout"),
        (Fault::Reset, "fail protocol"),
    ] {
        let world = World::new();
        world.rig.fail("*", fault);
        let row = Row {
            world,
            keys: SHORT,
            verdict,
            says: "",
        };
        row.check().await;
    }
}

#[tokio::test]
async fn redirects_without_end() {
    let again = "HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n";
    let nowhere = "HTTP/1.1 302 Found\r\nlocation: ftp://a/\r\ncontent-length: 0\r\n\r\n";
    check_scripts([
        (
            vec![Do::Request, say(again)],
            "redirects = 5",
            "fail protocol",
            "more than 5 redirects",
        ),
        (vec![Do::Request, say(again)], "", "fail status", "302"),
        (
            vec![Do::Request, say(nowhere)],
            "redirects = 5",
            "fail protocol",
            "a redirect to no address",
        ),
    ])
    .await;
}
