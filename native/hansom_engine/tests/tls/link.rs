//! The life of an encrypted link, from the handshake to the end of the stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hansom_engine::connect::upgrade;
use hansom_engine::transport::{Address, Link, TlsClient, TlsOptions, TlsVersion};
use hansom_engine::{Dial, Error, TransportKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::server::{Authority, Happening, Server, config_for, plain_config, within};
use crate::{TLS12, TLS13, connected, dial, echo};

#[tokio::test]
async fn a_verified_connection_carries_data() {
    let authority = Authority::new("root");
    let identity = authority.issue(&["a.test"]);
    let mut config = plain_config(&identity);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut server = Server::start(config).await;
    let options =
        TlsOptions { alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()], ..authority.trusted() };
    let mut link = connected(&server, "a.test", options).await;

    within(echo(&mut link)).await.unwrap();
    assert!(link.is_tls());
    assert_eq!(link.alpn(), Some(b"http/1.1".as_slice()));
    assert_eq!(link.tls_version(), Some(TlsVersion::Tls13));
    assert_eq!(link.peer_certificate(), Ok(identity.chain[0].clone()));
    let peer: SocketAddr = ([127, 0, 0, 1], server.port).into();
    assert_eq!(link.peer_address(), Ok(Address::Ip(peer)));
    assert_eq!(link.check(), Ok(()));
    let seen = server.seen().await;
    assert_eq!(seen.sni.as_deref(), Some("a.test"));
    assert_eq!(seen.group, Some(0x11ec), "X25519MLKEM768");
    assert_eq!(seen.client_certificate, None);
}

#[tokio::test]
async fn large_writes_arrive_whole() {
    let authority = Authority::new("root");
    let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let link = connected(&server, "a.test", authority.trusted()).await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let (mut reader, mut writer) = tokio::io::split(link);
    let writing = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.flush().await.unwrap();
        writer
    });
    let mut received = vec![0; expected.len()];
    within(reader.read_exact(&mut received)).await.unwrap();
    assert!(received == expected);
    within(writing).await.unwrap();
}

#[tokio::test]
async fn tls_runs_over_ipv6() {
    let authority = Authority::new("root");
    let identity = authority.issue(&["::1"]);
    let server =
        Server::start_on(TcpListener::bind("[::1]:0").await.unwrap(), plain_config(&identity));
    let target = Dial {
        tls: Some(TlsClient::new(&authority.trusted()).unwrap()),
        ..Dial::new(TransportKind::Tls, "[::1]", server.port)
    };
    within(echo(&mut within(dial(&target)).await.unwrap())).await.unwrap();
}

#[tokio::test]
async fn closing_says_so() {
    let authority = Authority::new("root");
    for versions in [TLS12, TLS13] {
        let config = config_for(&authority.issue(&["a.test"]), versions);
        let mut server = Server::start(config).await;
        let mut link = connected(&server, "a.test", authority.trusted()).await;
        within(echo(&mut link)).await.unwrap();
        server.seen().await;
        link.close();
        assert!(matches!(server.next().await, Happening::Ended(Ok(()))));
    }
}

#[tokio::test]
async fn the_stream_ends_with_or_without_close_notify() {
    let authority = Authority::new("root");
    let config = Arc::new(plain_config(&authority.issue(&["a.test"])));
    for polite in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&config));
        let serving = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(socket).await.unwrap();
            stream.write_all(b"last words").await.unwrap();
            stream.flush().await.unwrap();
            if polite {
                stream.shutdown().await.unwrap();
            } else {
                let (mut socket, _) = stream.into_inner();
                socket.shutdown().await.unwrap();
            }
        });
        let target = Dial {
            server_name: "a.test".into(),
            tls: Some(TlsClient::lazy(authority.trusted())),
            ..Dial::new(TransportKind::Tls, "127.0.0.1", port)
        };
        let mut link = within(dial(&target)).await.unwrap();
        let mut text = String::new();
        within(link.read_to_string(&mut text)).await.unwrap();
        assert_eq!(text, "last words");
        within(serving).await.unwrap();
    }
}

/// A server that answers the first bytes it gets with `answer`, if anything, and then closes.
async fn answering(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut hello = vec![0; 4096];
        let _ = socket.read(&mut hello).await;
        let _ = socket.write_all(answer).await;
        let _ = socket.shutdown().await;
        // Read on, so that closing resets nothing.
        while socket.read(&mut hello).await.is_ok_and(|count| count > 0) {}
    });
    port
}

