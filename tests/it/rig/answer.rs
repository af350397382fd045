//! What each path answers, and how a fault bends it.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::bend::{Dropped, reset};
use super::body::Answer;
use super::books::{Books, Item, Shared, mix};
use super::conn::Switch;
use super::faults::Fault;
use super::{bend, shop, streams};

const LARGEST_UPLOAD: usize = 1 << 20;
const LARGEST_DOWNLOAD: u64 = 1 << 30;
const CHAIN_STEPS: u64 = 4;
const TOKEN_KEY: u64 = 0x5eed_0f70_6b65_6e73;

type Answered = bend::Answered<Answer>;

/// A request that has been read.
pub(super) struct Asked {
    pub(super) head: Parts,
    body: Bytes,
    at: Instant,
    pub(super) nth: usize,
}

impl Asked {
    /// A parameter of the query, decoded.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        parameter(self.head.uri.query(), name)
    }

    /// Every parameter of this name, decoded.
    pub(super) fn bytes(&self, name: &str) -> Vec<Vec<u8>> {
        let pairs = self.head.uri.query().unwrap_or_default().split('&');
        let values = pairs.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        values
            .map(|value| percent_decode_str(value).collect())
            .collect()
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        let given = self.get(name);
        given.map_or(default, |text| text.parse().unwrap_or(default))
    }

    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Enters the request into the books and answers it, or doesn't.
pub(super) async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    switch: Switch,
) -> Answered {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let id = parameter(head.uri.query(), "id");
    let arrival = shared
        .enter(|books| books.arrived(head.method.as_str(), head.uri.path(), id.as_deref(), at));
    let Ok(body) = Limited::new(body, LARGEST_UPLOAD).collect().await else {
        return Ok(refuse(StatusCode::PAYLOAD_TOO_LARGE, "body too large"));
    };
    let asked = Asked {
        head,
        body: body.to_bytes(),
        at,
        nth: arrival.nth,
    };
    let overdue = shared.overdue.due();
    let asked = Arc::new(asked);
    let answered = match arrival.fault {
        None => effect(&asked, &shared, &switch).await,
        Some(Fault::LateEffect(after)) => late(asked, after, shared, switch).await,
        Some(fault) => {
            let effect = || {
                let (asked, shared, switch) = (asked.clone(), shared.clone(), switch.clone());
                async move { effect(&asked, &shared, &switch).await }
            };
            bend::bend(fault, effect, &switch, &shared.overdue).await
        }
    };
    for late in overdue {
        late.await;
    }
    answered
}

/// Not part of the connection, which ends when the client loses patience.
async fn late(asked: Arc<Asked>, after: Duration, shared: Arc<Shared>, switch: Switch) -> Answered {
    let (tell, told) = oneshot::channel();
    let later = Arc::clone(&shared);
    shared.late.lock().unwrap().spawn(async move {
        tokio::time::sleep(after).await;
        let answer = effect(&asked, &later, &switch).await;
        later.enter(|books| books.to_come -= 1);
        let _ = tell.send(answer);
    });
    told.await.unwrap_or(Err(Dropped))
}

/// What the request does when nothing is out of order.
async fn effect(asked: &Asked, shared: &Shared, switch: &Switch) -> Answered {
    let path = asked.head.uri.path();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    Ok(match segments.as_slice() {
        ["ok"] => ok(),
        ["delay"] => {
            let wanted = Duration::from_millis(asked.number("ms", 0));
            tokio::time::sleep_until((asked.at + wanted).into()).await;
            ok()
        }
        ["hang"] => pending().await,
        ["reset"] => return reset(switch),
        ["close"] => return Err(Dropped),
        ["status", code] => status(code.parse().unwrap_or(404)),
        ["flaky"] => {
            let p = asked.get("p").map_or(0.5, |p| p.parse().unwrap_or(0.5));
            let fails = shared.enter(Books::roll) < p;
            if fails { status(500) } else { ok() }
        }
        ["ready-after"] => {
            let ready = asked.nth as u64 > asked.number("n", 1);
            json(StatusCode::OK, &json!({ "ready": ready }))
        }
        ["fail-first"] => {
            if asked.nth as u64 > asked.number("n", 1) {
                ok()
            } else {
                status(500)
            }
        }
        ["big"] => {
            let bytes = asked.number("bytes", 1 << 20).min(LARGEST_DOWNLOAD);
            Response::new(Answer::fill(bytes, asked.get("endless").is_none()))
        }
        ["slowbody"] => {
            let gap = Duration::from_millis(asked.number("ms", 100));
            let (bytes, chunks) = (asked.number("bytes", 16), asked.number("chunks", 10));
            Response::new(Answer::trickle(bytes, chunks, gap))
        }
        ["events"] => streams::events(asked),
        ["websocket"] => streams::websocket(asked, shared, switch),
        ["cookie"] => streams::cookie(asked),
        ["badjson"] => with_type(Response::new(Answer::whole("{\"ok\":tru"))),
        ["redirect"] => redirect(asked),
        ["json"] => echo(asked),
        ["chain", step] => chain(asked, step.parse().unwrap_or(0), shared),
        ["items"] => items(asked, shared),
        ["items", id] => one_item(asked, id.parse().unwrap_or(0), shared),
        other => shop::serve(asked, other, shared)
            .unwrap_or_else(|| refuse(StatusCode::NOT_FOUND, "no such path")),
    })
}

