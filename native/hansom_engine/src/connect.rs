//! From what to dial to something a protocol can be spoken on: name look-up, Happy Eyeballs, TLS,
//! and QUIC beside TCP.

mod contest;
mod race;

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::config::{Dial, Http3Config, QuicDial, TransportKind};
use crate::error::Error;
use crate::transport::{
    Carrier, Family, Link, Quic, SocketOption, TlsClient, TlsOptions, binding, connect_tcp,
    connect_unix, posix, quic, tls,
};

/// The longest QUIC is alone before TCP joins. Should the first packet get lost, the second one,
/// after a second, is in time.
const LONGEST_HEAD_START: Duration = Duration::from_secs(2);

/// What a dial ends with.
#[derive(Debug)]
pub enum Reached<Q> {
    /// A stream of bytes.
    Link(Link),
    /// What was made of a QUIC connection on which HTTP/3 was agreed.
    Quic(Q),
}

/// Connects as `target` says, within `target.connect_timeout` from the look-up to the end of the
/// handshake, whatever had to be tried; `http3` is how a QUIC connection behaves. What `greet`
/// makes of one belongs to the attempt: until it is done TCP may still win, and TCP follows its
/// failure.
///
/// Address literals are dialled directly, `localhost` is `::1` then `127.0.0.1`, other names are
/// looked up by the system. IPv6 goes first; IPv4 joins after 250 ms or as soon as IPv6 has failed
/// (RFC 8305). TLS without options of its own gets the defaults of [`TlsOptions`]. Dropping the
/// future abandons the dial and closes what it opened.
///
/// # Errors
/// [`Error::Timeout`], [`Error::NoSuchName`], [`Error::Posix`] of the attempt that failed last, and
/// for TLS [`Error::Tls`], [`Error::Closed`] and [`Error::Option`]. Where QUIC and TCP both fail
/// it is TCP's error, unless only QUIC came as far as an alert, or TCP only ran out of time.
pub async fn dial<Q, G, F>(
    target: &Dial,
    http3: &Http3Config,
    greet: G,
) -> Result<Reached<Q>, Error>
where
    G: FnOnce(Quic) -> F,
    F: Future<Output = Result<Q, Error>>,
{
    let deadline = target.connect_timeout.and_then(|limit| Instant::now().checked_add(limit));
    match head_start(target) {
        Some(head_start) => open_either(target, http3, greet, head_start, deadline).await,
        None => by(deadline, open(target)).await.map(Reached::Link),
    }
}

/// Does the TLS handshake on an open link, for which `server_name` is the name or address to
/// verify. Takes as long as the server does: the caller bounds it. A link already encrypted is
/// returned as it is.
///
/// # Errors
/// [`Error::Tls`], [`Error::Option`], [`Error::Closed`] or [`Error::Posix`]. The link is gone then.
pub async fn upgrade(
    link: Link,
    client: &Arc<TlsClient>,
    server_name: &str,
) -> Result<Link, Error> {
    tls::handshake(link, client, server_name).await
}

/// Has the embedder speak TLS on an open link. Takes as long as it does: the caller bounds it. A
/// link already encrypted is returned as it is.
///
/// # Errors
/// What the embedder says, or `eopnotsupp` for a link whose socket is not ours to give away. The
/// link is gone then.
pub async fn upgrade_carried(link: Link, carrier: &Carrier) -> Result<Link, Error> {
    match link.into_socket() {
        Ok(socket) if socket.is_carried() => Err(Error::Posix("eopnotsupp")),
        Ok(socket) => carrier.open(Some(socket)).await.map(Link::carried),
        Err(encrypted) => Ok(encrypted),
    }
}

/// What `attempt` ends with, or [`Error::Timeout`] at the deadline.
async fn by<T>(
    deadline: Option<Instant>,
    attempt: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match deadline {
        Some(deadline) => timeout_at(deadline, attempt).await.unwrap_or(Err(Error::Timeout)),
        None => attempt.await,
    }
}

/// How long QUIC is alone before TCP joins; `None` if it is not to be tried.
fn head_start(target: &Dial) -> Option<Duration> {
    match (target.transport, target.quic) {
        (TransportKind::Tls, QuicDial::First) => {
            let half = target.connect_timeout.map(|all| all / 2);
            Some(half.map_or(LONGEST_HEAD_START, |half| half.min(LONGEST_HEAD_START)))
        }
        (TransportKind::Tls, QuicDial::Race) => Some(Duration::ZERO),
        _ => None,
    }
}

