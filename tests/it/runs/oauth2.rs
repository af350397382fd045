//! OAuth2 client credentials: the token endpoint and the target are one server of our own, which
//! counts. Where time has to pass, the server moves the clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use testerd::catalog;
use testerd::client::Client;
use testerd::event::Event;
use testerd::runner;
use testerd::spec::Scheduled;
use testerd::text::Params;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{advance, pause, resume};

use super::{Told, World, make, spec, step};

const SECRET: &str = "hush+hush/%äh";

/// What the token endpoint does.
#[derive(Clone, Default)]
enum Way {
    /// Gives a token that lives for 100 s.
    #[default]
    Gives,
    /// The same, 5 s later.
    Slow,
    /// Answers with this.
    Says(u16, String),
    /// Nothing ever.
    Hangs,
}

#[derive(Default)]
struct Login {
    way: Mutex<Way>,
    /// Everything that was asked of the token endpoint.
    asked: Mutex<Vec<(HeaderMap, String)>>,
    arrived: Notify,
    /// Whether the newest token is refused.
    revoked: Mutex<bool>,
}

impl Login {
    fn behave(&self, way: Way) {
        *self.way.lock().unwrap() = way;
    }

    fn fetches(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The newest token.
    fn token(&self) -> String {
        format!("t0ken-{}-t0ken", self.fetches())
    }
}

/// Lets time pass for everybody here.
async fn pass(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

async fn token(State(login): State<Arc<Login>>, headers: HeaderMap, body: String) -> Response {
    login.asked.lock().unwrap().push((headers, body));
    login.arrived.notify_one();
    let way = login.way.lock().unwrap().clone();
    match way {
        Way::Says(status, body) => {
            let status = StatusCode::from_u16(status).unwrap();
            return (status, [(LOCATION, "/elsewhere")], body).into_response();
        }
        Way::Hangs => std::future::pending::<()>().await,
        Way::Slow => pass(Duration::from_secs(5)).await,
        Way::Gives => {}
    }
    *login.revoked.lock().unwrap() = false;
    let token = login.token();
    let more = "\"token_type\":\"Bearer\",\"expires_in\":100";
    format!("{{\"access_token\":\"{token}\",{more}}}").into_response()
}

/// The target: it takes the newest token, and says what it was shown. `/later` comes 95 s later.
async fn api(State(login): State<Arc<Login>>, request: Request) -> Response {
    let path = request.uri().path();
    let shown = request.headers().get(AUTHORIZATION);
    let shown = shown.map_or("nothing", |value| value.to_str().unwrap());
    let good = shown == format!("Bearer {}", login.token()) && !*login.revoked.lock().unwrap();
    let said = format!("{{\"id\":1,\"shown\":\"{shown}\",\"found\":[]}}");
    if path == "/later" {
        pass(Duration::from_secs(95)).await;
    }
    let status = match (good, request.method().as_str()) {
        (false, _) => StatusCode::UNAUTHORIZED,
        (true, "DELETE") => StatusCode::NO_CONTENT,
        (true, _) => StatusCode::OK,
    };
    (status, [(CONTENT_TYPE, "application/json")], said).into_response()
}

/// The server, a world whose target it is, and where the secret lies.
struct Setup {
    login: Arc<Login>,
    endpoint: String,
    folder: tempfile::TempDir,
    _serving: JoinSet<()>,
}

impl Setup {
    async fn new() -> Self {
        let login = Arc::new(Login::default());
        let router = Router::new()
            .route("/token", post(token))
            .fallback(any(api))
            .with_state(login.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
        Self {
            login,
            endpoint,
            folder,
            _serving: serving,
        }
    }

    /// A world whose target asks for its tokens here, with more keys.
    fn world(&self, keys: &str) -> World {
        self.world_at(&format!("{}/token", self.endpoint), "secret", keys)
    }

    fn world_at(&self, token_url: &str, secret: &str, keys: &str) -> World {
        let secret = self.folder.path().join(secret);
        World::new().at(&self.endpoint).target(&format!(
            "auth.oauth2 = {{ token_url = \"{token_url}\", client_id = \"me\", \
             client_secret = {{ file = \"{}\" }} {keys} }}",
            secret.display()
        ))
    }
}

fn look() -> String {
    spec("", &[step("look", "/api", "")])
}

async fn run(world: &World, scheduled: &Scheduled) -> String {
    let told = world.run_scheduled(scheduled).await;
    told.story
}

const PASSED: &str = "body look: passed\npass\n";

#[tokio::test]
async fn twenty_runs_at_once_share_one_token() {
    let setup = Setup::new().await;
    let world = setup.world("");
    let scheduled = world.compile(&look());
    let runs = (0..20).map(|_| run(&world, &scheduled[0]));
    assert_eq!(join_all(runs).await, [PASSED; 20]);
    assert_eq!(setup.login.fetches(), 1);
}

#[tokio::test]
async fn the_request_is_what_the_rfc_says() {
    let setup = Setup::new().await;
    let keys = ", scopes = [\"a\", \"b\"], params = { audience = \"x y\" }";
    setup.world(keys).run(&look()).await;
    let body = ", scopes = [\"a\"], auth_style = \"body\"";
    setup.world(body).run(&look()).await;

    let asked = setup.login.asked.lock().unwrap();
    let [(basic, form), (plain, filled)] = asked.as_slice() else {
        panic!("two fetches: {asked:?}");
    };
    let pair = BASE64_STANDARD.encode("me:hush%2Bhush%2F%25%C3%A4h");
    assert_eq!(basic[AUTHORIZATION], format!("Basic {pair}"));
    assert_eq!(basic[CONTENT_TYPE], "application/x-www-form-urlencoded");
    assert_eq!(form, "grant_type=client_credentials&scope=a+b&audience=x+y");
    assert!(!plain.contains_key(AUTHORIZATION));
    assert_eq!(
        filled,
        "grant_type=client_credentials&scope=a&client_id=me\
         &client_secret=hush%2Bhush%2F%25%C3%A4h"
    );
}

#[tokio::test]
async fn a_token_is_fetched_anew_when_it_expires_or_is_refused() {
    let setup = Setup::new().await;
    let world = setup.world("");
    let scheduled = world.compile(&look());
    assert_eq!(run(&world, &scheduled[0]).await, PASSED);
    pass(Duration::from_secs(80)).await;
    assert_eq!(run(&world, &scheduled[0]).await, PASSED);
    assert_eq!(setup.login.fetches(), 1);
    pass(Duration::from_secs(10)).await;
    assert_eq!(run(&world, &scheduled[0]).await, PASSED);
    assert_eq!(setup.login.fetches(), 2);

    // The run that is refused fails; the one after it has a new token.
    pass(Duration::from_secs(1)).await;
    *setup.login.revoked.lock().unwrap() = true;
    let refused = run(&world, &scheduled[0]).await;
    assert!(refused.ends_with("fail auth in body look\n"), "{refused}");
    assert_eq!(setup.login.fetches(), 2);
    assert_eq!(run(&world, &scheduled[0]).await, PASSED);
    assert_eq!(setup.login.fetches(), 3);
}

/// Of an event stream and of a WebSocket too.
#[tokio::test]
async fn every_kind_of_refusal_is_heard() {
    for action in [
        "use = \"sse\"\npath = \"/api\"\nuntil = { text = \"x\" }",
        "use = \"websocket\"\npath = \"/api\"",
    ] {
        let setup = Setup::new().await;
        let world = setup.world("");
        let text = format!("[[spec]]\nname = \"s\"\n[[spec.steps]]\nname = \"look\"\n{action}\n");
        let scheduled = world.compile(&text);
        run(&world, &scheduled[0]).await;
        pass(Duration::from_secs(1)).await;
        *setup.login.revoked.lock().unwrap() = true;
        for fetches in [1, 2] {
            let story = run(&world, &scheduled[0]).await;
            assert_eq!(setup.login.fetches(), fetches, "{story}");
        }
    }
}

/// The second step and the teardown need the token that is fetched between them.
#[tokio::test]
async fn a_run_that_outlives_its_token_gets_another() {
    let setup = Setup::new().await;
    let parts = [
        make("item", "teardown_timeout = \"10m\""),
        step("wait", "/later", ""),
        step("look", "/api", ""),
        step("wait-again", "/later", ""),
    ];
    let told = setup.world("").run(&spec("timeout = \"1h\"", &parts)).await;
    let passed = told.story.matches(": passed\n").count();
    assert_eq!(passed, 5, "{}", told.story);
    assert_eq!(setup.login.fetches(), 3);
}

#[tokio::test]
async fn asking_for_a_token_is_in_no_steps_time() {
    let setup = Setup::new().await;
    setup.login.behave(Way::Slow);
    let parts = [
        step("first", "/later", ""),
        step("second", "/later", ""),
        make("item", ""),
        step("third", "/api", ""),
    ];
    let told = setup.world("").run(&spec("timeout = \"1h\"", &parts)).await;
    assert!(told.story.ends_with("pass\n"), "{}", told.story);
    assert_eq!(setup.login.fetches(), 3);
    let durations = told.events.iter().filter_map(|event| match event {
        Event::StepFinished { end, .. } => Some((&*end.step, end.duration)),
        _ => None,
    });
    for (step, duration) in durations {
        let own = Duration::from_secs(if step == "first" || step == "second" {
            95
        } else {
            0
        });
        let fetch = Duration::from_secs(5);
        assert!(
            duration >= own && duration < own + fetch,
            "{step}: {duration:?}"
        );
    }
}

/// The run's deadline begins when the token is there.
#[tokio::test]
async fn a_slow_token_endpoint_leaves_the_run_its_time() {
    let setup = Setup::new().await;
    setup.login.behave(Way::Slow);
    let text = spec("timeout = \"4s\"", &[step("look", "/api", "")]);
    assert_eq!(setup.world("").run(&text).await.story, PASSED);
}

fn assert_hushed(told: &Told) {
    let all = format!("{:?}\n{}", told.events, told.story);
    let pair = BASE64_STANDARD.encode("me:hush%2Bhush%2F%25%C3%A4h");
    for secret in ["hush", "t0ken", "aHVza", &pair[8..pair.len() - 8]] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
}

#[tokio::test]
async fn what_a_token_endpoint_refuses() {
    let setup = Setup::new().await;
    let pair = BASE64_STANDARD.encode("me:hush%2Bhush%2F%25%C3%A4h");
    let echo = |text: &str| {
        format!("{{\"error\":\"invalid_client\",\"error_description\":\"not {text}\"}}")
    };
    let says = |status: u16, body: &str| Way::Says(status, body.to_owned());
    let told = "auth: no token from RIG: it answers with status 400: invalid_client: not [secret]";
    let none = "protocol: no token from RIG: its answer is no JSON with an `access_token`";
    for (way, expected) in [
        (says(400, &echo(SECRET)), told),
        (says(400, &echo("hush%2Bhush%2F%25%C3%A4h")), told),
        (
            says(400, &echo(&pair)),
            "auth: no token from RIG: it answers with status 400: invalid_client: not ",
        ),
        (
            says(401, ""),
            "auth: no token from RIG: it answers with status 401",
        ),
        (
            says(403, "<html>"),
            "auth: no token from RIG: it answers with status 403",
        ),
        (
            says(429, "{}"),
            "quota: no token from RIG: it answers with status 429",
        ),
        (
            says(302, ""),
            "status: no token from RIG: it answers with status 302",
        ),
        (
            says(503, &echo(SECRET)),
            "status: no token from RIG: it answers with status 503: invalid_client: not [secret]",
        ),
        (
            says(200, "<html>hush+hush"),
            "protocol: no token from RIG: its answer is not JSON: expected value at line 1, column 1",
        ),
        (says(200, "{\"token\":\"hush+hush\"}"), none),
        (
            says(200, &" ".repeat((1 << 20) + 1)),
            "protocol: no token from RIG: the http answer from RIG is longer than 1048576 bytes",
        ),
        (
            says(200, "{\"access_token\":\"t0\\nken\"}"),
            "secret: the secret cannot be put into a header",
        ),
    ] {
        setup.login.behave(way);
        let before = setup.login.fetches();
        let told = setup.world("").run(&look()).await;
        let story = told.story.replace("http://RIG", "RIG");
        let (fault, what) = expected.split_once(": ").unwrap();
        assert!(
            story.starts_with(&format!("skipped look: {what}")),
            "{expected}\n{story}"
        );
        let verdict = if fault == "secret" { "error" } else { "fail" };
        assert!(
            story.ends_with(&format!("{verdict} {fault} in body look\n")),
            "{story}"
        );
        assert_eq!(setup.login.fetches(), before + 1, "once, and nowhere else");
        assert_hushed(&told);
    }
}

#[tokio::test]
async fn what_keeps_us_from_a_token_endpoint() {
    let setup = Setup::new().await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let tls = setup.endpoint.replace("http:", "https:");
    for (url, secret, keys, verdict) in [
        (
            format!("http://{closed}/token"),
            "secret",
            "",
            "fail connect",
        ),
        (
            "http://no-such-name.invalid/token".into(),
            "secret",
            "",
            "fail dns",
        ),
        (format!("{tls}/token"), "secret", "", "fail tls"),
        (
            format!("{}/token", setup.endpoint),
            "none",
            "",
            "error secret",
        ),
        (
            format!("{}/token", setup.endpoint),
            "secret",
            ", timeout = \"50ms\"",
            "fail timeout",
        ),
    ] {
        setup.login.behave(Way::Hangs);
        let told = setup.world_at(&url, secret, keys).run(&look()).await;
        assert!(
            told.story.ends_with(&format!("{verdict} in body look\n")),
            "{url}: {}",
            told.story
        );
        assert_hushed(&told);
    }
}

#[tokio::test]
async fn a_failing_token_endpoint_is_not_hammered() {
    let setup = Setup::new().await;
    setup.login.behave(Way::Says(500, String::new()));
    let world = setup.world("");
    let scheduled = world.compile(&look());
    let runs = (0..20).map(|_| run(&world, &scheduled[0]));
    for story in join_all(runs).await {
        assert!(story.ends_with("fail status in body look\n"), "{story}");
    }
    assert_eq!(setup.login.fetches(), 1);
    pass(Duration::from_secs(1)).await;
    setup.login.behave(Way::Gives);
    assert_eq!(run(&world, &scheduled[0]).await, PASSED);
    assert_eq!(setup.login.fetches(), 2);
}

#[tokio::test]
async fn a_run_is_cancelled_while_it_asks_for_a_token() {
    let setup = Setup::new().await;
    setup.login.behave(Way::Hangs);
    let world = setup.world("");
    let text = look();
    let cancel = async {
        setup.login.arrived.notified().await;
        world.stop.cancel.cancel();
    };
    let (told, ()) = tokio::join!(world.run(&text), cancel);
    assert_eq!(
        told.story,
        "skipped look: cancelled\ncancelled cancelled in body look\n"
    );
}

#[tokio::test]
async fn the_target_says_the_token_back() {
    let setup = Setup::new().await;
    let echo = "expect = { text = \"@\" }\nretry = { attempts = 2, delay = \"1ms\" }";
    let world = setup.world("");
    let told = world.run(&spec("", &[step("look", "/api", echo)])).await;
    assert!(
        told.story.contains("\"shown\":\"Bearer [secret]\""),
        "{}",
        told.story
    );
    assert_hushed(&told);
    let config = format!("{:?}", world.compile(&look())[0].target);
    assert!(!config.contains("hush"), "{config}");
}

#[tokio::test]
async fn an_examination_says_that_there_is_no_token() {
    let setup = Setup::new().await;
    let world = setup.world("");
    let examine = async || {
        let target = world.compile(&look())[0].target.clone();
        let client = Client::new();
        let examiner = catalog::examiner(target.kind);
        runner::examine(&target, &Params::default(), examiner, &client).await
    };
    let good = examine().await;
    assert!(
        good.iter().all(|finding| finding.remedy.is_none()),
        "{good:?}"
    );
    setup.login.behave(Way::Says(401, SECRET.to_owned()));
    let bad = examine().await;
    let bad: Vec<_> = bad
        .iter()
        .filter(|finding| finding.remedy.is_some())
        .collect();
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert_eq!(bad[0].subject, "credentials");
    assert!(
        bad[0].found.ends_with(": it answers with status 401"),
        "{bad:?}"
    );
}
