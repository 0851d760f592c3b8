//! HTTP/2 (RFC 9113) over the `h2` crate.

mod ending;
mod flood;
mod frames;
mod keepalive;
mod multiplex;
mod session;
mod wire;

pub(crate) use session::Session;

/// One connection.
pub(crate) type Http2<H> = crate::streams::Streams<H, Session>;
