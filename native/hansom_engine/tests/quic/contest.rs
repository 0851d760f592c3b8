//! What becomes of a dial where QUIC does not get through.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use hansom_engine::connect;
use hansom_engine::transport::Quic;
use hansom_engine::{Dial, Error, Http3Config, QuicDial};
use quinn::EndpointConfig;
use tokio::net::TcpSocket;

use crate::certificates::{Authority, config_for, plain_config, within};
use crate::server::{Server, TLS13, config, dial, link, quic, target};
use crate::tcp;

/// Longer than a dial takes that does not wait for QUIC, shorter than one that does.
const AT_ONCE: Duration = Duration::from_millis(1500);

/// A UDP port of 127.0.0.1 that never answers.
fn silent() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn asynchronous(udp: UdpSocket) -> tokio::net::UdpSocket {
    udp.set_nonblocking(true).unwrap();
    tokio::net::UdpSocket::from_std(udp).unwrap()
}

/// A UDP port and the TCP port of the same number, at which nobody listens yet.
fn twins() -> (UdpSocket, TcpSocket) {
    for _ in 0..100 {
        let udp = silent();
        let tcp = TcpSocket::new_v4().unwrap();
        match tcp.bind(udp.local_addr().unwrap()) {
            Ok(()) => return (udp, tcp),
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
        }
    }
    panic!("no number is free for both");
}

/// Serves TLS at the TCP port.
fn serve_tls(port: TcpSocket, authority: &Authority) -> tcp::Server {
    let config = plain_config(&authority.issue(&["a.test"]));
    tcp::Server::start_on(port.listen(16).unwrap(), config)
}

/// The alert a dial ends with.
async fn alert(target: &Dial) -> &'static str {
    match dial(target).await {
        Err(Error::Tls { alert, .. }) => alert.0,
        other => panic!("{other:?}"),
    }
}

// Clauses: NEG-3
#[tokio::test]
async fn an_unreachable_port_falls_back_at_once() {
    let authority = Authority::new("root");
    let mut server = tcp::Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let target = Dial { quic: QuicDial::First, ..server.dial("a.test", authority.trusted()) };
    let begin = Instant::now();
    let link = link(dial(&target).await);
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    assert!(link.is_tls());
    server.seen().await;
}

// Clauses: H3-2
#[tokio::test]
async fn silence_falls_back_when_half_the_time_is_over() {
    let authority = Authority::new("root");
    let (udp, tcp) = twins();
    let address = udp.local_addr().unwrap();
    let _server = serve_tls(tcp, &authority);
    let target = Dial {
        connect_timeout: Some(Duration::from_secs(3)),
        ..target(address, "a.test", authority.trusted())
    };
    let begin = Instant::now();
    link(dial(&target).await);
    assert!(begin.elapsed() >= Duration::from_millis(1500), "{:?}", begin.elapsed());
    // It was tried.
    udp.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    udp.recv(&mut [0; 2048]).unwrap();
}