/// Each of the two keeps the deadline by itself, so that the error of one is not lost when the
/// other runs out of time.
async fn open_either<Q, G, F>(
    target: &Dial,
    http3: &Http3Config,
    greet: G,
    head_start: Duration,
    deadline: Option<Instant>,
) -> Result<Reached<Q>, Error>
where
    G: FnOnce(Quic) -> F,
    F: Future<Output = Result<Q, Error>>,
{
    let client = &tls_client(target);
    let found = by(deadline, resolve(target)).await?;
    let over_quic = async {
        let quic = open_quic(found.clone(), target, client, http3, deadline).await?;
        by(deadline, greet(quic)).await.map(Reached::Quic)
    };
    let over_tcp =
        async { by(deadline, open_tls(found.clone(), target, client)).await.map(Reached::Link) };
    contest::first_ready(over_quic, over_tcp, head_start).await
}

async fn open_quic(
    (v6, v4): Found,
    target: &Dial,
    client: &Arc<TlsClient>,
    http3: &Http3Config,
    deadline: Option<Instant>,
) -> Result<Quic, Error> {
    let name = tls::parse_server_name(&target.server_name)?.to_str().into_owned();
    let client = target.quic_tls.as_ref().unwrap_or(client);
    let prepared = by(deadline, client.quic()).await?;
    let options = &target.socket_options;
    let alert = Mutex::new(None);
    let connect = async |address| {
        let connected = quic::connect(address, options, &prepared, &name, http3).await;
        if let Err(error @ Error::Tls { .. }) = &connected {
            *alert.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        }
        connected
    };
    let attempts = async {
        // Early data is for where the server was last time, so nothing else is tried before.
        if http3.early_data
            && let Some(address) = prepared.reached(&name)
            && v6.iter().chain(&v4).any(|found| *found == address)
            && let Ok(quic) = connect(address).await
        {
            return Ok(quic);
        }
        race::first_connected(v6, v4, connect).await
    };
    let connected = by(deadline, attempts).await;
    // An alert is worth more than what befell another address.
    let alert = alert.into_inner().unwrap_or_else(PoisonError::into_inner);
    connected.map_err(|error| alert.unwrap_or(error))
}

async fn open(target: &Dial) -> Result<Link, Error> {
    let missing =
        |name: &'static str| Error::Option { name: name.into(), reason: "missing".into() };
    match target.transport {
        TransportKind::Carried => {
            let carrier = target.carrier.as_ref().ok_or_else(|| missing("carrier"))?;
            carrier.open(None).await.map(Link::carried)
        }
        TransportKind::CarriedTls => {
            let carrier = target.carrier.as_ref().ok_or_else(|| missing("carrier"))?;
            let link = open_tcp(resolve(target).await?, &target.socket_options).await?;
            upgrade_carried(link, carrier).await
        }
        TransportKind::Adopted => {
            target.descriptor.as_ref().ok_or_else(|| missing("descriptor"))?.open()
        }
        TransportKind::Unix => open_unix(target).await,
        TransportKind::Tcp => open_tcp(resolve(target).await?, &target.socket_options).await,
        TransportKind::Tls => open_tls(resolve(target).await?, target, &tls_client(target)).await,
    }
}

fn tls_client(target: &Dial) -> Arc<TlsClient> {
    target.tls.clone().unwrap_or_else(|| TlsClient::lazy(TlsOptions::default()))
}

async fn open_tls(found: Found, target: &Dial, client: &Arc<TlsClient>) -> Result<Link, Error> {
    let link = open_tcp(found, &target.socket_options).await?;
    upgrade(link, client, &target.server_name).await
}

async fn open_unix(target: &Dial) -> Result<Link, Error> {
    connect_unix(Path::new(&target.host), &target.socket_options)
        .await
        .map(Link::plain)
        .map_err(|error| posix(&error))
}

async fn open_tcp((v6, v4): Found, options: &[SocketOption]) -> Result<Link, Error> {
    let connect =
        |address| async move { connect_tcp(address, options).await.map_err(|error| posix(&error)) };
    race::first_connected(v6, v4, connect).await.map(Link::plain)
}

/// Addresses to try, IPv6 and IPv4.
type Found = (Vec<SocketAddr>, Vec<SocketAddr>);

async fn resolve(target: &Dial) -> Result<Found, Error> {
    let found = addresses(&target.host, target.port, |host, port| async move {
        let found = tokio::net::lookup_host((host.as_str(), port)).await?;
        Ok(found.collect())
    })
    .await?;
    eligible(found, &target.socket_options)
}

