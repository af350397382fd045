//! The table of what can go wrong between a request and its answer: how a server, a proxy or this
//! machine misbehaves, and the verdict, the reason and the words that a run comes to.
//!
//! What a resolver can do is in `servers::names`: it takes a machine of its own.

mod again;
mod answers;
mod certificates;
mod descriptors;
pub(crate) mod floods;
mod handshakes;
mod heads;
mod http2;
mod proxies;
pub(crate) mod server;

use testerd::event::Event;

use self::server::{Do, Server, say};
use crate::runs::{World, spec, step};

/// One row: who is asked, with which keys of the step, and what comes of it.
pub(crate) struct Row<'a> {
    pub(crate) world: World,
    pub(crate) keys: &'a str,
    /// `pass`, or verdict and reason.
    pub(crate) verdict: &'a str,
    /// Stands in the message.
    pub(crate) says: &'a str,
}

impl Row<'_> {
    async fn check(self) {
        self.check_at("/").await;
    }

    /// The same, of another path.
    pub(crate) async fn check_at(self, path: &str) {
        let Self {
            world,
            keys,
            verdict,
            says,
        } = self;
        let told = world.run(&spec("", &[step("look", path, keys)])).await;
        let Some(Event::RunFinished {
            verdict: was,
            failed,
            ..
        }) = told.events.last()
        else {
            panic!("no end: {}", told.story);
        };
        let (was, message) = match failed {
            None => (was.as_str().to_owned(), ""),
            Some(at) => (
                format!("{} {}", was.as_str(), at.failure.fault),
                at.failure.message.as_str(),
            ),
        };
        assert_eq!(was, verdict, "{says:?} | {keys} | {message}");
        assert!(message.contains(says), "{says:?} | {keys} | {message}");
    }
}

/// Rows of one scripted server without TLS each.
async fn check_scripts(rows: impl IntoIterator<Item = (Vec<Do>, &str, &str, &str)>) {
    for (script, keys, verdict, says) in rows {
        let server = Server::start(script, None);
        let world = World::new().at(&format!("http://{}", server.address()));
        let row = Row {
            world,
            keys,
            verdict,
            says,
        };
        row.check().await;
    }
}

/// Short enough to be waited for.
const SHORT: &str = "timeout = \"300ms\"";

/// A port where nobody listens.
fn closed() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
