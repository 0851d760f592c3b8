//! TLS as a server sees it, and what comes of servers that misbehave.

#[path = "../support/certificates.rs"]
mod certificates;
mod client_certificates;
#[path = "../support/link.rs"]
mod dialled;
mod link;
mod negotiation;
mod server;
mod server_certificates;

use hansom_engine::Error;
use hansom_engine::transport::{Link, TlsOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) use dialled::dial;
use server::{Server, within};

pub(crate) const TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
pub(crate) const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

pub(crate) async fn echo(link: &mut Link) -> Result<(), Error> {
    let mut answer = [0; 4];
    link.write_all(b"ping").await?;
    link.flush().await?;
    link.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"ping");
    Ok(())
}

pub(crate) async fn connected(server: &Server, name: &str, options: TlsOptions) -> Link {
    within(dial(&server.dial(name, options))).await.unwrap()
}

/// The name of the alert a dial ends with, and its text.
pub(crate) async fn refused(
    server: &Server,
    name: &str,
    options: TlsOptions,
) -> (&'static str, String) {
    match within(dial(&server.dial(name, options))).await {
        Err(Error::Tls { alert, text }) => (alert.0, text),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn unverified() -> TlsOptions {
    TlsOptions { verify: false, ..TlsOptions::default() }
}
