//! HTTP/2: the endpoints through a client that follows the rules, and the ways to break them.

mod client;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{get, is_pattern, local, soon};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use hansom_origin::certs;
use hansom_origin::listener::{Config, Limits, NetworkPath, Origin};
use hansom_origin::tls::Tls;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

async fn origin(limits: Limits) -> (Origin, SocketAddr) {
    let config = Config { http: vec![local()], limits, ..Config::default() };
    let origin = Origin::start(config).await.expect("an origin");
    let address = origin.http()[0];
    (origin, address)
}

struct Client {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let socket = soon(TcpStream::connect(address)).await.expect("a connection");
        let (requests, connection) =
            soon(h2::client::handshake(socket)).await.expect("a handshake");
        Client { requests, connection: tokio::spawn(connection) }
    }

    async fn send(&self, request: Request<()>, end: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut requests = soon(self.requests.clone().ready()).await.expect("a free stream");
        requests.send_request(request, end).expect("a request")
    }

    async fn get(&self, target: &str) -> Result<Answer, h2::Error> {
        let (response, _) = self.send(request(Method::GET, target), true).await;
        read(soon(response).await?).await
    }

    async fn post(&self, target: &str, body: &[u8]) -> Result<Answer, h2::Error> {
        let (response, mut stream) = self.send(request(Method::POST, target), false).await;
        stream.send_data(Bytes::copy_from_slice(body), true)?;
        read(soon(response).await?).await
    }

    /// How the connection ended.
    async fn end(self) -> Result<(), h2::Error> {
        drop(self.requests);
        soon(self.connection).await.expect("a task without panic")
    }
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    fields: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// What came after the body instead of its end.
    failure: Option<h2::Error>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

fn request(method: Method, target: &str) -> Request<()> {
    let uri = format!("http://origin.test{target}");
    Request::builder().method(method).uri(uri).body(()).expect("a request")
}

async fn read(response: Response<h2::RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let mut answer = Answer {
        status: head.status,
        fields: head.headers,
        body: Vec::new(),
        trailers: None,
        failure: None,
    };
    while let Some(data) = soon(stream.data()).await {
        match data {
            Ok(data) => {
                stream.flow_control().release_capacity(data.len())?;
                answer.body.extend_from_slice(&data);
            }
            Err(reason) => {
                answer.failure = Some(reason);
                return Ok(answer);
            }
        }
    }
    answer.trailers = soon(stream.trailers()).await?;
    Ok(answer)
}

#[tokio::test]
async fn both_versions_on_one_plain_listener() {
    let (_origin, address) = origin(Limits::default()).await;
    let client = Client::connect(address).await;
    let answer = client.get("/connection").await.expect("an answer");
    assert!(answer.text().contains("version: HTTP/2.0\n"));
    let answer = client.get("/connection").await.expect("an answer");
    assert!(answer.text().contains("request: 2\n"));
    assert!(get(address, "/connection").await.text().contains("version: HTTP/1.1\n"));
}

#[tokio::test]
async fn alpn_decides_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    certs::write(folder.path()).expect("certificates");
    let config =
        Config { https: vec![local()], tls: Some(Tls::new(folder.path())), ..Config::default() };
    let origin = Origin::start(config).await.expect("an origin");
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(folder.path().join("ca.pem")).expect("an authority");
    roots.add(ca).expect("an authority");
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // The server's preference counts.
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let socket = soon(TcpStream::connect(origin.https()[0])).await.expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = soon(connector.connect(name, socket)).await.expect("a handshake");
    let (requests, connection) = soon(h2::client::handshake(stream)).await.expect("a handshake");
    let client = Client { requests, connection: tokio::spawn(connection) };
    let answer = client.get("/connection").await.expect("an answer");
    assert!(answer.text().contains("alpn: h2\n") && answer.text().contains("tls: TLSv1_3\n"));
}

#[tokio::test]
async fn bodies_in_both_directions() {
    let (_origin, address) = origin(Limits::default()).await;
    let client = Client::connect(address).await;
    for length in [0, 1, 16_384, 3_000_003] {
        let answer = client.get(&format!("/bytes/{length}")).await.expect("an answer");
        assert_eq!(answer.fields["content-length"], length.to_string().as_str());
        assert_eq!(answer.body.len(), length);
        assert!(is_pattern(&answer.body));
    }
    let body: Vec<u8> = (0..2_000_000_u32).map(|at| at as u8).collect();
    let answer = client.post("/echo", &body).await.expect("an answer");
    assert!(answer.body == body);
    let answer = client.post("/upload", &body).await.expect("an answer");
    assert!(answer.text().starts_with("bytes: 2000000\n"));
    let (response, _) = client.send(request(Method::HEAD, "/bytes/10"), true).await;
    let answer = read(soon(response).await.expect("a head")).await.expect("an answer");
    assert_eq!((&answer.fields["content-length"], answer.body.len()), (&"10".parse().unwrap(), 0));
    assert_eq!(client.get("/status/204").await.expect("an answer").status, 204);
}

