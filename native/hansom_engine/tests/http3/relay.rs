//! A path of UDP between one client and a server, whose way back can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::host::within;

pub(crate) struct Relay {
    /// Where the client finds the server.
    pub(crate) address: SocketAddr,
    answers: Arc<AtomicBool>,
    /// Packets of the client.
    passed: watch::Receiver<usize>,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        back.connect(server).await.unwrap();
        let address = front.local_addr().unwrap();
        let answers = Arc::new(AtomicBool::new(true));
        let (count, passed) = watch::channel(0);
        tokio::spawn({
            let answers = answers.clone();
            async move {
                let (mut there, mut here) = ([0; 2048], [0; 2048]);
                let mut client = None;
                while !count.is_closed() {
                    // What the system reports here is that an earlier client is gone.
                    tokio::select! {
                        received = front.recv_from(&mut there) => {
                            let Ok((length, from)) = received else { continue };
                            client = Some(from);
                            // Packets get lost anyway.
                            let _ = back.send(&there[..length]).await;
                            count.send_modify(|count| *count += 1);
                        }
                        received = back.recv(&mut here) => {
                            let Ok(length) = received else { continue };
                            if let Some(client) = client && answers.load(Ordering::Acquire) {
                                let _ = front.send_to(&here[..length], client).await;
                            }
                        }
                    }
                }
            }
        });
        Self { address, answers, passed }
    }

    /// Whether what the server sends gets through.
    pub(crate) fn let_answer(&self, answers: bool) {
        self.answers.store(answers, Ordering::Release);
    }

    /// Waits until the client has sent so many packets more.
    pub(crate) async fn pass(&mut self, more: usize) {
        let all = *self.passed.borrow_and_update() + more;
        within(self.passed.wait_for(|passed| *passed >= all)).await.unwrap();
    }
}
