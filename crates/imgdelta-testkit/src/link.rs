//! A network between a client and a server, which a test can cut as real networks are cut.
//!
//! Listens on a port of this machine and forwards bytes to a server on another one. A silent link keeps
//! every connection open and forwards nothing, as if packets were dropped.

use crate::accept_loop::{AcceptLoop, BoundPort, EndFlag};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Bytes pass.
    Open,
    /// Connections stay, and no byte passes; new connections are taken and get no answer.
    Silent,
    /// Connections are closed, new ones at once.
    Closed,
}

/// A link that forwards until it is dropped.
#[derive(Debug)]
pub struct Link {
    shared: Arc<SharedLink>,
    accepting: AcceptLoop,
}

#[derive(Debug)]
struct SharedLink {
    route: Mutex<(SocketAddr, LinkState)>,
    end: EndFlag,
}

impl Link {
    /// Opens a link to a server.
    pub fn to(server: SocketAddr) -> Self {
        let port = BoundPort::open();
        let route = Mutex::new((server, LinkState::Open));
        let shared = Arc::new(SharedLink { route, end: port.end() });
        let forwarding = Arc::clone(&shared);
        let accepting = port.accept(move |client| forwarding.forward(client));
        Self { shared, accepting }
    }

    /// Returns the address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.accepting.address()
    }

    /// Changes the state, for connections that exist as well.
    pub fn set(&self, state: LinkState) {
        self.shared.route().1 = state;
    }

    /// Leads new connections to another server, and closes the others.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.shared.route() = (server, LinkState::Open);
    }
}

impl SharedLink {
    fn route(&self) -> MutexGuard<'_, (SocketAddr, LinkState)> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until bytes may pass; false if the connection to this server is to be closed.
    fn passes(&self, server: SocketAddr) -> bool {
        loop {
            let (current, state) = *self.route();
            if state == LinkState::Closed || current != server || self.end.is_set() {
                return false;
            }
            if state == LinkState::Open {
                return true;
            }
            std::thread::sleep(TICK);
        }
    }

    fn forward(self: &Arc<Self>, client: TcpStream) {
        let server = self.route().0;
        if !self.passes(server) {
            return;
        }
        let Ok(outgoing) = TcpStream::connect(server) else { return };
        let _ = (client.set_nodelay(true), outgoing.set_nodelay(true));
        let (Ok(from_client), Ok(to_server)) = (client.try_clone(), outgoing.try_clone()) else {
            return;
        };
        let shared = Arc::clone(self);
        let upwards = std::thread::spawn(move || shared.copy(server, from_client, to_server));
        self.copy(server, outgoing, client);
        let _ = upwards.join();
    }

    /// Copies one direction until its end, or until the link closes; then ends both sides.
    fn copy(&self, server: SocketAddr, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 << 10];
        let _ = from.set_read_timeout(Some(TICK));
        while self.passes(server) {
            match from.read(&mut buffer) {
                Ok(0) => break,
                // Bytes that were on their way when the link was cut arrive later, or never.
                Ok(count) if self.passes(server) && to.write_all(&buffer[..count]).is_ok() => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => break,
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

/// Time in which a change of state takes effect.
const TICK: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers each byte with the same byte.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
                });
            }
        });
        address
    }

    fn ask(stream: &mut TcpStream) -> std::io::Result<u8> {
        let mut byte = [7];
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    #[test]
    fn a_silent_link_delays_and_a_closed_one_ends() {
        let link = Link::to(echo());
        let mut stream = TcpStream::connect(link.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert_eq!(ask(&mut stream).unwrap(), 7);
        link.set(LinkState::Silent);
        let error = ask(&mut stream).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        // The byte was on its way, and arrives.
        link.set(LinkState::Open);
        let mut byte = [0];
        stream.set_read_timeout(None).unwrap();
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [7]);
        link.lead_to(echo());
        assert_eq!(stream.read(&mut byte).unwrap_or(0), 0, "its server is gone");
        assert_eq!(ask(&mut TcpStream::connect(link.address()).unwrap()).unwrap(), 7);
        link.set(LinkState::Closed);
        assert!(ask(&mut TcpStream::connect(link.address()).unwrap()).is_err());
    }
}