fn redirect(asked: &Asked) -> Response<Answer> {
    let to = match (asked.get("loop").is_some(), asked.number("n", 1)) {
        (true, _) => "/redirect?loop=1".to_owned(),
        (false, 0 | 1) => "/ok".to_owned(),
        (false, left) => format!("/redirect?n={}", left - 1),
    };
    let mut response = Response::new(Answer::whole(""));
    *response.status_mut() = StatusCode::FOUND;
    let to = HeaderValue::from_str(&to).unwrap();
    response.headers_mut().insert(LOCATION, to);
    response
}

/// What was sent, so that a test sees what a client made of its spec.
fn echo(asked: &Asked) -> Response<Answer> {
    let Some(sent) = asked.json() else {
        return refuse(StatusCode::BAD_REQUEST, "the body is not json");
    };
    let text = |value: &HeaderValue| Value::from(String::from_utf8_lossy(value.as_bytes()));
    let headers = asked.head.headers.iter();
    let headers: serde_json::Map<_, _> = headers
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect();
    json(StatusCode::OK, &json!({ "echo": sent, "headers": headers }))
}

/// Steps 2 to 4 need the token of the step before.
fn chain(asked: &Asked, step: u64, shared: &Shared) -> Response<Answer> {
    if !(1..=CHAIN_STEPS).contains(&step) {
        return refuse(StatusCode::NOT_FOUND, "no such step");
    }
    let given = asked.head.headers.get("x-token");
    let given = given.and_then(|value| value.to_str().ok().map(str::to_owned));
    let chain = match given.or_else(|| asked.get("token")) {
        _ if step == 1 => Some(shared.enter(Books::number)),
        Some(token) => chain_of(&token, step - 1),
        None => None,
    };
    let Some(chain) = chain else {
        return refuse(StatusCode::FORBIDDEN, "not the token of the step before");
    };
    let answer = json!({ "step": step, "token": token(chain, step) });
    json(StatusCode::OK, &answer)
}

/// `<chain>-<step>-<check>`: the rig need keep nothing to know its own.
fn token(chain: u64, step: u64) -> String {
    let check = mix(mix(chain ^ TOKEN_KEY).wrapping_add(step));
    format!("{chain:x}-{step}-{check:016x}")
}

fn chain_of(given: &str, step: u64) -> Option<u64> {
    let chain = u64::from_str_radix(given.split('-').next()?, 16).ok()?;
    (token(chain, step) == given).then_some(chain)
}

fn items(asked: &Asked, shared: &Shared) -> Response<Answer> {
    match asked.head.method {
        Method::POST => {
            let sent = asked.json().unwrap_or_default();
            match sent["name"].as_str() {
                Some(name) if !name.is_empty() => {
                    let item = shared.enter(|books| books.create(name));
                    json(StatusCode::CREATED, &shown(&item))
                }
                _ => refuse(StatusCode::BAD_REQUEST, "an item needs a name"),
            }
        }
        Method::GET => {
            let prefix = asked.get("name").unwrap_or_default();
            let (mut found, lies) = {
                let books = shared.books();
                (books.find(&prefix), books.lies)
            };
            let (page, size) = (
                asked.number("page", 1).max(1),
                lies.page.unwrap_or(usize::MAX),
            );
            if lies.page.is_some() {
                // So that what was just made is on the last one.
                found.reverse();
            }
            let before = usize::try_from(page - 1).unwrap().saturating_mul(size);
            let shown = found.iter().skip(before).take(size);
            let shown = shown.map(|item| json!({ "id": item.id, "name": lies.name(&item.name) }));
            let mut answer = json!({ "found": shown.collect::<Value>() });
            if before.saturating_add(size) < found.len() {
                answer["next"] = format!("/items?name={prefix}&page={}", page + 1).into();
            }
            json(StatusCode::OK, &answer)
        }
        _ => refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST"),
    }
}

fn one_item(asked: &Asked, id: u64, shared: &Shared) -> Response<Answer> {
    let gone = || refuse(StatusCode::NOT_FOUND, "no such item");
    match asked.head.method {
        Method::GET => {
            let item = shared.books().item(id);
            item.map_or_else(gone, |item| json(StatusCode::OK, &shown(&item)))
        }
        Method::DELETE if shared.enter(|books| books.delete(id)) => status(204),
        Method::DELETE => gone(),
        _ => refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET and DELETE"),
    }
}

fn shown(item: &Item) -> Value {
    json!({ "id": item.id, "name": item.name, "price": 100 + item.id })
}

fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let value = query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

fn ok() -> Response<Answer> {
    json(StatusCode::OK, &json!({ "ok": true }))
}

pub(super) fn status(code: u16) -> Response<Answer> {
    bend::status(code)
}

pub(super) fn refuse(status: StatusCode, why: &str) -> Response<Answer> {
    bend::refuse(status, why)
}

pub(super) fn json(status: StatusCode, value: &Value) -> Response<Answer> {
    let mut response = with_type(Response::new(Answer::whole(value.to_string())));
    *response.status_mut() = status;
    response
}

fn with_type(mut response: Response<Answer>) -> Response<Answer> {
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
