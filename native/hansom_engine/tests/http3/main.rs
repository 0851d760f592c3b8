//! HTTP/3: against servers made of another implementation, and against peers of which the test
//! writes every byte.

#[path = "../support/ask.rs"]
mod ask;
#[path = "../support/certificates.rs"]
#[allow(dead_code, reason = "TLS over TCP has more tests")]
mod certificates;
#[path = "../support/host.rs"]
mod host;

mod dialling;
mod early;
mod exchange;
mod faults;
mod flow;
mod limits;
mod loss;
mod messages;
mod peer;
mod relay;
mod server;
#[path = "../tls/server.rs"]
#[allow(dead_code, unused_imports, reason = "TLS over TCP has more tests")]
mod tcp;
mod upload;
