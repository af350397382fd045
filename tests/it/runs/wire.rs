//! Steps that speak no HTTP: dialogs over TCP and TLS, and handshakes that are looked at, with
//! servers that keep to the rules and with some that do not.

mod site;

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

/// A step `look` at a handshake.
fn look(keys: &str) -> String {
    format!("[[spec.steps]]\nname = \"look\"\nuse = \"tls\"\n{keys}\n")
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

/// What each dialog came to with its server, a line each.
async fn told(rows: &[(&str, &str, &[Play], String)]) -> String {
    let ours = Authority::new("ours");
    let tls = ours.server(&["127.0.0.1"], Manner::default());
    let lines = rows.iter().map(|(what, scheme, script, step)| {
        let (trusted, tls) = (ours.trusted(""), tls.clone());
        async move {
            let server = Server::start(&[script], Some(tls)).await;
            let world = world(scheme, &server).target(&trusted);
            let told = world.run(&spec("", std::slice::from_ref(step))).await;
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

#[tokio::test]
async fn a_dialog_is_held() {
    let smtp = "{ expect = '^220 (?<host>\\S+)' }, { send = \"EHLO it\\r\\n\" }, { expect = '^250 ' }, \
                { send = \"STARTTLS\\r\\n\" }, { expect = '^220 ' }, { starttls = true }, \
                { send = \"QUIT\\r\\n\" }, { expect = '^221' }, { close = true }";
    let rows: &[(&str, &str, &[Play], String)] = &[
        ("nothing to say", "tcp", &[Hold], talk("", "")),
        (
            "lines are passed over",
            "tcp",
            &[Say("220-a\r\n220-b\n220 c\r\n"), Hold],
            talk("{ expect = '^220 c$' }", ""),
        ),
        (
            "in pieces",
            "tcp",
            &[Say("22"), Say("0 c"), Say("\r"), Say("\n"), Hold],
            talk("{ expect = '^220 c$' }", ""),
        ),
        (
            "a last line without its end",
            "tcp",
            &[Say("one\ntwo")],
            talk("{ expect = 'two' }, { close = true }", ""),
        ),
        (
            "bytes",
            "tcp",
            &[Read(8), Bytes(b"S\x00"), Hold],
            talk(
                "{ send_hex = '00000008 04d2162F' }, { expect_hex = '53 00' }",
                "",
            ),
        ),
        (
            "what comes before a close",
            "tcp",
            &[Say("bye\n\n\u{0}")],
            talk("{ close = true }", ""),
        ),
        (
            "tls at once",
            "tls",
            &[Shake, Line, Say("PONG\r\n"), Hold],
            talk("{ send = \"PING\\n\" }, { expect = 'PONG' }", ""),
        ),
        (
            "tls by a key",
            "tcp",
            &[Shake, Say("PONG\r\n")],
            talk("{ expect = 'PONG' }, { close = true }", "tls = true"),
        ),
        (
            "no tls by a key",
            "tls",
            &[Say("PONG\r\n")],
            talk("{ expect = 'PONG' }", "tls = false"),
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
            talk(smtp, ""),
        ),
    ];
    assert_snapshot!(told(rows).await, @r#"
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

#[tokio::test]
async fn how_dialogs_fail() {
    let pong = talk("{ expect = '^PONG$' }", "");
    let soon = talk("{ expect = '^PONG$' }", "timeout = \"2s\"");
    let starttls = talk("{ expect = '^go' }, { starttls = true }", "");
    let long = "x".repeat(300);
    let long: &'static str = Box::leak(format!("{long}\r\n").into_boxed_str());
    let rows: &[(&str, &str, &[Play], String)] = &[
        ("closed at once", "tcp", &[], pong.clone()),
        (
            "closed early",
            "tcp",
            &[Say("a\nPIN\u{7}G\n\r\nPO")],
            pong.clone(),
        ),
        (
            "reset",
            "tcp",
            &[Read(1), Reset],
            talk("{ send = 'a' }, { expect = '^P' }", ""),
        ),
        (
            "closed within tls",
            "tls",
            &[Shake, Say("a\n")],
            pong.clone(),
        ),
        ("nothing", "tcp", &[Hold], soon.clone()),
        (
            "something else",
            "tcp",
            &[Say("-ERR\nPI"), Hold],
            soon.clone(),
        ),
        (
            "no line",
            "tcp",
            &[Bytes(b"\x00\xffPONG"), Hold],
            soon.clone(),
        ),
        ("a long line is cut", "tcp", &[Say(long)], pong.clone()),
        (
            "no end of a line",
            "tcp",
            &[Fill("xxxxxxxxxxxxxxxx")],
            pong.clone(),
        ),
        (
            "no end of lines",
            "tcp",
            &[Fill("xxxxxxxxxxxxxxx\n")],
            talk("{ expect = '^PONG$' }", "read_limit = 100000"),
        ),
        (
            "no end before a close",
            "tcp",
            &[Fill("xxxxxxxxxxxxxxx\n")],
            talk("{ close = true }", "read_limit = 100000"),
        ),
        (
            "no close",
            "tcp",
            &[Hold],
            talk("{ close = true }", "timeout = \"2s\""),
        ),
        (
            "other bytes",
            "tcp",
            &[Say("NO"), Hold],
            talk("{ expect_hex = '53 00' }", ""),
        ),
        (
            "too few bytes",
            "tcp",
            &[Say("N")],
            talk("{ expect_hex = '53 00' }", ""),
        ),
        (
            "injected before the handshake",
            "tcp",
            &[Say("go on\r\n250 and more\r\n"), Hold],
            starttls.clone(),
        ),
        (
            "no handshake",
            "tcp",
            &[Say("go\r\n"), Read(5), Say("HTTP/1.1 400\r\n")],
            starttls.clone(),
        ),
        (
            "closed before the handshake",
            "tcp",
            &[Say("go\r\n"), Read(5)],
            starttls.clone(),
        ),
        (
            "starttls twice",
            "tls",
            &[Shake, Say("go\r\n"), Hold],
            starttls.clone(),
        ),
        (
            "nothing to capture",
            "tcp",
            &[Say("PONG\n"), Hold],
            talk(
                "{ expect = '^PONG(?<more> .*)?$', capture = { more = 'group:more' } }",
                "",
            ),
        ),
        (
            "nobody",
            "tcp",
            &[Hold],
            talk("", "address = '127.0.0.1:1'"),
        ),
        (
            "no address",
            "tcp",
            &[Hold],
            talk("", "address = '${run.name}'"),
        ),
    ];
    assert_snapshot!(told(rows).await, @r#"
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
async fn a_handshake_is_looked_at() {
    let ours = Authority::new("ours");
    let names = ["127.0.0.1", "shop.example", "*.shop.example"];
    let manner = Manner {
        years: Some((2020, 4000)),
        alpn: Some("h2"),
        ..Manner::default()
    };
    let tls = ours.server(&names, manner);
    let server = Server::start(&[&[Shake, Hold], &[Shake, Line]], Some(tls)).await;
    let keys = "expect = { version = ['1.2', '1.3'], cert_valid_for = '30d', names = ['www.shop.example', '127.0.0.1'], \
                subject = '^CN=shop$', issuer = 'CN=ours', chain = 1, cipher = '^TLS13_', alpn = 'h2' }\n\
                capture = { v = 'version', until = 'not_after', from = 'not_before', who = 'subject', by = 'issuer', \
                n = 'chain', p = 'alpn', names = 'names', left = 'days_left', print = 'fingerprint', no = 'serial', c = 'cipher' }";
    let parts = [
        look(keys),
        tell("${look.v} ${look.until} ${look.from} ${look.who} ${look.by} ${look.n} ${look.p}"),
    ];
    let told = world("tls", &server)
        .target(&ours.trusted(""))
        .run(&spec("", &parts))
        .await;
    assert_eq!(told.story, "body look: passed\nbody tell: passed\npass\n");
    assert_eq!(phases(&told), "connect tls, connect tls");
    assert_eq!(
        server.heard(),
        ["1.3 4000-01-01T00:00:00Z 2020-01-01T00:00:00Z CN=shop CN=ours 1 h2"]
    );
}

#[tokio::test]
async fn how_expectations_of_a_handshake_fail() {
    let ours = Authority::new("ours");
    let manner = Manner {
        years: Some((2020, 4000)),
        only_1_2: true,
        alpn: None,
    };
    let tls = ours.server(&["127.0.0.1", "shop.example"], manner);
    let mut story = String::new();
    for expect in [
        "version = '1.3'",
        "cipher = 'AES_512'",
        "alpn = 'h2'",
        "chain = 2",
        "cert_valid_for = '365d'",
        "names = ['shop.example', 'www.shop.example']",
        "subject = 'CN=other'",
        "issuer = 'CN=other'",
    ] {
        let server = Server::start(&[&[Shake, Hold]], Some(tls.clone())).await;
        let step = look(&format!("expect = {{ {expect} }}"));
        let told = world("tcp", &server)
            .target(&ours.trusted(""))
            .run(&spec("", &[step]))
            .await;
        story += &format!("{expect}: {}\n", first(&told));
    }
    assert_snapshot!(story, @r#"
    version = '1.3': body look: assertion: TLS is 1.2, expected 1.3
    cipher = 'AES_512': body look: assertion: the cipher is TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, expected `AES_512`
    alpn = 'h2': body look: assertion: the server does not agree to speak `h2`
    chain = 2: body look: assertion: the certificates are 1, expected 2 at least
    cert_valid_for = '365d': body look: passed
    names = ['shop.example', 'www.shop.example']: body look: assertion: the certificate is for 127.0.0.1, shop.example, expected www.shop.example
    subject = 'CN=other': body look: assertion: the subject is `CN=shop`, expected `CN=other`
    issuer = 'CN=other': body look: assertion: the issuer is `CN=ours`, expected `CN=other`
    "#);
}

#[tokio::test]
async fn a_fingerprint_pins_one_certificate() {
    let ours = Authority::new("ours");
    let tls = ours.server(&["127.0.0.1"], Manner::default());
    let scripts: &[&[Play]] = &[&[Shake, Hold], &[Shake, Line], &[Shake, Hold]];
    let server = Server::start(scripts, Some(tls)).await;
    let run = async |parts: &[String]| {
        let world = world("tls", &server).target(&ours.trusted(""));
        world.run(&spec("", parts)).await
    };
    run(&[
        look("capture = { print = 'fingerprint' }"),
        tell("${look.print}"),
    ])
    .await;
    let [print] = server.heard().try_into().unwrap();
    let print: String = print;
    // As openssl prints them.
    let pairs: Vec<_> = print
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair))
        .collect();
    let pin = pairs.join(":").to_uppercase();
    let other = "0".repeat(64);
    for (pins, expected) in [
        (
            format!("['{other}', '{pin}']"),
            "body look: passed".to_owned(),
        ),
        (
            format!("'{other}'"),
            format!("body look: assertion: the fingerprint is {print}, expected another"),
        ),
    ] {
        let told = run(&[look(&format!("expect = {{ fingerprint = {pins} }}"))]).await;
        assert_eq!(first(&told), expected);
    }
}

#[tokio::test]
async fn who_is_not_trusted_fails_the_handshake() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let here = ["127.0.0.1"].as_slice();
    let of_years = |from, to| Manner {
        years: Some((from, to)),
        ..Manner::default()
    };
    let old = Manner {
        only_1_2: true,
        ..Manner::default()
    };
    let anybody = "tls = { insecure_skip_verify = true }";
    let expired = "expect = { cert_valid_for = '1d' }";
    let mut story = String::new();
    for (what, tls, target, keys) in [
        (
            "expired",
            ours.server(here, of_years(2019, 2020)),
            ours.trusted(""),
            "",
        ),
        (
            "not yet valid",
            ours.server(here, of_years(4000, 4001)),
            ours.trusted(""),
            "",
        ),
        (
            "somebody else",
            ours.server(&["shop.example", "a.example"], Manner::default()),
            ours.trusted(""),
            "",
        ),
        (
            "a stranger's",
            other.server(here, Manner::default()),
            ours.trusted(""),
            "",
        ),
        (
            "an old version",
            ours.server(here, old),
            ours.trusted(", min_version = '1.3'"),
            "",
        ),
        (
            "an old version, looked at",
            ours.server(here, old),
            ours.trusted(""),
            "expect = { version = '1.2' }",
        ),
        (
            "asked by another name",
            ours.server(&["shop.example"], Manner::default()),
            ours.trusted(""),
            "server_name = 'shop.example'",
        ),
        (
            "expired, and nobody checks",
            ours.server(here, of_years(2019, 2020)),
            anybody.into(),
            "",
        ),
        (
            "expired, and only that is checked",
            ours.server(here, of_years(2019, 2020)),
            anybody.into(),
            expired,
        ),
        (
            "not yet valid, and only that is checked",
            ours.server(here, of_years(4000, 4001)),
            anybody.into(),
            expired,
        ),
    ] {
        let server = Server::start(&[&[Shake, Hold]], Some(tls)).await;
        let told = world("tls", &server)
            .target(&target)
            .run(&spec("", &[look(keys)]))
            .await;
        story += &format!("{what}: {}\n", first(&told));
    }
    assert_snapshot!(story, @r#"
    expired: body look: tls: no tls handshake with RIG: the certificate expired at 2020-01-01T00:00:00Z, N days ago
    not yet valid: body look: tls: no tls handshake with RIG: the certificate is not valid before 4000-01-01T00:00:00Z, in N days
    somebody else: body look: tls: no tls handshake with RIG: the certificate is for shop.example, a.example, expected 127.0.0.1
    a stranger's: body look: tls: no tls handshake with RIG: nobody who is trusted has signed the certificate
    an old version: body look: tls: no tls handshake with RIG: received fatal alert: ProtocolVersion
    an old version, looked at: body look: passed
    asked by another name: body look: passed
    expired, and nobody checks: body look: passed
    expired, and only that is checked: body look: assertion: the certificate `CN=shop` expired at 2020-01-01T00:00:00Z, N days ago
    not yet valid, and only that is checked: body look: assertion: the certificate `CN=shop` is not valid before 4000-01-01T00:00:00Z, in N days
    "#);
}

#[tokio::test]
async fn tls_is_asked_for_as_each_protocol_does_it() {
    let ours = Authority::new("ours");
    let tls = ours.server(&["127.0.0.1"], Manner::default());
    let rows: &[(&str, &str, &[Play])] = &[
        (
            "smtp",
            "",
            &[
                Say("220-a\r\n220 b\r\n"),
                Line,
                Say("250-a\r\n250 STARTTLS\r\n"),
                Line,
                Say("220 go\r\n"),
                Shake,
                Hold,
            ],
        ),
        (
            "imap",
            "",
            &[
                Say("* OK hello\r\n"),
                Line,
                Say("* BLA\r\na1 OK go\r\n"),
                Shake,
                Hold,
            ],
        ),
        (
            "pop3",
            "",
            &[Say("+OK hello\r\n"), Line, Say("+OK go\r\n"), Shake, Hold],
        ),
        (
            "ftp",
            "",
            &[Say("220 hello\r\n"), Line, Say("234 go\r\n"), Shake, Hold],
        ),
        ("postgres", "", &[Read(8), Say("S"), Shake, Hold]),
        (
            "smtp",
            "refused",
            &[
                Say("220 b\r\n"),
                Line,
                Say("250 a\r\n"),
                Line,
                Say("502 no\r\n"),
                Hold,
            ],
        ),
        ("smtp", "not at all", &[Say("554 go away\r\n"), Hold]),
        (
            "imap",
            "refused",
            &[Say("* OK hello\r\n"), Line, Say("a1 BAD\r\n"), Hold],
        ),
        (
            "pop3",
            "refused",
            &[Say("+OK hello\r\n"), Line, Say("-ERR no\r\n"), Hold],
        ),
        (
            "ftp",
            "refused",
            &[Say("220 hello\r\n"), Line, Say("500 no\r\n"), Hold],
        ),
        ("postgres", "refused", &[Read(8), Say("N"), Hold]),
        ("postgres", "injected", &[Read(8), Say("SN"), Hold]),
        (
            "smtp",
            "injected",
            &[
                Say("220 b\r\n"),
                Line,
                Say("250 a\r\n"),
                Line,
                Say("220 go\r\n250 more\r\n"),
                Hold,
            ],
        ),
        ("smtp", "another server", &[Say("SSH-2.0\r\n")]),
        ("smtp", "silent", &[Say("220-"), Hold]),
    ];
    let lines = rows.iter().map(|(protocol, what, script)| {
        let (trusted, tls) = (ours.trusted(""), tls.clone());
        async move {
            let server = Server::start(&[script], Some(tls)).await;
            let keys =
                format!("starttls = '{protocol}'\ntimeout = '2s'\ncapture = {{ v = 'version' }}");
            let told = world("tcp", &server)
                .target(&trusted)
                .run(&spec("", &[look(&keys)]))
                .await;
            let (first, phases, heard) = (first(&told), phases(&told), server.heard());
            format!("{protocol} {what}: {first} [{phases}] {heard:?}\n")
        }
    });
    assert_snapshot!(join_all(lines).await.concat(), @r#"
    smtp : body look: passed [connect tls] ["EHLO testerd", "STARTTLS"]
    imap : body look: passed [connect tls] ["a1 STARTTLS"]
    pop3 : body look: passed [connect tls] ["STLS"]
    ftp : body look: passed [connect tls] ["AUTH TLS"]
    postgres : body look: passed [connect tls] []
    smtp refused: body look: tls: no starttls over smtp: the answer is `502 no` [connect] ["EHLO testerd", "STARTTLS"]
    smtp not at all: body look: tls: no starttls over smtp: the answer is `554 go away` [connect] []
    imap refused: body look: tls: no starttls over imap: the answer is `a1 BAD` [connect] ["a1 STARTTLS"]
    pop3 refused: body look: tls: no starttls over pop3: the answer is `-ERR no` [connect] ["STLS"]
    ftp refused: body look: tls: no starttls over ftp: the answer is `500 no` [connect] ["AUTH TLS"]
    postgres refused: body look: tls: no starttls over postgres: the answer is `N` [connect] []
    postgres injected: body look: protocol: RIG said more than was asked for before the tls handshake [connect] []
    smtp injected: body look: protocol: RIG said more than was asked for before the tls handshake [connect] ["EHLO testerd", "STARTTLS"]
    smtp another server: body look: protocol: the other side closed before an answer of smtp came; one line came: `SSH-2.0` [connect] []
    smtp silent: body look: timeout: still waiting after TIME: an answer of smtp has not come; 4 bytes came without the end of a line: `220-…` [connect] []
    "#);
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
            story += &format!("{} {found} {:?}\n", finding.subject, finding.remedy);
        }
    }
    assert_snapshot!(story, @r#"
    reachable connects in … None
    reachable speaks TLS 1.3 after … None
    certificate `CN=shop`, until 4000-01-01T00:00:00Z None
    reachable cannot connect to …: Connection refused (os error 111) Some("check the endpoint, the network, and that the target runs")
    "#);
}
