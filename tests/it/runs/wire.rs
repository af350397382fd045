//! Steps that speak no HTTP: dialogs over TCP and TLS, and handshakes that are looked at
//! (`handshakes`), with servers that keep to the rules and with some that do not.

mod handshakes;
mod site;

use std::fmt::Write;

use futures_util::future::join_all;
use insta::assert_snapshot;
use regex::Regex;
use testerd::catalog;
use testerd::client::Client;
use testerd::event::Event;
use testerd::runner;
use testerd::text::Params;

use self::site::Play::{Bytes, Fill, Hold, Line, Read, Reset, Say, Shake};
use self::site::{Authority, Manner, Play, Server};
use super::{Told, World, spec};

/// A step `talk` with this dialog.
fn talk(dialog: &str, keys: &str) -> String {
    format!("[[spec.steps]]\nname = \"talk\"\nuse = \"tcp\"\ndialog = [{dialog}]\n{keys}\n")
}

/// A step `tell` that says what was captured.
fn tell(value: &str) -> String {
    format!(
        "[[spec.steps]]\nname = \"tell\"\nuse = \"tcp\"\ndialog = [{{ send = \"{value}\\n\" }}, {{ close = true }}]\n"
    )
}

fn world(scheme: &str, server: &Server) -> World {
    let endpoint = format!("{scheme}://{}", server.address);
    World::new().at(&endpoint).speaking("tcp")
}

/// The first line of a story, without what differs from day to day.
fn first(told: &Told) -> String {
    let days = Regex::new(r"\d+ days").unwrap();
    let line = told.story.lines().next().unwrap();
    days.replace_all(line, "N days").into_owned()
}

fn phases(told: &Told) -> String {
    let steps = told.events.iter().filter_map(|event| match event {
        Event::StepFinished { end, .. } => Some(&end.http),
        _ => None,
    });
    let attempts = steps.flatten().map(|phases| {
        let taken = phases.taken().map(|(name, _)| name);
        taken.collect::<Vec<_>>().join(" ")
    });
    attempts.collect::<Vec<_>>().join(", ")
}

/// What is looked at, the target's scheme, its script, and the dialog and more keys of the step.
type Row = (
    &'static str,
    &'static str,
    &'static [Play],
    &'static str,
    &'static str,
);

/// What each dialog came to with its server, a line each.
async fn told(rows: &[Row]) -> String {
    let ours = Authority::new("ours");
    let tls = ours.server(&["127.0.0.1"], Manner::default());
    let lines = rows.iter().map(|(what, scheme, script, dialog, keys)| {
        let (trusted, tls) = (ours.trusted(""), tls.clone());
        async move {
            let server = Server::start(&[script], Some(tls)).await;
            let world = world(scheme, &server).target(&trusted);
            let told = world.run(&spec("", &[talk(dialog, keys)])).await;
            format!("{what}: {} [{}]\n", first(&told), phases(&told))
        }
    });
    join_all(lines).await.concat()
}

/// Runs a spec on a mail server that is well.
pub(crate) async fn with_mail(specs: &str) -> Told {
    let ours = Authority::new("ours");
    let tls = ours.server(&["127.0.0.1"], Manner::default());
    let script: &[Play] = &[
        Say("220 mail.example ESMTP\r\n"),
        Line,
        Say("250-mail.example\r\n250 STARTTLS\r\n"),
        Line,
        Say("220 go\r\n"),
        Shake,
        Line,
        Say("221 bye\r\n"),
    ];
    let server = Server::start(&[script], Some(tls)).await;
    world("tcp", &server)
        .target(&ours.trusted(""))
        .run(specs)
        .await
}

const SMTP: &str = "{ expect = '^220 (?<host>\\S+)' }, { send = \"EHLO it\\r\\n\" }, { expect = '^250 ' }, \
                { send = \"STARTTLS\\r\\n\" }, { expect = '^220 ' }, { starttls = true }, \
                { send = \"QUIT\\r\\n\" }, { expect = '^221' }, { close = true }";

