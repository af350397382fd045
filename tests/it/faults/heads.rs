//! Heads of answers as they are on the wire: long ones, broken lines in them, statuses and charsets
//! of some people's own. Browsers and curl take them all.

use super::{Do, check_scripts, say};

#[tokio::test]
async fn heads_that_others_take() {
    let head = |lines: &str, body: &str| {
        let length = body.len();
        say(&format!(
            "HTTP/1.1 200 OK\r\n{lines}content-length: {length}\r\n\r\n{body}"
        ))
    };
    let many = "x-many: y\r\n".repeat(1500);
    let long = |length: usize| format!("x-long: {}\r\n", "y".repeat(length));
    let ok = "expect = { text = \"ok\" }";
    let rows = [
        (head("", "ok"), ok),
        (head(&many, "ok"), ok),
        (head(&long(100_000), "ok"), ok),
        (head(&long(250_000), "ok"), ok),
        (head("set-cookie: a=b\u{1}c; path=/\r\n", "ok"), ok),
        (
            head("x-long: a\r\n  b\r\n", "ok"),
            "expect = { header_matches = { x-long = \"^a +b$\" } }",
        ),
        (head("server : x\r\n", "ok"), ok),
        (head("preload\r\n", "ok"), ok),
        (head(": empty\r\n", "ok"), ok),
        (head("x y: z\r\n", "ok"), ok),
        (
            say("HTTP/1.1 999 Denied\r\ncontent-length: 0\r\n\r\n"),
            "expect = { status = 999 }",
        ),
        (
            say("HTTP/1.1 600 Odd\r\ncontent-length: 0\r\n\r\n"),
            "expect = { status = \"6xx\" }",
        ),
    ];
    let row = |(answer, keys)| (vec![Do::Request, answer], keys, "pass", "");
    check_scripts(rows.map(row)).await;
    let more = head(&long(300_000), "ok");
    let row = (
        vec![Do::Request, more],
        ok,
        "fail protocol",
        "message head is too large",
    );
    check_scripts([row]).await;
}

#[tokio::test]
async fn pages_are_read_in_their_charset() {
    let page = |charset: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset={charset}\r\ncontent-length: {length}\r\n\r\n"
        );
        vec![Do::Request, Do::Say([head.as_bytes(), body].concat())]
    };
    let lacks = "expect = { not_matches = \"Störung|障害\" }";
    let (seen, fail) = ("matches `Störung|障害`", "fail assertion");
    check_scripts([
        (page("iso-8859-1", b"St\xf6rung"), lacks, fail, seen),
        (page("UTF-8", "Störung".as_bytes()), lacks, fail, seen),
        (page("Shift_JIS", b"\x8f\xe1\x8aQ"), lacks, fail, seen),
        (page("euc-jp", b"\xbe\xe3\xb3\xb2"), lacks, fail, seen),
        (page("iso-8859-1", b"gut"), lacks, "pass", ""),
    ])
    .await;
}
