//! HTTP/3: the endpoints through a client that follows the rules, and the faults of QUIC.

mod client;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use client::{is_pattern, local, soon};
use h3::client::SendRequest;
use h3::error::StreamError;
use hansom_origin::certs;
use hansom_origin::listener::{Config, Limits, NetworkPath, Origin, Quic};
use hansom_origin::tls::{EarlyData, Tls};
use http::{HeaderMap, Method, Request, StatusCode};
use quinn::Endpoint;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;

struct Server {
    origin: Origin,
    folder: TempDir,
}

impl Server {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        certs::write(folder.path()).expect("certificates");
        let tls = Some(Tls::new(folder.path()));
        let mut config = Config { http3: vec![local()], tls, ..Config::default() };
        change(&mut config);
        let origin = Origin::start(config).await.expect("an origin");
        Server { origin, folder }
    }

    fn address(&self) -> SocketAddr {
        self.origin.http3()[0]
    }

    fn endpoint(&self) -> Endpoint {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.folder.path().join("ca.pem"));
        roots.add(ca.expect("an authority")).expect("an authority");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let mut config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h3".to_vec()];
        config.enable_early_data = true;
        let config = QuicClientConfig::try_from(config).expect("a configuration for QUIC");
        let mut endpoint = Endpoint::client(local()).expect("a socket");
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
        endpoint
    }

    async fn connect(&self) -> Client {
        let endpoint = self.endpoint();
        let connecting = endpoint.connect(self.address(), "localhost").expect("a connection");
        let quic = soon(connecting).await.expect("a handshake");
        Client::new(endpoint, quic).await
    }
}

struct Client {
    // Held for its socket.
    _endpoint: Endpoint,
    quic: quinn::Connection,
    requests: SendRequest<h3_quinn::OpenStreams, Bytes>,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    fields: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// What came after the body instead of its end.
    failure: Option<StreamError>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

impl Client {
    async fn new(endpoint: Endpoint, quic: quinn::Connection) -> Self {
        let connection = h3_quinn::Connection::new(quic.clone());
        let (mut driver, requests) =
            soon(h3::client::new(connection)).await.expect("an HTTP/3 connection");
        tokio::spawn(async move { poll_fn(|cx| driver.poll_close(cx)).await });
        Client { _endpoint: endpoint, quic, requests }
    }

    async fn get(&self, target: &str) -> Result<Answer, StreamError> {
        self.exchange(Method::GET, target, &[], None).await
    }

    async fn exchange(
        &self,
        method: Method,
        target: &str,
        body: &[u8],
        trailers: Option<HeaderMap>,
    ) -> Result<Answer, StreamError> {
        let uri = format!("https://localhost{target}");
        let request = Request::builder().method(method).uri(uri).body(()).expect("a request");
        let stream = soon(self.requests.clone().send_request(request)).await?;
        let (mut sender, mut receiver) = stream.split();
        if !body.is_empty() {
            soon(sender.send_data(Bytes::copy_from_slice(body))).await?;
        }
        if let Some(trailers) = trailers {
            soon(sender.send_trailers(trailers)).await?;
        }
        soon(sender.finish()).await?;
        let mut response = soon(receiver.recv_response()).await?;
        while response.status().is_informational() {
            response = soon(receiver.recv_response()).await?;
        }
        let (head, ()) = response.into_parts();
        let mut answer = Answer {
            status: head.status,
            fields: head.headers,
            body: Vec::new(),
            trailers: None,
            failure: None,
        };
        loop {
            match soon(receiver.recv_data()).await {
                Ok(Some(mut data)) => {
                    while data.has_remaining() {
                        let piece = data.chunk();
                        answer.body.extend_from_slice(piece);
                        let count = piece.len();
                        data.advance(count);
                    }
                }
                Ok(None) => break,
                Err(reason) => {
                    answer.failure = Some(reason);
                    return Ok(answer);
                }
            }
        }
        answer.trailers = soon(receiver.recv_trailers()).await?;
        Ok(answer)
    }
}

#[tokio::test]
async fn the_endpoints_answer() {
    let server = Server::start(|_| {}).await;
    let client = server.connect().await;
    let answer = client.get("/connection").await.expect("an answer");
    for line in ["version: HTTP/3.0\n", "alpn: h3\n", "server-name: localhost\n", "request: 1\n"] {
        assert!(answer.text().contains(line), "{}", answer.text());
    }
    for length in [0, 1, 3_000_003] {
        let answer = client.get(&format!("/bytes/{length}")).await.expect("an answer");
        assert_eq!(answer.fields["content-length"], length.to_string().as_str());
        assert!(answer.body.len() == length && is_pattern(&answer.body));
    }
    let answer = client.get("/trailers").await.expect("an answer");
    assert_eq!(answer.trailers.expect("trailers")["x-last"], "yes");
    let body: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "6".parse().unwrap())]);
    let answer = client.exchange(Method::POST, "/upload", &body, Some(trailers)).await;
    let answer = answer.expect("an answer");
    assert!(answer.text().starts_with("bytes: 100000\n"));
    assert!(answer.text().ends_with("trailer x-sum: 6\n"));
    let answer = client.exchange(Method::HEAD, "/bytes/7", &[], None).await.expect("a head");
    assert_eq!((answer.fields["content-length"].as_bytes(), answer.body.len()), (&b"7"[..], 0));
    assert_eq!(client.get("/interim/103?count=2").await.expect("an answer").status, 200);
    assert_eq!(client.get("/raw").await.expect("an answer").status, 501);
}