const HELD: &[Row] = &[
    ("nothing to say", "tcp", &[Hold], "", ""),
    (
        "lines are passed over",
        "tcp",
        &[Say("220-a\r\n220-b\n220 c\r\n"), Hold],
        "{ expect = '^220 c$' }",
        "",
    ),
    (
        "in pieces",
        "tcp",
        &[Say("22"), Say("0 c"), Say("\r"), Say("\n"), Hold],
        "{ expect = '^220 c$' }",
        "",
    ),
    (
        "a last line without its end",
        "tcp",
        &[Say("one\ntwo")],
        "{ expect = 'two' }, { close = true }",
        "",
    ),
    (
        "bytes",
        "tcp",
        &[Read(8), Bytes(b"S\x00"), Hold],
        "{ send_hex = '00000008 04d2162F' }, { expect_hex = '53 00' }",
        "",
    ),
    (
        "what comes before a close",
        "tcp",
        &[Say("bye\n\n\u{0}")],
        "{ close = true }",
        "",
    ),
    (
        "tls at once",
        "tls",
        &[Shake, Line, Say("PONG\r\n"), Hold],
        "{ send = \"PING\\n\" }, { expect = 'PONG' }",
        "",
    ),
    (
        "tls by a key",
        "tcp",
        &[Shake, Say("PONG\r\n")],
        "{ expect = 'PONG' }, { close = true }",
        "tls = true",
    ),
    (
        "no tls by a key",
        "tls",
        &[Say("PONG\r\n")],
        "{ expect = 'PONG' }",
        "tls = false",
    ),
    (
        "starttls",
        "tcp",
        &[
            Say("220 mail\r\n"),
            Line,
            Say("250-mail\r\n250 STARTTLS\r\n"),
            Line,
            Say("220 go\r\n"),
            Shake,
            Line,
            Say("221 bye\r\n"),
        ],
        SMTP,
        "",
    ),
];

