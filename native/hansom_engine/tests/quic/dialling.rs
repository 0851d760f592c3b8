//! Dials that end with a QUIC connection, and those that fall back to TCP.

use hansom_engine::transport::Address;

use crate::certificates::{Authority, within};
use crate::server::{Server, config, connected};

#[tokio::test]
async fn streams_go_both_ways() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let target = server.dial("a.test", authority.trusted());
    let (client, accepted) = tokio::join!(connected(&target), server.accept());
    assert_eq!(client.peer_address(), Address::Ip(server.address));
    assert_eq!(client.local_address(), Ok(Address::Ip(accepted.remote_address())));
    let certificate = client.peer_certificate().unwrap();
    assert!(!certificate.is_empty());
    client.check().unwrap();

    let (mut send, mut recv) = client.connection().open_bi().await.unwrap();
    send.write_all(b"ping").await.unwrap();
    let (mut answer, mut asked) = within(accepted.accept_bi()).await.unwrap();
    let mut data = [0; 4];
    within(asked.read_exact(&mut data)).await.unwrap();
    answer.write_all(&data).await.unwrap();
    answer.finish().unwrap();
    assert_eq!(within(recv.read_to_end(4)).await.unwrap(), b"ping");
}
