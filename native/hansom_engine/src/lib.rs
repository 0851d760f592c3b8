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
mod headers;
mod host;
pub mod http1;
mod lifecycle;
mod port;
mod status;
mod timer;
pub mod transport;

pub use command::{AsyncMode, Command, Content, Request, RequestOptions};
pub use config::{Config, Dial, Limits, TransportKind};
pub use connection::Connection;
pub use decode::Decompressor;
pub use error::{Alert, Coding, Error, Limit};
pub use event::{Answer, Message, Notice, State};
pub use headers::HeaderList;
pub use host::{BodyBuffer, Gone, Host, Payload, Sink};
pub use status::{Info, Totals, totals};
