//! Dialling without TLS, and what an open link can be asked.

#[path = "support/link.rs"]
mod dialled;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dialled::dial;
use hansom_engine::transport::{Address, Family, Link, SocketOption, classify};
use hansom_engine::{Dial, Error, TransportKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};

/// Fails the test if `future` takes longer than any healthy run could.
async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("took too long")
}

fn tcp(host: &str, port: u16) -> Dial {
    Dial::new(TransportKind::Tcp, host, port)
}

async fn listen(host: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A link and the peer's end of it.
async fn pair() -> (Link, TcpStream) {
    let (listener, address) = listen("127.0.0.1").await;
    let link = within(dial(&tcp("127.0.0.1", address.port()))).await.unwrap();
    (link, within(listener.accept()).await.unwrap().0)
}

/// A port of 127.0.0.1 nobody listens on, nor can while the socket is held.
fn silent_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn socket_path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("hansom-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn unix(path: &std::path::Path) -> Dial {
    Dial::new(TransportKind::Unix, path.to_str().unwrap(), 0)
}

#[tokio::test]
async fn literals_are_dialled() {
    for (host, bind) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("[::1]", "::1")] {
        let (listener, address) = listen(bind).await;
        let mut link = within(dial(&tcp(host, address.port()))).await.unwrap();
        let (mut peer, peer_address) = within(listener.accept()).await.unwrap();
        assert_eq!(link.peer_address(), Ok(Address::Ip(address)));
        assert_eq!(link.local_address(), Ok(Address::Ip(peer_address)));
        link.write_all(b"ping").await.unwrap();
        let mut data = [0; 4];
        within(peer.read_exact(&mut data)).await.unwrap();
        peer.write_all(&data).await.unwrap();
        within(link.read_exact(&mut data)).await.unwrap();
        assert_eq!(&data, b"ping");
    }
}

#[tokio::test]
async fn localhost_is_both_families() {
    for bind in ["127.0.0.1", "::1"] {
        let (listener, address) = listen(bind).await;
        let link = within(dial(&tcp("localhost", address.port()))).await.unwrap();
        assert_eq!(link.peer_address(), Ok(Address::Ip(address)));
        within(listener.accept()).await.unwrap();
    }
}

#[tokio::test]
async fn failures_keep_their_name() {
    let (_held, port) = silent_port();
    let failed = async |target: Dial| within(dial(&target)).await.map(drop).unwrap_err();
    assert_eq!(failed(tcp("127.0.0.1", port)).await, Error::Posix("econnrefused"));
    assert_eq!(failed(tcp("localhost", port)).await, Error::Posix("econnrefused"));
    assert_eq!(failed(tcp("", port)).await, Error::NoSuchName);

    let path = socket_path("absent");
    assert_eq!(failed(unix(&path)).await, Error::Posix("enoent"));
    drop(UnixListener::bind(&path).unwrap());
    assert_eq!(failed(unix(&path)).await, Error::Posix("econnrefused"));
    std::fs::remove_file(&path).unwrap();
    let long = socket_path(&"x".repeat(200));
    assert_eq!(failed(unix(&long)).await, Error::Posix("einval"));
}

