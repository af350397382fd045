//! Ways in which a proxy makes no tunnel. The target behind it is well in every row.

use super::{Do, Row, SHORT, Server, closed, say};
use crate::runs::{World, spec};

async fn check(kind: &str, script: Vec<Do>, login: &str, verdict: &str, says: &str) {
    let server = Server::start(script, None);
    let proxy = format!(
        "proxy = {{ url = \"{kind}://{}\"{login} }}\n",
        server.address()
    );
    let row = Row {
        world: World::new().at("https://shop.example").target(&proxy),
        keys: SHORT,
        verdict,
        says,
    };
    row.check().await;
}

#[tokio::test]
async fn proxies_that_are_not_there() {
    for kind in ["http", "socks5"] {
        let proxy = format!("proxy = \"{kind}://{}\"\n", closed());
        let row = Row {
            world: World::new().target(&proxy),
            keys: "",
            verdict: "fail connect",
            says: "Connection refused",
        };
        row.check().await;
        let unknown = format!("proxy = \"{kind}://does-not-exist.invalid:1080\"\n");
        let row = Row {
            world: World::new().target(&unknown),
            keys: "",
            verdict: "fail dns",
            says: "cannot resolve does-not-exist.invalid:1080",
        };
        row.check().await;
    }
}

#[tokio::test]
async fn http_proxies_that_refuse() {
    let answer = |status: &str| say(&format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
    let connect = "fail connect";
    for (script, verdict, says) in [
        (
            vec![answer("407 Proxy Authentication Required")],
            connect,
            "it answers CONNECT with status 407",
        ),
        (vec![answer("403 Forbidden")], connect, "status 403"),
        (vec![answer("502 Bad Gateway")], connect, "status 502"),
        (vec![Do::Reset], connect, "Connection reset by peer"),
        (vec![], connect, "no way through the proxy"),
        (
            vec![say("SSH-2.0-OpenSSH\r\n")],
            connect,
            "no way through the proxy",
        ),
        (
            vec![say("HTTP/1.1 200 OK\r\n\r\nhello")],
            "fail tls",
            "no tls handshake",
        ),
        // Heads as some proxies write them: the tunnel is there, its end is the next to fail.
        (
            vec![say("HTTP/1.0 200 OK\n\n")],
            "fail tls",
            "no tls handshake",
        ),
        (
            vec![say("HTTP/1.1 200\r\n\r\n")],
            "fail tls",
            "no tls handshake",
        ),
        (
            vec![say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")],
            "fail tls",
            "no tls handshake",
        ),
        (
            vec![say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")],
            "fail tls",
            "no tls handshake",
        ),
        (vec![Do::Hold], "fail timeout", "no end within 300"),
    ] {
        check(
            "http",
            [vec![Do::Request], script].concat(),
            "",
            verdict,
            says,
        )
        .await;
    }
}

/// What goes in the clear is asked of the proxy itself: many allow tunnels to port 443 only.
#[tokio::test]
async fn http_proxies_that_are_asked_in_the_targets_place() {
    let answer = |status: &str| {
        vec![
            Do::Request,
            say(&format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok")),
        ]
    };
    for (script, keys, verdict, says) in [
        (answer("200 OK"), "expect = { text = \"ok\" }", "pass", ""),
        (answer("502 Bad Gateway"), "", "fail status", "502"),
        (answer("403 Forbidden"), "", "fail auth", "403"),
        (
            answer("407 Proxy Authentication Required"),
            "",
            "fail connect",
            "it wants another login: status 407",
        ),
        // Another HTTP than the proxy's goes through a tunnel.
        (
            answer("403 Forbidden"),
            "http_version = \"2\"",
            "fail connect",
            "it answers CONNECT with status 403",
        ),
    ] {
        let server = Server::start(script, None);
        let proxy = format!("proxy = \"http://{}\"\n", server.address());
        let row = Row {
            world: World::new().target(&proxy),
            keys,
            verdict,
            says,
        };
        row.check().await;
    }
}

#[tokio::test]
async fn socks_proxies_that_refuse() {
    let say = |bytes: &[u8]| Do::Say(bytes.to_vec());
    // RFC 1928: no login is needed, or none is good enough; and what came of the request.
    let (welcome, nothing) = (say(&[5, 0]), say(&[5, 255]));
    let reply = |code: u8| say(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
    let refused = |code: u8| vec![Do::Read, welcome.clone(), Do::Read, reply(code)];
    let login = ", username = \"u\", password = \"p\"";
    let connect = "fail connect";
    for (script, login, verdict, says) in [
        (
            vec![Do::Read, nothing],
            "",
            connect,
            "No acceptable auth method",
        ),
        (refused(1), "", connect, "General SOCKS server failure"),
        (refused(2), "", connect, "Connection not allowed by ruleset"),
        (refused(3), "", connect, "Network unreachable"),
        (refused(4), "", connect, "Host unreachable"),
        (refused(5), "", connect, "Connection refused"),
        (refused(6), "", connect, "TTL expired"),
        (
            vec![Do::Read, say(&[4, 0])],
            "",
            connect,
            "no way through the proxy",
        ),
        (
            vec![Do::Read, Do::Reset],
            "",
            connect,
            "Connection reset by peer",
        ),
        (vec![Do::Read], "", connect, "no way through the proxy"),
        (vec![Do::Hold], "", "fail timeout", "no end within 300"),
        (
            vec![Do::Read, say(&[5, 2]), Do::Read, say(&[1, 1])],
            login,
            connect,
            "Password auth failure",
        ),
    ] {
        check("socks5", script, login, verdict, says).await;
    }
}

/// Whoever speaks first behind a proxy may be read together with the proxy's own answer.
#[tokio::test]
async fn what_comes_right_behind_the_tunnel_is_not_lost() {
    let script = vec![
        Do::Request,
        say("HTTP/1.1 200 OK\r\n\r\n220 mail\r\n"),
        Do::Hold,
    ];
    let server = Server::start(script, None);
    let world = World::new().target(&format!("proxy = \"http://{}\"\n", server.address()));
    let talk =
        "[[spec.steps]]\nname = \"talk\"\nuse = \"tcp\"\ndialog = [{ expect = '^220 mail' }]\n";
    let told = world.run(&spec("", &[talk.to_owned()])).await;
    assert_eq!(told.story, "body talk: passed\npass\n");
}
