//! What the thread that gives a command does itself, and what it leaves to the connection's task.
//!
//! There is one thread here, so that nothing is done by the task as long as a test does not wait.

use hansom_engine::{Answer, Command, Config, Content, Error, RequestOptions};

use crate::host::{Client, Pending, answer, data, error, status};
use crate::peer::{DATA, END_STREAM, OK, Raw, accepted, get, request};

/// An upload whose response is here, with so many bytes of content, and its head has been read.
async fn unread(client: &Client, raw: &mut Raw, size: usize) {
    let head = request("POST", "/", Content::Stream);
    let options = RequestOptions::default();
    accepted(client.ask(|caller| Command::SendHeaders { caller, request: head, options })).await;
    let stream = raw.request().await;
    let response = client.ask(|caller| Command::StartResponse { caller });
    raw.respond(stream, 0, OK).await;
    assert_eq!(status(response).await, 200);
    for part in vec![b'x'; size].chunks(16 << 10) {
        raw.send(DATA, 0, stream, part).await;
    }
    raw.send(DATA, END_STREAM, stream, b"").await;
    raw.settled().await;
    assert_eq!(client.connection.info().buffered_in, size);
}

fn is_answered(pending: &mut Pending) -> bool {
    !matches!(pending.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty))
}

// Clauses: VM-7
#[tokio::test]
async fn a_large_body_is_put_together_by_the_task() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    unread(&client, &mut raw, 10_000).await;
    let mut small = client.body();
    assert!(is_answered(&mut small));
    unread(&client, &mut raw, 1_000_000).await;
    let mut large = client.body();
    assert!(!is_answered(&mut large));
    assert_eq!(data(large).await.len(), 1_000_000);
}

// Clauses: VM-7, API-24
#[tokio::test]
async fn probes_read_so_the_task_answers_them() {
    let (client, _raw) = Raw::connected(Config::default(), &[]).await;
    let mut probe = client.ask(|caller| Command::Probe { caller, checkout: true });
    assert!(!is_answered(&mut probe));
    assert!(matches!(answer(probe).await, Answer::Ok));
}

// Clauses: VM-7, LOW-6
#[tokio::test]
async fn what_concerns_many_is_done_by_the_task() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let pending: Vec<_> = (0..100).map(|_| get(&client, "/")).collect();
    for _ in &pending {
        raw.request().await;
    }
    assert!(!client.connection.try_shut_down(false, &mut client.sink.clone()));
    let mut close = client.ask(|caller| Command::Close { caller });
    assert!(!is_answered(&mut close));
    accepted(close).await;
    for pending in pending {
        assert_eq!(error(pending).await, Error::ClosedBy("normal"));
    }
}
