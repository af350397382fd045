//! A target that misbehaves on demand and keeps books, for the tests: what a prober did is read
//! from here, not from the prober.
//!
//! It runs in the test's own process, on a thread and a runtime of its own, so that neither a
//! test's paused clock nor its blocking calls reach it. Timers tick in milliseconds.
//!
//! | path | answer |
//! |---|---|
//! | `/ok` | `{"ok":true}` |
//! | `/delay?ms=N` | the same, N ms after the request came |
//! | `/status/CODE` | that status, 200 to 999 |
//! | `/flaky?p=P` | 500 with probability P, from a fixed sequence |
//! | `/ready-after?n=K&id=NAME` | `{"ready":false}` K times, then `{"ready":true}` |
//! | `/fail-first?n=K&id=NAME` | 500 K times, then 200 |
//! | `/chain/1` … `/chain/4` | `{"step":K,"token":"T"}`; 2 to 4 need the token of the step before, as header `X-Token` or `?token=`, else 403 |
//! | `/json` | `{"echo":BODY,"headers":{…}}` of a JSON body; 400 if it is none |
//! | `/redirect?n=K` | K redirects, then `/ok`; `?loop=1` never ends |
//! | `/hang`, `/reset`, `/close` | nothing ever; a TCP reset; a clean close |
//! | `/big?bytes=N` | N bytes, at most 1 GiB; with `endless=1` nobody is told how many |
//! | `/slowbody?bytes=N&ms=M&chunks=K` | headers at once, then K pieces of N bytes, M ms apart |
//! | `/events?say=A&then=E…` | the nth request an event stream of the nth text, cut at each `~`, with `{last}` and `{auth}` for its headers; then `end`, `hang` or `close` |
//! | `/websocket?say=A&choose=P` | says A, then does what each message says: see `streams` |
//! | `/cookie?set=C` | 204 with that cookie |
//! | `/badjson` | `{"ok":tru`, as application/json |
//! | `POST /items` `{"name":…}` | 201 `{"id","name","price"}`; 400 without a name |
//! | `GET /items?name=PREFIX` | `{"found":[{"id","name"}…]}`, strangers too; all without a name; in pages with `next`, or names cut, if it is to lie |
//! | `GET`, `DELETE /items/{id}` | 200, 204; 404 once it is gone |
//!
//! It also has what the demo's shop has (`shop`), without its weather.

mod answer;
mod ask;
mod bend;
mod body;
mod books;
mod conn;
mod faults;
mod selftest;
mod shop;
mod streams;

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use ask::{Told, ask, ask_with, get};
pub(crate) use bend::{Dropped, Overdue, bend};
pub(crate) use books::{Change, Lies};
pub(crate) use conn::{Resettable, Switch};
pub(crate) use faults::{Blow, Blows, Fault};

use books::Shared;

