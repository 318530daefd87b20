//! Tasks in a file, as people and monitors see and control them.

use super::SqliteQueue;
use crate::{
    DROPPED_REASON, DaySavings, ListedTask, MAX_PAIRS, NewTask, QueueFuture, QueuePause,
    RequestedPair, TaskAdmin, TaskCounts, TaskFilter, TaskPage, TaskState, Urgency, record::age_ms,
};
use rusqlite::{OptionalExtension, Row, params};
use std::time::Duration;

impl TaskAdmin for SqliteQueue {
    fn counts(&self) -> QueueFuture<'_, TaskCounts> {
        self.with(|connection, access| {
            let mut count =
                connection.prepare("SELECT tasks FROM counts WHERE host = ?1 AND state = ?2")?;
            let mut of = |state: TaskState| {
                let tasks = count.query_row(params![access.host, state.word()], |row| row.get(0));
                tasks.map(i64::unsigned_abs)
            };
            Ok(TaskCounts {
                waiting: of(TaskState::Waiting)?,
                running: of(TaskState::Running)?,
                done: of(TaskState::Done)?,
                failed: of(TaskState::Failed)?,
            })
        })
    }

    fn oldest_waiting(&self) -> QueueFuture<'_, Option<Duration>> {
        self.with(|connection, access| {
            let mut oldest = connection.prepare(OLDEST)?;
            let added: Option<i64> = oldest.query_row([&access.host], |row| row.get(0))?;
            Ok(added.map(|added| age_ms(access.clock.date_ms(), added)))
        })
    }

    fn list<'a>(&'a self, filter: &'a TaskFilter) -> QueueFuture<'a, TaskPage> {
        let filter = filter.clone();
        self.with(move |connection, access| {
            // A condition is written only if it is set, so that an index serves it. One repository
            // has fewer tasks than one state, so that its index goes first.
            let choice = match (&filter.repository, filter.state) {
                (None, None) => "",
                (None, Some(_)) => "AND state = ?2",
                (Some(_), None) => "AND repository = ?3",
                (Some(_), Some(_)) => "AND repository = ?3 AND +state = ?2",
            };
            let (side, order) = if filter.newest_first { ("<", "DESC") } else { (">", "ASC") };
            let end = if filter.newest_first { i64::MAX } else { i64::MIN };
            let mut query = connection.prepare(&format!(
                "SELECT {COLUMNS}, ordinal FROM tasks
                 WHERE host = ?1 {choice} AND ordinal {side} ?4 ORDER BY ordinal {order} LIMIT ?5"
            ))?;
            let state = filter.state.map(TaskState::word);
            let after = filter.after.unwrap_or(end);
            let values = params![access.host, state, filter.repository, after, filter.limit];
            let rows = query.query_map(values, |row| Ok((listed(row)?, row.get(COLUMN_COUNT)?)))?;
            let rows: Vec<(ListedTask, i64)> = rows.collect::<rusqlite::Result<_>>()?;
            let is_full = filter.limit > 0 && rows.len() == filter.limit as usize;
            let next = rows.last().map(|(_, ordinal)| *ordinal).filter(|_| is_full);
            Ok(TaskPage { tasks: rows.into_iter().map(|(task, _)| task).collect(), next })
        })
    }

    fn tasks<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, Vec<ListedTask>> {
        let keys = keys.to_vec();
        self.with(move |connection, access| {
            let mut query = connection
                .prepare(&format!("SELECT {COLUMNS} FROM tasks WHERE host = ?1 AND key = ?2"))?;
            let mut tasks = Vec::new();
            for key in keys {
                tasks.extend(query.query_row(params![access.host, key], listed).optional()?);
            }
            Ok(tasks)
        })
    }

    fn retry<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, u64> {
        let keys = keys.to_vec();
        self.with(move |connection, access| {
            let mut retry = connection.prepare(
                "UPDATE tasks SET state = 'waiting', tries = 0, until = 0, transient = 0, changed = ?3
                 WHERE host = ?1 AND key = ?2 AND state = 'failed'",
            )?;
            let mut retried = 0;
            for key in &keys {
                retried += retry.execute(params![access.host, key, access.clock.date_ms()])? as u64;
            }
            Ok(retried)
        })
    }

    fn retry_failed(&self) -> QueueFuture<'_, u64> {
        self.with(|connection, access| {
            let changed = connection.execute(
                "UPDATE tasks SET state = 'waiting', tries = 0, until = 0, transient = 0, changed = ?2
                 WHERE host = ?1 AND state = 'failed'",
                params![access.host, access.clock.date_ms()],
            )?;
            Ok(changed as u64)
        })
    }

    fn drop_tasks<'a>(&'a self, keys: &'a [String], message: &'a str) -> QueueFuture<'a, u64> {
        let (keys, message) = (keys.to_vec(), message.to_owned());
        self.with(move |connection, access| {
            let mut drop = connection.prepare(
                "UPDATE tasks SET state = 'failed', outcome = ?3, reason = ?4, transient = 0,
                        turn = turn + 1, changed = ?5
                 WHERE host = ?1 AND key = ?2 AND state != 'done'",
            )?;
            let mut dropped = 0;
            for key in &keys {
                let now = access.clock.date_ms();
                let values = params![access.host, key, message, DROPPED_REASON, now];
                dropped += drop.execute(values)? as u64;
            }
            Ok(dropped)
        })
    }

    fn pause<'a>(&'a self, who: &'a str, reason: &'a str) -> QueueFuture<'a, ()> {
        let (who, reason) = (who.to_owned(), reason.to_owned());
        self.with(move |connection, access| {
            connection.execute(
                "INSERT INTO pauses VALUES (?1, ?2, ?3, ?4) ON CONFLICT (host) DO UPDATE
                 SET who = excluded.who, reason = excluded.reason, since = excluded.since",
                params![access.host, who, reason, access.clock.date_ms()],
            )?;
            Ok(())
        })
    }

    fn resume(&self) -> QueueFuture<'_, bool> {
        self.with(|connection, access| {
            let removed =
                connection.execute("DELETE FROM pauses WHERE host = ?1", [&access.host])?;
            Ok(removed > 0)
        })
    }

    fn paused(&self) -> QueueFuture<'_, Option<QueuePause>> {
        self.with(|connection, access| {
            let pause = connection.query_row(
                "SELECT who, reason, since FROM pauses WHERE host = ?1",
                [&access.host],
                |row| {
                    Ok(QueuePause { who: row.get(0)?, reason: row.get(1)?, since_ms: row.get(2)? })
                },
            );
            pause.optional()
        })
    }

    fn days(&self, limit: u32) -> QueueFuture<'_, Vec<DaySavings>> {
        self.with(move |connection, access| {
            let mut query = connection.prepare(
                "SELECT day, published, delta_bytes, saved_bytes FROM days
                 WHERE host = ?1 ORDER BY day DESC LIMIT ?2",
            )?;
            let days = query.query_map(params![access.host, limit], |row| {
                let count = |at| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)?.unsigned_abs());
                Ok(DaySavings {
                    day: row.get(0)?,
                    published: count(1)?,
                    delta_bytes: count(2)?,
                    saved_bytes: count(3)?,
                })
            })?;
            days.collect()
        })
    }

    fn request<'a>(
        &'a self,
        pair: &'a RequestedPair,
        task: &'a NewTask,
    ) -> QueueFuture<'a, ListedTask> {
        let (pair, task) = (pair.clone(), task.clone());
        self.with(move |connection, access| {
            let (host, now) = (&access.host, access.clock.date_ms());
            connection.execute(
                "INSERT INTO pairs VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)
                 ON CONFLICT (host, repository, base, target) DO UPDATE
                 SET platform = excluded.platform, requests = requests + 1, last = excluded.last",
                params![host, pair.repository, pair.base, pair.target, pair.platform, now],
            )?;
            connection.execute(
                "DELETE FROM pairs WHERE host = ?1 AND repository = ?2 AND (base, target) IN
                     (SELECT base, target FROM pairs WHERE host = ?1 AND repository = ?2
                      ORDER BY last DESC LIMIT -1 OFFSET ?3)",
                params![host, pair.repository, MAX_PAIRS],
            )?;
            let NewTask { key, repository, target, body, priority, .. } = &task;
            let urgency = Urgency::Requested.number();
            connection.execute(
                "INSERT INTO tasks
                     (host, key, repository, target, body, urgency, priority, added, changed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8) ON CONFLICT (host, key) DO UPDATE
                 SET urgency = excluded.urgency",
                params![host, key, repository, target, body, urgency, priority, now],
            )?;
            let find = format!("SELECT {COLUMNS} FROM tasks WHERE host = ?1 AND key = ?2");
            connection.query_row(&find, params![host, key], listed)
        })
    }

    fn requested<'a>(
        &'a self,
        repository: &'a str,
        limit: u32,
    ) -> QueueFuture<'a, Vec<RequestedPair>> {
        let repository = repository.to_owned();
        self.with(move |connection, access| {
            let mut query = connection.prepare(
                "SELECT base, target, platform, requests, last FROM pairs
                 WHERE host = ?1 AND repository = ?2 ORDER BY last DESC, base, target LIMIT ?3",
            )?;
            let pairs = query.query_map(params![access.host, repository, limit], |row| {
                Ok(RequestedPair {
                    repository: repository.clone(),
                    base: row.get(0)?,
                    target: row.get(1)?,
                    platform: row.get(2)?,
                    requests: row.get::<_, i64>(3)?.unsigned_abs(),
                    last_ms: row.get(4)?,
                })
            })?;
            pairs.collect()
        })
    }
}

/// Reads [`COLUMNS`].
fn listed(row: &Row<'_>) -> rusqlite::Result<ListedTask> {
    Ok(ListedTask {
        key: row.get(0)?,
        repository: row.get(1)?,
        body: row.get(2)?,
        state: TaskState::of_word(row.get_ref(3)?.as_str()?),
        urgency: Urgency::of_number(row.get(4)?),
        outcome: row.get(5)?,
        reason: row.get(6)?,
        is_transient: row.get(7)?,
        tries: row.get(8)?,
        worker: row.get(9)?,
        added_ms: row.get(10)?,
        changed_ms: row.get(11)?,
    })
}

const COLUMNS: &str = "key, repository, body, state, urgency, outcome, reason, transient, tries,
    worker, added, changed";
const COLUMN_COUNT: usize = 12;
pub(super) const OLDEST: &str =
    "SELECT min(added) FROM tasks WHERE host = ?1 AND state = 'waiting'";