#[tokio::test]
async fn a_race_does_not_wait() {
    let authority = Authority::new("root");
    let (udp, tcp) = twins();
    let address = udp.local_addr().unwrap();
    let _server = serve_tls(tcp, &authority);
    let target = Dial { quic: QuicDial::Race, ..target(address, "a.test", authority.trusted()) };
    let begin = Instant::now();
    link(dial(&target).await);
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_race_is_won_by_quic_where_tcp_is_silent() {
    let authority = Authority::new("root");
    let (socket, tcp) = twins();
    let address = socket.local_addr().unwrap();
    let _listener = tcp.listen(16).unwrap();
    let server = Server::start_on(socket, config(&authority), EndpointConfig::default());
    server.serve();
    let target = Dial { quic: QuicDial::Race, ..target(address, "a.test", authority.trusted()) };
    quic(dial(&target).await);
}

// Clauses: H3-2, ST-12
#[tokio::test]
async fn one_deadline_is_for_both() {
    let authority = Authority::new("root");
    let (udp, tcp) = twins();
    let address = udp.local_addr().unwrap();
    // Accepts, and says nothing.
    let _listener = tcp.listen(16).unwrap();
    let target = Dial {
        connect_timeout: Some(Duration::from_millis(600)),
        ..target(address, "a.test", authority.trusted())
    };
    let begin = Instant::now();
    assert_eq!(dial(&target).await.map(drop), Err(Error::Timeout));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn an_unknown_version_falls_back_at_once() {
    let authority = Authority::new("root");
    let (udp, tcp) = twins();
    let udp = asynchronous(udp);
    let address = udp.local_addr().unwrap();
    let _server = serve_tls(tcp, &authority);
    tokio::spawn(async move {
        let mut packet = [0; 2048];
        while let Ok((length, from)) = udp.recv_from(&mut packet).await {
            // Version Negotiation (RFC 9000, section 17.2.1): the connection ids change places.
            let destination = &packet[6..6 + usize::from(packet[5])];
            let rest = &packet[6 + destination.len()..length];
            let source = &rest[1..1 + usize::from(rest[0])];
            let mut answer = vec![0x80, 0, 0, 0, 0];
            for id in [source, destination] {
                answer.push(u8::try_from(id.len()).unwrap());
                answer.extend_from_slice(id);
            }
            answer.extend_from_slice(&[0x1a, 0x2a, 0x3a, 0x4a]);
            udp.send_to(&answer, from).await.unwrap();
        }
    });
    let begin = Instant::now();
    link(dial(&target(address, "a.test", authority.trusted())).await);
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn without_tls_1_3_there_is_only_tcp() {
    use hansom_engine::transport::{TlsOptions, TlsVersion};
    let authority = Authority::new("root");
    let (udp, tcp) = twins();
    let server = Server::start_on(udp, config(&authority), EndpointConfig::default());
    let _tcp = serve_tls(tcp, &authority);
    let options = TlsOptions { versions: vec![TlsVersion::Tls12], ..authority.trusted() };
    let link = link(dial(&server.dial("a.test", options)).await);
    assert_eq!(link.tls_version(), Some(TlsVersion::Tls12));
}

// Clauses: H3-2, NEG-3
#[tokio::test]
async fn what_fails_after_the_handshake_falls_back_at_once() {
    let authority = Authority::new("root");
    let (udp, tcp) = twins();
    let server = Server::start_on(udp, config(&authority), EndpointConfig::default());
    server.serve();
    let refuse = async |_| Err::<Quic, _>(Error::ConnectionClosed("normal"));
    let (target, http3) = (server.dial("a.test", authority.trusted()), Http3Config::default());
    let reached = within(connect::dial(&target, &http3, refuse)).await;
    // Nobody listens yet.
    assert_eq!(reached.map(drop), Err(Error::Posix("econnrefused")));
    let _tcp = serve_tls(tcp, &authority);
    let begin = Instant::now();
    link(within(connect::dial(&target, &http3, refuse)).await);
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
}

// Clauses: H3-3
#[tokio::test]
async fn a_fallback_verifies_too() {
    let trusted = Authority::new("root");
    let stranger = Authority::new("stranger");
    let (udp, tcp) = twins();
    let server = Server::start_on(udp, config(&stranger), EndpointConfig::default());
    server.serve();
    let target = server.dial("a.test", trusted.trusted());
    // Without TCP beside it the error is QUIC's.
    assert_eq!(alert(&target).await, "unknown_ca");
    let identity = stranger.issue(&["a.test"]);
    let _tcp = tcp::Server::start_on(tcp.listen(16).unwrap(), config_for(&identity, TLS13));
    assert_eq!(alert(&target).await, "unknown_ca");
}

#[tokio::test]
async fn an_abandoned_dial_leaves_no_socket() {
    let authority = Authority::new("root");
    let udp = asynchronous(silent());
    let target = target(udp.local_addr().unwrap(), "a.test", authority.trusted());
    let dialling = tokio::spawn(async move { dial(&target).await.map(drop) });
    let (_, from) = within(udp.recv_from(&mut [0; 2048])).await.unwrap();
    dialling.abort();
    assert!(within(dialling).await.unwrap_err().is_cancelled());
    // The port is free again.
    UdpSocket::bind(from).unwrap();
}

// Clauses: H3-2, NEG-3
#[tokio::test]
async fn an_error_of_tcp_is_told_although_quic_is_silent() {
    let (udp, _tcp) = twins();
    let authority = Authority::new("root");
    let refused = Dial {
        connect_timeout: Some(Duration::from_millis(600)),
        ..target(udp.local_addr().unwrap(), "a.test", authority.trusted())
    };
    for quic in [QuicDial::First, QuicDial::Race] {
        let target = Dial { quic, ..refused.clone() };
        assert_eq!(dial(&target).await.map(drop), Err(Error::Posix("econnrefused")));
    }
    let (udp, tcp) = twins();
    let _server = serve_tls(tcp, &Authority::new("stranger"));
    let distrusted = Dial {
        connect_timeout: Some(Duration::from_secs(2)),
        ..target(udp.local_addr().unwrap(), "a.test", authority.trusted())
    };
    for quic in [QuicDial::First, QuicDial::Race] {
        assert_eq!(alert(&Dial { quic, ..distrusted.clone() }).await, "unknown_ca");
    }
}

// Clauses: H3-2, NEG-3
#[tokio::test]
async fn a_silent_port_is_not_waited_for_without_end() {
    let (udp, _tcp) = twins();
    let target = Dial {
        connect_timeout: None,
        ..target(udp.local_addr().unwrap(), "a.test", Authority::new("root").trusted())
    };
    let begin = Instant::now();
    assert_eq!(dial(&target).await.map(drop), Err(Error::Posix("econnrefused")));
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}

// Clauses: H3-2, NEG-3
#[tokio::test]
async fn an_error_of_quic_is_told_although_tcp_is_silent() {
    let (udp, tcp) = twins();
    let server =
        Server::start_on(udp, config(&Authority::new("stranger")), EndpointConfig::default());
    server.serve();
    // Accepts, and says nothing.
    let _listener = tcp.listen(16).unwrap();
    let target = Dial {
        connect_timeout: Some(Duration::from_secs(2)),
        ..server.dial("a.test", Authority::new("root").trusted())
    };
    for quic in [QuicDial::First, QuicDial::Race] {
        assert_eq!(alert(&Dial { quic, ..target.clone() }).await, "unknown_ca");
    }
    drop(server);
}
