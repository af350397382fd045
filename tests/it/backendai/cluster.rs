//! The stand-in as the target of trials: served on a port of its own, with faults in front of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, DATE, HOST};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use regex::Regex;
use serde_json::{Value, json};
use testerd::backendai::KeyPair;
use testerd::backendai::signing::{Signed, authorization, signature};
use testerd::client::Endpoint;
use testerd::demo::backendai::{Change, Entry, IMAGE, Pace, Setup, StandIn};
use testerd::secret::{Secret, SecretSource};
use testerd::spec::{Auth, Record, Target, TargetKind};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::rig::{Blow, Blows, Dropped, Fault, Overdue, Resettable, Switch, bend};
use crate::unwind::{ENDPOINT, INSTANCE, RUN, Thing, World};

pub(crate) const ACCESS_KEY: &str = "AKIAOPERATOROPERATOR";
pub(crate) const SECRET_KEY: &str = "the-operators-secret-key-of-40-letters-xx";
pub(crate) const EMAIL: &str = "operator@example.invalid";
pub(crate) const PASSWORD: &str = "the-operators-password";

/// The folder that model services serve from.
pub(crate) const MODEL: &str = "testerd-model";

type Router = TowerToHyperService<axum::Router>;

/// A key pair.
#[derive(Debug, Clone)]
pub(crate) struct Keys(pub(crate) String, pub(crate) String);

/// These specs, on a stand-in.
pub(crate) fn config(names: &str) -> String {
    format!(
        r#"[tester]
instance = "{INSTANCE}"
[target.cluster]
type = "backendai"
endpoint = "{ENDPOINT}"
access_key = "{ACCESS_KEY}"
secret_key = "{SECRET_KEY}"
[target.cluster.vars]
image = "{IMAGE}"
pause = "2s"
[target.web]
type = "backendai-web"
endpoint = "{ENDPOINT}"
secrets = {{ password = "{PASSWORD}" }}
[target.web.vars]
username = "{EMAIL}"
[[probe]]
name = "all"
target = "cluster"
interval = "1h"
names = ["{names}"]
[[probe]]
name = "web"
target = "web"
interval = "1h"
names = ["login"]
"#
    )
}

/// A stand-in that listens. It stops when it is dropped.
pub(crate) struct Cluster {
    addr: SocketAddr,
    pub(crate) stand_in: StandIn,
    router: Router,
    falls: Arc<Falls>,
    /// Put in before anybody came.
    seeded: OnceLock<(usize, Value)>,
    _server: JoinSet<()>,
}

/// What falls on requests, and what was seen of them.
#[derive(Default)]
struct Falls {
    blows: Mutex<Blows>,
    overdue: Overdue,
    seen: Mutex<Vec<Seen>>,
    arrivals: watch::Sender<()>,
    /// The kind of each request, and its connection.
    switches: Mutex<Vec<(String, Switch)>>,
}

/// What a request said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: String,
    /// Who signed it; empty if nobody did.
    pub(crate) access_key: String,
    /// As the manager's log has it.
    pub(crate) id: String,
    /// The trace that it belongs to.
    pub(crate) trace: String,
}

impl Seen {
    fn new(kind: String, headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default()
        };
        let credential = text("authorization").split("credential=").nth(1);
        let access_key = credential.and_then(|pair| pair.split(':').next());
        Self {
            kind,
            access_key: access_key.unwrap_or_default().to_owned(),
            id: text("x-backendai-requestid").to_owned(),
            trace: text("traceparent")
                .split('-')
                .nth(1)
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

impl Cluster {
    /// Starts one, inside the runtime that uses it.
    pub(crate) fn open(setup: impl FnOnce(&mut Setup)) -> Self {
        let mut with = Setup {
            email: EMAIL.into(),
            password: PASSWORD.into(),
            access_key: ACCESS_KEY.into(),
            secret_key: SECRET_KEY.into(),
            pace: Pace::CALM,
            templates_fail: false,
        };
        setup(&mut with);
        let stand_in = StandIn::new(&with);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let router = TowerToHyperService::new(stand_in.router());
        let falls = Arc::<Falls>::default();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, router.clone(), falls.clone()));
        Self {
            addr,
            stand_in,
            router,
            falls,
            seeded: OnceLock::new(),
            _server: server,
        }
    }

