//! Uploads to a storage that loses connections: what is missing is sent, and nothing twice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use testerd::demo::backendai::{Pace, Setup, StandIn};
use tokio::net::TcpListener;

use super::World;

/// What happens to a piece on its way.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// It arrives, and so does the answer.
    Fine,
    /// It does not arrive.
    Lost,
    /// Its first byte arrives.
    Cut,
    /// It arrives; the answer does not.
    Unanswered,
}

async fn travel(ways: &Mutex<VecDeque<Way>>, request: Request, next: Next) -> Response {
    if request.method() != Method::PATCH {
        return next.run(request).await;
    }
    let way = ways.lock().unwrap().pop_front().unwrap_or(Way::Fine);
    let answer = match way {
        Way::Fine => return next.run(request).await,
        Way::Lost => Response::default(),
        Way::Unanswered => next.run(request).await,
        Way::Cut => {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            let begin = Body::from(body.slice(..1));
            next.run(Request::from_parts(parts, begin)).await
        }
    };
    // An answer that breaks off: the connection is closed in the middle of it.
    drop(answer);
    let broken = [Ok(Bytes::from("…")), Err(std::io::Error::other("lost"))];
    Response::new(Body::from_stream(futures_util::stream::iter(broken)))
}

const SPEC: &str = r#"
[[spec]]
name = "s"
[[spec.wrap]]
name = "folder"
use = "backendai.folder"
[[spec.steps]]
name = "upload"
use = "backendai.upload"
folder = "${folder.id}"
files = { "a/b.txt" = "0123456789" }
piece = 4
[[spec.steps]]
name = "download"
use = "backendai.download"
folder = "${folder.id}"
path = "a/b.txt"
expect = { equals = "0123456789" }
"#;

/// Uploads ten bytes in pieces of four, and fetches them; returns how the upload went.
async fn upload(ways: &[Way]) -> String {
    let setup = Setup {
        email: "admin@example.com".into(),
        password: "password".into(),
        access_key: "AKIATESTTESTTESTTEST".into(),
        secret_key: "secretsecretsecretsecretsecretsecretsecr".into(),
        pace: Pace::QUICK,
        templates_fail: false,
    };
    let ways: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(ways.iter().copied().collect()));
    let left = ways.clone();
    let travel = from_fn(move |request: Request, next: Next| {
        let ways = ways.clone();
        async move { travel(&ways, request, next).await }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = StandIn::new(&setup).router().layer(travel);
    let world = World::new()
        .at(&endpoint)
        .speaking("backendai")
        .target(&format!(
            "access_key = \"{}\"\nsecret_key = \"{}\"",
            setup.access_key, setup.secret_key
        ))
        .probe("names = [\"s\"]");
    let told = tokio::select! {
        told = world.run(SPEC) => told,
        ended = axum::serve(listener, router) => panic!("{ended:?}"),
    };
    let end = told.story.lines().last().unwrap_or_default().to_owned();
    let upload = told
        .story
        .lines()
        .find(|line| line.starts_with("body upload"));
    assert_eq!(
        end == "pass",
        upload == Some("body upload: passed"),
        "{}",
        told.story
    );
    assert!(
        left.lock().unwrap().is_empty(),
        "all of it happened\n{}",
        told.story
    );
    assert!(told.owed.is_empty());
    upload.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn an_upload_goes_on_where_the_storage_stopped() {
    use Way::{Cut, Fine, Lost, Unanswered};
    for ways in [
        &[Fine, Fine, Fine][..],
        &[Lost, Fine, Fine, Fine],
        &[Unanswered, Unanswered, Fine],
        &[Cut, Cut, Cut, Fine, Fine],
        &[Lost, Lost, Lost, Fine, Lost, Lost, Lost],
        // The storage has moved the file into its place, and forgotten the upload.
        &[Fine, Fine, Unanswered],
        &[Fine, Fine, Cut, Unanswered],
    ] {
        assert_eq!(upload(ways).await, "body upload: passed", "{ways:?}");
    }
}

#[tokio::test]
async fn an_upload_that_gets_nowhere_is_given_up() {
    let told = upload(&[Way::Fine, Way::Lost, Way::Lost, Way::Lost, Way::Lost]).await;
    assert!(
        told.starts_with("body upload: protocol: a/b.txt: "),
        "{told}"
    );
}
