//! HTTP/3 (RFC 9114) over `quinn`.
//!
//! The protocol on top of QUIC is ours, like that of HTTP/1.1: frames, header sections and the few
//! rules about streams. So whatever a peer sends is bounded before it is stored, a fault of one
//! stream never ends the others, and nothing is copied on its way into a body.

mod code;
mod control;
mod frames;
mod head;
mod multiplex;
mod peer;
mod qpack;
mod session;
mod stream;
mod varint;

pub(crate) use session::Session;

/// One connection.
pub(crate) type Http3<H> = crate::streams::Streams<H, Session>;
