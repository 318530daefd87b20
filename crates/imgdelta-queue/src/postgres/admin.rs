//! Tasks in a server, as people and monitors see and control them.

use super::{KEYS_AT_ONCE, PostgresQueue, seconds};
use crate::{
    DROPPED_REASON, DaySavings, ListedTask, MAX_PAIRS, NewTask, QueueFuture, QueuePause,
    RequestedPair, TaskAdmin, TaskCounts, TaskFilter, TaskPage, TaskState, Urgency,
};
use std::time::Duration;
use tokio_postgres::{Row, types::ToSql};

impl TaskAdmin for PostgresQueue {
    fn counts(&self) -> QueueFuture<'_, TaskCounts> {
        Box::pin(async move {
            let rows = self
                .query(
                    "SELECT waiting, running, done, failed FROM imgdelta_counts WHERE host = $1",
                    &[&self.host],
                )
                .await?;
            let Some(row) = rows.first() else { return Ok(TaskCounts::default()) };
            let count = |at| row.get::<_, i64>(at).unsigned_abs();
            Ok(TaskCounts {
                waiting: count(0),
                running: count(1),
                done: count(2),
                failed: count(3),
            })
        })
    }

    fn oldest_waiting(&self) -> QueueFuture<'_, Option<Duration>> {
        Box::pin(async move {
            let rows = self.query(OLDEST, &[&self.host]).await?;
            Ok(rows.first().and_then(|row| row.get::<_, Option<f64>>(0)).map(seconds))
        })
    }

    fn list<'a>(&'a self, filter: &'a TaskFilter) -> QueueFuture<'a, TaskPage> {
        Box::pin(async move {
            let (side, order) = if filter.newest_first { ("<", "DESC") } else { (">", "ASC") };
            let end = if filter.newest_first { i64::MAX } else { i64::MIN };
            let (after, limit) = (filter.after.unwrap_or(end), i64::from(filter.limit));
            let state = filter.state.map(TaskState::word);
            let mut values: Vec<&(dyn ToSql + Sync)> = vec![&self.host, &after, &limit];
            // A condition is written only if it is set, so that an index serves it.
            let mut choice = String::new();
            if let Some(state) = &state {
                values.push(state);
                choice += &condition("state", values.len());
            }
            if let Some(repository) = &filter.repository {
                values.push(repository);
                choice += &condition("repository", values.len());
            }
            let statement = format!(
                "SELECT {COLUMNS}, ordinal FROM imgdelta_tasks
                 WHERE host = $1 AND ordinal {side} $2{choice} ORDER BY ordinal {order} LIMIT $3"
            );
            let rows = self.query(&statement, &values).await?;
            let is_full = filter.limit > 0 && rows.len() == filter.limit as usize;
            let next = rows.last().filter(|_| is_full).map(|row| row.get(COLUMN_COUNT));
            Ok(TaskPage { tasks: rows.iter().map(listed).collect(), next })
        })
    }

    fn tasks<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, Vec<ListedTask>> {
        Box::pin(async move {
            let mut tasks = Vec::new();
            for keys in keys.chunks(KEYS_AT_ONCE) {
                let statement = format!(
                    "SELECT {COLUMNS} FROM imgdelta_tasks
                     JOIN unnest($2::text[]) WITH ORDINALITY AS wanted (key, place) USING (key)
                     WHERE host = $1 ORDER BY place"
                );
                tasks
                    .extend(self.query(&statement, &[&self.host, &keys]).await?.iter().map(listed));
            }
            Ok(tasks)
        })
    }

    fn retry<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, u64> {
        Box::pin(async move {
            self.count(
                "UPDATE imgdelta_tasks SET state = 'waiting', tries = 0, transient = false,
                        until = to_timestamp(0), changed = clock_timestamp()
                 WHERE host = $1 AND key = ANY($2) AND state = 'failed' RETURNING 1",
                &[&self.host, &keys],
            )
            .await
        })
    }

    fn retry_failed(&self) -> QueueFuture<'_, u64> {
        Box::pin(async move {
            self.count(
                "UPDATE imgdelta_tasks SET state = 'waiting', tries = 0, transient = false,
                        until = to_timestamp(0), changed = clock_timestamp()
                 WHERE host = $1 AND state = 'failed' RETURNING 1",
                &[&self.host],
            )
            .await
        })
    }

    fn drop_tasks<'a>(&'a self, keys: &'a [String], message: &'a str) -> QueueFuture<'a, u64> {
        Box::pin(async move {
            self.count(
                "UPDATE imgdelta_tasks SET state = 'failed', outcome = $3, reason = $4,
                        transient = false, turn = turn + 1, changed = clock_timestamp()
                 WHERE host = $1 AND key = ANY($2) AND state != 'done' RETURNING 1",
                &[&self.host, &keys, &message, &DROPPED_REASON],
            )
            .await
        })
    }

    fn pause<'a>(&'a self, who: &'a str, reason: &'a str) -> QueueFuture<'a, ()> {
        Box::pin(async move {
            self.query(
                "INSERT INTO imgdelta_pauses VALUES ($1, $2, $3, clock_timestamp())
                 ON CONFLICT (host) DO UPDATE
                 SET who = excluded.who, reason = excluded.reason, since = excluded.since",
                &[&self.host, &who, &reason],
            )
            .await?;
            Ok(())
        })
    }

    fn resume(&self) -> QueueFuture<'_, bool> {
        Box::pin(async move {
            // Paused workers look again at once.
            let removed = self
                .count(
                    "WITH removed AS (DELETE FROM imgdelta_pauses WHERE host = $1 RETURNING host)
                 SELECT pg_notify('imgdelta_tasks', host) FROM removed",
                    &[&self.host],
                )
                .await?;
            Ok(removed > 0)
        })
    }

    fn paused(&self) -> QueueFuture<'_, Option<QueuePause>> {
        Box::pin(async move {
            let rows = self
                .query(
                    "SELECT who, reason, (extract(epoch FROM since) * 1000)::int8
                     FROM imgdelta_pauses WHERE host = $1",
                    &[&self.host],
                )
                .await?;
            Ok(rows.first().map(|row| QueuePause {
                who: row.get(0),
                reason: row.get(1),
                since_ms: row.get(2),
            }))
        })
    }

    fn days(&self, limit: u32) -> QueueFuture<'_, Vec<DaySavings>> {
        Box::pin(async move {
            let rows = self
                .query(
                    "SELECT day, published, delta_bytes, saved_bytes FROM imgdelta_days
                     WHERE host = $1 ORDER BY day DESC LIMIT $2",
                    &[&self.host, &i64::from(limit)],
                )
                .await?;
            let day = |row: &Row| {
                let count = |at| row.get::<_, i64>(at).unsigned_abs();
                DaySavings {
                    day: row.get(0),
                    published: count(1),
                    delta_bytes: count(2),
                    saved_bytes: count(3),
                }
            };
            Ok(rows.iter().map(day).collect())
        })
    }

    fn request<'a>(
        &'a self,
        pair: &'a RequestedPair,
        task: &'a NewTask,
    ) -> QueueFuture<'a, ListedTask> {
        Box::pin(async move {
            let NewTask { key, repository, target, body, priority, .. } = task;
            let statement = format!(
                "WITH pair AS (INSERT INTO imgdelta_pairs AS known
                         (host, repository, base, target, platform, requests, last)
                     VALUES ($1, $2, $3, $4, $5, 1, clock_timestamp())
                     ON CONFLICT (host, repository, base, target) DO UPDATE
                     SET platform = excluded.platform, requests = known.requests + 1,
                         last = excluded.last),
                 surplus AS (DELETE FROM imgdelta_pairs
                     WHERE host = $1 AND repository = $2 AND (base, target) IN
                         (SELECT base, target FROM imgdelta_pairs
                          WHERE host = $1 AND repository = $2 AND (base, target) != ($3, $4)
                          ORDER BY last DESC OFFSET $6))
                 INSERT INTO imgdelta_tasks
                     (host, key, repository, target, body, urgency, priority)
                 VALUES ($1, $7, $8, $9, $10, $11, $12) ON CONFLICT (host, key) DO UPDATE
                 SET urgency = excluded.urgency
                 RETURNING {COLUMNS}"
            );
            let rows = self
                .query(
                    &statement,
                    &[
                        &self.host,
                        &pair.repository,
                        &pair.base,
                        &pair.target,
                        &pair.platform,
                        &i64::from(MAX_PAIRS - 1),
                        key,
                        repository,
                        target,
                        body,
                        &Urgency::Requested.number(),
                        &i64::from(*priority),
                    ],
                )
                .await?;
            let row = rows.first().expect("an upsert without a condition returns its row");
            Ok(listed(row))
        })
    }

    fn requested<'a>(
        &'a self,
        repository: &'a str,
        limit: u32,
    ) -> QueueFuture<'a, Vec<RequestedPair>> {
        Box::pin(async move {
            let rows = self
                .query(
                    "SELECT base, target, platform, requests, (extract(epoch FROM last) * 1000)::int8
                     FROM imgdelta_pairs WHERE host = $1 AND repository = $2
                     ORDER BY last DESC, base, target LIMIT $3",
                    &[&self.host, &repository, &i64::from(limit)],
                )
                .await?;
            let pair = |row: &Row| RequestedPair {
                repository: repository.to_owned(),
                base: row.get(0),
                target: row.get(1),
                platform: row.get(2),
                requests: row.get::<_, i64>(3).unsigned_abs(),
                last_ms: row.get(4),
            };
            Ok(rows.iter().map(pair).collect())
        })
    }
}

/// Returns the condition that a column equals a value of the statement.
fn condition(column: &str, value: usize) -> String {
    format!(" AND {column} = ${value}")
}

/// Reads [`COLUMNS`].
fn listed(row: &Row) -> ListedTask {
    ListedTask {
        key: row.get(0),
        repository: row.get(1),
        body: row.get(2),
        state: TaskState::of_word(row.get(3)),
        urgency: Urgency::of_number(row.get(4)),
        outcome: row.get(5),
        reason: row.get(6),
        is_transient: row.get(7),
        tries: row.get::<_, i32>(8).unsigned_abs(),
        worker: row.get(9),
        added_ms: row.get(10),
        changed_ms: row.get(11),
    }
}

const COLUMNS: &str = "key, repository, body, state, urgency, outcome, reason, transient, tries,
    worker, (extract(epoch FROM added) * 1000)::int8, (extract(epoch FROM changed) * 1000)::int8";
const COLUMN_COUNT: usize = 12;
pub(super) const OLDEST: &str =
    "SELECT extract(epoch FROM clock_timestamp() - min(added))::float8 FROM imgdelta_tasks
    WHERE host = $1 AND state = 'waiting'";