    /// Everything that is there, logins too.
    pub(crate) fn everything(&self) -> Vec<Thing> {
        self.stand_in.alive().into_iter().map(thing).collect()
    }

    /// What requests of this kind, or whose kind begins so, said of themselves.
    pub(crate) fn seen(&self, kind: &str) -> Vec<Seen> {
        let mut seen = self.falls.seen.lock().unwrap().clone();
        seen.retain(|one| one.kind.starts_with(kind));
        seen
    }

    /// When the next request of this kind comes.
    pub(crate) async fn comes(&self, kind: &str) {
        let before = self.seen(kind).len();
        let mut arrivals = self.falls.arrivals.subscribe();
        let comes = async {
            while self.seen(kind).len() == before {
                arrivals.changed().await.unwrap();
            }
        };
        let came = tokio::time::timeout(Self::LONG, comes).await;
        assert!(came.is_ok(), "no request `{kind}` came");
    }

    /// Lets requests of this kind fail, until it is healed.
    pub(crate) fn fail(&self, kind: &str, fault: Fault) {
        self.falls.blows.lock().unwrap().fail(kind, fault);
    }

    /// Lets something fall on the `nth` request of this kind from now on, counted from 0.
    pub(crate) fn fail_once(&self, kind: &str, nth: usize, fault: Fault) {
        self.falls.blows.lock().unwrap().snare(kind, nth, fault);
    }

    /// Cuts the connections of the requests of this kind that came so far, in the middle of what
    /// is told over them next.
    pub(crate) fn cut(&self, kind: &str) {
        let switches = self.falls.switches.lock().unwrap();
        let meant = switches.iter().filter(|(one, _)| one.starts_with(kind));
        meant.for_each(|(_, switch)| switch.cut());
    }

    /// Asks behind the faults, as the operator.
    pub(crate) async fn ask(&self, call: &str, body: Value) -> Value {
        let keys = Keys(ACCESS_KEY.into(), SECRET_KEY.into());
        self.ask_as(&keys, call, body).await
    }

    /// The same as somebody else.
    pub(crate) async fn ask_as(&self, keys: &Keys, call: &str, body: Value) -> Value {
        let (method, path) = call.split_once(' ').unwrap();
        let host = self.addr.to_string();
        let date = humantime::format_rfc3339_seconds(testerd::text::wall_clock()).to_string();
        let day: String = date[..10].split('-').collect();
        let version = "v9.20250722";
        let signature = signature(
            &keys.1,
            Signed {
                method,
                path,
                date: &date,
                day: &day,
                host: &host,
                content_type: "application/json",
                version,
            },
        );
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .header(DATE, date)
            .header(CONTENT_TYPE, "application/json")
            .header("X-BackendAI-Version", version)
            .header("Authorization", authorization(&keys.0, &signature))
            .body(Body::from(body.to_string()))
            .unwrap();
        let answer = self.router.call(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        assert!(status.is_success(), "{call} is answered {status}: {body}");
        body
    }

    /// The GraphQL answer to the operator.
    pub(crate) async fn query(&self, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables });
        let mut answer = self.ask("POST /admin/gql", body).await;
        assert_eq!(answer["errors"], Value::Null, "{query}");
        answer["data"].take()
    }

    /// What the operator is, and may.
    async fn operator(&self) -> Value {
        let query = "query { user { uuid email username status role domain_name full_name \
                     resource_policy groups { id name } } \
                     keypairs(email: \"operator@example.invalid\") { access_key is_active } }";
        self.query(query, json!({})).await
    }

    /// A folder with a model, which some specs need, and things of others.
    pub(crate) async fn furnish(&self) {
        self.ask(
            "POST /folders",
            json!({ "name": MODEL, "usage_mode": "model" }),
        )
        .await;
    }

    fn changes(&self, wanted: Change) -> Vec<Thing> {
        let before = self.seeded.get().map_or(0, |(before, _)| *before);
        let history = self.stand_in.history();
        let since = history.into_iter().skip(before);
        since
            .filter(|(change, _)| *change == wanted)
            .map(|(_, entry)| thing(entry))
            .collect()
    }
}

