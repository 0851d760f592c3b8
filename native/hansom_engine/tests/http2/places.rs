//! Streams the peer allows at a time: which ones count, and who waits for a place.

use hansom_engine::{
    AsyncMode, Command, Config, Content, Error, H2Code, HeaderList, Http2Config, MaxStreams,
    RequestOptions,
};
use tokio::io::AsyncWriteExt;

use crate::host::{Caller, Client, TestHost, data, error, full, status};
use crate::peer::{
    DATA, END_STREAM, OK, Raw, SETTINGS, accepted, frame, get, get_async, mailbox, next, request,
};

// Clauses: H2-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_over_takes_no_place() {
    for max_streams in [MaxStreams::Wait, MaxStreams::Fail] {
        let http2 = Http2Config { max_streams, ..Http2Config::default() };
        let config = Config { http2, ..Config::default() };
        let (client, mut raw) = Raw::connected(config, &[(3, 1)]).await;
        let options = RequestOptions::default();
        // A complete response that is not pulled.
        let (receiver, mut inbox) = mailbox(1);
        accepted(get_async(&client, "/", receiver, AsyncMode::Once, options)).await;
        assert_eq!(raw.request().await, 1);
        raw.respond(1, 0, OK).await;
        raw.send(DATA, END_STREAM, 1, b"unread").await;
        assert_eq!(next(&mut inbox).await, "status 200");
        assert_eq!(next(&mut inbox).await, "headers");
        raw.settled().await;
        // A complete response whose content nobody asks for.
        start_upload(&client, 1).await;
        assert_eq!(raw.request().await, 3);
        let finished = client.ask_as(1, finish);
        accepted(finished).await;
        let head = client.ask_as(1, |caller| Command::StartResponse { caller });
        raw.respond(3, 0, OK).await;
        raw.send(DATA, END_STREAM, 3, b"unread").await;
        assert_eq!(status(head).await, 200);
        raw.settled().await;
        // A reset that is told by the next command.
        start_upload(&client, 2).await;
        assert_eq!(raw.request().await, 5);
        raw.reset(5, 8).await;
        raw.settled().await;
        let pending = get(&client, "/");
        assert_eq!(raw.request().await, 7);
        raw.respond(7, END_STREAM, OK).await;
        assert_eq!(full(pending).await.0, 200);
        // None of them is lost.
        let body = client.ask_as(1, |caller| Command::Body { caller });
        assert_eq!(data(body).await, b"unread");
        let reset = client.ask_as(2, finish);
        assert_eq!(error(reset).await, Error::StreamError(H2Code::CANCEL));
        client.tell(Command::StreamNext { receiver: None });
        assert_eq!(next(&mut inbox).await, "unread");
    }
}

// Clauses: H2-4, H2-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_answered_early_keeps_its_place_until_it_is_sent() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(3, 1)]).await;
    start_upload(&client, 1).await;
    assert_eq!(raw.request().await, 1);
    raw.respond(1, END_STREAM, OK).await;
    raw.settled().await;
    let pending = get(&client, "/");
    accepted(client.ask_as(1, finish)).await;
    let end = raw.next(DATA).await;
    assert_eq!((end.stream, end.flags), (1, END_STREAM));
    assert_eq!(raw.request().await, 3);
    raw.respond(3, END_STREAM, OK).await;
    assert_eq!(full(pending).await.0, 200);
}

async fn start_upload(client: &Client, process: u64) {
    let request = request("POST", "/", Content::Stream);
    let options = RequestOptions::default();
    accepted(client.ask_as(process, |caller| Command::SendHeaders { caller, request, options }))
        .await;
}

fn finish(caller: Caller) -> Command<TestHost> {
    Command::FinishBody { caller, trailers: HeaderList::default() }
}

// Clauses: H2-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_limit_lets_those_who_wait_go_on() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(3, 0)]).await;
    let first = get(&client, "/");
    let second = get(&client, "/");
    raw.settled().await;
    let limit = |count: u8| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, count]);
    // Nothing else comes that could wake the connection.
    raw.socket.write_all(&limit(1)).await.unwrap();
    assert_eq!(raw.request().await, 1);
    raw.socket.write_all(&limit(2)).await.unwrap();
    assert_eq!(raw.request().await, 3);
    for (stream, pending) in [(1, first), (3, second)] {
        raw.respond(stream, END_STREAM, OK).await;
        assert_eq!(full(pending).await.0, 200);
    }
}
