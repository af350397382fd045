//! A server that holds each answer for as long as it is told to, and keeps books of how long it
//! really did: from the end of the request to the moment before it writes the first byte.
//!
//! A thread for each connection, whose sleep ends within tens of microseconds: a runtime's timer ticks
//! in milliseconds.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How long each request was held, by the trace that it belongs to.
pub(crate) type Books = Arc<Mutex<HashMap<String, Duration>>>;

/// A running target; it ends with the process.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) books: Books,
}

impl Target {
    /// Starts on a free port. `GET /?ms=N&bytes=M` is answered after N ms, with M bytes.
    pub(crate) fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let books = Books::default();
        let kept = Arc::clone(&books);
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                let (tcp, tls, books) = (tcp.unwrap(), tls.clone(), Arc::clone(&kept));
                // How a connection ends is the client's affair.
                std::thread::spawn(move || converse(tcp, tls, &books));
            }
        });
        Self { address, books }
    }
}

fn converse(tcp: TcpStream, tls: Option<Arc<ServerConfig>>, books: &Books) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    match tls {
        None => answer(BufReader::new(tcp), books),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            answer(BufReader::new(StreamOwned::new(connection, tcp)), books)
        }
    }
}

/// Answers one request after another.
#[expect(
    clippy::disallowed_methods,
    reason = "a pause of a thread that has nothing else to do"
)]
fn answer<S: Read + Write>(mut stream: BufReader<S>, books: &Books) -> io::Result<()> {
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let complete = Instant::now();
        let number = |name: &str| {
            let path = head.split(' ').nth(1)?;
            let value = path
                .split(['?', '&'])
                .find_map(|part| part.strip_prefix(name))?;
            value.parse::<u64>().ok()
        };
        let length = number("bytes=").unwrap_or(0);
        let body = "x".repeat(usize::try_from(length).unwrap());
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        std::thread::sleep(Duration::from_millis(number("ms=").unwrap_or(0)));
        // Entered before it is written: who has the answer may look it up.
        if let Some(trace) = trace(&head) {
            let mut books = books.lock().unwrap();
            books.insert(trace.to_owned(), complete.elapsed());
        }
        stream.get_mut().write_all(text.as_bytes())?;
        stream.get_mut().flush()?;
    }
}

/// The trace id of `traceparent: 00-ID-…`.
fn trace(head: &str) -> Option<&str> {
    let value = head.split("traceparent: ").nth(1)?;
    value.split('-').nth(1)
}