#[tokio::test]
async fn what_does_not_speak_tls_is_told_apart() {
    let failure = async |answer| {
        let port = answering(answer).await;
        within(dial(&Dial::new(TransportKind::Tls, "127.0.0.1", port))).await.unwrap_err()
    };
    match failure(b"HTTP/1.1 400 Bad Request\r\n\r\n").await {
        Error::Tls { alert, text } => {
            assert_eq!(alert.0, "unexpected_message");
            assert!(text.contains("generated CLIENT ALERT"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(failure(b"").await, Error::Closed);
    // An alert in the clear: level fatal, unrecognized_name.
    match failure(&[0x15, 3, 3, 0, 2, 2, 112]).await {
        Error::Tls { alert, .. } => assert_eq!(alert.0, "unrecognized_name"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_silent_handshake_is_bounded_and_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = Dial {
        connect_timeout: Some(Duration::from_millis(100)),
        ..Dial::new(TransportKind::Tls, "127.0.0.1", port)
    };
    let dialling = tokio::spawn(async move { dial(&target).await.map(drop) });
    let (mut socket, _) = within(listener.accept()).await.unwrap();
    assert_eq!(within(dialling).await.unwrap(), Err(Error::Timeout));
    let mut hello = Vec::new();
    within(socket.read_to_end(&mut hello)).await.unwrap();
    assert_eq!(hello.first(), Some(&0x16), "a handshake record came, then the end");
}

#[tokio::test]
async fn an_abandoned_dial_closes_its_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = Dial { connect_timeout: None, ..Dial::new(TransportKind::Tls, "127.0.0.1", port) };
    let dialling = tokio::spawn(async move { dial(&target).await.map(drop) });
    let (mut socket, _) = within(listener.accept()).await.unwrap();
    assert_eq!(within(socket.read_u8()).await.unwrap(), 0x16);
    dialling.abort();
    assert!(within(dialling).await.unwrap_err().is_cancelled());
    within(socket.read_to_end(&mut Vec::new())).await.unwrap();
}

#[tokio::test]
async fn an_open_link_is_upgraded_once() {
    let authority = Authority::new("root");
    let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let plain =
        within(dial(&Dial::new(TransportKind::Tcp, "127.0.0.1", server.port))).await.unwrap();
    assert!(!plain.is_tls());
    assert_eq!(plain.peer_certificate(), Err(Error::NotTls));
    assert_eq!((plain.alpn(), plain.tls_version(), plain.resumed()), (None, None, false));
    let client = TlsClient::lazy(authority.trusted());
    let mut link = within(upgrade(plain, &client, "a.test")).await.unwrap();
    within(echo(&mut link)).await.unwrap();
    let mut again = within(upgrade(link, &client, "other.test")).await.unwrap();
    within(echo(&mut again)).await.unwrap();
}

#[tokio::test]
async fn tls_runs_over_a_unix_socket() {
    let authority = Authority::new("root");
    let config = plain_config(&authority.issue(&["a.test"]));
    let folder = std::env::temp_dir().join(format!("hansom-tls-{}", std::process::id()));
    let _ = std::fs::remove_file(&folder);
    let listener = UnixListener::bind(&folder).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(acceptor.accept(socket).await.unwrap());
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    });
    let socket = UnixStream::connect(&folder).await.unwrap();
    std::fs::remove_file(&folder).unwrap();
    let client = TlsClient::lazy(authority.trusted());
    let mut link = within(upgrade(Link::from(socket), &client, "a.test")).await.unwrap();
    within(echo(&mut link)).await.unwrap();
}

/// Writes on `link` from where no runtime is, as a thread of the virtual machine does.
fn write_now(link: &mut Link, waker: &Waker, data: &[u8]) {
    let mut cx = Context::from_waker(waker);
    match std::pin::Pin::new(&mut *link).poll_write(&mut cx, data) {
        Poll::Ready(Ok(count)) => assert_eq!(count, data.len()),
        other => panic!("{other:?}"),
    }
    assert!(std::pin::Pin::new(link).poll_flush(&mut cx).is_ready());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_thread_without_a_runtime_can_poll() {
    let authority = Authority::new("root");
    let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let tls = connected(&server, "a.test", authority.trusted()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = socket.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    });
    let tcp = within(dial(&Dial::new(TransportKind::Tcp, "127.0.0.1", port))).await.unwrap();
    for link in [tls, tcp] {
        let link = Arc::new(std::sync::Mutex::new(link));
        let (task, waker) = tokio::sync::oneshot::channel();
        // The task waits for data first, so that only its waker can tell it of the answer.
        let reading = tokio::spawn({
            let link = Arc::clone(&link);
            let mut task = Some(task);
            let mut received = Vec::new();
            std::future::poll_fn(move |cx| {
                loop {
                    let mut space = [0; 16];
                    let mut buffer = ReadBuf::new(&mut space);
                    let mut link = link.lock().unwrap();
                    match std::pin::Pin::new(&mut *link).poll_read(cx, &mut buffer) {
                        Poll::Ready(result) => {
                            result.unwrap();
                            received.extend_from_slice(buffer.filled());
                            if received == b"from outside" {
                                return Poll::Ready(());
                            }
                            assert!(!buffer.filled().is_empty(), "the stream ended");
                        }
                        Poll::Pending => {
                            if let Some(task) = task.take() {
                                task.send(cx.waker().clone()).unwrap();
                            }
                            return Poll::Pending;
                        }
                    }
                }
            })
        });
        let waker = within(waker).await.unwrap();
        std::thread::spawn(move || {
            assert!(tokio::runtime::Handle::try_current().is_err());
            let mut link = link.lock().unwrap();
            write_now(&mut link, &waker, b"from outside");
        });
        within(reading).await.unwrap();
    }
}

#[test]
fn a_link_may_outlive_its_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let authority = Authority::new("root");
    let link = runtime.block_on(async {
        let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
        connected(&server, "a.test", authority.trusted()).await
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    std::thread::spawn(move || link.close()).join().unwrap();
}
