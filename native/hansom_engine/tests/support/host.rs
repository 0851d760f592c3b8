//! A host for tests: callers and receivers are channels, buffers are vectors.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use hansom_engine::{
    Answer, BodyBuffer, Command, Config, Connection, Content, Dial, Error, Gone, HeaderList, Host,
    Message, Notice, Payload, Request, RequestOptions, Sink, State, StreamEvent, TransportKind,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestHost;

pub(crate) struct Caller {
    pub(crate) id: u64,
    pub(crate) process: u64,
    pub(crate) reply: Option<oneshot::Sender<Answer<TestHost>>>,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) id: u64,
    pub(crate) messages: mpsc::UnboundedSender<Message<TestHost>>,
}

pub(crate) struct Buffer(Vec<u8>);

impl BodyBuffer for Buffer {
    fn allocate(len: usize) -> Option<Self> {
        Some(Self(vec![0; len]))
    }
    fn as_slice(&self) -> &[u8] {
        &self.0
    }
    fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }
    fn resize(&mut self, len: usize) -> bool {
        self.0.resize(len, 0);
        true
    }
}

pub(crate) struct Large(pub(crate) Vec<u8>);

impl Payload for Large {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        read(&self.0)
    }
}

impl Host for TestHost {
    type Caller = Caller;
    type Receiver = Receiver;
    type Buffer = Buffer;
    type Payload = Large;
    type Process = u64;

    fn same_caller(a: &Caller, b: &Caller) -> bool {
        a.id == b.id
    }
    fn process(caller: &Caller) -> u64 {
        caller.process
    }
    fn forget(_: Caller) {}
    fn is_receiver(caller: &Caller, receiver: &Receiver) -> bool {
        caller.id == receiver.id
    }
    fn same_receiver(a: &Receiver, b: &Receiver) -> bool {
        a.id == b.id
    }
}

/// Delivers at once; notices go to a channel.
#[derive(Clone)]
pub(crate) struct TestSink(pub(crate) std_mpsc::Sender<Notice<TestHost>>);

impl Sink<TestHost> for TestSink {
    fn reply(&mut self, mut caller: Caller, answer: Answer<TestHost>) {
        if let Some(reply) = caller.reply.take() {
            let _ = reply.send(answer);
        }
    }
    fn inform(&mut self, _: &Caller, _: u16, _: &[u8], _: &HeaderList) {}
    fn send(&mut self, receiver: &Receiver, message: Message<TestHost>) -> Result<(), Gone> {
        receiver.messages.send(message).map_err(|_| Gone)
    }
    fn notify(&mut self, notice: Notice<TestHost>) {
        let _ = self.0.send(notice);
    }
}

/// A connection and the notices it gives.
pub(crate) struct Client {
    pub(crate) connection: Connection<TestHost>,
    pub(crate) notices: std_mpsc::Receiver<Notice<TestHost>>,
    pub(crate) sink: TestSink,
    next: std::cell::Cell<u64>,
}

pub(crate) type Pending = oneshot::Receiver<Answer<TestHost>>;

impl Client {
    pub(crate) fn new(config: Config) -> Self {
        let (sender, notices) = std_mpsc::channel();
        let sink = TestSink(sender);
        let runtime = tokio::runtime::Handle::current();
        let connection = Connection::spawn(config, Box::new(sink.clone()), &runtime);
        Self { connection, notices, sink, next: std::cell::Cell::new(1) }
    }

    /// A connection to a listener, its peer, and what both ends are.
    pub(crate) async fn connected(config: Config) -> (Self, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = Self::new(config);
        let dial = Box::new(Dial::new(TransportKind::Tcp, "127.0.0.1", port));
        let pending = client.ask(|caller| Command::Connect { caller, dial });
        let (peer, _) = within(listener.accept()).await.unwrap();
        assert!(matches!(answer(pending).await, Answer::Ok));
        (client, peer)
    }

    pub(crate) fn caller(&self) -> (Caller, Pending) {
        let (reply, pending) = oneshot::channel();
        let id = self.next.replace(self.next.get() + 1);
        (Caller { id, process: 0, reply: Some(reply) }, pending)
    }

    /// Asks as another process than the one all others are.
    pub(crate) fn ask_as(
        &self,
        process: u64,
        command: impl FnOnce(Caller) -> Command<TestHost>,
    ) -> Pending {
        let (caller, pending) = self.caller();
        self.tell(command(Caller { process, ..caller }));
        pending
    }

    pub(crate) fn ask(&self, command: impl FnOnce(Caller) -> Command<TestHost>) -> Pending {
        let (caller, pending) = self.caller();
        self.tell(command(caller));
        pending
    }

    pub(crate) fn tell(&self, command: Command<TestHost>) {
        self.connection.submit(command, &mut self.sink.clone());
    }

    pub(crate) fn get(&self) -> Pending {
        self.ask(|caller| Command::Request {
            caller,
            request: request("GET", Content::Empty),
            options: RequestOptions::default(),
        })
    }

