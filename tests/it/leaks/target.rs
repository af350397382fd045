//! A target that knows our secrets and says them back, in every form and in every place.
//!
//! `/say/N/F/PLACE` says secret N in form F; `/login/N/F/…` is malformed around it. It is written
//! by hand, because what it says is not always HTTP as libraries write it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::forms::FORMS;

/// Where the beginning of a long body is cut off.
const EXCERPT: usize = 200;

/// Starts it; it ends with the test. Returns its address.
pub(super) fn start(secrets: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let secrets = Arc::new(secrets);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let secrets = Arc::clone(&secrets);
            // Who hangs up has heard enough.
            std::thread::spawn(move || stream.and_then(|stream| converse(&stream, &secrets)));
        }
    });
    format!("127.0.0.1:{}", address.port())
}

/// What was asked: path, and what an upgrade needs.
fn hear(stream: &TcpStream) -> std::io::Result<(String, String)> {
    let mut reader = BufReader::new(stream);
    let (mut path, mut key, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        if path.is_empty() {
            line.split(' ')
                .nth(1)
                .unwrap_or_default()
                .clone_into(&mut path);
        }
        if let Some((name, value)) = line.split_once(':') {
            match &*name.to_ascii_lowercase() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "sec-websocket-key" => value.trim().clone_into(&mut key),
                _ => {}
            }
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    Ok((path, key))
}

fn converse(mut stream: &TcpStream, secrets: &[String]) -> std::io::Result<()> {
    let (path, key) = hear(stream)?;
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<_> = path.split('/').skip(1).collect();
    let number = |at: usize| parts.get(at).and_then(|part| part.parse::<usize>().ok());
    let (Some(nth), Some(form)) = (number(1), number(2)) else {
        return answer(stream, "200 OK", "", b"ok");
    };
    let said = FORMS[form].1(&secrets[nth]);
    let place = parts.get(3).copied().unwrap_or_default();
    match place {
        "status" => answer(stream, "500 No", "", &said),
        "header" => answer(stream, "200 OK", header("x-echo", &said), b"ok"),
        "redirect" => {
            let to = [b"/gone/?x=".as_slice(), &said].concat();
            answer(stream, "302 Found", header("location", &to), b"")
        }
        "away" => {
            let to = [b"nowhere://x/".as_slice(), &said].concat();
            answer(stream, "302 Found", header("location", &to), b"")
        }
        "cut" => {
            let before = EXCERPT - said.len().min(EXCERPT) / 2;
            let body = [&vec![b'-'; before], &*said, &vec![b'-'; 300]].concat();
            answer(stream, "200 OK", "", &body)
        }
        "chunks" => {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
            stream.write_all(head.as_bytes())?;
            for part in said.chunks(said.len() / 2 + 1) {
                write!(stream, "{:x}\r\n", part.len())?;
                stream.write_all(part)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\n\r\n")
        }
        "graphql" => {
            let text = String::from_utf8_lossy(&said).into_owned();
            let body = serde_json::json!({ "data": null, "errors": [{ "message": text }] });
            answer(stream, "200 OK", "", body.to_string().as_bytes())
        }
        "sse" => {
            let said: Vec<u8> = said
                .into_iter()
                .filter(|byte| !b"\r\n".contains(byte))
                .collect();
            let events = [b"event: x\ndata: {\"a\":\"".as_slice(), &said, b"\"}\n\n"].concat();
            answer(
                stream,
                "200 OK",
                "content-type: text/event-stream\r\n",
                &events,
            )
        }
        "websocket" => websocket(stream, &key, &said),
        _ => login(stream, place, &secrets[nth], &said),
    }
}

fn websocket(mut stream: &TcpStream, key: &str, said: &[u8]) -> std::io::Result<()> {
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Go\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let text = String::from_utf8_lossy(said).into_owned();
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    stream.write_all(&[&[0x81, 126], &length, text.as_bytes()].concat())?;
    // A close whose reason says it too.
    let reason = if text.len() > 120 { "" } else { &text };
    let reason = reason.as_bytes();
    let length = u8::try_from(reason.len() + 2).unwrap();
    stream.write_all(&[&[0x88, length], &1011_u16.to_be_bytes(), reason].concat())
}

/// What logins and token endpoints say.
fn login(stream: &TcpStream, place: &str, secret: &str, said: &[u8]) -> std::io::Result<()> {
    match place {
        // Tokens of a login, in answers that are none.
        "token" => answer(stream, "200 OK", "", &token(secret)),
        "broken" => answer(
            stream,
            "200 OK",
            "",
            &[b"{\"token\": \"".as_slice(), said].concat(),
        ),
        "elsewhere" => answer(
            stream,
            "200 OK",
            "",
            &[b"{\"key\": \"".as_slice(), said, b"\"}"].concat(),
        ),
        "unkind" => answer(stream, "418 No", "", said),
        // What a token endpoint says.
        "oauth" => {
            let text = String::from_utf8_lossy(said).into_owned();
            let body = serde_json::json!({ "error": "invalid_client", "error_description": text });
            answer(
                stream,
                "401 No",
                "content-type: application/json\r\n",
                body.to_string().as_bytes(),
            )
        }
        "granted" => {
            let body = serde_json::json!({ "access_token": secret, "token_type": "Bearer" });
            answer(
                stream,
                "200 OK",
                "content-type: application/json\r\n",
                body.to_string().as_bytes(),
            )
        }
        "cookie" => {
            let cookie = format!("set-cookie: session={secret}; Path=/\r\n");
            answer(stream, "200 OK", &cookie, b"{}")
        }
        _ => answer(stream, "200 OK", "", said),
    }
}

/// What a login gives, and a thing that has it.
fn token(secret: &str) -> Vec<u8> {
    serde_json::json!({ "id": 7, "token": secret, "found": [] })
        .to_string()
        .into()
}

/// A line of a head, if its bytes can stand in one.
fn header(name: &str, value: &[u8]) -> Vec<u8> {
    let value: Vec<u8> = value
        .iter()
        .copied()
        .filter(|byte| *byte >= 32 && *byte != 127)
        .collect();
    [name.as_bytes(), b": ", &value, b"\r\n"].concat()
}

fn answer(
    mut stream: &TcpStream,
    status: &str,
    headers: impl AsRef<[u8]>,
    body: &[u8],
) -> std::io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n");
    stream.write_all(&[head.as_bytes(), headers.as_ref(), b"\r\n", body].concat())
}
