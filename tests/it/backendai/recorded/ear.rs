//! An ear at the stand-in: a port of its own, and everything that is answered there.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use testerd::demo::backendai::StandIn;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::call;

type Router = TowerToHyperService<axum::Router>;

/// One answer.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) front: &'static str,
    pub(super) call: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// The body as it was sent; after an upgrade everything on the connection, the head first.
    pub(super) said: Vec<u8>,
}

impl Answer {
    /// The media type.
    pub(super) fn kind(&self) -> Option<&str> {
        let kind = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        kind.split(';').next()
    }

    /// The value of a JSON body.
    pub(super) fn json(&self) -> Option<Value> {
        let is_json = self.kind().is_some_and(|kind| kind.contains("json"));
        let value = is_json.then(|| serde_json::from_slice(&self.said).ok());
        value.flatten()
    }
}

/// Something that is being said.
type Saying = Arc<Mutex<Answer>>;

fn hear(saying: &Saying, piece: &[u8]) {
    saying.lock().unwrap().said.extend_from_slice(piece);
}

/// All answers, as they came.
type Heard = Arc<Mutex<Vec<Saying>>>;

/// Listens until it is dropped.
pub(super) struct Ear {
    addr: SocketAddr,
    heard: Heard,
    _server: JoinSet<()>,
}

impl Ear {
    pub(super) async fn at(stand_in: &StandIn) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let router = TowerToHyperService::new(stand_in.router());
        let heard = Heard::default();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, router, heard.clone()));
        Self {
            addr,
            heard,
            _server: server,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(super) fn heard(&self) -> Vec<Answer> {
        let heard = self.heard.lock().unwrap();
        heard
            .iter()
            .map(|saying| saying.lock().unwrap().clone())
            .collect()
    }
}

async fn serve(listener: TcpListener, router: Router, heard: Heard) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = connections.join_next() => ended.unwrap(),
            Ok((stream, _)) = listener.accept() => {
                stream.set_nodelay(true).unwrap();
                connections.spawn(converse(stream, router.clone(), heard.clone()));
            }
        }
    }
}

async fn converse(stream: TcpStream, router: Router, heard: Heard) {
    let wire = Wire::default();
    let io = TokioIo::new(Tapped {
        stream,
        wire: wire.clone(),
    });
    let service = service_fn(|request| answer(request, &router, &heard, &wire));
    // How a connection ends is the client's affair.
    let connection = http1::Builder::new().serve_connection(io, service);
    let _ = connection.with_upgrades().await;
}

async fn answer(
    request: Request<Incoming>,
    router: &Router,
    heard: &Heard,
    wire: &Wire,
) -> Result<Response<Body>, hyper::Error> {
    let (asked, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = asked.uri.path_and_query().map_or("/", |path| path.as_str());
    let (front, path) = call::front(path);
    let call = call::call(asked.method.as_str(), path, &body);
    let request = Request::from_parts(asked, Body::from(body));
    let (told, body) = match router.call(request).await {
        Ok(answer) => answer.into_parts(),
        Err(never) => match never {},
    };
    let saying = Arc::new(Mutex::new(Answer {
        front,
        call,
        status: told.status.as_u16(),
        headers: told.headers.clone(),
        said: Vec::new(),
    }));
    heard.lock().unwrap().push(saying.clone());
    if told.status == StatusCode::SWITCHING_PROTOCOLS {
        *wire.lock().unwrap() = Some(saying.clone());
    }
    let body = Body::new(body.map_frame(move |piece| note(&saying, piece)));
    Ok(Response::from_parts(told, body))
}

fn note(saying: &Saying, piece: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(data) = piece.data_ref() {
        hear(saying, data);
    }
    piece
}

/// Who hears what is written on a connection from now on.
type Wire = Arc<Mutex<Option<Saying>>>;

/// A stream whose written bytes are heard.
struct Tapped {
    stream: TcpStream,
    wire: Wire,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let (Poll::Ready(Ok(length)), Some(saying)) = (&written, &*self.wire.lock().unwrap()) {
            hear(saying, &buf[..*length]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
