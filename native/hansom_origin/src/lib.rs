//! The bundled HTTP server of hansom's demo, tests and benchmarks.
//!
//! - [`service`]: the endpoints, from `http::Request` to `http::Response`, with no knowledge of the protocol version.
//! - [`listener`]: sockets, TLS and one adapter for each protocol version that carries the service.
//! - [`script`]: a raw server that plays exact bytes, split points, frames of HTTP/2, delays and resets.
//! - [`certs`]: a set of valid and deliberately broken certificates.
//!
//! It is a test tool: it trusts whoever starts it, and must not face a network of strangers.

#![forbid(unsafe_code)]

pub mod certs;
pub mod cli;
pub mod listener;
pub mod script;
pub mod service;
pub mod tls;
