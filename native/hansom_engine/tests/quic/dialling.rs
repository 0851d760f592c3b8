//! Dials that end with a QUIC connection.

use std::net::UdpSocket;

use hansom_engine::transport::{Address, SocketOption};
use hansom_engine::{Dial, Error};
use quinn::EndpointConfig;

use crate::certificates::{Authority, within};
use crate::server::{Server, config, connected, dial, echo, quic};

#[tokio::test]
async fn streams_go_both_ways() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let (client, accepted) = server.meet(&server.dial("a.test", authority.trusted())).await;
    assert_eq!(client.peer_address(), Address::Ip(server.address));
    assert_eq!(client.local_address(), Ok(Address::Ip(accepted.remote_address())));
    assert!(!client.peer_certificate().unwrap().is_empty());
    client.check().unwrap();
    echo(client.connection(), &accepted).await;
}

#[tokio::test]
async fn a_family_that_refuses_leaves_it_to_the_other() {
    let authority = Authority::new("root");
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let socket = UdpSocket::bind(host).unwrap();
        let server = Server::start_on(socket, config(&authority), EndpointConfig::default());
        let target =
            Dial { host: "localhost".into(), ..server.dial("a.test", authority.trusted()) };
        let (client, accepted) = server.meet(&target).await;
        assert_eq!(client.peer_address(), Address::Ip(server.address));
        echo(client.connection(), &accepted).await;
    }
}

#[tokio::test]
async fn options_reach_the_socket() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let local = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = Dial {
        socket_options: vec![
            SocketOption::BindAddress(local.ip()),
            SocketOption::BindPort(local.port()),
            SocketOption::ReceiveBuffer(70_000),
            SocketOption::SendBuffer(70_000),
            SocketOption::Tos(0x48),
            SocketOption::NoDelay(true),
        ],
        ..server.dial("a.test", authority.trusted())
    };
    let (client, accepted) = server.meet(&target).await;
    assert_eq!(accepted.remote_address(), local);
    assert_eq!(client.local_address(), Ok(Address::Ip(local)));
    echo(client.connection(), &accepted).await;
}

#[tokio::test]
async fn a_retry_is_followed() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let target = server.dial("a.test", authority.trusted());
    let retry = async {
        let first = within(server.endpoint.accept()).await.unwrap();
        assert!(!first.remote_address_validated());
        first.retry().unwrap();
        let second = within(server.endpoint.accept()).await.unwrap();
        assert!(second.remote_address_validated());
        second.await.unwrap()
    };
    let (client, accepted) = tokio::join!(connected(&target), within(retry));
    echo(client.connection(), &accepted).await;
}

#[tokio::test]
async fn a_refused_connection_is_an_error() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    // Nothing listens on the TCP port.
    let target = server.dial("a.test", authority.trusted());
    let refuse = async { within(server.endpoint.accept()).await.unwrap().refuse() };
    let (reached, ()) = tokio::join!(dial(&target), refuse);
    assert_eq!(reached.map(drop), Err(Error::Posix("econnrefused")));
}

#[tokio::test]
async fn what_cannot_be_dialled_is_an_error() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let mut target = server.dial("a.test", authority.trusted());
    target.port = 0;
    assert!(matches!(dial(&target).await.map(drop), Err(Error::Posix(_))));
    let bad_name = server.dial("a b", authority.trusted());
    match dial(&bad_name).await {
        Err(Error::Option { name, .. }) => assert_eq!(name, "server_name_indication"),
        // Nothing listens on the TCP port.
        Err(Error::Posix("econnrefused")) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn many_dials_at_once_do_not_disturb_one_another() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    server.serve();
    let dials: Vec<_> = (0..20)
        .map(|_| {
            let target = server.dial("a.test", authority.trusted());
            tokio::spawn(async move { quic(dial(&target).await) })
        })
        .collect();
    for dialling in dials {
        within(dialling).await.unwrap().check().unwrap();
    }
}
