//! A queue in a `PostgreSQL` server, shared by workers on many machines.
//!
//! Times are the server's, so that the clocks of machines do not matter. Rows that another worker
//! locks are skipped. The next statement after a lost connection opens a new one.

mod connection;
mod error;

pub use error::advice;

use super::{
    LeaseTerms, LeasedTask, ListedTask, NewTask, Queue, QueueFuture, Retry, TaskCounts, TaskState,
    Ticket, bounds,
};
use crate::config::PostgresOptions;
use connection::Connection;
use imgdelta::Result;
use imgdelta_registry::Secret;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use tokio_postgres::{Row, types::ToSql};

/// A queue in a server.
#[derive(Debug)]
pub struct PostgresQueue {
    connection: Connection,
}

impl PostgresQueue {
    /// Connects to a server, and creates the tables if they do not exist. With TLS, an authority of
    /// the machine or of these files must have signed the server's certificate.
    pub async fn connect(
        server: &PostgresOptions,
        authorities: &[PathBuf],
        password: Option<&Secret>,
    ) -> Result<Self> {
        let connection = Connection::open(server, authorities, password).await?;
        Ok(Self { connection })
    }

    /// Runs one statement, which is a transaction of its own.
    pub(super) async fn query(
        &self,
        statement: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        self.connection.query(statement, values).await
    }
}

impl Queue for PostgresQueue {
    fn add<'a>(&'a self, tasks: &'a [NewTask]) -> QueueFuture<'a, u64> {
        Box::pin(async move {
            let keys: Vec<&str> = tasks.iter().map(|task| task.key.as_str()).collect();
            let bodies: Vec<&str> = tasks.iter().map(|task| task.body.as_str()).collect();
            let rows = self
                .query(
                    "INSERT INTO imgdelta_works (key, body)
                     SELECT key, body FROM unnest($1::text[], $2::text[])
                         WITH ORDINALITY AS added (key, body, place) ORDER BY place
                     ON CONFLICT (key) DO NOTHING RETURNING 1",
                    &[&keys, &bodies],
                )
                .await?;
            Ok(rows.len() as u64)
        })
    }