#[tokio::test]
async fn trailers_in_both_directions() {
    let (_origin, address) = origin(Limits::default()).await;
    let client = Client::connect(address).await;
    let answer = client.get("/trailers").await.expect("an answer");
    assert_eq!(answer.trailers.expect("trailers")["x-last"], "yes");
    let (response, mut stream) = client.send(request(Method::POST, "/upload"), false).await;
    stream.send_data(Bytes::from_static(b"abc"), false).expect("data");
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "6".parse().unwrap())]);
    stream.send_trailers(trailers).expect("trailers");
    let answer = read(soon(response).await.expect("a head")).await.expect("an answer");
    assert!(answer.text().ends_with("trailer x-sum: 6\n"));
}

#[tokio::test]
async fn interim_responses_come_first() {
    let (_origin, address) = origin(Limits::default()).await;
    let client = Client::connect(address).await;
    let (mut response, _) = client.send(request(Method::GET, "/interim/103?count=2"), true).await;
    for index in ["1", "2"] {
        let interim = soon(std::future::poll_fn(|cx| response.poll_informational(cx))).await;
        let interim = interim.expect("an interim response").expect("a healthy stream");
        assert_eq!(
            (interim.status().as_u16(), &interim.headers()["x-interim"]),
            (103, &index.parse().unwrap())
        );
    }
    assert_eq!(soon(response).await.expect("a head").status(), 200);
}

#[tokio::test]
async fn streams_are_reset_in_each_phase() {
    let (_origin, address) = origin(Limits::default()).await;
    let client = Client::connect(address).await;
    let refusal = client.get("/reset/before-head?code=7").await.expect_err("a reset");
    assert_eq!(refusal.reason(), Some(Reason::REFUSED_STREAM));
    let answer = client.get("/reset?code=8").await.expect("a head");
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert_eq!(answer.failure.expect("a reset").reason(), Some(Reason::CANCEL));
    let answer = client.get("/reset/after/5000").await.expect("a head");
    assert_eq!(answer.fields["content-length"], "6024");
    let failure = answer.failure.expect("a reset");
    assert!(failure.is_reset() && failure.is_remote());
    assert_eq!(failure.reason(), Some(Reason::INTERNAL_ERROR));
    assert_eq!(client.get("/hello").await.expect("a healthy connection").status, 200);
}

#[tokio::test]
async fn all_of_the_body_is_sent_ahead_of_a_reset() {
    let (_origin, address) = origin(Limits::default()).await;
    let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    // Windows wide open, then a GET in literal fields.
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff]);
    sent.extend([0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0]);
    let path = b"/reset/after/1000000?code=8";
    let block = [&[0x82, 0x86, 0x04, path.len() as u8], &path[..], &[0x01, 1, b'x']].concat();
    sent.extend([0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1]);
    sent.extend(block);
    soon(socket.write_all(&sent)).await.expect("a sent request");
    let mut data = 0;
    loop {
        let mut head = [0; 9];
        soon(socket.read_exact(&mut head)).await.expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        soon(socket.read_exact(&mut payload)).await.expect("its payload");
        match head[3] {
            0 => data += payload.len(),
            3 => {
                assert_eq!(payload, [0, 0, 0, 8]);
                break;
            }
            _ => {}
        }
    }
    assert_eq!(data, 1_000_000);
}

#[tokio::test]
async fn connections_end_in_each_way() {
    let (_origin, address) = origin(Limits::default()).await;
    let client = Client::connect(address).await;
    let refusal = client.get("/goaway/close?code=11").await.expect_err("the end");
    // The stream is below the last one GOAWAY names, so it lives until the connection ends.
    assert!(refusal.is_io() || refusal.is_go_away(), "{refusal:?}");
    let end = client.end().await.expect_err("an error");
    assert_eq!(end.reason(), Some(Reason::ENHANCE_YOUR_CALM));

    let client = Client::connect(address).await;
    let answer = client.get("/goaway/after/100?code=2").await.expect("a head");
    assert_eq!(answer.body.len(), 100);
    assert!(answer.failure.is_some());
    let end = client.end().await.expect_err("an error");
    assert_eq!(end.reason(), Some(Reason::INTERNAL_ERROR));

    let client = Client::connect(address).await;
    let answer = client.get("/cut/100/200").await.expect("a head");
    assert_eq!(answer.body.len(), 100);
    let failure = answer.failure.expect("the end");
    assert!(failure.is_io(), "{failure:?}");

    let client = Client::connect(address).await;
    let failure = client.get("/disconnect/before-head").await.expect_err("the end");
    let kind = failure.get_io().expect("an error of the socket").kind();
    assert_eq!(kind, std::io::ErrorKind::ConnectionReset);

    let client = Client::connect(address).await;
    assert_eq!(client.get("/close").await.expect("an answer").body.len(), 16);
    client.end().await.expect("an orderly end");
}