#[tokio::test]
async fn the_family_can_be_chosen() {
    let (_listener, address) = listen("127.0.0.1").await;
    let only = |family| Dial {
        socket_options: vec![SocketOption::Family(family)],
        ..tcp("localhost", address.port())
    };
    let link = within(dial(&only(Family::V4))).await.unwrap();
    assert_eq!(link.peer_address(), Ok(Address::Ip(address)));
    let failed = within(dial(&only(Family::V6))).await.map(drop);
    assert_eq!(failed, Err(Error::Posix("econnrefused")));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_local_address_and_port_can_be_chosen() {
    let (listener, address) = listen("127.0.0.1").await;
    let local: IpAddr = "127.0.0.2".parse().unwrap();
    let (_held, port) = silent_port();
    let target = Dial {
        socket_options: vec![SocketOption::BindAddress(local), SocketOption::BindPort(port)],
        ..tcp("localhost", address.port())
    };
    let link = within(dial(&target)).await.unwrap();
    let (_, seen) = within(listener.accept()).await.unwrap();
    assert_eq!(seen, SocketAddr::new(local, port));
    assert_eq!(link.local_address(), Ok(Address::Ip(seen)));
}

#[tokio::test]
async fn a_binding_that_cannot_be_had_is_an_error() {
    let (_listener, address) = listen("127.0.0.1").await;
    let failed = async |option| {
        let target = Dial { socket_options: vec![option], ..tcp("127.0.0.1", address.port()) };
        within(dial(&target)).await.map(drop).unwrap_err()
    };
    let taken = SocketOption::BindPort(address.port());
    assert_eq!(failed(taken).await, Error::Posix("eaddrinuse"));
    let foreign = SocketOption::BindAddress("192.0.2.1".parse().unwrap());
    assert_eq!(failed(foreign).await, Error::Posix("eaddrnotavail"));
    let other_family = SocketOption::BindAddress("::1".parse().unwrap());
    assert_eq!(failed(other_family).await, Error::Posix("eafnosupport"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_device_is_bound_to_or_the_dial_fails() {
    let (_listener, address) = listen("127.0.0.1").await;
    let with = |device: &str| Dial {
        socket_options: vec![SocketOption::BindDevice(device.into())],
        ..tcp("127.0.0.1", address.port())
    };
    // Which of the two depends on the kernel and on whose rights the test runs with.
    let failed = within(dial(&with("hansom-none"))).await.map(drop).unwrap_err();
    assert!([Error::Posix("enodev"), Error::Posix("eperm")].contains(&failed), "{failed:?}");
    match within(dial(&with("lo"))).await {
        Ok(link) => assert_eq!(link.peer_address(), Ok(Address::Ip(address))),
        Err(error) => assert_eq!(error, Error::Posix("eperm")),
    }
}

#[tokio::test]
async fn unix_sockets_are_dialled_by_path() {
    let path = socket_path("unix");
    let listener = UnixListener::bind(&path).unwrap();
    let mut link = within(dial(&unix(&path))).await.unwrap();
    let (mut peer, _) = within(listener.accept()).await.unwrap();
    assert_eq!(link.peer_address(), Ok(Address::Unix(Some(path.clone()))));
    assert_eq!(link.local_address(), Ok(Address::Unix(None)));
    assert_eq!(link.check(), Ok(()));
    assert_eq!(link.peer_certificate(), Err(Error::NotTls));
    peer.write_all(b"hello").await.unwrap();
    drop(peer);
    let mut text = String::new();
    within(link.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "hello");
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn options_can_be_set_on_an_open_link() {
    let (link, mut peer) = pair().await;
    let options = [SocketOption::NoDelay(false), SocketOption::KeepAlive(true)];
    assert_eq!(link.set_options(&options), Ok(()));
    for fixed in [
        SocketOption::BindPort(1),
        SocketOption::BindAddress("127.0.0.1".parse().unwrap()),
        SocketOption::Family(Family::V4),
    ] {
        assert_eq!(link.set_options(&[fixed]), Err(Error::Posix("einval")));
    }
    // Lingering for no time resets the connection.
    assert_eq!(link.set_options(&[SocketOption::Linger(Some(Duration::ZERO))]), Ok(()));
    link.close();
    let reset = within(peer.read(&mut [0])).await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn closing_and_dropping_end_the_stream() {
    let (mut link, mut peer) = pair().await;
    link.write_all(b"bye").await.unwrap();
    link.close();
    let mut text = String::new();
    within(peer.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "bye");
    let (link, mut peer) = pair().await;
    drop(link);
    assert_eq!(within(peer.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn a_reset_connection_is_closed_and_fails_the_check() {
    let (mut link, peer) = pair().await;
    assert_eq!(link.check(), Ok(()));
    peer.set_zero_linger().unwrap();
    drop(peer);
    let error = within(link.read_u8()).await.unwrap_err();
    assert_eq!(classify(error), Error::Closed);
    assert_eq!(link.check(), Err(Error::Posix("enotconn")));
    assert_eq!(link.peer_address(), Err(Error::Posix("enotconn")));
    let error = link.write_all(b"too late").await.unwrap_err();
    assert_eq!(Error::from(error), Error::Closed);
}

#[tokio::test]
async fn a_half_closed_connection_still_checks_and_reads_its_end() {
    let (mut link, mut peer) = pair().await;
    peer.shutdown().await.unwrap();
    assert_eq!(within(link.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(link.check(), Ok(()));
    link.write_all(b"x").await.unwrap();
    assert_eq!(within(peer.read_u8()).await.unwrap(), b'x');
}

/// A listener whose queue is full, so that no further handshake completes.
#[cfg(target_os = "linux")]
async fn deaf() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..16 {
        let connect = TcpStream::connect(address);
        match tokio::time::timeout(Duration::from_millis(200), connect).await {
            Ok(stream) => waiting.push(stream.unwrap()),
            Err(_) => return (listener, address, waiting),
        }
    }
    panic!("the queue never fills")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_silent_peer_is_a_timeout() {
    let (_listener, address, _waiting) = deaf().await;
    let target = Dial {
        connect_timeout: Some(Duration::from_millis(100)),
        ..tcp("127.0.0.1", address.port())
    };
    assert_eq!(within(dial(&target)).await.map(drop), Err(Error::Timeout));
}

// Clauses: ST-12
#[tokio::test]
async fn a_full_backlog_of_a_unix_socket_is_waited_for() {
    use socket2::{Domain, SockAddr, Socket, Type};
    let path = socket_path("full");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(std::os::fd::OwnedFd::from(listener).into()).unwrap();
    let mut queued = Vec::new();
    let full = loop {
        match tokio::net::UnixStream::connect(&path).await {
            Ok(stream) => queued.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    let brief = Dial { connect_timeout: Some(Duration::from_millis(50)), ..unix(&path) };
    assert_eq!(within(dial(&brief)).await.unwrap_err(), Error::Timeout);
    let accepting = async {
        for _ in 0..=queued.len() {
            within(listener.accept()).await.unwrap();
        }
    };
    let target = unix(&path);
    let (link, ()) = tokio::join!(within(dial(&target)), accepting);
    link.unwrap();
    std::fs::remove_file(&path).unwrap();
}