#[tokio::test]
async fn streams_are_reset_in_each_phase() {
    let server = Server::start(|_| {}).await;
    let client = server.connect().await;
    let refusal = client.get("/reset/before-head?code=269").await.expect_err("a reset");
    assert!(
        matches!(&refusal, StreamError::RemoteTerminate { code, .. } if *code == 269),
        "{refusal:?}"
    );
    let answer = client.get("/reset?code=270").await.expect("a head");
    assert!(
        matches!(answer.failure, Some(StreamError::RemoteTerminate { code, .. }) if code == 270)
    );
    let answer = client.get("/reset/after/5000").await.expect("a head");
    assert_eq!(answer.body.len(), 5000);
    assert!(
        matches!(answer.failure, Some(StreamError::RemoteTerminate { code, .. }) if code == 0x102)
    );
    assert_eq!(client.get("/hello").await.expect("a healthy connection").status, 200);
}

#[tokio::test]
async fn connections_end_in_each_way() {
    let server = Server::start(|_| {}).await;
    let client = server.connect().await;
    client.get("/goaway/close?code=260").await.expect_err("the end");
    match soon(client.quic.closed()).await {
        quinn::ConnectionError::ApplicationClosed(close) => {
            assert_eq!(close.error_code.into_inner(), 260);
        }
        other => panic!("{other:?}"),
    }

    let client = server.connect().await;
    assert!(client.get("/disconnect").await.expect("a head").failure.is_some());
    assert_eq!(soon(client.quic.closed()).await, quinn::ConnectionError::Reset);

    let client = server.connect().await;
    assert_eq!(client.get("/goaway").await.expect("an answer").status, 200);
    client.get("/hello").await.expect_err("a connection that takes no more");
    assert_eq!(client.quic.close_reason(), None);

    let client = server.connect().await;
    let answer = tokio::time::timeout(Duration::from_millis(300), client.get("/cut/before-head"));
    assert!(answer.await.is_err(), "the server is not silent");
    assert!(client.quic.close_reason().is_none());
}

#[tokio::test]
async fn a_forgotten_peer_can_begin_anew_from_the_same_address() {
    let server = Server::start(|_| {}).await;
    let client = server.connect().await;
    let endpoint = client._endpoint.clone();
    assert!(client.get("/disconnect").await.expect("a head").failure.is_some());
    assert_eq!(soon(client.quic.closed()).await, quinn::ConnectionError::Reset);
    let connecting = endpoint.connect(server.address(), "localhost").expect("a connection");
    let client = Client::new(endpoint, soon(connecting).await.expect("a handshake")).await;
    assert_eq!(client.get("/hello").await.expect("an answer").status, 200);
}

