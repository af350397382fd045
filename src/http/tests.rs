//! The site as a scraper and a browser see it, over real sockets.

use std::io::Read;
use std::pin::pin;
use std::time::Instant;

use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{Overrides, Sources};
use crate::event::{Event, Exporter, Exporters};
use crate::exporter::sample::{loaded, spec, story};

struct Answer {
    status: u16,
    /// Head and all header lines, in lower case.
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

async fn ask(address: std::net::SocketAddr, request: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text =
        format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = str::from_utf8(&answer[..end]).unwrap().to_lowercase();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        body: answer[end + 4..].to_vec(),
    }
}

/// Serves a site while `check` runs, then stops it. The exporters are those that fill it.
async fn served<F: Future<Output = ()>>(
    address: &str,
    check: impl FnOnce(std::net::SocketAddr, Arc<Site>, Exporters) -> F,
) {
    let (metrics, history) = (Arc::new(Metrics::new(vec![])), Arc::new(History::default()));
    let exporters = Exporters::new(vec![metrics.clone(), history.clone()]);
    let site = Arc::new(Site::new(metrics, history, Names::default()));
    let server = Server::bind(&[address]).await.unwrap();
    let bound = server.addresses().unwrap()[0];
    let stop = CancellationToken::new();
    let checked = async {
        check(bound, Arc::clone(&site), exporters).await;
        stop.cancel();
    };
    let serving = server.serve(Arc::clone(&site), stop.clone());
    tokio::join!(serving, checked);
}

fn plan(names: &[&str]) -> Vec<Event> {
    let specs: Vec<_> = names
        .iter()
        .map(|name| Arc::new(spec("shop", name, "")))
        .collect();
    let mut events = vec![loaded(&specs, Instant::now())];
    events.extend(specs.iter().flat_map(story));
    events
}