#[tokio::test]
async fn goaway_leaves_the_connection_open() {
    let (_origin, address) = origin(Limits::default()).await;
    let client = Client::connect(address).await;
    let (slow, _) = client.send(request(Method::GET, "/delay/200"), true).await;
    let answer = client.get("/goaway").await.expect("an answer");
    assert_eq!(answer.text(), "after GOAWAY\n");
    assert_eq!(soon(slow).await.expect("an answer").status(), 200);
    // Streams above the last one have not been processed, says the server.
    let client = Client::connect(address).await;
    assert_eq!(client.get("/hello").await.expect("an answer").status, 200);
    let failure = client.get("/goaway?last=1&code=0").await.expect_err("a stream above");
    assert!(failure.is_go_away());
}

#[tokio::test]
async fn frames_go_between_frames() {
    let (_origin, address) = origin(Limits::default()).await;
    let client = Client::connect(address).await;
    // PING and a frame of an unknown type, which a client has to ignore.
    let frames =
        [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], b"12345678", &[0, 0, 2, 0xee, 0, 0, 0, 0, 0, 1, 2]];
    let answer = client.post("/frames", &frames.concat()).await.expect("an answer");
    assert_eq!(answer.text(), "sent\n");
    // DATA on stream 0 is a connection error.
    let failure = client.post("/frames", &[0, 0, 0, 0, 0, 0, 0, 0, 0]).await.expect_err("an error");
    assert!(failure.is_go_away() && failure.is_library());
    assert_eq!(failure.reason(), Some(Reason::PROTOCOL_ERROR));
}

#[tokio::test]
async fn windows_and_stream_limits_are_as_asked_for() {
    let limits = Limits { stream_window: 10, max_streams: 2, ..Limits::default() };
    let (_origin, address) = origin(limits).await;
    let client = Client::connect(address).await;
    assert_eq!(client.get("/hello").await.expect("an answer").status, 200);
    let (_response, mut stream) = client.send(request(Method::POST, "/stall"), false).await;
    stream.reserve_capacity(1000);
    let room = soon(std::future::poll_fn(|cx| stream.poll_capacity(cx))).await;
    assert_eq!(room.expect("a stream").expect("room"), 10);
    stream.send_data(Bytes::from_static(&[0; 10]), false).expect("data");
    stream.reserve_capacity(1000);
    // An endpoint that reads opens the window again, so this goes through while the other stream stalls.
    let answer = client.post("/upload", &[1; 100]).await.expect("an answer");
    assert!(answer.text().starts_with("bytes: 100\n"));
    assert_eq!(stream.capacity(), 0);
    let answer = client.get("/window/50").await.expect("an answer");
    assert_eq!(answer.text(), "streams begin with a window of 50\n");
    let room = soon(std::future::poll_fn(|cx| stream.poll_capacity(cx))).await;
    assert_eq!(room.expect("a stream").expect("room"), 40);
    let (_second, _) = client.send(request(Method::GET, "/stall"), true).await;
    let third = client.requests.clone().ready();
    assert!(
        tokio::time::timeout(Duration::from_millis(50), third).await.is_err()
            || client.requests.current_max_send_streams() == 2
    );
}

#[tokio::test]
async fn a_delayed_path_adds_to_the_round_trip() {
    let path = NetworkPath { delay: Duration::from_millis(60), loss: 0 };
    let config = Config { http: vec![local()], path, ..Config::default() };
    let origin = Origin::start(config).await.expect("an origin");
    let client = Client::connect(origin.http()[0]).await;
    let start = Instant::now();
    assert_eq!(client.get("/hello").await.expect("an answer").status, 200);
    assert!(start.elapsed() >= Duration::from_millis(60));
    let answer = client.get("/bytes/1000000").await.expect("an answer");
    assert!(is_pattern(&answer.body) && answer.body.len() == 1_000_000);
    let start = Instant::now();
    assert_eq!(get(origin.http()[0], "/hello").await.text(), "Hello, world!\n");
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn a_declared_length_can_be_wrong() {
    let (_origin, address) = origin(Limits::default()).await;
    let client = Client::connect(address).await;
    let answer = client.get("/mismatch/5/10").await.expect("a head");
    let failure = answer.failure.expect("a short body");
    assert!(failure.is_library(), "{failure:?}");
}
