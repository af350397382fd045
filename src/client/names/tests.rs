//! Name servers of every kind, on loopback, and the files of a machine.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use super::files::{Files, Read};
use super::{Family, own};

/// How a server treats a question.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// It answers `here.example.`, `v4.example.` and what is in `lan.`.
    Well,
    Refuses,
    Fails,
    Silent,
    /// It answers A and never AAAA.
    DeafForV6,
    /// It says by UDP that there is more.
    Truncates,
    /// The same, and TCP is closed.
    TruncatesOnly,
    /// Somebody else's answers come before its own.
    Spoofed,
    /// It knows somebody who may know.
    Refers,
    Garbage,
}

const ANY: [&str; 2] = ["2001:db8::1", "192.0.2.1"];

fn records(name: &Name, kind: RecordType) -> Option<Vec<Record>> {
    let text = name.to_ascii().to_ascii_lowercase();
    let v4 = || RData::A(A(ANY[1].parse().unwrap()));
    let v6 = || RData::AAAA(AAAA(ANY[0].parse().unwrap()));
    let record = |name: &Name, data| Record::from_rdata(name.clone(), 60, data);
    let of = |name: &Name, v4: Option<RData>, v6: Option<RData>| match kind {
        RecordType::A => v4.into_iter().map(|data| record(name, data)).collect(),
        _ => v6
            .into_iter()
            .map(|data| record(name, data))
            .collect::<Vec<_>>(),
    };
    match text.as_str() {
        "here.example." | "short.lan." => Some(of(name, Some(v4()), Some(v6()))),
        "v4.example." => Some(of(name, Some(v4()), None)),
        "empty.example." => Some(Vec::new()),
        "alias.example." => {
            let other = Name::from_ascii("here.example.").unwrap();
            let mut all = vec![record(name, RData::CNAME(CNAME(other.clone())))];
            all.extend(of(&other, Some(v4()), Some(v6())));
            Some(all)
        }
        _ => None,
    }
}

fn answer(question: &[u8], does: Does, tcp: bool) -> Vec<Vec<u8>> {
    let question = Message::from_vec(question).unwrap();
    let asked = &question.queries[0];
    let kind = asked.query_type();
    let mut answer = question.clone();
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.recursion_available = does != Does::Refers;
    let found = records(asked.name(), kind);
    answer.metadata.response_code = match does {
        Does::Refuses => ResponseCode::Refused,
        Does::Fails => ResponseCode::ServFail,
        _ if found.is_none() => ResponseCode::NXDomain,
        _ => ResponseCode::NoError,
    };
    let cut = !tcp && matches!(does, Does::Truncates | Does::TruncatesOnly);
    answer.metadata.truncation = cut;
    match does {
        Does::Silent => return Vec::new(),
        Does::DeafForV6 if kind == RecordType::AAAA => return Vec::new(),
        Does::Truncates if cut => {}
        Does::Refers | Does::Refuses | Does::Fails => {}
        _ => answer.answers = found.unwrap_or_default(),
    }
    let own = answer.to_vec().unwrap();
    match does {
        Does::Garbage => vec![[&own[..4], &[0xff; 20]].concat()],
        Does::Spoofed => {
            let mut other = answer.clone();
            other.metadata.id = !answer.metadata.id;
            let mut elsewhere = answer.clone();
            elsewhere.queries[0].name = Name::from_ascii("other.example.").unwrap();
            vec![
                other.to_vec().unwrap(),
                vec![0],
                elsewhere.to_vec().unwrap(),
                own,
            ]
        }
        _ => vec![own],
    }
}

/// A running name server.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(does: Does) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut question = [0; 512];
            loop {
                let (length, who) = udp.recv_from(&mut question).await.unwrap();
                let name = Message::from_vec(&question[..length]).unwrap();
                let name = name.queries[0].name().to_ascii();
                heard.lock().unwrap().push(name);
                for answer in answer(&question[..length], does, false) {
                    udp.send_to(&answer, who).await.unwrap();
                }
            }
        });
        if does == Does::Truncates {
            tasks.spawn(async move {
                loop {
                    let (mut stream, _) = tcp.accept().await.unwrap();
                    let mut question = vec![0; stream.read_u16().await.unwrap().into()];
                    stream.read_exact(&mut question).await.unwrap();
                    for answer in answer(&question, does, true) {
                        let length = u16::try_from(answer.len()).unwrap();
                        stream.write_u16(length).await.unwrap();
                        stream.write_all(&answer).await.unwrap();
                    }
                }
            });
        }
        Self {
            address,
            asked,
            _tasks: tasks,
        }
    }
}

const QUICK: &str = "options timeout:1 attempts:1\n";

/// Addresses without an order, or the message.
async fn look(files: &Read, host: &str, family: Option<Family>) -> Result<Vec<IpAddr>, String> {
    let found = own(files, host, family).await;
    let mut found = found.map_err(|error| error.to_string())?;
    found.sort();
    Ok(found)
}

fn ips(text: &[&str]) -> Vec<IpAddr> {
    let mut ips: Vec<_> = text.iter().map(|ip| ip.parse().unwrap()).collect();
    ips.sort();
    ips
}

