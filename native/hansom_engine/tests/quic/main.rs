//! QUIC connections as a server sees them, and what becomes of a dial that tries them.

#[path = "../support/certificates.rs"]
#[allow(dead_code, reason = "TLS over TCP has more tests")]
mod certificates;
mod dialling;
mod server;