#[tokio::test]
async fn a_dialog_is_held() {
    assert_snapshot!(told(HELD).await, @r#"
    nothing to say: body talk: passed [connect]
    lines are passed over: body talk: passed [connect]
    in pieces: body talk: passed [connect]
    a last line without its end: body talk: passed [connect]
    bytes: body talk: passed [connect]
    what comes before a close: body talk: passed [connect]
    tls at once: body talk: passed [connect tls]
    tls by a key: body talk: passed [connect tls]
    no tls by a key: body talk: passed [connect]
    starttls: body talk: passed [connect tls]
    "#);
}

const PONG: &str = "{ expect = '^PONG$' }";

const STARTTLS: &str = "{ expect = '^go' }, { starttls = true }";

const FAILING: &[Row] = &[
    ("closed at once", "tcp", &[], PONG, ""),
    (
        "closed early",
        "tcp",
        &[Say("a\nPIN\u{7}G\n\r\nPO")],
        PONG,
        "",
    ),
    (
        "reset",
        "tcp",
        &[Read(1), Reset],
        "{ send = 'a' }, { expect = '^P' }",
        "",
    ),
    ("closed within tls", "tls", &[Shake, Say("a\n")], PONG, ""),
    ("nothing", "tcp", &[Hold], PONG, "timeout = \"2s\""),
    (
        "something else",
        "tcp",
        &[Say("-ERR\nPI"), Hold],
        PONG,
        "timeout = \"2s\"",
    ),
    (
        "no line",
        "tcp",
        &[Bytes(b"\x00\xffPONG"), Hold],
        PONG,
        "timeout = \"2s\"",
    ),
    (
        "a long line is cut",
        "tcp",
        &[Bytes(&[b'x'; 300]), Say("\r\n")],
        PONG,
        "",
    ),
    (
        "no end of a line",
        "tcp",
        &[Fill("xxxxxxxxxxxxxxxx")],
        PONG,
        "",
    ),
    (
        "no end of lines",
        "tcp",
        &[Fill("xxxxxxxxxxxxxxx\n")],
        "{ expect = '^PONG$' }",
        "read_limit = 100000",
    ),
    (
        "no end before a close",
        "tcp",
        &[Fill("xxxxxxxxxxxxxxx\n")],
        "{ close = true }",
        "read_limit = 100000",
    ),
    (
        "no close",
        "tcp",
        &[Hold],
        "{ close = true }",
        "timeout = \"2s\"",
    ),
    (
        "other bytes",
        "tcp",
        &[Say("NO"), Hold],
        "{ expect_hex = '53 00' }",
        "",
    ),
    (
        "too few bytes",
        "tcp",
        &[Say("N")],
        "{ expect_hex = '53 00' }",
        "",
    ),
    (
        "injected before the handshake",
        "tcp",
        &[Say("go on\r\n250 and more\r\n"), Hold],
        STARTTLS,
        "",
    ),
    (
        "no handshake",
        "tcp",
        &[Say("go\r\n"), Read(5), Say("HTTP/1.1 400\r\n")],
        STARTTLS,
        "",
    ),
    (
        "closed before the handshake",
        "tcp",
        &[Say("go\r\n"), Read(5)],
        STARTTLS,
        "",
    ),
    (
        "starttls twice",
        "tls",
        &[Shake, Say("go\r\n"), Hold],
        STARTTLS,
        "",
    ),
    (
        "nothing to capture",
        "tcp",
        &[Say("PONG\n"), Hold],
        "{ expect = '^PONG(?<more> .*)?$', capture = { more = 'group:more' } }",
        "",
    ),
    ("nobody", "tcp", &[Hold], "", "address = '127.0.0.1:1'"),
    ("no address", "tcp", &[Hold], "", "address = '${run.name}'"),
];

#[tokio::test]
async fn how_dialogs_fail() {
    assert_snapshot!(told(FAILING).await, @r#"
    closed at once: body talk: protocol: the other side closed before a line that matches `^PONG$` came; nothing came [connect]
    closed early: body talk: protocol: the other side closed before a line that matches `^PONG$` came; 3 lines came, the last: ``; then 2 bytes came without the end of a line: `PO…` [connect]
    reset: body talk: protocol: the connection to RIG broke off: Connection reset by peer (os error 104); nothing came [connect]
    closed within tls: body talk: protocol: the other side closed before a line that matches `^PONG$` came; one line came: `a` [connect tls]
    nothing: body talk: timeout: still waiting after TIME: a line that matches `^PONG$` has not come; nothing came [connect]
    something else: body talk: timeout: still waiting after TIME: a line that matches `^PONG$` has not come; one line came: `-ERR`; then 2 bytes came without the end of a line: `PI…` [connect]
    no line: body talk: timeout: still waiting after TIME: a line that matches `^PONG$` has not come; 6 bytes came without the end of a line: `��PONG…` [connect]
    a long line is cut: body talk: protocol: the other side closed before a line that matches `^PONG$` came; one line came: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…` [connect]
    no end of a line: body talk: protocol: a line from RIG is longer than 65536 bytes [connect]
    no end of lines: body talk: protocol: what came from RIG is longer than 100000 bytes [connect]
    no end before a close: body talk: protocol: what came from RIG is longer than 100000 bytes [connect]
    no close: body talk: timeout: still waiting after TIME: the other side has not closed [connect]
    other bytes: body talk: assertion: the bytes are 4e 4f, expected 53 00 [connect]
    too few bytes: body talk: protocol: the other side closed after 1 of 2 bytes [connect]
    injected before the handshake: body talk: protocol: RIG said more than was asked for before the tls handshake [connect]
    no handshake: body talk: tls: no tls handshake with RIG: received corrupt message of type InvalidContentType [connect tls]
    closed before the handshake: body talk: tls: no tls handshake with RIG: tls handshake eof [connect tls]
    starttls twice: body talk: input: `starttls` comes where TLS is spoken already: set `tls = false` [connect tls]
    nothing to capture: body talk: capture: the line that matches has nothing for the capture `more` [connect]
    nobody: body talk: connect: cannot connect to RIG: Connection refused (os error 111) [connect]
    no address: body talk: input: `address` is no host and port: the port is missing: write "mail.example:25" []
    "#);
}

#[tokio::test]
async fn what_a_line_has_is_kept() {
    let dialog = "{ expect = '^220 (?<host>\\S+) (?<kind>\\S+)', capture = { host = 'group:host', \
                  kind = { from = 'group:kind' }, all = 'line' } }";
    let server = Server::start(&[&[Say("220 mail ESMTP hello\r\n")], &[Line]], None).await;
    let parts = [
        talk(dialog, ""),
        tell("${talk.host} ${talk.kind} ${talk.all} ${run.name}"),
    ];
    let told = world("tcp", &server).run(&spec("", &parts)).await;
    assert_eq!(told.story, "body talk: passed\nbody tell: passed\npass\n");
    assert_eq!(server.heard(), ["mail ESMTP 220 mail ESMTP hello it-0001"]);
}

#[tokio::test]
async fn what_is_kept_as_a_secret_is_not_told() {
    let dialog = "{ expect = '^token (?<token>.*)', capture = { token = { from = 'group:token', \
                  secret = true } } }, { expect = '^PONG$' }";
    let script: &[Play] = &[Say("token hush-hush\nhello hush-hush\nhush-hu")];
    let server = Server::start(&[script], None).await;
    let told = world("tcp", &server)
        .run(&spec("", &[talk(dialog, "")]))
        .await;
    assert!(
        !format!("{:?}", told.events).contains("hush"),
        "{}",
        told.story
    );
    assert_snapshot!(first(&told), @r#"body talk: protocol: the other side closed before a line that matches `^PONG$` came; one line came: `hello [secret]`; then 7 bytes came without the end of a line: `[secret]…`"#);
}

#[tokio::test]
async fn another_address_is_reached_without_what_is_the_targets_own() {
    let ours = Authority::new("ours");
    let tls = ours.server(&["127.0.0.1"], Manner::default());
    let server = Server::start(&[&[Shake, Hold]], Some(tls)).await;
    // Whoever shook hands as the target would ask for its name.
    let trusted = ours.trusted(", server_name = 'shop.example'");
    let at = server.address;
    for (scheme, key, expected) in [
        ("tcp", "tls = true", "passed"),
        // Another address is in the clear until it is told otherwise.
        ("tls", "", "passed"),
        (
            "tls",
            "tls = true\nserver_name = 'shop.example'",
            "tls: no tls handshake with RIG: the certificate is for 127.0.0.1, expected shop.example",
        ),
    ] {
        let world = World::new()
            .at(&format!("{scheme}://127.0.0.1:1"))
            .speaking("tcp");
        let step = talk("", &format!("address = '{at}'\n{key}"));
        let told = world.target(&trusted).run(&spec("", &[step])).await;
        assert_eq!(first(&told), format!("body talk: {expected}"), "{key}");
    }
}

#[tokio::test]
async fn an_http_target_may_be_asked_too() {
    let server = Server::start(&[&[Line, Say("HTTP/1.0 204 No Content\r\n\r\n")]], None).await;
    let world = World::new().at(&format!("http://{}/base", server.address));
    let step = talk(
        "{ send = \"GET / HTTP/1.0\\r\\n\\r\\n\" }, { expect = '^HTTP/1.0 204' }",
        "",
    );
    let told = world.run(&spec("", &[step])).await;
    assert_eq!(told.story, "body talk: passed\npass\n");
}

#[tokio::test]
async fn a_target_is_examined_by_connecting() {
    let ours = Authority::new("ours");
    let tls = ours.server(
        &["127.0.0.1"],
        Manner {
            years: Some((2020, 4000)),
            ..Manner::default()
        },
    );
    let server = Server::start(&[&[Hold], &[Shake, Hold]], Some(tls)).await;
    let time = Regex::new(r"\d+(\.\d+)?(ns|µs|ms|s)\b|127\.0\.0\.1:\d+").unwrap();
    let mut story = String::new();
    for endpoint in [
        format!("tcp://{}", server.address),
        format!("tls://{}", server.address),
        "tcp://127.0.0.1:1".to_owned(),
    ] {
        let world = World::new()
            .at(&endpoint)
            .speaking("tcp")
            .target(&ours.trusted(""));
        let scheduled = &world.compile(&spec("", &[talk("", "")]))[0];
        let target = &scheduled.target;
        let examiner = catalog::examiner(target.kind);
        for finding in runner::examine(target, &Params::default(), examiner, &Client::new()).await {
            let found = time.replace_all(&finding.found, "…").into_owned();
            let _ = writeln!(story, "{} {found} {:?}", finding.subject, finding.remedy);
        }
    }
    assert_snapshot!(story, @r#"
    reachable connects in … None
    reachable speaks TLS 1.3 after … None
    certificate `CN=shop`, until 4000-01-01T00:00:00Z None
    reachable cannot connect to …: Connection refused (os error 111) Some("check the endpoint, the network, and that the target runs")
    "#);
}
