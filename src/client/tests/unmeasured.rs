//! Requests that nobody measures: they go the same way as the others, and fail for the same reasons.

use std::path::PathBuf;
use std::sync::Arc;

use super::server::{Authority, Play, Server};
use super::*;
use crate::client::{Family, Proxy, ProxyKind, Transport, Trust};
use crate::outcome::{Fault, Reason};
use crate::secret::{Secret, SecretSource};

async fn fetch(url: &str, transport: Transport) -> Result<Answer, ClientError> {
    let endpoint = Endpoint::parse(url).unwrap().via(Arc::new(transport));
    let mut request = Request::new(Method::POST, "/token?a=1");
    request.body = "b=2".into();
    request.body_limit = 5;
    request
        .headers
        .insert("x-own", HeaderValue::from_static("c"));
    let client = Client::new();
    client.fetch(&endpoint, request).boxed().await
}

fn straight() -> Transport {
    Transport::default()
}

fn reason(error: &ClientError) -> Fault {
    error.fault()
}

#[tokio::test]
async fn it_is_sent_as_it_is_and_followed_nowhere() {
    let sent_on = Say("HTTP/1.1 307 No\r\nlocation: /next\r\ncontent-length: 0\r\n\r\n");
    let mut server = Server::start([Asked, sent_on]).await;
    let answer = fetch(&format!("{}/v1", server.url()), straight()).await;
    assert_eq!(answer.unwrap().status, 307);
    let heard = server.heard().await;
    let (begin, body) = heard.split_once("\r\n\r\n").unwrap();
    assert!(
        begin.starts_with("POST /v1/token?a=1 HTTP/1.1\r\n"),
        "{heard}"
    );
    assert!(begin.contains("x-own: c"), "{heard}");
    assert_eq!(body, "b=2");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn it_trusts_whom_the_transport_trusts() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, authority: &Authority| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        path
    };
    let trusting = |ca_file: PathBuf| {
        let ca_file = Some(ca_file);
        let trust = Trust {
            ca_file,
            ..Trust::default()
        };
        Transport::new(None, None, trust)
    };
    let server = Server::serve([Asked, HELLO], Some(ours.server("127.0.0.1"))).await;
    let answer = fetch(&server.url(), trusting(file("ours", &ours)))
        .await
        .unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
    let stranger = fetch(&server.url(), trusting(file("theirs", &theirs))).await;
    assert_eq!(reason(&stranger.unwrap_err()), Reason::Tls.into());
    let none = fetch(&server.url(), trusting(folder.path().join("none"))).await;
    assert_eq!(
        reason(&none.unwrap_err()),
        crate::outcome::Cause::Secret.into()
    );
}

#[tokio::test]
async fn it_goes_through_the_transports_proxy() {
    let through = |server: &Server, kind, login| {
        let endpoint = Endpoint::parse(&format!("http://{}", server.address)).unwrap();
        let endpoint = Box::new(endpoint);
        let proxy = Proxy {
            kind,
            endpoint,
            login,
        };
        Transport::new(None, Some(proxy), Trust::default())
    };
    let login = || {
        let password = SecretSource::Literal(Secret::new("p w"));
        Some(("user".to_owned(), password))
    };
    let mut proxy = Server::start([Asked, HELLO]).await;
    let answer = fetch(
        "http://login.example",
        through(&proxy, ProxyKind::Http, login()),
    )
    .await;
    assert_eq!(answer.unwrap().body, "hello");
    let heard = proxy.heard().await;
    let line = "POST http://login.example/token?a=1 HTTP/1.1\r\n";
    assert!(heard.starts_with(line), "{heard}");
    assert!(
        heard.contains("proxy-authorization: Basic dXNlcjpwIHc="),
        "{heard}"
    );

    let no = Say("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n");
    let mut proxy = Server::start([Asked, no]).await;
    let refused = fetch(
        "https://login.example",
        through(&proxy, ProxyKind::Http, None),
    )
    .await;
    assert_eq!(reason(&refused.unwrap_err()), Reason::Connect.into());
    let heard = proxy.heard().await;
    assert!(
        heard.starts_with("CONNECT login.example:443 HTTP/1.1\r\n"),
        "{heard}"
    );

    let mut proxy = Server::start([
        Play::Read,
        Play::Bytes(&[5, 0]),
        Play::Read,
        Play::Bytes(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        Asked,
        HELLO,
    ])
    .await;
    let answer = fetch(
        "http://login.example",
        through(&proxy, ProxyKind::Socks5, None),
    )
    .await;
    assert_eq!(answer.unwrap().body, "hello");
    let heard = proxy.heard().await;
    assert!(
        heard.contains("\u{d}login.example\0P"),
        "by name: {heard:?}"
    );
}

#[tokio::test]
async fn its_failures_have_the_same_reasons() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    assert_eq!(
        reason(&fetch(&url, straight()).await.unwrap_err()),
        Reason::Connect.into()
    );
    let unknown = fetch("http://no-such-name.invalid", straight()).await;
    assert_eq!(reason(&unknown.unwrap_err()), Reason::Dns.into());
    for script in [
        vec![Asked],
        vec![Asked, Reset],
        vec![Asked, Say("SSH-2.0-x\r\n")],
        vec![
            Asked,
            Say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel"),
        ],
        vec![
            Asked,
            Say("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello!"),
        ],
    ] {
        let server = Server::start(&script[..]).await;
        let broken = fetch(&server.url(), straight()).await.unwrap_err();
        assert_eq!(reason(&broken), Reason::Protocol.into(), "{script:?}");
    }
}

#[tokio::test]
async fn it_takes_addresses_of_the_family_only() {
    let server = Server::on("127.0.0.1", [Asked, HELLO], None).await;
    let url = format!("http://localhost:{}", server.address.port());
    let of = |family| Transport::new(Some(family), None, Trust::default());
    fetch(&url, of(Family::V4)).await.unwrap();
    // The name may have such an address; the server does not listen there.
    let other = reason(&fetch(&url, of(Family::V6)).await.unwrap_err());
    assert!([Reason::Dns.into(), Reason::Connect.into()].contains(&other));
    assert_eq!(server.accepted(), 1);
}
