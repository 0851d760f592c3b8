//! Every kind of exchange at once, with little room for any of them.

use h2::server;
use hansom_engine::{
    Answer, AsyncMode, BodyBuffer, Command, Config, Content, HeaderList, Http2Config, Message,
    RequestOptions, State,
};

use crate::host::{Caller, Large, answer, data, describe, full, status, told, within};
use crate::peer::{Exchange, accepted, ask, get_async, mailbox, request, send_all, served_by};

/// Answers a GET with so many bytes as its path says, and anything else with what it was sent.
async fn serve(mut exchange: Exchange) {
    let content = exchange.content().await;
    let size = exchange.path()[1..].parse().ok();
    let body = size.map_or(content, |size| vec![b'x'; size]);
    let mut stream = exchange.begin();
    send_all(&mut stream, body.into()).await;
}

// Clauses: H2-3, H2-4, H2-10, H2-13, H2-14, ST-26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_of_every_kind_do_not_disturb_one_another() {
    let http2 =
        Http2Config { stream_window: 70_000, connection_window: 100_000, ..Http2Config::default() };
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(12).initial_window_size(30_000);
    let client = served_by(Config { http2, ..Config::default() }, builder, serve).await;
    for round in 0..15_u64 {
        let whole: Vec<_> = (0..6)
            .map(|n| ask(&client, "GET", &format!("/{}", n * 50_000), Content::Empty))
            .collect();
        let (receiver, mut pushed) = mailbox(1);
        let push =
            get_async(&client, "/200000", receiver, AsyncMode::Push, RequestOptions::default());
        let (receiver, mut pulled) = mailbox(2);
        let pull = get_async(
            &client,
            "/200000",
            receiver.clone(),
            AsyncMode::Once,
            RequestOptions::default(),
        );
        let head = request("POST", "/", Content::Stream);
        let options = RequestOptions::default();
        let upload =
            client.ask_as(round, |caller| Command::SendHeaders { caller, request: head, options });
        let (caller, _) = client.caller();
        let target = Caller { id: caller.id, process: 0, reply: None };
        let abandoned = request("GET", "/90000", Content::Empty);
        client.tell(Command::Request { caller, request: abandoned, options });
        let echo = ask(&client, "PUT", "/", Content::Payload(Large(vec![7; 150_000])));
        accepted(client.ask(|caller| Command::Cancel { caller, target })).await;

        accepted(upload).await;
        let content = Content::Payload(Large(vec![9; 120_000]));
        accepted(client.ask_as(round, |caller| Command::SendChunk { caller, data: content })).await;
        let trailers = HeaderList::default();
        accepted(client.ask_as(round, |caller| Command::FinishBody { caller, trailers })).await;
        let response = client.ask_as(round, |caller| Command::StartResponse { caller });
        assert_eq!(status(response).await, 200);

        accepted(push).await;
        accepted(pull).await;
        let mut seen = 0;
        while let Some(message) = within(pulled.recv()).await {
            match message {
                Message::Data(piece) => seen += piece.as_slice().len(),
                Message::Status { .. } => continue,
                Message::Headers(_) => {}
                Message::Done => break,
                other => panic!("{}", told(&other)),
            }
            client.tell(Command::StreamNext { receiver: Some(receiver.clone()) });
        }
        assert_eq!(seen, 200_000);
        let mut seen = 0;
        loop {
            match within(pushed.recv()).await.expect("the receiver was dropped") {
                Message::Data(piece) => seen += piece.as_slice().len(),
                Message::Status { .. } | Message::Headers(_) => {}
                Message::Done => break,
                other => panic!("{}", told(&other)),
            }
        }
        assert_eq!(seen, 200_000);
        let body = data(client.ask_as(round, |caller| Command::Body { caller })).await;
        assert!(body == vec![9; 120_000]);
        assert!(full(echo).await.1 == vec![7; 150_000]);
        for (n, pending) in whole.into_iter().enumerate() {
            match answer(pending).await {
                Answer::Full { body, .. } => assert_eq!(body.as_slice().len(), n * 50_000),
                other => panic!("{}", describe(&other)),
            }
        }
    }
    assert_eq!(client.connection.state(), State::Connected);
    within(async {
        while client.connection.info().buffered_in + client.connection.info().buffered_out > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
