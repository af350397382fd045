//! A server that does, byte for byte, what a script says, on a thread of its own: what no HTTP
//! library would let it do.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::runs::LONG;

/// What it does next on a connection; at the end it closes it.
#[derive(Debug, Clone)]
pub(crate) enum Do {
    /// Reads the head of a request.
    Request,
    /// Reads the head of a request, and goes on as is said for its method, or for several that
    /// were asked one after the other: the first row that fits.
    Asked(Vec<(&'static str, Vec<Do>)>),
    /// Answers a search with the one thing that was asked for by its name, of the id 1.
    Found,
    /// Agrees to a WebSocket.
    Upgrade,
    /// Reads what HTTP/2 begins with, and on to the end of the head of a request.
    Request2,
    /// Reads on to the end of the head of the next one.
    Next2,
    /// Reads whatever comes.
    Read,
    /// Writes this.
    Say(Vec<u8>),
    /// Writes this again and again, as fast as it is read.
    Flood(Vec<u8>),
    /// The same, each time in a record of TLS of its own.
    FloodRecords(Vec<u8>),
    /// Changes the keys of TLS again and again, as fast as that is read.
    Rekey,
    /// Writes this again and again, a hundred times a second.
    Drip(&'static str),
    /// Waits until the client leaves.
    Hold,
    /// Closes with a reset.
    Reset,
}

/// Writes a text.
pub(crate) fn say(text: &str) -> Do {
    Do::Say(text.as_bytes().to_vec())
}

/// Writes it again and again.
pub(crate) fn flood(bytes: impl Into<Vec<u8>>) -> Do {
    Do::Flood(bytes.into())
}

/// What was asked so far, on all connections.
#[derive(Default)]
struct Past {
    /// The methods, one after the other.
    methods: String,
    /// The head of the last request.
    head: String,
    /// Whether the client was flooded.
    flooded: Arc<AtomicBool>,
}

trait Stream: Read + Write {
    /// Changes the keys of TLS.
    fn rekey(&mut self) {}
}

impl Stream for TcpStream {}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn rekey(&mut self) {
        self.conn.refresh_traffic_keys().unwrap();
    }
}

/// A running server. It stops when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    flooded: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Does the same on each connection, one after the other.
    pub(crate) fn start(script: Vec<Do>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut past = Past::default();
        let flooded = Arc::clone(&past.flooded);
        let thread = std::thread::spawn(move || {
            for tcp in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                // How a connection ends is the client's affair, or was asked for.
                let _ = play(&script, &tcp.unwrap(), tls.as_ref(), &mut past);
            }
        });
        Self {
            address,
            stop,
            flooded,
            thread: Some(thread),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a client was flooded.
    pub(crate) fn has_flooded(&self) -> bool {
        self.flooded.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // It hears of that with the next connection.
        let _ = TcpStream::connect(self.address);
        let ended = self.thread.take().map(JoinHandle::join);
        let panicked = ended.is_some_and(|ended| ended.is_err());
        assert!(!panicked || std::thread::panicking(), "the server panicked");
    }
}

fn play(
    script: &[Do],
    tcp: &TcpStream,
    tls: Option<&Arc<ServerConfig>>,
    past: &mut Past,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(LONG))?;
    let mut stream: Box<dyn Stream> = match tls {
        None => Box::new(tcp.try_clone()?),
        Some(config) => {
            let connection = ServerConnection::new(Arc::clone(config)).unwrap();
            Box::new(StreamOwned::new(connection, tcp.try_clone()?))
        }
    };
    for next in script {
        if let Err(error) = next.perform(&mut *stream, tcp, past) {
            // Closing before all is read would reset, and overtake what was said, an alert say.
            let _ = hold(tcp);
            return Err(error);
        }
    }
    // The goodbye of TLS; and what the client has still said may not turn the close into a reset.
    let _ = stream.flush();
    if !matches!(script.last(), Some(Do::Reset)) {
        tcp.shutdown(std::net::Shutdown::Write)?;
        hold(tcp)?;
    }
    Ok(())
}

impl Do {
    fn perform(&self, stream: &mut dyn Stream, tcp: &TcpStream, past: &mut Past) -> io::Result<()> {
        if matches!(self, Self::Flood(_) | Self::FloodRecords(_) | Self::Rekey) {
            past.flooded.store(true, Ordering::SeqCst);
        }
        match self {
            Self::Request => read_head(stream).map(drop),
            Self::Asked(scripts) => {
                past.head = read_head(stream)?;
                let method = past.head.split(' ').next().unwrap();
                past.methods += &format!(" {method}");
                let script = scripts
                    .iter()
                    .find(|(asked, _)| past.methods.ends_with(asked));
                let (_, script) = script.unwrap_or_else(|| panic!("nobody asks so: {}", past.head));
                script
                    .iter()
                    .try_for_each(|next| next.perform(stream, tcp, past))
            }
            Self::Found => {
                let (_, name) = past.head.split_once("?name=").unwrap();
                let name = name.split('&').next().unwrap();
                let found = format!("{{\"found\":[{{\"id\":1,\"name\":\"{name}\"}}]}}");
                let length = found.len();
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{found}"
                )?;
                stream.flush()
            }
            Self::Upgrade => {
                let head = read_head(stream)?;
                let key = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("sec-websocket-key")
                        .then_some(value)
                });
                let accept = derive_accept_key(key.unwrap().as_bytes());
                write!(
                    stream,
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                     connection: upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
                )?;
                stream.flush()
            }
            Self::Request2 => {
                stream.read_exact(&mut [0; 24])?;
                read_frames(stream)
            }
            Self::Next2 => read_frames(stream),
            Self::Read => stream.read(&mut [0; 0x4000]).map(drop),
            Self::Say(bytes) => {
                stream.write_all(bytes)?;
                stream.flush()
            }
            Self::Flood(bytes) => {
                let much = bytes.repeat(1000);
                loop {
                    stream.write_all(&much)?;
                }
            }
            Self::FloodRecords(bytes) => loop {
                stream.write_all(bytes)?;
                stream.flush()?;
            },
            Self::Rekey => loop {
                stream.rekey();
                stream.flush()?;
            },
            Self::Drip(text) => {
                tcp.set_read_timeout(Some(Duration::from_millis(10)))?;
                while !has_left(tcp) {
                    stream.write_all(text.as_bytes())?;
                    stream.flush()?;
                }
                Ok(())
            }
            Self::Hold => hold(tcp),
            Self::Reset => set_socket_linger(tcp, Some(Duration::ZERO)).map_err(io::Error::from),
        }
    }
}

fn byte(stream: &mut dyn Stream) -> io::Result<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn read_head(stream: &mut dyn Stream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(byte(stream)?);
    }
    Ok(String::from_utf8(head).unwrap())
}

/// Up to and with the first frame of type HEADERS.
fn read_frames(stream: &mut dyn Stream) -> io::Result<()> {
    const HEADERS: u8 = 1;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        for _ in 0..length {
            byte(stream)?;
        }
        if head[3] == HEADERS {
            return Ok(());
        }
    }
}

/// Waits until the client leaves, which no client of a run that has ended puts off.
fn hold(mut tcp: &TcpStream) -> io::Result<()> {
    let left = io::copy(&mut tcp, &mut io::sink());
    let waits = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    assert!(!left.as_ref().is_err_and(waits), "the client has not left");
    left.map(drop)
}

/// Whether the client has closed; it says nothing more, so that this waits for a moment.
fn has_left(mut tcp: &TcpStream) -> bool {
    match tcp.read(&mut [0]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}
