//! Responses delivered as messages, pushed and pulled.

use hansom_engine::{AsyncMode, BodyBuffer, Command, Config, Message, RequestOptions};
use http::{HeaderMap, Response};
use tokio::sync::mpsc;

use crate::ask::{accepted, get_async, mailbox, next};
use crate::host::{TestHost, told, within};
use crate::peer::Raw;
use crate::server::{Exchange, served};

async fn sized(exchange: Exchange) {
    let size = exchange.size();
    exchange.answer(vec![b'x'; size]).await;
}

async fn gather(inbox: &mut mpsc::UnboundedReceiver<Message<TestHost>>, size: usize) -> usize {
    let (mut seen, mut pieces) = (0, 0);
    while seen < size {
        match within(inbox.recv()).await.expect("the receiver was dropped") {
            Message::Data(data) => seen += data.as_slice().len(),
            other => panic!("{} after {seen} bytes", told(&other)),
        }
        pieces += 1;
    }
    assert_eq!(seen, size);
    pieces
}

// Clauses: H3-8, ASY-1, ST-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pushed_response_comes_as_messages() {
    let client = served(Config::default(), sized).await;
    let (receiver, mut inbox) = mailbox(1);
    let options = RequestOptions::default();
    accepted(get_async(&client, "/3000000", receiver, AsyncMode::Push, options)).await;
    assert_eq!(next(&mut inbox).await, "status 200");
    assert_eq!(next(&mut inbox).await, "headers");
    gather(&mut inbox, 3_000_000).await;
    assert_eq!(next(&mut inbox).await, "done");
}

// Clauses: H3-8, H2-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pulled_response_comes_one_by_one() {
    let (client, raw) = Raw::connected(Config::default()).await;
    let (receiver, mut inbox) = mailbox(1);
    let options = RequestOptions::default();
    accepted(get_async(&client, "/", receiver, AsyncMode::Once, options)).await;
    let mut exchange = raw.request().await;
    exchange.respond("200", &[]).await;
    exchange.data(b"one").await;
    assert_eq!(next(&mut inbox).await, "status 200");
    assert_eq!(next(&mut inbox).await, "headers");
    assert!(inbox.try_recv().is_err());
    client.tell(Command::StreamNext { receiver: None });
    assert_eq!(next(&mut inbox).await, "one");
    // A pull ahead of the data is remembered as one message.
    client.tell(Command::StreamNext { receiver: None });
    exchange.data(b"two").await;
    assert_eq!(next(&mut inbox).await, "two");
    exchange.end();
    client.tell(Command::StreamNext { receiver: None });
    assert_eq!(next(&mut inbox).await, "done");
}

// Clauses: H3-11, H2-5, H2-15, ASY-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_and_interim_responses_come_to_those_who_asked() {
    for wanted in [false, true] {
        let client = served(Config::default(), |mut exchange| async move {
            let mut early = Response::new(());
            *early.status_mut() = http::StatusCode::EARLY_HINTS;
            exchange.respond(early).await;
            let response =
                Response::builder().status(302).header("location", "/x").body(()).unwrap();
            exchange.respond(response).await;
            exchange.stream.send_data("x".into()).await.unwrap();
            let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
            exchange.stream.send_trailers(trailers).await.unwrap();
            exchange.stream.finish().await.unwrap();
        })
        .await;
        let (receiver, mut inbox) = mailbox(1);
        let options =
            RequestOptions { trailers: wanted, interim: wanted, ..RequestOptions::default() };
        accepted(get_async(&client, "/", receiver, AsyncMode::Push, options)).await;
        let expected: &[&str] = if wanted {
            &["informational 103", "status 302", "headers", "x", "trailers", "done"]
        } else {
            &["status 302", "headers", "x", "done"]
        };
        for message in expected {
            assert_eq!(next(&mut inbox).await, *message);
        }
    }
}

// Clauses: ASY-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_transfer_of_a_dead_receiver_is_stopped() {
    let (client, raw) = Raw::connected(Config::default()).await;
    let (receiver, _inbox) = mailbox(1);
    let options = RequestOptions::default();
    accepted(get_async(&client, "/", receiver.clone(), AsyncMode::Push, options)).await;
    let exchange = raw.request().await;
    client.tell(Command::ReceiverGone { receiver });
    assert_eq!(exchange.stop_code().await, 0x10c);
    let (receiver, inbox) = mailbox(2);
    accepted(get_async(&client, "/", receiver, AsyncMode::Push, options)).await;
    let mut exchange = raw.request().await;
    drop(inbox);
    exchange.respond("200", &[]).await;
    assert_eq!(exchange.stop_code().await, 0x10c);
}
