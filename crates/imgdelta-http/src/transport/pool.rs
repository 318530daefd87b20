//! Connections that wait for their next request, by server.
//!
//! Opens none. A connection whose response was not read to its end is not used again.

use super::body::SentBody;
use hyper::client::conn::http1::SendRequest;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Acquire},
    },
    time::{Duration, Instant},
};

/// The side of a connection that takes requests.
pub(super) type RequestSender = SendRequest<SentBody>;

/// Idle connections, the last used one at the end.
#[derive(Default)]
pub(super) struct ConnectionPool(Mutex<HashMap<String, Vec<IdleConnection>>>);

struct IdleConnection {
    sender: RequestSender,
    since: Instant,
}

impl ConnectionPool {
    /// Takes a connection to a server that still takes requests.
    pub async fn take(&self, server: &str) -> Option<RequestSender> {
        loop {
            let mut idle = self.take_idle(server, Instant::now())?;
            // It takes no request if it was closed, or if a response was left unread.
            if idle.sender.ready().await.is_ok() {
                return Some(idle.sender);
            }
        }
    }

    fn take_idle(&self, server: &str, now: Instant) -> Option<IdleConnection> {
        let mut servers = self.lock();
        servers.retain(|_, idle| {
            idle.retain(|idle| now.duration_since(idle.since) < IDLE && !idle.sender.is_closed());
            !idle.is_empty()
        });
        servers.get_mut(server)?.pop()
    }

    fn put(&self, server: String, sender: RequestSender) {
        let mut servers = self.lock();
        let idle = servers.entry(server).or_default();
        if idle.len() >= MAX_IDLE {
            idle.remove(0);
        }
        idle.push(IdleConnection { sender, since: Instant::now() });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<IdleConnection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The use of a connection for one request, up to the end of its response.
pub(super) struct Lease {
    pool: Arc<ConnectionPool>,
    server: String,
    sender: Option<RequestSender>,
    is_sent: Arc<AtomicBool>,
}

impl Lease {
    pub fn new(
        pool: &Arc<ConnectionPool>,
        server: String,
        sender: RequestSender,
        is_sent: Arc<AtomicBool>,
    ) -> Self {
        Self { pool: Arc::clone(pool), server, sender: Some(sender), is_sent }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(sender) = self.sender.take() else { return };
        // A server that answers before it has the request may never read the rest.
        if self.is_sent.load(Acquire) && !sender.is_closed() {
            self.pool.put(std::mem::take(&mut self.server), sender);
        }
    }
}

/// Most servers close an idle connection earlier.
const IDLE: Duration = Duration::from_secs(90);
/// Twice the transfers that a client makes at the same time by default.
const MAX_IDLE: usize = 16;