/// The addresses of `host`, of which only names other than `localhost` need `look_up`.
async fn addresses<L, F>(host: &str, port: u16, look_up: L) -> Result<Vec<SocketAddr>, Error>
where
    L: FnOnce(String, u16) -> F,
    F: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(literal) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(literal, port)]);
    }
    if bare.eq_ignore_ascii_case("localhost") {
        let loopback = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];
        return Ok(loopback.map(|address| SocketAddr::new(address, port)).to_vec());
    }
    match look_up(bare.to_owned(), port).await {
        Ok(found) => Ok(found),
        // The resolver's own verdicts have no error number. Whether it was "no such name" or "try
        // again", OTP says nxdomain.
        Err(error) if error.raw_os_error().is_none() => Err(Error::NoSuchName),
        Err(error) => Err(posix(&error)),
    }
}

/// Splits `found` into IPv6 and IPv4, in order, leaving out what `options` exclude.
fn eligible(found: Vec<SocketAddr>, options: &[SocketOption]) -> Result<Found, Error> {
    let family = options.iter().rev().find_map(|option| match option {
        SocketOption::Family(family) => Some(*family),
        _ => None,
    });
    let bound = binding(options).0.map(Family::of);
    let allowed = |address: &SocketAddr| {
        let own = Family::of(address.ip());
        family.is_none_or(|wanted| wanted == own) && bound.is_none_or(|wanted| wanted == own)
    };
    let some_found = !found.is_empty();
    let (v6, v4): (Vec<_>, Vec<_>) =
        found.into_iter().filter(allowed).partition(SocketAddr::is_ipv6);
    match (v6.is_empty() && v4.is_empty(), bound) {
        (true, Some(_)) if some_found => Err(Error::Posix("eafnosupport")),
        (true, _) => Err(Error::NoSuchName),
        (false, _) => Ok((v6, v4)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 80;

    fn at(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), PORT)
    }

    async fn without_look_up(host: &str) -> Result<Vec<SocketAddr>, Error> {
        addresses(host, PORT, |host, _| async move { panic!("{host} was looked up") }).await
    }

    #[tokio::test]
    async fn literals_and_localhost_are_not_looked_up() {
        assert_eq!(without_look_up("192.0.2.1").await, Ok(vec![at("192.0.2.1")]));
        assert_eq!(without_look_up("2001:db8::1").await, Ok(vec![at("2001:db8::1")]));
        assert_eq!(without_look_up("[2001:db8::1]").await, Ok(vec![at("2001:db8::1")]));
        let loopback = Ok(vec![at("::1"), at("127.0.0.1")]);
        assert_eq!(without_look_up("localhost").await, loopback);
        assert_eq!(without_look_up("LocalHost").await, loopback);
    }

    #[tokio::test]
    async fn names_are_looked_up() {
        let found = addresses("name.test", PORT, |host, port| async move {
            assert_eq!((host.as_str(), port), ("name.test", PORT));
            Ok(vec![at("192.0.2.1")])
        });
        assert_eq!(found.await, Ok(vec![at("192.0.2.1")]));
    }

    #[tokio::test]
    async fn a_failed_look_up_is_no_such_name_unless_the_system_failed() {
        let unknown = addresses("name.test", PORT, |_, _| async {
            Err(io::Error::other("failed to lookup address information"))
        });
        assert_eq!(unknown.await, Err(Error::NoSuchName));
        let system = addresses("name.test", PORT, |_, _| async {
            Err(io::Error::from_raw_os_error(libc::EMFILE))
        });
        assert_eq!(system.await, Err(Error::Posix("emfile")));
    }

    #[test]
    fn options_choose_the_family() {
        let all = || vec![at("192.0.2.1"), at("2001:db8::1"), at("192.0.2.2")];
        let v4 = vec![at("192.0.2.1"), at("192.0.2.2")];
        let v6 = vec![at("2001:db8::1")];
        assert_eq!(eligible(all(), &[]), Ok((v6.clone(), v4.clone())));
        let only_v4 = [SocketOption::Family(Family::V4)];
        assert_eq!(eligible(all(), &only_v4), Ok((vec![], v4.clone())));
        let bound = [SocketOption::BindAddress("::1".parse().unwrap())];
        assert_eq!(eligible(all(), &bound), Ok((v6, vec![])));
        assert_eq!(eligible(v4, &bound), Err(Error::Posix("eafnosupport")));
        assert_eq!(eligible(vec![at("::1")], &only_v4), Err(Error::NoSuchName));
        assert_eq!(eligible(vec![], &[]), Err(Error::NoSuchName));
    }
}