#[tokio::test]
async fn scrapes_wait_for_each_other_and_nothing_waits_for_them() {
    served("127.0.0.1:0", |address, site, _| async move {
        let turn = site.plain.lock().await;
        let mut scrape = pin!(ask(address, "GET /metrics", ""));
        tokio::select! {
            _ = &mut scrape => panic!("two scrapes at a time"),
            health = ask(address, "GET /-/healthy", "") => assert_eq!(health.status, 200),
        }
        drop(turn);
        assert_eq!(scrape.await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn every_route_answers() {
    served("127.0.0.1:0", |address, site, exporters| async move {
        for (request, status, text) in [
            ("GET /-/healthy", 200, "healthy"),
            ("GET /-/ready", 503, "no plan"),
            ("GET /", 200, "No plan is running yet"),
            ("GET /nothing", 404, ""),
            ("POST /metrics", 405, ""),
            ("DELETE /", 405, ""),
        ] {
            let answer = ask(address, request, "").await;
            assert_eq!(answer.status, status, "{request}");
            assert!(answer.text().contains(text), "{request}: {}", answer.text());
        }
        for event in plan(&["checkout"]) {
            exporters.export(&event);
        }
        assert_eq!(ask(address, "GET /-/ready", "").await.status, 200);

        assert_eq!(site.last_scrape(), None);
        let plain = ask(address, "GET /metrics", "").await;
        let zipped = ask(address, "GET /metrics", "accept-encoding: gzip\r\n").await;
        assert!(site.last_scrape().is_some());
        let kind = "content-type: text/plain; version=0.0.4; charset=utf-8\r\n";
        assert!(plain.head.contains(kind), "{}", plain.head);
        assert!(zipped.head.contains(kind), "{}", zipped.head);
        assert!(!plain.head.contains("content-encoding"));
        assert!(zipped.head.contains("content-encoding: gzip"));
        let mut text = String::new();
        let mut decoder = flate2::read::GzDecoder::new(&*zipped.body);
        decoder.read_to_string(&mut text).unwrap();
        for text in [plain.text(), &text] {
            assert!(
                text.contains("testerd_runs_total{target=\"shop\""),
                "{text}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn only_a_scrape_counts_as_a_scrape() {
    served("127.0.0.1:0", |address, site, _| async move {
        for (request, headers, status) in [
            ("HEAD /metrics", "", 200),
            ("POST /metrics", "", 405),
            ("GET /metrics", "if-match: \"a\"\r\n", 412),
            ("GET /metrics", "if-none-match: *\r\n", 304),
            ("GET /metrics", "accept-encoding: identity;q=0\r\n", 406),
            ("GET /-/ready", "if-none-match: *\r\n", 503),
            ("GET /nothing", "if-match: \"a\"\r\n", 404),
            ("DELETE /metrics", "if-match: \"a\"\r\n", 405),
        ] {
            let answer = ask(address, request, headers).await;
            assert_eq!(answer.status, status, "{request} {headers}");
            let (bodiless, said) = (status < 400, answer.text().is_empty());
            assert!(said || !bodiless, "{request} {headers}: {}", answer.text());
            assert_eq!(site.last_scrape(), None, "{request} {headers}");
        }
        let (head, whole) = (
            ask(address, "HEAD /metrics", "").await,
            ask(address, "GET /metrics", "").await,
        );
        assert!(site.last_scrape().is_some());
        for line in [
            "content-type: ",
            "vary: accept-encoding",
            "content-length: ",
        ] {
            assert!(head.head.contains(line), "{}", head.head);
            assert!(whole.head.contains(line), "{}", whole.head);
        }
    })
    .await;
}

/// What a peer does before it falls silent.
struct Silence {
    says: &'static str,
    /// Whether an answer comes, and is read.
    reads: bool,
    /// How long that is borne, in seconds.
    borne: u64,
}

#[tokio::test]
async fn a_silent_peer_is_not_waited_for_without_end() {
    let peer = |says, reads, borne| Silence { says, reads, borne };
    for Silence { says, reads, borne } in [
        peer("", false, 10),
        peer("GET /metr", false, 10),
        peer("GET /metrics HTTP/1.1\r\nhost: localhost\r\nx: ", false, 10),
        peer(
            "GET /-/healthy HTTP/1.1\r\nhost: localhost\r\n\r\n",
            true,
            150,
        ),
        peer(
            "GET /-/healthy HTTP/1.1\r\nhost: localhost\r\n\r\nGET /m",
            true,
            150,
        ),
    ] {
        served("127.0.0.1:0", |address, _, _| async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(says.as_bytes()).await.unwrap();
            let mut answer = [0; 2000];
            if reads {
                let length = stream.read(&mut answer).await.unwrap();
                assert!(answer[..length].ends_with(b"healthy\n"), "{says}");
            } else {
                // Whatever it said has arrived when another one was answered.
                ask(address, "GET /-/healthy", "").await;
            }
            tokio::time::pause();
            let begun = tokio::time::Instant::now();
            // The end, or a reset because of what was not read.
            let _ = stream.read(&mut answer).await;
            let waited = begun.elapsed().as_secs();
            assert!(
                (borne - 1..=borne + 1).contains(&waited),
                "{says}: {waited} s"
            );
            tokio::time::resume();
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_cut_off() {
    served("127.0.0.1:0", |address, site, exporters| async move {
        let names: Vec<_> = (0..1000).map(|number| format!("s{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        for event in plan(&names) {
            exporters.export(&event);
        }
        let whole = ask(address, "GET /metrics", "").await.body.len();
        let scrapes = site.scrapes.finished();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut slow = socket.connect(address).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
        slow.write_all(request).await.unwrap();
        slow.read_u8().await.unwrap();
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(32)).await;
        tokio::time::resume();
        let mut rest = Vec::new();
        let _ = slow.read_to_end(&mut rest).await;
        assert!(rest.len() < whole, "{} of {whole}", rest.len());
        // Nobody has seen this one.
        assert_eq!(site.scrapes.finished(), scrapes);
    })
    .await;
}

#[tokio::test]
async fn a_scrape_gets_in_however_many_lie_there() {
    for (says, most) in [
        ("GET /metrics HTTP/1.1\r\nhost: localhost\r\nx: ", 128),
        ("GET /-/healthy HTTP/1.1\r\nhost: localhost\r\n\r\n", 128),
        ("", 128),
    ] {
        served("127.0.0.1:0", |address, _, _| async move {
            let mut lying = Vec::new();
            for _ in 0..300 {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(says.as_bytes()).await.unwrap();
                lying.push(stream);
            }
            assert_eq!(ask(address, "GET /metrics", "").await.status, 200, "{says}");
            let mut open = 0;
            let mut answer = [0; 2000];
            for stream in &lying {
                let closed = loop {
                    match stream.try_read(&mut answer) {
                        Ok(0) => break true,
                        Ok(_) => {}
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                            break false;
                        }
                        Err(_) => break true,
                    }
                };
                open += usize::from(!closed);
            }
            assert!(open <= most, "{open} are open");
            assert!(open > most / 2, "{open} are open");
        })
        .await;
    }
}

#[tokio::test]
async fn names_and_messages_cannot_change_the_page() {
    served("127.0.0.1:0", |address, _, exporters| async move {
        let hostile = "<script>alert('x')</script>\"&\u{202e}\u{9b}31m";
        for event in plan(&[hostile]) {
            exporters.export(&event);
        }
        let answer = ask(address, "GET /", "").await;
        let page = answer.text();
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains(
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;\\u202e\\u009b31m"
        ));
        assert!(
            answer
                .head
                .contains("content-security-policy: default-src 'none'")
        );
    })
    .await;
}

#[test]
fn the_page_shows_the_last_runs() {
    let history = History::default();
    for event in plan(&["checkout"]).into_iter().take(12) {
        history.export(&event);
    }
    let entries = history.snapshot().unwrap();
    let at = entries[0].last.as_ref().unwrap().at;
    let page = page::render(
        Some(&entries),
        &[],
        false,
        Some(at),
        at + Duration::from_secs(65),
    );
    let body = page.split_once("<body>").unwrap().1;
    insta::assert_snapshot!(body.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}

#[tokio::test]
async fn addresses_mean_what_they_say() {
    for (address, reached) in [
        ("127.0.0.1:0", vec!["127.0.0.1"]),
        ("localhost:0", vec!["localhost"]),
        ("[::1]:0", vec!["::1"]),
        (":0", vec!["127.0.0.1", "::1"]),
    ] {
        let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
        if !has_ipv6 && address.contains("::1") {
            continue;
        }
        let server = Server::bind(&[address]).await.unwrap();
        let port = server.addresses().unwrap()[0].port();
        for host in reached {
            if has_ipv6 || !host.contains(':') {
                TcpStream::connect((host, port)).await.unwrap();
            }
        }
        // The second one is told which address is taken.
        let taken = server.addresses().unwrap()[0].to_string();
        let error = Server::bind(&[&taken]).await.unwrap_err();
        assert!(error.to_string().contains(&taken), "{error}");
    }
    assert!(Server::bind(&[":port"]).await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_idle_connections() {
    let (keep, kept) = std::sync::mpsc::channel();
    served("127.0.0.1:0", |address, _, _| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /-/healthy HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        stream.read_u8().await.unwrap();
        keep.send(stream).unwrap();
    })
    .await;
    kept.recv().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_client_that_hangs() {
    let (keep, kept) = std::sync::mpsc::channel();
    served("127.0.0.1:0", |address, _, _| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\n")
            .await
            .unwrap();
        keep.send(stream).unwrap();
    })
    .await;
    kept.recv().unwrap();
}

/// What the site answers to this head, come in at an address of this kind.
async fn answered(site: &Arc<Site>, head: &str, at_loopback: bool) -> (u16, String) {
    let mut lines = head.split('\n');
    let line: Vec<_> = lines.next().unwrap().split(' ').collect();
    let version = match line[1] {
        "1.0" => http::Version::HTTP_10,
        _ => http::Version::HTTP_11,
    };
    let mut request = http::Request::get(line[0])
        .version(version)
        .extension(host::Arrived { at_loopback });
    for host in lines {
        request = request.header("host", host);
    }
    let request = request.body(Body::empty()).unwrap();
    let answer = TowerToHyperService::new(routes(Arc::clone(site)));
    let answer = answer.call(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 100_000).await;
    (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn other_hosts_are_refused() {
    let metrics = Arc::new(Metrics::new(vec![]));
    let site = Site::new(metrics, Arc::default(), Names::default());
    let site = Arc::new(site);
    let (loopback, routed) = (true, false);
    for (head, at_loopback, status) in [
        ("/ 1.1\nlocalhost:10061", loopback, 200),
        ("/ 1.1\n127.0.0.1", loopback, 200),
        ("/ 1.1\n192.0.2.1", routed, 200),
        ("/ 1.1\nevil.example", loopback, 421),
        ("/ 1.1\nevil.example:10061", routed, 421),
        ("/nothing 1.1\nevil.example", routed, 421),
        ("/ 1.0", loopback, 200),
        ("/ 1.0\nevil.example", loopback, 421),
        ("/ 1.1", loopback, 400),
        ("/ 1.1\n", loopback, 200),
        ("/ 1.1\nlocalhost\nlocalhost", loopback, 400),
        ("/ 1.1\nlocalhost\nevil.example", loopback, 400),
        ("/ 1.1\nevil.example/", loopback, 400),
        ("http://evil.example/ 1.1\nlocalhost", loopback, 421),
        ("http://localhost/ 1.1\nevil.example", loopback, 421),
        ("http://localhost/ 1.1\nlocalhost", loopback, 200),
        // Machines come by any name, but not from this one's browser.
        ("/metrics 1.1\nprobe.example", routed, 200),
        ("/metrics?a=1 1.1\nprobe.example", routed, 200),
        ("/-/healthy 1.1\nprobe.example", routed, 200),
        ("/-/ready 1.1\nprobe.example", routed, 503),
        ("/metrics 1.1\nprobe.example", loopback, 421),
        ("/-/healthy 1.1\nprobe.example", loopback, 421),
        ("/metrics/ 1.1\nprobe.example", routed, 421),
        ("/metrics 1.1\na\nb", routed, 400),
    ] {
        let (answer, said) = answered(&site, head, at_loopback).await;
        assert_eq!(answer, status, "{head:?}: {said}");
        assert_eq!(
            said.contains("add the name to `hosts` in [server]"),
            status == 421,
            "{said}"
        );
    }
    // A reload brings other names.
    let text = "[server]\nlisten = \"mon.test:1\"\nhosts = [\"*.example\"]\n";
    let sources = Sources::from_text("testerd.toml", text, &Overrides::default()).unwrap();
    site.rename(Names::of(&sources.settings));
    for (name, status) in [("a.example", 200), ("mon.test:2", 200), ("example", 421)] {
        let (answer, said) = answered(&site, &format!("/ 1.1\n{name}"), loopback).await;
        assert_eq!(answer, status, "{name}: {said}");
    }
}
