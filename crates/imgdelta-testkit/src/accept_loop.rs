//! A thread that accepts connections on a port of this machine, until it is dropped.
//!
//! Never reads or writes a byte: each connection is served in a thread of its own by its owner's function.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
};

/// A bound port that accepts nothing yet.
#[derive(Debug)]
pub(crate) struct BoundPort {
    listener: TcpListener,
    address: SocketAddr,
    end: EndFlag,
}

impl BoundPort {
    /// Binds a free port.
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        Self { listener, address, end: EndFlag::default() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the flag that a dropped loop sets.
    pub(crate) fn end(&self) -> EndFlag {
        self.end.clone()
    }

    /// Starts to accept; `serve` runs in a new thread for each connection.
    pub(crate) fn accept(self, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> AcceptLoop {
        let Self { listener, address, end } = self;
        let (serve, ends) = (Arc::new(serve), end.clone());
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if ends.is_set() {
                    break;
                }
                let Ok(connection) = connection else { continue };
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(connection));
            }
        });
        AcceptLoop { address, end, thread: Some(thread) }
    }
}

/// True once the loop is dropped, for threads that serve its connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndFlag(Arc<AtomicBool>);

impl EndFlag {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A thread that accepts connections. Dropping it frees the port.
#[derive(Debug)]
pub(crate) struct AcceptLoop {
    address: SocketAddr,
    end: EndFlag,
    thread: Option<JoinHandle<()>>,
}

impl AcceptLoop {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AcceptLoop {
    fn drop(&mut self) {
        self.end.0.store(true, Relaxed);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