fn thing(Entry { kind, name, id }: Entry) -> Thing {
    Thing { kind, name, id }
}

impl World for Cluster {
    const PATIENT: Duration = Duration::from_secs(30);
    const SETTLE: Duration = Duration::from_secs(5);
    const LONG: Duration = Duration::from_secs(900);
    const AT_ONCE: usize = 64;

    fn start() -> Self {
        Self::open(|_| {})
    }

    /// With nothing remembered of the manager.
    fn target(&self, declared: &Target) -> Target {
        let auth: Arc<dyn Auth> = match declared.kind {
            TargetKind::BackendAi => Arc::new(KeyPair::new(
                SecretSource::Literal(Secret::new(ACCESS_KEY)),
                SecretSource::Literal(Secret::new(SECRET_KEY)),
            )),
            _ => declared.auth.clone(),
        };
        Target {
            endpoint: Endpoint::parse(&format!("http://{}", self.addr)).unwrap(),
            auth,
            ..declared.clone()
        }
    }

    fn seed_strangers(&self) -> BoxFuture<'_, BTreeSet<Thing>> {
        async move {
            self.furnish().await;
            let session = |name: String| {
                json!({
                    "name": name, "image": IMAGE, "enqueueOnly": true,
                    "config": { "resources": { "cpu": "1", "mem": "512m" } },
                })
            };
            let name = format!("{INSTANCE}-{RUN}-");
            self.ask("POST /session", session(name)).await;
            let before = format!("{INSTANCE}-01j0000000abb");
            self.ask("POST /session", session(before.clone())).await;
            self.ask("POST /folders", json!({ "name": before })).await;
            let group =
                "mutation ($name: String!) { create_group(name: $name, props: {}) { ok msg } }";
            self.query(group, json!({ "name": before })).await;
            let seeded = (self.stand_in.history().len(), self.operator().await);
            self.seeded.set(seeded).unwrap();
            World::alive(self).into_iter().collect()
        }
        .boxed()
    }

    /// A login that nobody ended ends by its age; there is nothing to undo it with.
    fn alive(&self) -> Vec<Thing> {
        let mut alive = self.everything();
        alive.retain(|thing| thing.kind != "login");
        alive
    }

    fn created(&self) -> Vec<Thing> {
        self.changes(Change::Made)
    }

    fn deleted(&self) -> Vec<Thing> {
        self.changes(Change::Removed)
    }

    fn log(&self) -> Vec<String> {
        self.falls.blows.lock().unwrap().log().to_vec()
    }

    fn strike(&self, nth: usize, blow: Blow) {
        self.falls.blows.lock().unwrap().strike(nth, blow);
    }

    fn heal(&self) {
        self.falls.blows.lock().unwrap().heal();
    }

    fn take_away<'a>(&'a self, thing: &'a Thing) -> BoxFuture<'a, ()> {
        let id = &thing.id;
        let call = match thing.kind {
            "template" => format!("DELETE /template/session/{id}"),
            "service" => format!("DELETE /services/{id}"),
            other => panic!("a person knows no way to take away a {other}"),
        };
        async move { drop(self.ask(&call, json!({})).await) }.boxed()
    }

    fn is_owed_by(&self, thing: &Thing, record: &Record) -> bool {
        let said = |key: &str| record.undo.arguments[key].as_str().unwrap_or_default();
        let id = record.captures.get("id").and_then(Value::as_str);
        let plain = |id: &str| id.replace('-', "");
        let is_it = id.is_some_and(|id| plain(id) == plain(&thing.id));
        let is_named = |kind| thing.kind == kind && (is_it || said("name") == thing.name);
        match record.undo.kind.as_str() {
            "backendai.session" => is_named("session"),
            "backendai.folder" => is_named("folder"),
            "backendai.template" => is_named("template"),
            "backendai.group" => is_named("project"),
            "backendai.service" => {
                let is_its = thing.kind == "session" && thing.name.starts_with(said("name"));
                is_its || is_named("service")
            }
            "backendai.user" => thing.kind == "user" && said("email") == thing.name,
            "backendai.member" => thing.kind == "member" && said("group") == thing.id,
            "backendai.invitation" => thing.kind == "invitation" && said("email") == thing.name,
            _ => false,
        }
    }

    fn intact(&self) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let before = self.seeded.get().map(|(_, operator)| operator);
            let now = self.operator().await;
            if before.is_none_or(|before| *before == now) {
                return Ok(());
            }
            Err(format!("the operator was {before:?} and is {now}"))
        }
        .boxed()
    }
}

