//! The connection engine of hansom.
//!
//! One [`Connection`] is one HTTP connection: it dials, speaks TLS and HTTP, and answers
//! [`Command`]s with [`Answer`]s and [`Message`]s. The engine knows tokio and HTTP and nothing of
//! the virtual machine above it: whatever names a caller, a receiver or a body buffer there comes
//! in through the [`Host`] trait, and whatever the engine has to say leaves through a [`Sink`].
#![forbid(unsafe_code)]

mod command;
mod config;
pub mod connect;
mod connection;
mod decode;
mod error;
mod event;
mod flow;
mod headers;
mod host;
pub mod http1;
mod http2;
mod http3;
mod lifecycle;
mod port;
mod protocol;
mod status;
mod streams;
mod timer;
pub mod transport;
mod untold;

pub use command::{AsyncMode, Command, Content, Request, RequestOptions, SendTimeout};
pub use config::{
    Config, Dial, Http2Config, Http3Config, Limits, MaxStreams, QuicDial, TransportKind,
};
pub use connection::Connection;
pub use decode::{Decompressor, Progress};
pub use error::{Alert, Coding, Error, H2Code, Limit};
pub use event::{Answer, HttpProtocol, Message, Notice, State, StreamEvent};
pub use headers::HeaderList;
pub use host::{BodyBuffer, Gone, Host, Payload, Sink};
pub use status::{Info, Totals, totals};
