//! A queue in one file on this machine: `SQLite` with a write-ahead log.
//!
//! Every change is one transaction, on disk before the call returns. Several processes on this
//! machine may share the file; network file systems do not support the necessary locks.

use super::{
    LeaseTerms, LeasedTask, ListedTask, NewTask, Queue, QueueFuture, Retry, TaskCounts, TaskState,
    Ticket, bounds,
};
use imgdelta::{Error, Result};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A queue in a file.
#[derive(Clone, Debug)]
pub struct SqliteQueue {
    connection: Arc<Mutex<Connection>>,
    place: Arc<str>,
}

impl SqliteQueue {
    /// Opens a file; creates it if it does not exist.
    pub fn open(path: &Path) -> Result<Self> {
        let place: Arc<str> = format!("queue {}", path.display()).into();
        let open = || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            let version: i64 =
                connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version == 0 {
                connection.execute_batch(SCHEMA)?;
            }
            Ok((connection, version))
        };
        let (connection, version) = open().map_err(wrong(&place))?;
        if version > VERSION {
            let what = format!("of version {version}; this program knows {VERSION}");
            return Err(Error::bad_input(place, what));
        }
        Ok(Self { connection: Arc::new(Mutex::new(connection)), place })
    }

    /// Runs a function in one transaction, on a thread that may block.
    fn with<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> QueueFuture<'_, T> {
        let (connection, place) = (Arc::clone(&self.connection), Arc::clone(&self.place));
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            // Immediate: two transactions that read first and write later would block each other.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate);
            let outcome = transaction.and_then(|transaction| {
                let outcome = run(&transaction)?;
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

impl Queue for SqliteQueue {
    fn add<'a>(&'a self, tasks: &'a [NewTask]) -> QueueFuture<'a, u64> {
        let tasks = tasks.to_vec();
        self.with(move |connection| {
            let mut insert = connection.prepare(
                "INSERT INTO works (key, body, state) VALUES (?1, ?2, 'waiting')
                 ON CONFLICT (key) DO NOTHING",
            )?;
            let mut added = 0;
            for task in &tasks {
                added += insert.execute(params![task.key, task.body])? as u64;
            }
            Ok(added)
        })
    }

    fn take<'a>(
        &'a self,
        worker: &'a str,
        terms: &'a LeaseTerms,
    ) -> QueueFuture<'a, Option<LeasedTask>> {
        let (worker, terms) = (worker.to_owned(), terms.clone());
        self.with(move |connection| {
            let now = now_ms();
            connection.execute(
                "UPDATE works SET state = 'failed', outcome = 'its worker vanished each time'
                 WHERE state = 'running' AND until <= ?1 AND tries >= ?2",
                params![now, terms.tries],
            )?;
            let mut take = connection.prepare(
                "UPDATE works SET state = 'running', tries = tries + 1, turn = turn + 1,
                        until = ?2, worker = ?3
                 WHERE ordinal = (SELECT ordinal FROM works
                     WHERE state IN ('waiting', 'running') AND until <= ?1
                     ORDER BY ordinal LIMIT 1)
                 RETURNING key, turn, body, tries",
            )?;
            let taken = take.query_row(params![now, after(now, terms.lease), worker], |row| {
                let ticket = Ticket { key: row.get(0)?, turn: row.get(1)? };
                Ok(LeasedTask { ticket, body: row.get(2)?, tries: row.get(3)? })
            });
            taken.optional()
        })
    }

    fn beat<'a>(&'a self, ticket: &'a Ticket, terms: &'a LeaseTerms) -> QueueFuture<'a, bool> {
        let (ticket, until) = (ticket.clone(), after(now_ms(), terms.lease));
        self.with(move |connection| {
            let changed = connection.execute(
                "UPDATE works SET until = ?3 WHERE key = ?1 AND turn = ?2 AND state = 'running'",
                params![ticket.key, ticket.turn, until],
            )?;
            Ok(changed > 0)
        })
    }

    fn finish<'a>(&'a self, ticket: &'a Ticket, outcome: &'a str) -> QueueFuture<'a, bool> {
        let (ticket, outcome) = (ticket.clone(), outcome.to_owned());
        self.with(move |connection| {
            let changed = connection.execute(
                "UPDATE works SET state = 'done', outcome = ?3
                 WHERE key = ?1 AND turn = ?2 AND state = 'running'",
                params![ticket.key, ticket.turn, outcome],
            )?;
            Ok(changed > 0)
        })
    }

    fn fail<'a>(
        &'a self,
        ticket: &'a Ticket,
        error: &'a str,
        retry: Retry,
        terms: &'a LeaseTerms,
    ) -> QueueFuture<'a, Option<TaskState>> {
        let (ticket, error, terms) = (ticket.clone(), error.to_owned(), terms.clone());
        self.with(move |connection| {
            let tries: Option<u32> = connection
                .query_row(
                    "SELECT tries FROM works WHERE key = ?1 AND turn = ?2 AND state = 'running'",
                    params![ticket.key, ticket.turn],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(tries) = tries else { return Ok(None) };
            let is_final = retry == Retry::Never || tries >= terms.tries;
            let state = if is_final { TaskState::Failed } else { TaskState::Waiting };
            connection.execute(
                "UPDATE works SET state = ?2, outcome = ?3, until = ?4 WHERE key = ?1",
                params![ticket.key, state.word(), error, after(now_ms(), terms.wait(tries))],
            )?;
            Ok(Some(state))
        })
    }

    fn give_back<'a>(&'a self, ticket: &'a Ticket) -> QueueFuture<'a, bool> {
        let ticket = ticket.clone();
        self.with(move |connection| {
            let changed = connection.execute(
                "UPDATE works SET state = 'waiting', tries = tries - 1, until = 0
                 WHERE key = ?1 AND turn = ?2 AND state = 'running'",
                params![ticket.key, ticket.turn],
            )?;
            Ok(changed > 0)
        })
    }

    fn counts(&self) -> QueueFuture<'_, TaskCounts> {
        self.with(|connection| {
            let mut counts = TaskCounts::default();
            let mut query =
                connection.prepare("SELECT state, COUNT(*) FROM works GROUP BY state")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let count: i64 = row.get(1)?;
                counts.set(row.get_ref(0)?.as_str()?, count.unsigned_abs());
            }
            Ok(counts)
        })
    }

    fn list(&self, state: TaskState, limit: u32) -> QueueFuture<'_, Vec<ListedTask>> {
        self.with(move |connection| {
            let mut query = connection.prepare(
                "SELECT key, body, outcome, tries FROM works WHERE state = ?1
                 ORDER BY ordinal LIMIT ?2",
            )?;
            let rows = query.query_map(params![state.word(), limit], |row| {
                let (key, body, outcome) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(ListedTask { key, body, outcome, tries: row.get(3)? })
            })?;
            rows.collect()
        })
    }

    fn outcomes<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, BTreeMap<String, String>> {
        let keys = keys.to_vec();
        self.with(move |connection| {
            // A statement has no round trip here, so that one per key is fast.
            let mut query = connection.prepare(OUTCOME)?;
            let mut outcomes = BTreeMap::new();
            for key in keys {
                let outcome = query.query_row([&key], |row| row.get(0)).optional()?;
                outcomes.extend(outcome.map(|outcome| (key, outcome)));
            }
            Ok(outcomes)
        })
    }

    fn done_in<'a>(
        &'a self,
        repository: &'a str,
        after: &'a str,
        limit: u32,
    ) -> QueueFuture<'a, Vec<String>> {
        let (first, end) = bounds(repository);
        let after = after.to_owned().max(first);
        self.with(move |connection| {
            let mut query = connection.prepare(DONE_IN)?;
            let keys = query.query_map(params![after, end, limit], |row| row.get(0))?;
            keys.collect()
        })
    }

    fn retry_failed(&self) -> QueueFuture<'_, u64> {
        self.with(|connection| {
            let changed = connection.execute(
                "UPDATE works SET state = 'waiting', tries = 0, until = 0 WHERE state = 'failed'",
                [],
            )?;
            Ok(changed as u64)
        })
    }

    fn forget<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, u64> {
        let keys = keys.to_vec();
        self.with(move |connection| {
            let mut forgotten = 0;
            let mut delete =
                connection.prepare("DELETE FROM works WHERE key = ?1 AND state != 'running'")?;
            for key in &keys {
                forgotten += delete.execute([key])? as u64;
            }
            Ok(forgotten)
        })
    }

    fn seen<'a>(
        &'a self,
        repository: &'a str,
        tags: &'a [(String, String)],
    ) -> QueueFuture<'a, Vec<u64>> {
        let (repository, tags) = (repository.to_owned(), tags.to_vec());
        self.with(move |connection| {
            let mut insert = connection.prepare(
                "INSERT INTO seen (repository, tag, digest, ordinal)
                 VALUES (?1, ?2, ?3, (SELECT COALESCE(MAX(ordinal), 0) + 1 FROM seen))
                 ON CONFLICT (repository, tag) DO UPDATE
                 SET digest = excluded.digest, ordinal = excluded.ordinal
                 WHERE seen.digest != excluded.digest",
            )?;
            let mut ask = connection
                .prepare("SELECT ordinal FROM seen WHERE repository = ?1 AND tag = ?2")?;
            let mut ordinals = Vec::new();
            for (tag, digest) in &tags {
                insert.execute(params![repository, tag, digest])?;
                let ordinal: i64 = ask.query_row(params![repository, tag], |row| row.get(0))?;
                ordinals.push(ordinal.unsigned_abs());
            }
            Ok(ordinals)
        })
    }

    fn offer<'a>(&'a self, place: &'a str, things: &'a [String]) -> QueueFuture<'a, ()> {
        let (place, things) = (place.to_owned(), things.to_vec());
        self.with(move |connection| {
            let mut insert = connection.prepare(
                "INSERT INTO offers (place, thing) VALUES (?1, ?2)
                 ON CONFLICT (thing, place) DO NOTHING",
            )?;
            for thing in &things {
                insert.execute(params![place, thing])?;
            }
            Ok(())
        })
    }

    fn offers<'a>(&'a self, things: &'a [String], limit: u32) -> QueueFuture<'a, Vec<String>> {
        let things = things.to_vec();
        self.with(move |connection| {
            let mut ask = connection.prepare(
                "SELECT place, ordinal FROM offers WHERE thing = ?1 ORDER BY ordinal DESC LIMIT ?2",
            )?;
            let mut places: Vec<(String, i64)> = Vec::new();
            for thing in &things {
                let mut rows = ask.query(params![thing, limit])?;
                while let Some(row) = rows.next()? {
                    places.push((row.get(0)?, row.get(1)?));
                }
            }
            places.sort_by_key(|(_, ordinal)| Reverse(*ordinal));
            let mut listed = HashSet::new();
            places.retain(|(place, _)| listed.insert(place.clone()));
            places.truncate(limit as usize);
            Ok(places.into_iter().map(|(place, _)| place).collect())
        })
    }

    fn withdraw<'a>(&'a self, place: &'a str) -> QueueFuture<'a, ()> {
        let place = place.to_owned();
        self.with(move |connection| {
            connection.execute("DELETE FROM offers WHERE place = ?1", [place])?;
            Ok(())
        })
    }
}