async fn serve(listener: std::net::TcpListener, router: Router, falls: Arc<Falls>) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = connections.join_next() => ended.unwrap(),
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(converse(stream, router.clone(), falls.clone()));
            }
        }
    }
}

async fn converse(stream: TcpStream, router: Router, falls: Arc<Falls>) {
    stream.set_nodelay(true).unwrap();
    let switch = Switch::default();
    let io = TokioIo::new(Resettable::new(stream, switch.clone()));
    let service =
        service_fn(|request| answer(request, router.clone(), falls.clone(), switch.clone()));
    // How a conversation ends is the client's affair, or was asked for.
    let conversation = http1::Builder::new().serve_connection(io, service);
    let _ = conversation.with_upgrades().await;
}

async fn answer(
    request: Request<Incoming>,
    router: Router,
    falls: Arc<Falls>,
    switch: Switch,
) -> Result<Response<Body>, Dropped> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
    let kind = kind(&head, &body);
    let fault = falls.blows.lock().unwrap().fall(&kind);
    let carried = (kind.clone(), switch.clone());
    falls.switches.lock().unwrap().push(carried);
    let seen = Seen::new(kind, &head.headers);
    falls.seen.lock().unwrap().push(seen);
    falls.arrivals.send_replace(());
    let overdue = falls.overdue.due();
    let effect = || {
        let request = Request::from_parts(head.clone(), Body::from(body.clone()));
        let done = router.call(request);
        async move { done.await.map_err(|never| match never {}) }
    };
    let answered = match fault {
        None => effect().await,
        Some(fault) => bend(fault, effect, &switch, &falls.overdue).await,
    };
    for late in overdue {
        late.await;
    }
    answered
}

static ID: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$").unwrap());
static FIELD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\s*(query|mutation)?[^{]*\{\s*(\w+)").unwrap());

/// `METHOD path` with what names one thing of many left out; a GraphQL call by its first field.
fn kind(head: &Parts, body: &Bytes) -> String {
    let path = head.uri.path();
    if path.ends_with("/admin/gql") {
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        let query = sent["query"].as_str().unwrap_or_default();
        if let Some(found) = FIELD.captures(query) {
            let what = found.get(1).map_or("query", |what| what.as_str());
            return format!("{what} {}", &found[2]);
        }
    }
    let part = |part: &str| match part {
        part if ID.is_match(part) => "{id}".to_owned(),
        part if part.starts_with(INSTANCE) => "{name}".to_owned(),
        part => part.to_owned(),
    };
    let parts: Vec<_> = path.split('/').map(part).collect();
    format!("{} {}", head.method, parts.join("/"))
}

/// Whether a request of this kind may change something.
pub(crate) fn changes(kind: &str) -> bool {
    let (what, _) = kind.split_once(' ').unwrap_or((kind, ""));
    !["GET", "HEAD", "query"].contains(&what)
}