#[tokio::test]
async fn servers_of_every_kind_are_asked() {
    use Does::{
        DeafForV6, Fails, Garbage, Refers, Refuses, Silent, Spoofed, Truncates, TruncatesOnly, Well,
    };
    let both: &[&str] = &ANY;
    let v4: &[&str] = &ANY[1..];
    for (does, host, wanted) in [
        (vec![Well], "here.example", Ok(both)),
        (vec![Well], "HERE.example.", Ok(both)),
        (vec![Well], "alias.example", Ok(both)),
        (vec![Well], "v4.example", Ok(v4)),
        (
            vec![Well],
            "nothing.example",
            Err("Name or service not known: the name server 127.0.0.1 knows no such name"),
        ),
        (
            vec![Well],
            "empty.example",
            Err("No address associated with hostname: "),
        ),
        (vec![Truncates], "here.example", Ok(both)),
        (vec![TruncatesOnly], "here.example", Ok(both)),
        (vec![Spoofed], "here.example", Ok(both)),
        (vec![DeafForV6], "here.example", Ok(v4)),
        (vec![Refuses, Well], "here.example", Ok(both)),
        (vec![Fails, Well], "here.example", Ok(both)),
        (vec![Refers, Well], "here.example", Ok(both)),
        (vec![Garbage, Well], "here.example", Ok(both)),
        (vec![Silent, Well], "here.example", Ok(both)),
        (
            vec![Fails],
            "here.example",
            Err("Temporary failure in name resolution: the name server 127.0.0.1 answers SERVFAIL"),
        ),
        (vec![Refuses], "here.example", Err("answers REFUSED")),
        (vec![Refers], "here.example", Err("answers with a referral")),
        (
            vec![Silent],
            "here.example",
            Err("the name server 127.0.0.1 does not answer within 1s"),
        ),
        (
            vec![Garbage],
            "here.example",
            Err("the name server 127.0.0.1 cannot be asked: "),
        ),
        (vec![], "here.example", Err("no name server is known")),
    ] {
        let mut servers = Vec::new();
        for does in does {
            servers.push(Server::start(does).await);
        }
        let addresses = servers.iter().map(|server| server.address).collect();
        let files = Read::of(QUICK.as_bytes(), b"").at(addresses);
        match (look(&files, host, None).await, wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, ips(wanted), "{host}"),
            (Err(said), Err(wanted)) => assert!(said.contains(wanted), "{host}: {said}"),
            (was, wanted) => panic!("{host}: {was:?}, expected {wanted:?}"),
        }
    }
}

#[tokio::test]
async fn only_the_family_that_is_wanted_is_asked_for() {
    let server = Server::start(Does::Well).await;
    let files = Read::of(QUICK.as_bytes(), b"").at(vec![server.address]);
    for (host, family, wanted) in [
        ("here.example", Family::V4, Ok(ips(&ANY[1..]))),
        ("here.example", Family::V6, Ok(ips(&ANY[..1]))),
        (
            "v4.example",
            Family::V6,
            Err("it has no IPv6 address".to_owned()),
        ),
    ] {
        server.asked.lock().unwrap().clear();
        assert_eq!(look(&files, host, Some(family)).await, wanted);
        assert_eq!(server.asked.lock().unwrap().len(), 1, "{host}");
    }
}

#[tokio::test]
async fn names_are_searched_for_as_the_settings_say() {
    let server = Server::start(Does::Well).await;
    for (settings, host, asked) in [
        ("search lan", "short", "short.lan."),
        ("search corp lan", "short", "short.corp. short.lan."),
        ("domain lan", "short", "short.lan."),
        ("search lan", "here.example", "here.example."),
        ("search lan", "x.y", "x.y. x.y.lan."),
        (
            "search lan\noptions ndots:2",
            "here.example",
            "here.example.lan. here.example.",
        ),
        ("search lan", "short.", "short."),
        ("search .", "x", "x."),
        (
            "search lan\nnonsense\noptions ndots:x",
            "short",
            "short.lan.",
        ),
    ] {
        let settings = format!("{settings}\n{QUICK}");
        let files = Read::of(settings.as_bytes(), b"").at(vec![server.address]);
        server.asked.lock().unwrap().clear();
        let _ = look(&files, host, Some(Family::V4)).await;
        let mut heard = server.asked.lock().unwrap().clone();
        heard.dedup();
        assert_eq!(heard.join(" "), asked, "{settings}");
    }
}

#[tokio::test]
async fn hosts_that_the_machine_knows_are_not_asked_for() {
    let server = Server::start(Does::Silent).await;
    let hosts = "# a remark\n192.0.2.9 one.example Two # three\n2001:db8::9\tone.example\nnonsense x\n\
                 192.0.2.9 one.example\n";
    let files = Read::of(b"", hosts.as_bytes()).at(vec![server.address]);
    for (host, wanted) in [
        ("one.example", ["192.0.2.9", "2001:db8::9"].as_slice()),
        ("ONE.Example.", &["192.0.2.9", "2001:db8::9"]),
        ("two", &["192.0.2.9"]),
        ("localhost", &["127.0.0.1", "::1"]),
        ("Localhost.", &["127.0.0.1", "::1"]),
        ("a.localhost", &["127.0.0.1", "::1"]),
    ] {
        assert_eq!(look(&files, host, None).await, Ok(ips(wanted)), "{host}");
    }
    assert!(server.asked.lock().unwrap().is_empty());
}

/// What a deadline does to a look-up.
#[tokio::test(start_paused = true)]
async fn a_look_up_that_is_dropped_is_over() {
    let server = Server::start(Does::Silent).await;
    let files = Read::of(b"options timeout:30 attempts:5", b"").at(vec![server.address]);
    let began = tokio::time::Instant::now();
    let deadline = std::time::Duration::from_secs(2);
    let ended = tokio::time::timeout(deadline, look(&files, "here.example", None)).await;
    assert!(ended.is_err());
    assert_eq!(began.elapsed().as_secs(), 2);
}

#[test]
fn the_files_are_read_once_while_they_stay_the_same() {
    let files = Files::default();
    assert!(Arc::ptr_eq(&files.now(), &files.now()));
}
