//! Connections that change their address, and those that fall silent.

use std::time::Duration;

use hansom_engine::connect;
use hansom_engine::transport::Address;
use hansom_engine::{Error, Http3Config};

use crate::certificates::{Authority, within};
use crate::server::{Server, as_it_is, config, echo, quic};

#[tokio::test]
async fn a_connection_moves_to_another_address() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let (client, accepted) = server.meet(&server.dial("a.test", authority.trusted())).await;
    echo(client.connection(), &accepted).await;
    let before = accepted.remote_address();
    client.migrate().unwrap();
    assert_ne!(client.local_address(), Ok(Address::Ip(before)));
    echo(client.connection(), &accepted).await;
    assert_eq!(client.local_address(), Ok(Address::Ip(accepted.remote_address())));
    assert_ne!(accepted.remote_address(), before);
    drop(client);
    // The close went out on the new way.
    let closed = within(accepted.closed()).await;
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)), "{closed:?}");
}

#[tokio::test]
async fn silence_ends_a_connection() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let brief =
        Http3Config { idle_timeout: Some(Duration::from_millis(300)), ..Http3Config::default() };
    let target = server.dial("a.test", authority.trusted());
    let (client, _accepted) = tokio::join!(
        async { quic(connect::dial(&target, &brief, as_it_is).await) },
        server.accept()
    );
    within(client.connection().closed()).await;
    assert_eq!(client.check(), Err(Error::ConnectionClosed("timeout")));
}

#[tokio::test]
async fn pings_keep_a_connection() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let kept = Http3Config {
        idle_timeout: Some(Duration::from_secs(2)),
        keep_alive_interval: Some(Duration::from_millis(100)),
        ..Http3Config::default()
    };
    let target = server.dial("a.test", authority.trusted());
    let (client, accepted) = tokio::join!(
        async { quic(connect::dial(&target, &kept, as_it_is).await) },
        server.accept()
    );
    let over = tokio::time::timeout(Duration::from_secs(4), client.connection().closed()).await;
    assert!(over.is_err(), "{over:?}");
    echo(client.connection(), &accepted).await;
}