#[tokio::test]
async fn retry_costs_a_round_trip() {
    let path = NetworkPath { delay: Duration::from_millis(40), loss: 0 };
    let connect = async |quic| {
        let server = Server::start(|config| (config.path, config.quic) = (path, quic)).await;
        let start = Instant::now();
        let client = server.connect().await;
        let elapsed = start.elapsed();
        assert_eq!(client.get("/hello").await.expect("an answer").status, 200);
        elapsed
    };
    assert!(connect(Quic::default()).await >= Duration::from_millis(40));
    assert!(connect(Quic { retry: true, ..Quic::default() }).await >= Duration::from_millis(80));
}

#[tokio::test]
async fn a_path_that_loses_datagrams_still_delivers() {
    let path = NetworkPath { delay: Duration::from_millis(4), loss: 5 };
    let server = Server::start(|config| config.path = path).await;
    let client = server.connect().await;
    let answer = client.get("/bytes/1000000").await.expect("an answer");
    assert!(answer.body.len() == 1_000_000 && is_pattern(&answer.body));
    let answer = client.exchange(Method::POST, "/upload", &vec![0; 300_000], None).await;
    assert!(answer.expect("an answer").text().starts_with("bytes: 300000\n"));
    assert!(client.quic.stats().path.lost_packets > 0);
}

#[tokio::test]
async fn early_data_is_accepted_or_rejected() {
    for (early_data, accepted) in [(EarlyData::Accept, true), (EarlyData::Reject, false)] {
        let server = Server::start(|config| config.quic.early_data = early_data).await;
        let client = server.connect().await;
        // The ticket comes with or before the response.
        assert_eq!(client.get("/hello").await.expect("an answer").status, 200);
        let endpoint = client._endpoint.clone();
        let connecting = endpoint.connect(server.address(), "localhost").expect("a connection");
        let (quic, outcome) = connecting.into_0rtt().expect("a ticket for early data");
        let request = async {
            // A request of early data that is rejected fails.
            let client = Client::new(endpoint, quic.clone()).await;
            client.get("/hello").await.map(|answer| answer.status)
        };
        if accepted {
            assert_eq!(request.await.expect("an answer"), 200);
            assert!(soon(outcome).await);
        } else {
            assert!(!soon(outcome).await);
        }
    }
    let server = Server::start(|_| {}).await;
    let client = server.connect().await;
    assert_eq!(client.get("/hello").await.expect("an answer").status, 200);
    let connecting = client._endpoint.connect(server.address(), "localhost").expect("a connection");
    assert!(connecting.into_0rtt().is_err());
}

#[tokio::test]
async fn windows_are_as_asked_for() {
    let limits = Limits { stream_window: 2000, max_streams: 3, ..Limits::default() };
    let server = Server::start(|config| config.limits = limits).await;
    let client = server.connect().await;
    // An endpoint that reads opens the window again.
    let answer = client.exchange(Method::POST, "/upload", &[1; 50_000], None).await;
    assert!(answer.expect("an answer").text().starts_with("bytes: 50000\n"));
    let stalled = client.exchange(Method::POST, "/stall", &[1; 50_000], None);
    assert!(tokio::time::timeout(Duration::from_millis(100), stalled).await.is_err());
    assert_eq!(client.get("/hello").await.expect("an answer").status, 200);
}

#[tokio::test]
async fn reserved_frames_follow_a_response_unless_switched_off() {
    for no_grease in [false, true] {
        let server = Server::start(|config| config.quic.no_grease = no_grease).await;
        let endpoint = server.endpoint();
        let connecting = endpoint.connect(server.address(), "localhost").expect("a connection");
        let quic = soon(connecting).await.expect("a handshake");
        let (mut sender, mut receiver) = soon(quic.open_bi()).await.expect("a stream");
        // A HEADERS frame: the fields of a request of the static table (RFC 9204, appendix A).
        let head = [0x01, 0x08, 0x00, 0x00, 0xd1, 0xd7, 0xc1, 0x50];
        soon(sender.write_all(&head)).await.expect("a request");
        soon(sender.write_all(b"\x01a")).await.expect("its authority");
        sender.finish().expect("its end");
        let response = soon(receiver.read_to_end(1000)).await.expect("a response");
        let text = b"grease";
        let reserved = response.windows(text.len()).any(|bytes| bytes == text);
        assert_eq!(reserved, !no_grease, "{response:?}");
    }
}
