//! Requests on connections of many streams, and what comes of them.

use hansom_engine::{
    Answer, AsyncMode, Command, Content, HeaderList, Message, Request, RequestOptions,
};
use tokio::sync::mpsc;

use crate::host::{Client, Large, Pending, Receiver, TestHost, answer, told, within};

pub(crate) fn request(method: &str, target: &str, content: Content<Large>) -> Request<Large> {
    let (method, target) = (method.as_bytes().to_vec(), target.as_bytes().to_vec());
    Request { method, target, headers: HeaderList::default(), content }
}

pub(crate) fn ask(client: &Client, method: &str, target: &str, content: Content<Large>) -> Pending {
    ask_with(client, method, target, content, RequestOptions::default())
}

pub(crate) fn ask_with(
    client: &Client,
    method: &str,
    target: &str,
    content: Content<Large>,
    options: RequestOptions,
) -> Pending {
    let request = request(method, target, content);
    client.ask(|caller| Command::Request { caller, request, options })
}

pub(crate) fn get(client: &Client, target: &str) -> Pending {
    ask(client, "GET", target, Content::Empty)
}

/// A receiver of messages and its mailbox.
pub(crate) fn mailbox(id: u64) -> (Receiver, mpsc::UnboundedReceiver<Message<TestHost>>) {
    let (messages, inbox) = mpsc::unbounded_channel();
    (Receiver { id, messages }, inbox)
}

pub(crate) fn get_async(
    client: &Client,
    target: &str,
    receiver: Receiver,
    mode: AsyncMode,
    options: RequestOptions,
) -> Pending {
    ask_async(client, request("GET", target, Content::Empty), receiver, mode, options)
}

pub(crate) fn ask_async(
    client: &Client,
    request: Request<Large>,
    receiver: Receiver,
    mode: AsyncMode,
    options: RequestOptions,
) -> Pending {
    client.ask(|caller| Command::RequestAsync {
        caller,
        request,
        options,
        receiver,
        receiver_owns: false,
        mode,
        follow_redirect: true,
    })
}

/// The next message, in short form.
pub(crate) async fn next(inbox: &mut mpsc::UnboundedReceiver<Message<TestHost>>) -> String {
    told(&within(inbox.recv()).await.expect("the receiver was dropped"))
}

pub(crate) async fn accepted(pending: Pending) {
    let answer = answer(pending).await;
    assert!(matches!(answer, Answer::Ok), "{}", crate::host::describe(&answer));
}