/// A running target. It stops when it is dropped.
pub(crate) struct Rig {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    /// Starts on a free port of 127.0.0.1.
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let stop = CancellationToken::new();
        let (served, stopped) = (Arc::clone(&shared), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(listener, &served, &stopped));
        });
        Self {
            addr,
            shared,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it listens, as `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Requests seen under `key`: a path, `METHOD path`, either with `#NAME` for those with
    /// `?id=NAME`. All items together are `/items/{id}`, all requests `*`.
    pub(crate) fn count(&self, key: &str) -> usize {
        self.shared.books().arrivals(key).len()
    }

    /// When each request under `key` came.
    pub(crate) fn arrivals(&self, key: &str) -> Vec<Instant> {
        self.shared.books().arrivals(key).to_vec()
    }

    /// Waits until `count` requests have come under `key`; whether they did in time.
    pub(crate) fn reaches(&self, key: &str, count: usize, within: Duration) -> bool {
        let enough = |books: &books::Books| books.arrivals(key).len() >= count;
        self.shared.until(within, enough)
    }

    /// Waits until exactly these items are alive; whether they were in time.
    pub(crate) fn comes_to(&self, alive: &[&str], within: Duration) -> bool {
        self.shared.until(within, |books| books.alive() == alive)
    }

    /// Connections accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.books().connections
    }

    /// The names of the items alive, sorted.
    pub(crate) fn alive(&self) -> Vec<String> {
        self.shared.books().alive()
    }

    /// The names of the items that requests made, in that order.
    pub(crate) fn created(&self) -> Vec<String> {
        self.shared.books().names(Change::Created)
    }

    /// The names of the items that requests deleted, in that order.
    pub(crate) fn deleted(&self) -> Vec<String> {
        self.shared.books().names(Change::Deleted)
    }

    /// The names of the items that requests made and deleted, in that order.
    pub(crate) fn history(&self) -> Vec<(Change, String)> {
        self.shared.books().history().to_vec()
    }

    /// Puts in an item that somebody else made, and tells its id.
    pub(crate) fn seed(&self, name: &str) -> u64 {
        self.shared.enter(|books| books.seed(name))
    }

    /// Makes what is known under `key` misbehave until it is healed; the most specific key wins.
    pub(crate) fn fail(&self, key: &str, fault: Fault) {
        self.shared.enter(|books| books.fail(key, fault));
    }

    /// The `nth` request from now under `key`, counted from 1, meets this fault, and no other does;
    /// without a fault it is only noticed.
    pub(crate) fn snare(&self, key: &str, nth: usize, fault: Option<Fault>) {
        self.shared.enter(|books| books.snare(key, nth, fault));
    }

    /// Waits until the request of [`Rig::snare`] has come; whether it did in time.
    pub(crate) fn has_snared(&self, within: Duration) -> bool {
        self.shared.until(within, books::Books::has_snared)
    }

    /// From now on so many of a hundred requests under `key` are late by something between
    /// `delays`, which follows from the seed.
    pub(crate) fn sometimes_late(
        &self,
        key: &str,
        percent: u32,
        delays: Range<Duration>,
        seed: u64,
    ) {
        self.shared.enter(|books| {
            books.shake(seed);
            books.sometimes_late(key, percent, delays);
        });
    }

    /// From now on so many of a thousand requests under `key` meet this fault.
    pub(crate) fn sometimes(&self, key: &str, permille: u32, fault: Fault) {
        self.shared
            .enter(|books| books.sometimes(key, permille, fault));
    }

    /// From now on the list of items is told like this.
    pub(crate) fn lie(&self, lies: Lies) {
        self.shared.enter(|books| books.lies = lies);
    }

    /// From now on an id that becomes free goes to a stranger at once.
    pub(crate) fn reuse_ids(&self) {
        self.shared.enter(|books| books.reuses_ids = true);
    }

    /// Ends all that goes wrong by chance, and all lies.
    pub(crate) fn tell_the_truth(&self) {
        self.shared.enter(books::Books::tell_the_truth);
    }

    /// How many effects were late, those to come included.
    pub(crate) fn late(&self) -> usize {
        self.shared.books().late
    }

    /// Waits until no late effect is still to come; whether that was in time.
    pub(crate) fn is_quiet(&self, within: Duration) -> bool {
        self.shared.until(within, |books| books.to_come == 0)
    }

    /// `METHOD kind-of-path` of every request, in the order they came.
    pub(crate) fn log(&self) -> Vec<String> {
        self.shared.books().blows.log().to_vec()
    }

    /// Lets something fall on the request that is the `nth` of all, counted from 0.
    pub(crate) fn strike(&self, nth: usize, blow: Blow) {
        self.shared.enter(|books| books.blows.strike(nth, blow));
    }

    /// Ends every fault.
    pub(crate) fn heal_all(&self) {
        self.shared.enter(books::Books::heal_all);
    }

    /// A person takes away the oldest item of this name.
    pub(crate) fn take_away(&self, name: &str) {
        self.shared.enter(|books| books.take_away(name));
    }

    /// Undoes [`Rig::fail`]. Requests that hang go on hanging.
    pub(crate) fn heal(&self, key: &str) {
        self.shared.enter(|books| books.heal(key));
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.thread.take().map(JoinHandle::join);
        let panicked = ended.is_some_and(|ended| ended.is_err());
        assert!(!panicked || std::thread::panicking(), "the rig panicked");
    }
}

async fn serve(listener: std::net::TcpListener, shared: &Arc<Shared>, stop: &CancellationToken) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => ended.unwrap(),
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    // Out of descriptors: wait for connections to close instead of spinning.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                shared.enter(|books| books.connections += 1);
                connections.spawn(converse(stream, Arc::clone(shared)));
            }
        }
    }
    // Before the runtime goes: the test's handle keeps `shared`, and this with it.
    shared.late.lock().unwrap().abort_all();
}

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).unwrap();
    let switch = Switch::default();
    let io = TokioIo::new(Resettable::new(stream, switch.clone()));
    let service = service_fn(|asked| answer::answer(asked, Arc::clone(&shared), switch.clone()));
    // How a conversation ends is the client's affair, or was asked for.
    let conversation = http1::Builder::new().serve_connection(io, service);
    let _ = conversation.with_upgrades().await;
}
