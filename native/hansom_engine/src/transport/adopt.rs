//! Sockets that others opened.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Type};
use tokio::net::{TcpStream, UnixStream};

use super::socket::Unread;
use super::{Link, Socket, posix};
use crate::error::Error;

/// A connected stream socket to go on with, and what was read from it already.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// Taken by the one dial it is for.
    inner: Arc<Mutex<Option<Handed>>>,
}

#[derive(Debug)]
struct Handed {
    socket: socket2::Socket,
    unread: Vec<u8>,
}

impl Descriptor {
    /// Checks that `descriptor` is a connected stream socket of TCP or of the Unix domain.
    /// `unread` is what comes before whatever is read from it.
    ///
    /// # Errors
    /// [`Error::Posix`]: `enotsock`, `enotconn` and what else the system says, or `eprotonosupport`
    /// for another kind of socket.
    pub fn new(descriptor: OwnedFd, unread: Vec<u8>) -> Result<Self, Error> {
        let socket = socket2::Socket::from(descriptor);
        let check = || {
            let kind = socket.r#type()?;
            socket.peer_addr()?;
            socket.set_nonblocking(true)?;
            Ok((kind, socket.local_addr()?.domain()))
        };
        match check().map_err(|error: std::io::Error| posix(&error))? {
            (Type::STREAM, Domain::IPV4 | Domain::IPV6 | Domain::UNIX) => {
                Ok(Self { inner: Arc::new(Mutex::new(Some(Handed { socket, unread }))) })
            }
            _ => Err(Error::Posix("eprotonosupport")),
        }
    }

    /// The link, within a runtime.
    pub(crate) fn open(&self) -> Result<Link, Error> {
        let taken = self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Handed { socket, unread } = taken.ok_or(Error::Closed)?;
        let open = || {
            Ok(if socket.local_addr()?.domain() == Domain::UNIX {
                Socket::Unix(UnixStream::from_std(std::os::unix::net::UnixStream::from(socket))?)
            } else {
                Socket::Tcp(TcpStream::from_std(socket.into())?)
            })
        };
        let socket = open().map_err(|error: std::io::Error| posix(&error))?;
        Ok(Link::plain(match unread.is_empty() {
            true => socket,
            false => Socket::Unread(Box::new(Unread::new(unread, socket))),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_was_read_comes_first() {
        use std::io::Write;

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut peer = listener.accept().unwrap().0;
        let mut link = Descriptor::new(socket.into(), b"he".to_vec()).unwrap().open().unwrap();
        peer.write_all(b"llo").unwrap();
        drop(peer);
        let mut text = String::new();
        link.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
    }

    #[tokio::test]
    async fn unix_sockets_are_adopted() {
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let descriptor = Descriptor::new(socket.into(), Vec::new()).unwrap();
        assert!(descriptor.open().is_ok());
        assert_eq!(descriptor.open().err(), Some(Error::Closed));
    }

    #[test]
    fn other_descriptors_are_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = |descriptor: OwnedFd| Descriptor::new(descriptor, Vec::new()).err();
        assert_eq!(refused(listener.into()), Some(Error::Posix("enotconn")));
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.connect(udp.local_addr().unwrap()).unwrap();
        assert_eq!(refused(udp.into()), Some(Error::Posix("eprotonosupport")));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(refused(file.into()), Some(Error::Posix("enotsock")));
    }
}
