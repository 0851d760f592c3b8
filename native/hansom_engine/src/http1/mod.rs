//! HTTP/1.1 (RFC 9112), without I/O: bytes in, events out.
//!
//! [`encode`] writes request heads and chunk frames. [`Response`] reads one response, interim
//! ones included, out of [`HeadParser`] and [`BodyDecoder`]; [`keeps_alive`] tells whether the
//! connection may carry another exchange. Nothing here owns a socket, a buffer or a clock: the
//! caller holds the bytes received, shows them, and drops as many as it is told to.

mod body;
pub mod encode;
mod parse;
mod reuse;
mod state;

pub use body::{BodyDecoder, Framing, Part, framing};
pub use parse::{Head, HeadParser};
pub use reuse::keeps_alive;
pub use state::{Event, Response};
