//! HTTP/1.1 (RFC 9112): bytes in, events out, and the connection that moves the bytes.
//!
//! [`encode`] writes request heads and chunk frames. [`Response`] reads one response, interim
//! ones included, out of [`HeadParser`] and [`BodyDecoder`]; [`keeps_alive`] tells whether the
//! connection may carry another exchange. None of them owns a socket, a buffer or a clock: the
//! caller holds the bytes received, shows them, and drops as many as it is told to. That caller is
//! the connection: its state, the transfer of its bytes, and its endings.

mod body;
mod connection;
pub mod encode;
mod ending;
mod exchange;
mod gather;
mod input;
mod output;
mod parse;
mod raw;
mod reading;
mod reuse;
mod state;
mod transfer;

pub use body::{BodyDecoder, Framing, Part, framing};
pub(crate) use connection::Http1;
pub(crate) use gather::Gather;
pub use parse::{Head, HeadParser};
pub use reuse::keeps_alive;
pub use state::{Event, Response};