fn wrong(place: &str) -> impl FnOnce(rusqlite::Error) -> Error {
    move |error| Error::io(place)(std::io::Error::other(error))
}

fn now_ms() -> i64 {
    // With a clock before 1970, leases end at once, which is harmless.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn after(now: i64, wait: Duration) -> i64 {
    now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

const OUTCOME: &str = "SELECT outcome FROM works WHERE key = ?1 AND state = 'done'";
/// The plus keeps `SQLite` from the index by state, which would read all done tasks.
const DONE_IN: &str = "SELECT key FROM works
    WHERE key > ?1 AND key < ?2 AND +state = 'done' ORDER BY key LIMIT ?3";
/// Longest wait for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
const VERSION: i64 = 1;
/// `until` is the end of a running task's lease, or the earliest start of a waiting task.
const SCHEMA: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS works (
        ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL,
        state TEXT NOT NULL,
        outcome TEXT NOT NULL DEFAULT '',
        tries INTEGER NOT NULL DEFAULT 0,
        turn INTEGER NOT NULL DEFAULT 0,
        until INTEGER NOT NULL DEFAULT 0,
        worker TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX IF NOT EXISTS works_by_state ON works (state, ordinal);
    CREATE TABLE IF NOT EXISTS seen (
        repository TEXT NOT NULL,
        tag TEXT NOT NULL,
        digest TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        PRIMARY KEY (repository, tag)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS seen_by_ordinal ON seen (ordinal);
    CREATE TABLE IF NOT EXISTS offers (
        ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
        thing TEXT NOT NULL,
        place TEXT NOT NULL,
        UNIQUE (thing, place)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS offers_by_place ON offers (place);
    PRAGMA user_version = 1;
    COMMIT;";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queries_of_every_scan_read_no_other_rows() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        for (statement, bounds) in [(OUTCOME, "(key=?)"), (DONE_IN, "(key>? AND key<?)")] {
            let mut explain =
                connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
            let values = vec![rusqlite::types::Null; explain.parameter_count()];
            let values = rusqlite::params_from_iter(values);
            let steps = explain.query_map(values, |row| row.get(3)).unwrap();
            let steps: Vec<String> = steps.map(|step| step.unwrap()).collect();
            let expected = format!("SEARCH works USING INDEX sqlite_autoindex_works_1 {bounds}");
            assert_eq!(steps, [expected], "without a sort");
        }
    }
}
