//! HTTP/1.1 over a real socket: the bounds on what a peer may send and a user be given, the reads
//! past HTTP, and the waits.

#[path = "../support/host.rs"]
mod host;

mod bounds;
mod decompression;
mod pushed;
mod raw;
mod waits;

use hansom_engine::{Command, Content, RequestOptions};
use host::{Client, Pending, request};

fn get(client: &Client, options: RequestOptions) -> Pending {
    client.ask(|caller| Command::Request {
        caller,
        request: request("GET", Content::Empty),
        options,
    })
}
