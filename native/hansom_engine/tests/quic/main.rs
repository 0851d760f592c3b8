//! QUIC connections as a server sees them, and what becomes of a dial that tries them.

#[path = "../support/certificates.rs"]
#[allow(dead_code, reason = "TLS over TCP has more tests")]
mod certificates;
mod contest;
mod dialling;
mod end;
mod path;
mod server;
mod sessions;
#[path = "../tls/server.rs"]
#[allow(dead_code, unused_imports, reason = "TLS over TCP has more tests")]
mod tcp;
mod verification;