    fn take<'a>(
        &'a self,
        worker: &'a str,
        terms: &'a LeaseTerms,
    ) -> QueueFuture<'a, Option<LeasedTask>> {
        Box::pin(async move {
            let tries = i32::try_from(terms.tries).unwrap_or(i32::MAX);
            self.query(
                "UPDATE imgdelta_works SET state = 'failed',
                        outcome = 'its worker vanished each time'
                 WHERE ordinal IN (SELECT ordinal FROM imgdelta_works
                     WHERE state = 'running' AND until <= clock_timestamp() AND tries >= $1
                     FOR UPDATE SKIP LOCKED)",
                &[&tries],
            )
            .await?;
            let rows = self
                .query(
                    "UPDATE imgdelta_works SET state = 'running', tries = tries + 1,
                            turn = turn + 1, worker = $1,
                            until = clock_timestamp() + $2 * interval '1 millisecond'
                     WHERE ordinal = (SELECT ordinal FROM imgdelta_works
                         WHERE state IN ('waiting', 'running') AND until <= clock_timestamp()
                         ORDER BY ordinal LIMIT 1 FOR UPDATE SKIP LOCKED)
                     RETURNING key, turn, body, tries",
                    &[&worker, &millis(terms.lease)],
                )
                .await?;
            Ok(rows.first().map(|row| LeasedTask {
                ticket: Ticket { key: row.get(0), turn: row.get(1) },
                body: row.get(2),
                tries: row.get::<_, i32>(3).unsigned_abs(),
            }))
        })
    }

    fn beat<'a>(&'a self, ticket: &'a Ticket, terms: &'a LeaseTerms) -> QueueFuture<'a, bool> {
        Box::pin(async move {
            let rows = self
                .query(
                    "UPDATE imgdelta_works
                     SET until = clock_timestamp() + $3 * interval '1 millisecond'
                     WHERE key = $1 AND turn = $2 AND state = 'running' RETURNING 1",
                    &[&ticket.key, &ticket.turn, &millis(terms.lease)],
                )
                .await?;
            Ok(!rows.is_empty())
        })
    }

    fn finish<'a>(&'a self, ticket: &'a Ticket, outcome: &'a str) -> QueueFuture<'a, bool> {
        Box::pin(async move {
            let rows = self
                .query(
                    "UPDATE imgdelta_works SET state = 'done', outcome = $3
                     WHERE key = $1 AND turn = $2 AND state = 'running' RETURNING 1",
                    &[&ticket.key, &ticket.turn, &outcome],
                )
                .await?;
            Ok(!rows.is_empty())
        })
    }

    fn fail<'a>(
        &'a self,
        ticket: &'a Ticket,
        error: &'a str,
        retry: Retry,
        terms: &'a LeaseTerms,
    ) -> QueueFuture<'a, Option<TaskState>> {
        Box::pin(async move {
            let tries = match retry {
                Retry::Never => 0,
                Retry::Later => i32::try_from(terms.tries).unwrap_or(i32::MAX),
            };
            // The pause for each number of tries, so that the doubling has one definition.
            let pauses: Vec<f64> =
                (1..=terms.tries.min(MAX_PAUSES)).map(|tries| millis(terms.wait(tries))).collect();
            let rows = self
                .query(
                    "UPDATE imgdelta_works SET outcome = $3,
                            state = CASE WHEN tries >= $4 THEN 'failed' ELSE 'waiting' END,
                            until = clock_timestamp() + interval '1 millisecond'
                                * ($5::float8[])[least(tries, cardinality($5::float8[]))]
                     WHERE key = $1 AND turn = $2 AND state = 'running'
                     RETURNING state",
                    &[&ticket.key, &ticket.turn, &error, &tries, &pauses],
                )
                .await?;
            Ok(rows.first().map(|row| match row.get(0) {
                "failed" => TaskState::Failed,
                _ => TaskState::Waiting,
            }))
        })
    }

    fn give_back<'a>(&'a self, ticket: &'a Ticket) -> QueueFuture<'a, bool> {
        Box::pin(async move {
            let rows = self
                .query(
                    "UPDATE imgdelta_works
                     SET state = 'waiting', tries = tries - 1, until = to_timestamp(0)
                     WHERE key = $1 AND turn = $2 AND state = 'running' RETURNING 1",
                    &[&ticket.key, &ticket.turn],
                )
                .await?;
            Ok(!rows.is_empty())
        })
    }

    fn counts(&self) -> QueueFuture<'_, TaskCounts> {
        Box::pin(async move {
            let rows = self
                .query("SELECT state, COUNT(*) FROM imgdelta_works GROUP BY state", &[])
                .await?;
            let mut counts = TaskCounts::default();
            for row in rows {
                counts.set(row.get(0), row.get::<_, i64>(1).unsigned_abs());
            }
            Ok(counts)
        })
    }

    fn list(&self, state: TaskState, limit: u32) -> QueueFuture<'_, Vec<ListedTask>> {
        Box::pin(async move {
            let rows = self
                .query(
                    "SELECT key, body, outcome, tries FROM imgdelta_works
                     WHERE state = $1 ORDER BY ordinal LIMIT $2",
                    &[&state.word(), &i64::from(limit)],
                )
                .await?;
            let line = |row: &Row| ListedTask {
                key: row.get(0),
                body: row.get(1),
                outcome: row.get(2),
                tries: row.get::<_, i32>(3).unsigned_abs(),
            };
            Ok(rows.iter().map(line).collect())
        })
    }

    fn outcomes<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, BTreeMap<String, String>> {
        Box::pin(async move {
            let mut outcomes = BTreeMap::new();
            for keys in keys.chunks(KEYS_AT_ONCE) {
                let rows = self.query(OUTCOMES, &[&keys]).await?;
                outcomes.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
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
        Box::pin(async move {
            let (first, end) = bounds(repository);
            let after = after.max(&first);
            let rows = self.query(DONE_IN, &[&after, &end, &i64::from(limit)]).await?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        })
    }

    fn retry_failed(&self) -> QueueFuture<'_, u64> {
        Box::pin(async move {
            let rows = self
                .query(
                    "UPDATE imgdelta_works SET state = 'waiting', tries = 0, until = to_timestamp(0)
                     WHERE state = 'failed' RETURNING 1",
                    &[],
                )
                .await?;
            Ok(rows.len() as u64)
        })
    }

    fn forget<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, u64> {
        Box::pin(async move {
            let rows = self
                .query(
                    "DELETE FROM imgdelta_works WHERE key = ANY($1) AND state != 'running'
                     RETURNING 1",
                    &[&keys],
                )
                .await?;
            Ok(rows.len() as u64)
        })
    }

    fn seen<'a>(
        &'a self,
        repository: &'a str,
        tags: &'a [(String, String)],
    ) -> QueueFuture<'a, Vec<u64>> {
        Box::pin(async move {
            let names: Vec<&str> = tags.iter().map(|(tag, _)| tag.as_str()).collect();
            let digests: Vec<&str> = tags.iter().map(|(_, digest)| digest.as_str()).collect();
            self.query(
                "INSERT INTO imgdelta_seen AS known (repository, tag, digest)
                 SELECT $1, tag, digest FROM unnest($2::text[], $3::text[])
                     WITH ORDINALITY AS added (tag, digest, place) ORDER BY place
                 ON CONFLICT (repository, tag) DO UPDATE
                 SET digest = excluded.digest, ordinal = excluded.ordinal
                 WHERE known.digest != excluded.digest",
                &[&repository, &names, &digests],
            )
            .await?;
            let rows = self
                .query(
                    "SELECT ordinal FROM unnest($2::text[]) WITH ORDINALITY AS wanted (tag, place)
                     JOIN imgdelta_seen USING (tag) WHERE repository = $1 ORDER BY place",
                    &[&repository, &names],
                )
                .await?;
            Ok(rows.iter().map(|row| row.get::<_, i64>(0).unsigned_abs()).collect())
        })
    }

    fn offer<'a>(&'a self, place: &'a str, things: &'a [String]) -> QueueFuture<'a, ()> {
        Box::pin(async move {
            self.query(
                "INSERT INTO imgdelta_offers (place, thing) SELECT $1, unnest($2::text[])
                 ON CONFLICT (thing, place) DO NOTHING",
                &[&place, &things],
            )
            .await?;
            Ok(())
        })
    }

    fn offers<'a>(&'a self, things: &'a [String], limit: u32) -> QueueFuture<'a, Vec<String>> {
        Box::pin(async move {
            let rows = self
                .query(
                    "SELECT place FROM imgdelta_offers WHERE thing = ANY($1)
                     GROUP BY place ORDER BY max(ordinal) DESC LIMIT $2",
                    &[&things, &i64::from(limit)],
                )
                .await?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        })
    }

    fn withdraw<'a>(&'a self, place: &'a str) -> QueueFuture<'a, ()> {
        Box::pin(async move {
            self.query("DELETE FROM imgdelta_offers WHERE place = $1", &[&place]).await?;
            Ok(())
        })
    }
}

/// Returns milliseconds, for multiplication by the server.
fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

const OUTCOMES: &str =
    "SELECT key, outcome FROM imgdelta_works WHERE key = ANY($1) AND state = 'done'";
/// In the order of bytes, as its index is; the server's language does not matter.
const DONE_IN: &str = "SELECT key FROM imgdelta_works
    WHERE key COLLATE \"C\" > $1 AND key COLLATE \"C\" < $2 AND state = 'done'
    ORDER BY key COLLATE \"C\" LIMIT $3";
/// Some hundred kilobytes per statement.
const KEYS_AT_ONCE: usize = 1000;
/// After so many doublings every pause is the longest.
const MAX_PAUSES: u32 = 32;

#[cfg(test)]
mod tests;