    pub(crate) fn body(&self) -> Pending {
        self.ask(|caller| Command::Body { caller })
    }

    pub(crate) fn piece(&self) -> Pending {
        self.ask(|caller| Command::StreamBody { caller })
    }

    pub(crate) fn shut_down(&self) {
        self.connection.shut_down(false, &mut self.sink.clone());
    }

    /// Waits until the connection is in `state`.
    pub(crate) async fn reaches(&self, state: State) {
        within(async {
            while self.connection.state() != state {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

pub(crate) fn request(method: &str, content: Content<Large>) -> Request<Large> {
    Request {
        method: method.as_bytes().to_vec(),
        target: b"/".to_vec(),
        headers: HeaderList::default(),
        content,
    }
}

pub(crate) async fn within<F: std::future::Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing happened in time")
}

pub(crate) async fn answer(pending: Pending) -> Answer<TestHost> {
    within(pending).await.expect("the caller was dropped")
}

pub(crate) async fn status(pending: Pending) -> u16 {
    match answer(pending).await {
        Answer::Response { status, .. } => status,
        other => panic!("no response but {}", describe(&other)),
    }
}

/// Status and body of a response that is one answer.
pub(crate) async fn full(pending: Pending) -> (u16, Vec<u8>) {
    match answer(pending).await {
        Answer::Full { status, body, .. } => (status, body.0),
        other => panic!("no whole response but {}", describe(&other)),
    }
}

pub(crate) async fn data(pending: Pending) -> Vec<u8> {
    match answer(pending).await {
        Answer::Data(buffer) => buffer.0,
        other => panic!("no data but {}", describe(&other)),
    }
}

pub(crate) async fn error(pending: Pending) -> Error {
    match answer(pending).await {
        Answer::Error(error) => error,
        other => panic!("no error but {}", describe(&other)),
    }
}

pub(crate) fn describe(answer: &Answer<TestHost>) -> String {
    match answer {
        Answer::Ok => "ok".into(),
        Answer::Response { status, .. } => format!("response {status}"),
        Answer::Data(buffer) => format!("{} bytes", buffer.0.len()),
        Answer::Done => "done".into(),
        Answer::Truncated(buffer) => format!("truncated after {} bytes", buffer.0.len()),
        Answer::Headers(_) => "headers".into(),
        Answer::Address(address) => format!("{address:?}"),
        Answer::Certificate(_) => "certificate".into(),
        Answer::Reuse { should_close, ready } => format!("reuse {should_close} {ready}"),
        Answer::Full { status, body, .. } => format!("full {status}, {} bytes", body.0.len()),
        Answer::Protocol(protocol) => format!("{protocol:?}"),
        Answer::Stream { id } => format!("stream {id}"),
        Answer::AskTransport => "ask the transport".into(),
        Answer::Error(error) => format!("{error:?}"),
    }
}

/// A message in short form.
pub(crate) fn told(message: &Message<TestHost>) -> String {
    match message {
        Message::Informational { status, .. } => format!("informational {status}"),
        Message::Status { status, .. } => format!("status {status}"),
        Message::Headers(_) => "headers".into(),
        Message::Data(buffer) => String::from_utf8_lossy(&buffer.0).into_owned(),
        Message::Trailers(_) => "trailers".into(),
        Message::Done => "done".into(),
        Message::Stream { id, event } => format!("{id} {}", happened(event)),
        Message::Redirect { location, .. } => {
            format!("redirect {}", String::from_utf8_lossy(location))
        }
        Message::SeeOther { location, .. } => {
            format!("see other {}", String::from_utf8_lossy(location))
        }
        Message::Error(error) => format!("{error:?}"),
    }
}

/// What happened on a stream of one's own, in short form.
pub(crate) fn happened(event: &StreamEvent<TestHost>) -> String {
    match event {
        StreamEvent::Informational { status, .. } => format!("informational {status}"),
        StreamEvent::Response { status, .. } => format!("response {status}"),
        StreamEvent::Data { data, end } => {
            let text = String::from_utf8_lossy(&data.0);
            if *end { format!("last {text}") } else { format!("data {text}") }
        }
        StreamEvent::Trailers(_) => "trailers".into(),
        StreamEvent::Reset(code) => format!("reset {code}"),
        StreamEvent::Goaway { last, code } => format!("goaway {last} {code}"),
        StreamEvent::Closed(reason) => format!("closed {reason}"),
    }
}

/// Reads a request's head.
pub(crate) async fn head(peer: &mut TcpStream) -> String {
    let mut head = Vec::new();
    within(async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(peer.read_u8().await.unwrap());
        }
    })
    .await;
    String::from_utf8(head).unwrap()
}

pub(crate) async fn send(peer: &mut TcpStream, bytes: &[u8]) {
    within(peer.write_all(bytes)).await.unwrap();
}
