//! Handshakes and certificates that are as they should be, and those that are not.

use std::fmt::Write;

use futures_util::future::join_all;
use insta::assert_snapshot;

use super::site::Play::{Hold, Line, Read, Say, Shake};
use super::site::{Authority, Manner, Play, Server};
use super::{first, phases, tell, world};
use crate::runs::spec;

/// A step `look` at a handshake.
fn look(keys: &str) -> String {
    format!("[[spec.steps]]\nname = \"look\"\nuse = \"tls\"\n{keys}\n")
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
        let _ = writeln!(story, "{expect}: {}", first(&told));
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

const HERE: &[&str] = &["127.0.0.1"];

const EXPIRED: Manner = Manner {
    years: Some((2019, 2020)),
    only_1_2: false,
    alpn: None,
};

const EARLY: Manner = Manner {
    years: Some((4000, 4001)),
    ..EXPIRED
};

const GOOD: Manner = Manner {
    years: None,
    ..EXPIRED
};

const OLD: Manner = Manner {
    only_1_2: true,
    ..GOOD
};

/// Whom a target trusts: ours, ours by TLS 1.3 alone, or anybody.
const OURS: &str = "";
const OURS_1_3: &str = ", min_version = '1.3'";
const ANYBODY: &str = "tls = { insecure_skip_verify = true }";

/// What is looked at, names and manner of the server, whom the target trusts, and keys of the step.
const TRUST: &[(&str, &[&str], Manner, &str, &str)] = &[
    ("expired", HERE, EXPIRED, OURS, ""),
    ("not yet valid", HERE, EARLY, OURS, ""),
    (
        "somebody else",
        &["shop.example", "a.example"],
        GOOD,
        OURS,
        "",
    ),
    ("a stranger's", HERE, GOOD, OURS, ""),
    ("an old version", HERE, OLD, OURS_1_3, ""),
    (
        "an old version, looked at",
        HERE,
        OLD,
        OURS,
        "expect = { version = '1.2' }",
    ),
    (
        "asked by another name",
        &["shop.example"],
        GOOD,
        OURS,
        "server_name = 'shop.example'",
    ),
    ("expired, and nobody checks", HERE, EXPIRED, ANYBODY, ""),
    (
        "expired, and only that is checked",
        HERE,
        EXPIRED,
        ANYBODY,
        "expect = { cert_valid_for = '1d' }",
    ),
    (
        "not yet valid, and only that is checked",
        HERE,
        EARLY,
        ANYBODY,
        "expect = { cert_valid_for = '1d' }",
    ),
];

#[tokio::test]
async fn who_is_not_trusted_fails_the_handshake() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let mut story = String::new();
    for (what, names, manner, trusts, keys) in TRUST {
        let signer = if *what == "a stranger's" {
            &other
        } else {
            &ours
        };
        let tls = signer.server(names, *manner);
        let server = Server::start(&[&[Shake, Hold]], Some(tls)).await;
        let target = match *trusts {
            ANYBODY => ANYBODY.to_owned(),
            more => ours.trusted(more),
        };
        let world = world("tls", &server).target(&target);
        let told = world.run(&spec("", &[look(keys)])).await;
        let _ = writeln!(story, "{what}: {}", first(&told));
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

/// A protocol, what its server does, and how.
const ASKED: &[(&str, &str, &[Play])] = &[
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

#[tokio::test]
async fn tls_is_asked_for_as_each_protocol_does_it() {
    let ours = Authority::new("ours");
    let tls = ours.server(&["127.0.0.1"], Manner::default());
    let lines = ASKED.iter().map(|(protocol, what, script)| {
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
