//! A queue in one file on this machine: `SQLite` with a write-ahead log.
//!
//! Every change is one transaction, which a kill of the process does not undo. After a power cut the
//! changes of the last seconds may be missing, and the rest is whole: their tasks run again and find
//! their deltas in the registry. Several processes on this machine may share the file; network file
//! systems do not support the necessary locks.

mod admin;
mod clock;
mod registry;
mod schema;
mod tasks;

use super::QueueFuture;
use clock::QueueClock;
use imgdelta_core::{Error, Result};
use rusqlite::{Connection, TransactionBehavior};
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// A queue in a file, for the tasks of one registry.
#[derive(Clone, Debug)]
pub struct SqliteQueue {
    connection: Arc<Mutex<Connection>>,
    place: Arc<str>,
    host: Arc<str>,
    clock: QueueClock,
}

impl SqliteQueue {
    /// Opens a file for the tasks of the registry `host`; creates it if it does not exist. The tasks
    /// of an older file without names of registries become those of `host`.
    pub fn open(path: &Path, host: &str) -> Result<Self> {
        Self::with_clock(path, host, QueueClock::of_machine())
    }

    fn with_clock(path: &Path, host: &str, clock: QueueClock) -> Result<Self> {
        let place: Arc<str> = format!("queue {}", path.display()).into();
        let open = || {
            let mut connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            // A scan of ten thousand repositories makes thirty thousand changes; waiting for the disk
            // at each took ten minutes.
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let version = schema::prepare(&transaction, host, &clock)?;
            transaction.commit()?;
            Ok((connection, version))
        };
        let (connection, version) = open().map_err(wrong(&place))?;
        if version > schema::VERSION {
            let known = schema::VERSION;
            let what = format!("of version {version}; this program knows {known}");
            return Err(Error::bad_input(place, what));
        }
        Ok(Self { connection: Arc::new(Mutex::new(connection)), place, host: host.into(), clock })
    }

    /// Runs a function in one transaction, on a thread that may block.
    fn with<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Connection, &Access) -> rusqlite::Result<T> + Send + 'static,
    ) -> QueueFuture<'_, T> {
        // The code below is made once for each output, not for each function.
        self.with_boxed(Box::new(run))
    }

    fn with_boxed<T: Send + 'static>(&self, run: BoxedRun<T>) -> QueueFuture<'_, T> {
        let (connection, place) = (Arc::clone(&self.connection), Arc::clone(&self.place));
        let access = Access { host: Arc::clone(&self.host), clock: self.clock.clone() };
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            // Immediate: two transactions that read first and write later would block each other.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate);
            let outcome = transaction.and_then(|transaction| {
                let outcome = run(&transaction, &access)?;
                transaction.commit()?;
                Ok(outcome)
            });
            outcome.map_err(wrong(&place))
        });
        let place = Arc::clone(&self.place);
        Box::pin(async move {
            done.await.unwrap_or_else(|error| Err(Error::io(&place)(std::io::Error::other(error))))
        })
    }
}

/// A function that runs in a transaction.
type BoxedRun<T> = Box<dyn FnOnce(&Connection, &Access) -> rusqlite::Result<T> + Send>;

/// The registry and the clock of a transaction.
struct Access {
    host: Arc<str>,
    clock: QueueClock,
}

fn wrong(place: &str) -> impl FnOnce(rusqlite::Error) -> Error {
    move |error| Error::io(place)(std::io::Error::other(error))
}

/// Returns a count as `SQLite` stores it.
fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Longest wait for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
