//! How connections end.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac::{HMAC_SHA256, Key};
use hansom_engine::Error;
use hansom_engine::transport::Address;
use quinn::{ConnectionError, EndpointConfig};
use quinn_proto::RandomConnectionIdGenerator;

use crate::certificates::{Authority, within};
use crate::server::{Server, config, connected};

/// `H3_NO_ERROR`
const NO_ERROR: u64 = 0x100;

fn code_of(closed: &ConnectionError) -> u64 {
    match closed {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_dropped_connection_is_closed_at_once() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let (client, accepted) = server.meet(&server.dial("a.test", authority.trusted())).await;
    let Ok(Address::Ip(local)) = client.local_address() else { panic!("no address") };
    drop(client);
    UdpSocket::bind(local).expect("the port is free again");
    assert_eq!(code_of(&within(accepted.closed()).await), NO_ERROR);
}

#[tokio::test]
async fn the_first_code_counts() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let (client, accepted) = server.meet(&server.dial("a.test", authority.trusted())).await;
    client.connection().close(0x105u32.into(), b"why");
    drop(client);
    assert_eq!(code_of(&within(accepted.closed()).await), 0x105);
}

#[test]
fn the_end_of_the_runtime_is_no_obstacle() {
    let authority = Authority::new("root");
    let servers = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let clients = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = servers.block_on(async { Server::start(config(&authority)) });
    let target = server.dial("a.test", authority.trusted());
    let dialling = clients.spawn(async move { connected(&target).await });
    let accepted = servers.block_on(server.accept());
    let client = servers.block_on(within(dialling)).unwrap();
    clients.shutdown_timeout(Duration::from_secs(10));
    drop(client);
    assert_eq!(code_of(&servers.block_on(within(accepted.closed()))), NO_ERROR);
}

#[test]
fn a_runtime_that_ends_takes_its_connections_along() {
    let authority = Authority::new("root");
    let servers = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let clients = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = servers.block_on(async { Server::start(config(&authority)) });
    let target = server.dial("a.test", authority.trusted());
    let (tell, told) = tokio::sync::oneshot::channel();
    clients.spawn(async move {
        let _client = connected(&target).await;
        tell.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    let accepted = servers.block_on(server.accept());
    servers.block_on(within(told)).unwrap();
    clients.shutdown_timeout(Duration::from_secs(10));
    assert_eq!(code_of(&servers.block_on(within(accepted.closed()))), NO_ERROR);
}

// Clauses: H3-14
#[tokio::test]
async fn the_servers_close_is_named() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    for (code, expected) in [
        (0x100, Error::ConnectionClosed("normal")),
        (0x102, Error::TransportError { code: 0x102, text: "why".into() }),
    ] {
        let (client, accepted) = server.meet(&server.dial("a.test", authority.trusted())).await;
        accepted.close(quinn::VarInt::from_u32(code), b"why");
        within(client.connection().closed()).await;
        assert_eq!(client.check(), Err(expected));
    }
}

// Clauses: TRAP-27
#[test]
fn a_server_that_lost_its_state_resets() {
    let authority = Authority::new("root");
    let key: Arc<dyn quinn::crypto::HmacKey> = Arc::new(Key::new(HMAC_SHA256, &[7; 64]));
    let forgetful = || {
        let mut config = EndpointConfig::new(key.clone());
        // Resets are sent for ids the endpoint could have made.
        config.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(8)));
        config
    };
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (old, new) = (runtime(), runtime());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let again = socket.try_clone().unwrap();
    let server = old.block_on(async { Server::start_on(socket, config(&authority), forgetful()) });
    let target = server.dial("a.test", authority.trusted());
    let dialling = new.spawn(async move { connected(&target).await });
    let accepted = old.block_on(server.accept());
    let client = new.block_on(within(dialling)).unwrap();
    // Gone without a word, as in a crash.
    old.shutdown_timeout(Duration::from_secs(10));
    drop((server, accepted));
    new.block_on(async {
        let _server = Server::start_on(again, config(&authority), forgetful());
        // The client may have had reason to send before, and been reset already.
        if let Ok((mut send, _recv)) = client.connection().open_bi().await {
            let _ = send.write_all(&[0; 500]).await;
        }
        within(client.connection().closed()).await;
    });
    assert_eq!(client.check(), Err(Error::ConnectionClosed("reset")));
}
