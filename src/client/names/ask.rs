//! One name, asked of name servers as the C library does (RFC 1035, 4.2): over UDP, over TCP if
//! the answer does not fit, the next server if one fails, all of them so often. Both families are
//! asked at the same time. Messages are written and read by `hickory-proto`; it has a resolver too,
//! but that drives its connections in tasks of its own and remembers which server was good.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use resolv_conf::Config;
use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::files::Read;
use crate::client::error::is_exhaustion;

/// Answers over UDP are shorter; nobody is told that we take longer ones.
const LONGEST_DATAGRAM: usize = 4096;

/// When one family has addresses, the other one may still take so long: some servers never answer
/// for IPv6 (compare RFC 8305, 3).
const PATIENCE: Duration = Duration::from_millis(500);

/// What became of a name.
#[derive(Debug)]
pub(super) enum Asked {
    /// Its addresses.
    Found(Vec<IpAddr>),
    /// This server says that there is no such name.
    NoSuchName(String),
    /// This server says that the name has no address of the kinds asked for.
    NoAddress(String),
    /// Servers answered with failures.
    Failed(String),
    /// No server answered at all.
    Silent(String),
}

impl Asked {
    /// What two kinds of addresses come to. That a server failed counts more than that another
    /// one has nothing: it could have had something.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Found(mut all), Self::Found(more)) => {
                all.extend(more);
                Self::Found(all)
            }
            (one, other) if one.weight() >= other.weight() => one,
            (_, other) => other,
        }
    }

    const fn weight(&self) -> u8 {
        match self {
            Self::Found(_) => 4,
            Self::Silent(_) => 3,
            Self::Failed(_) => 2,
            Self::NoSuchName(_) => 1,
            Self::NoAddress(_) => 0,
        }
    }
}

/// Asks for the addresses of these kinds.
pub(super) async fn servers(files: &Read, name: &Name, kinds: &[RecordType]) -> io::Result<Asked> {
    let servers = files.servers();
    let one = |kind: &RecordType| one(&files.settings, &servers, name, *kind);
    let mut asked: FuturesUnordered<_> = kinds.iter().map(one).collect();
    let mut sum = Asked::NoAddress(String::new());
    loop {
        let next = asked.next();
        let next = match sum {
            Asked::Found(_) => timeout(PATIENCE, next).await.unwrap_or_default(),
            _ => next.await,
        };
        let Some(next) = next else {
            return Ok(sum);
        };
        sum = next?.and(sum);
    }
}

/// One kind of address of one name.
async fn one(
    settings: &Config,
    servers: &[SocketAddr],
    name: &Name,
    kind: RecordType,
) -> io::Result<Asked> {
    let wait = Duration::from_secs(settings.timeout.max(1).into());
    let (mut silent, mut said) = (true, vec!["no name server is known".to_owned()]);
    for _ in 0..settings.attempts.max(1) {
        said.truncate(usize::from(servers.is_empty()));
        for server in servers {
            let ip = server.ip();
            let answer = exchange(*server, name, kind, settings.use_vc, wait);
            let failure = match timeout(wait, answer).await {
                Err(_) => {
                    let wait = humantime::format_duration(wait);
                    format!("the name server {ip} does not answer within {wait}")
                }
                Ok(Err(source)) if Errno::from_io_error(&source).is_some_and(is_exhaustion) => {
                    return Err(source);
                }
                Ok(Err(source)) => format!("the name server {ip} cannot be asked: {source}"),
                Ok(Ok(answer)) => match judge(&answer, kind, ip) {
                    Ok(asked) => return Ok(asked),
                    Err(code) => {
                        silent = false;
                        format!("the name server {ip} answers {code}")
                    }
                },
            };
            said.push(failure);
        }
    }
    let said = said.join(", ");
    Ok(if silent {
        Asked::Silent(said)
    } else {
        Asked::Failed(said)
    })
}

/// What an answer says, or what it fails with.
fn judge(answer: &Message, kind: RecordType, server: IpAddr) -> Result<Asked, Cow<'static, str>> {
    match answer.metadata.response_code {
        ResponseCode::NXDomain => Ok(Asked::NoSuchName(server.to_string())),
        ResponseCode::NoError => {
            let found = addresses(answer, kind);
            // It sends us on to others, whom we do not ask: it was to ask them for us.
            let known = answer.metadata.authoritative || answer.metadata.recursion_available;
            match found.is_empty() {
                false => Ok(Asked::Found(found)),
                true if known => Ok(Asked::NoAddress(server.to_string())),
                true => Err("with a referral".into()),
            }
        }
        ResponseCode::ServFail => Err("SERVFAIL".into()),
        ResponseCode::Refused => Err("REFUSED".into()),
        ResponseCode::FormErr => Err("FORMERR".into()),
        ResponseCode::NotImp => Err("NOTIMP".into()),
        other => Err(other.to_string().into()),
    }
}

fn addresses(answer: &Message, kind: RecordType) -> Vec<IpAddr> {
    let answers = answer.answers.iter();
    let wanted = answers.filter(|record| record.record_type() == kind);
    wanted.filter_map(|record| record.data.ip_addr()).collect()
}

/// One question and its answer.
async fn exchange(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
    only_tcp: bool,
    wait: Duration,
) -> io::Result<Message> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let bytes = question.to_vec().map_err(io::Error::other)?;
    if only_tcp {
        return over_tcp(server, &question, &bytes).await;
    }
    let short = over_udp(server, &question, &bytes).await?;
    if !short.metadata.truncation {
        return Ok(short);
    }
    match timeout(wait / 2, over_tcp(server, &question, &bytes)).await {
        Ok(Ok(whole)) => Ok(whole),
        // A part is better than nothing where TCP is kept from name servers.
        _ if !addresses(&short, kind).is_empty() => Ok(short),
        Ok(Err(source)) => Err(source),
        Err(_) => Err(io::Error::other(
            "its answer is too long for UDP, and TCP gets none",
        )),
    }
}

async fn over_udp(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A new socket is a new port, which nobody can guess.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut came = vec![0; LONGEST_DATAGRAM];
    loop {
        let length = socket.recv(&mut came).await?;
        if let Some(answer) = read(&came[..length], question)? {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut tcp = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    // In one piece: some servers read no more than the first.
    let framed = [&length.to_be_bytes(), bytes].concat();
    tcp.write_all(&framed).await?;
    let length = tcp.read_u16().await?;
    let mut came = vec![0; length.into()];
    tcp.read_exact(&mut came).await?;
    let answer = read(&came, question)?;
    answer.ok_or_else(|| io::Error::other("it answers another question"))
}

/// The answer, if this is the one to our question.
fn read(came: &[u8], question: &Message) -> io::Result<Option<Message>> {
    if came.get(..2) != Some(&question.metadata.id.to_be_bytes()) {
        return Ok(None);
    }
    let answer = Message::from_vec(came).map_err(io::Error::other)?;
    let ours = answer.metadata.message_type == MessageType::Response
        && (answer.queries == question.queries
            // Who cannot read a question does not repeat it.
            || answer.queries.is_empty() && answer.metadata.response_code != ResponseCode::NoError);
    Ok(ours.then_some(answer))
}
