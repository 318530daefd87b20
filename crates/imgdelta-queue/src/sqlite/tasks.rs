//! Tasks in a file, as scans and workers use them.

use super::{SqliteQueue, stored};
use crate::{
    LeaseTerms, LeasedTask, NewTask, Queue, QueueFuture, REVIVAL, Retry, Taker, TaskEnd,
    TaskFailure, TaskState, Ticket, VANISHED, VANISHED_REASON, bounds, record::age_ms,
};
use rusqlite::{OptionalExtension, params};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    time::Duration,
};

impl Queue for SqliteQueue {
    fn add<'a>(&'a self, tasks: &'a [NewTask]) -> QueueFuture<'a, u64> {
        let tasks = tasks.to_vec();
        self.with(move |connection, access| {
            let mut insert = connection.prepare(
                "INSERT INTO tasks
                     (host, key, repository, target, body, urgency, priority, added, changed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8) ON CONFLICT (host, key) DO NOTHING",
            )?;
            let mut update = connection.prepare(
                "UPDATE tasks SET body = ?3, urgency = min(urgency, ?4), priority = ?5
                 WHERE host = ?1 AND key = ?2 AND state = 'waiting'",
            )?;
            let now = access.clock.date_ms();
            let mut added = 0;
            for task in &tasks {
                let NewTask { key, repository, target, body, urgency, priority } = task;
                let (host, urgency) = (&access.host, urgency.number());
                let new = params![host, key, repository, target, body, urgency, priority, now];
                match insert.execute(new)? {
                    0 => drop(update.execute(params![host, key, body, urgency, priority])?),
                    count => added += count as u64,
                }
            }
            Ok(added)
        })
    }

    fn withdraw_waiting<'a>(
        &'a self,
        repository: &'a str,
        wanted: &'a [String],
    ) -> QueueFuture<'a, u64> {
        let (repository, wanted) = (repository.to_owned(), wanted.to_vec());
        self.with(move |connection, access| {
            let wanted: HashSet<String> = wanted.into_iter().collect();
            let mut list = connection.prepare(WAITING_IN)?;
            let keys: Vec<String> = list
                .query_map(params![access.host, repository, access.clock.steady_ms()], |row| {
                    row.get(0)
                })?
                .collect::<rusqlite::Result<_>>()?;
            let mut delete =
                connection.prepare("DELETE FROM tasks WHERE host = ?1 AND key = ?2")?;
            let mut withdrawn = 0;
            for key in keys.iter().filter(|key| !wanted.contains(*key)) {
                withdrawn += delete.execute(params![access.host, key])? as u64;
            }
            Ok(withdrawn)
        })
    }

    fn take<'a>(
        &'a self,
        taker: &'a Taker,
        terms: &'a LeaseTerms,
    ) -> QueueFuture<'a, Option<LeasedTask>> {
        let (taker, terms) = (taker.clone(), terms.clone());
        self.with(move |connection, access| {
            let (host, now) = (&access.host, access.clock.steady_ms());
            let date = access.clock.date_ms();
            connection.execute(
                "UPDATE tasks SET state = 'failed', outcome = ?4, reason = ?5, transient = 1,
                        until = ?6, changed = ?7
                 WHERE host = ?1 AND state = 'running' AND until <= ?2 AND tries >= ?3",
                params![
                    host,
                    now,
                    terms.tries,
                    VANISHED,
                    VANISHED_REASON,
                    access.clock.after(REVIVAL),
                    date
                ],
            )?;
            connection.execute(
                "UPDATE tasks SET state = 'waiting', tries = 0, transient = 0, until = 0, changed = ?3
                 WHERE host = ?1 AND state = 'failed' AND transient = 1 AND until <= ?2",
                params![host, now, date],
            )?;
            let is_paused: bool = connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM pauses WHERE host = ?1)",
                [host],
                |row| row.get(0),
            )?;
            if is_paused {
                return Ok(None);
            }
            let first = connection
                .query_row(FIRST, params![host, now, taker.worker], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
                })
                .optional()?;
            let Some((mut ordinal, urgency, priority)) = first else { return Ok(None) };
            if let Some(target) = &taker.last_target {
                let band = priority / i64::from(NewTask::BAND);
                let mut same = connection.prepare(SAME_TARGET)?;
                let values = params![host, now, target, urgency, band, NewTask::BAND];
                ordinal = same.query_row(values, |row| row.get(0)).optional()?.unwrap_or(ordinal);
            }
            let mut take = connection.prepare(
                "UPDATE tasks SET state = 'running', tries = tries + 1, turn = turn + 1,
                        until = ?2, worker = ?3, changed = ?4
                 WHERE ordinal = ?1 RETURNING key, turn, body, target, tries, added",
            )?;
            let until = access.clock.after(terms.lease);
            let taken = take.query_row(params![ordinal, until, taker.worker, date], |row| {
                Ok(LeasedTask {
                    ticket: Ticket { key: row.get(0)?, turn: row.get(1)? },
                    body: row.get(2)?,
                    target: row.get(3)?,
                    tries: row.get(4)?,
                    age: age_ms(date, row.get(5)?),
                })
            });
            taken.optional()
        })
    }

    fn beat<'a>(&'a self, ticket: &'a Ticket, terms: &'a LeaseTerms) -> QueueFuture<'a, bool> {
        let (ticket, lease) = (ticket.clone(), terms.lease);
        self.with(move |connection, access| {
            let changed = connection.execute(
                "UPDATE tasks SET until = ?4
                 WHERE host = ?1 AND key = ?2 AND turn = ?3 AND state = 'running'",
                params![access.host, ticket.key, ticket.turn, access.clock.after(lease)],
            )?;
            Ok(changed > 0)
        })
    }

    fn finish<'a>(&'a self, ticket: &'a Ticket, end: &'a TaskEnd) -> QueueFuture<'a, bool> {
        let (ticket, end) = (ticket.clone(), end.clone());
        self.with(move |connection, access| {
            let (host, now) = (&access.host, access.clock.date_ms());
            let changed = connection.execute(
                "UPDATE tasks SET state = 'done', outcome = ?4, reason = '', changed = ?5
                 WHERE host = ?1 AND key = ?2 AND turn = ?3 AND state = 'running'",
                params![host, ticket.key, ticket.turn, end.outcome, now],
            )?;
            if changed > 0 && end.is_published {
                connection.execute(
                    "INSERT INTO days VALUES (?1, ?2, 1, ?3, ?4) ON CONFLICT (host, day) DO UPDATE
                     SET published = published + 1, delta_bytes = delta_bytes + excluded.delta_bytes,
                         saved_bytes = saved_bytes + excluded.saved_bytes",
                    params![
                        host,
                        now.div_euclid(DAY_MS),
                        stored(end.delta_bytes),
                        stored(end.saved_bytes)
                    ],
                )?;
            }
            Ok(changed > 0)
        })
    }

    fn fail<'a>(
        &'a self,
        ticket: &'a Ticket,
        failure: &'a TaskFailure,
        terms: &'a LeaseTerms,
    ) -> QueueFuture<'a, Option<TaskState>> {
        let (ticket, failure, terms) = (ticket.clone(), failure.clone(), terms.clone());
        self.with(move |connection, access| {
            let tries: Option<u32> = connection
                .query_row(
                    "SELECT tries FROM tasks
                     WHERE host = ?1 AND key = ?2 AND turn = ?3 AND state = 'running'",
                    params![access.host, ticket.key, ticket.turn],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(tries) = tries else { return Ok(None) };
            let is_transient = failure.retry == Retry::Later;
            let (state, wait) = match is_transient {
                true if tries < terms.tries => (TaskState::Waiting, terms.wait(tries)),
                true => (TaskState::Failed, REVIVAL),
                false => (TaskState::Failed, Duration::ZERO),
            };
            connection.execute(
                "UPDATE tasks SET state = ?3, outcome = ?4, reason = ?5, transient = ?6, until = ?7,
                        changed = ?8
                 WHERE host = ?1 AND key = ?2",
                params![
                    access.host,
                    ticket.key,
                    state.word(),
                    failure.error,
                    failure.reason,
                    is_transient && state == TaskState::Failed,
                    access.clock.after(wait),
                    access.clock.date_ms()
                ],
            )?;
            Ok(Some(state))
        })
    }

    fn give_back<'a>(&'a self, ticket: &'a Ticket) -> QueueFuture<'a, bool> {
        let ticket = ticket.clone();
        self.with(move |connection, access| {
            let changed = connection.execute(
                "UPDATE tasks SET state = 'waiting', tries = tries - 1, until = 0, changed = ?4
                 WHERE host = ?1 AND key = ?2 AND turn = ?3 AND state = 'running'",
                params![access.host, ticket.key, ticket.turn, access.clock.date_ms()],
            )?;
            Ok(changed > 0)
        })
    }

    fn next_due(&self) -> QueueFuture<'_, Option<Duration>> {
        self.with(|connection, access| {
            let mut due = connection.prepare(NEXT_DUE)?;
            let until: Option<i64> = due.query_row([&access.host], |row| row.get(0))?;
            let now = access.clock.steady_ms();
            Ok(until.map(|until| age_ms(until, now)))
        })
    }

    fn added(&self, at_most: Duration) -> QueueFuture<'_, ()> {
        // Reading a local file once a second costs less than watching it.
        Box::pin(async move {
            tokio::time::sleep(at_most.min(POLL_INTERVAL)).await;
            Ok(())
        })
    }

    fn outcomes<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, BTreeMap<String, String>> {
        let keys = keys.to_vec();
        self.with(move |connection, access| {
            // A statement has no round trip here, so that one per key is fast.
            let mut query = connection.prepare(OUTCOME)?;
            let mut outcomes = BTreeMap::new();
            for key in keys {
                let outcome =
                    query.query_row(params![access.host, key], |row| row.get(0)).optional()?;
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
        self.with(move |connection, access| {
            let mut query = connection.prepare(DONE_IN)?;
            let keys =
                query.query_map(params![access.host, after, end, limit], |row| row.get(0))?;
            keys.collect()
        })
    }

    fn forget<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, u64> {
        let keys = keys.to_vec();
        self.with(move |connection, access| {
            let mut forgotten = 0;
            let mut delete = connection
                .prepare("DELETE FROM tasks WHERE host = ?1 AND key = ?2 AND state != 'running'")?;
            for key in &keys {
                forgotten += delete.execute(params![access.host, key])? as u64;
            }
            Ok(forgotten)
        })
    }

    fn offer<'a>(&'a self, place: &'a str, things: &'a [String]) -> QueueFuture<'a, ()> {
        let (place, things) = (place.to_owned(), things.to_vec());
        self.with(move |connection, access| {
            let mut insert = connection.prepare(
                "INSERT INTO places (host, place, thing) VALUES (?1, ?2, ?3)
                 ON CONFLICT (host, thing, place) DO NOTHING",
            )?;
            for thing in &things {
                insert.execute(params![access.host, place, thing])?;
            }
            Ok(())
        })
    }

    fn offers<'a>(&'a self, things: &'a [String], limit: u32) -> QueueFuture<'a, Vec<String>> {
        let things = things.to_vec();
        self.with(move |connection, access| {
            let mut ask = connection.prepare(
                "SELECT place, ordinal FROM places WHERE host = ?1 AND thing = ?2
                 ORDER BY ordinal DESC LIMIT ?3",
            )?;
            let mut places: Vec<(String, i64)> = Vec::new();
            for thing in &things {
                let mut rows = ask.query(params![access.host, thing, limit])?;
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

    fn retract<'a>(&'a self, place: &'a str) -> QueueFuture<'a, ()> {
        let place = place.to_owned();
        self.with(move |connection, access| {
            connection.execute(
                "DELETE FROM places WHERE host = ?1 AND place = ?2",
                params![access.host, place],
            )?;
            Ok(())
        })
    }
}

/// The first task that is due and whose target no other process works on. The plus keeps `SQLite` from
/// the index by time, after which it would sort.
pub(super) const FIRST: &str = "SELECT ordinal, urgency, priority FROM tasks
    WHERE host = ?1 AND state IN ('waiting', 'running') AND +until <= ?2
        AND (target = '' OR target NOT IN (SELECT target FROM tasks
            WHERE host = ?1 AND state IN ('waiting', 'running') AND +state = 'running'
                AND until > ?2 AND worker != ?3))
    ORDER BY urgency, priority, ordinal LIMIT 1";
/// The first task of a target in a band.
const SAME_TARGET: &str = "SELECT ordinal FROM tasks
    WHERE host = ?1 AND state IN ('waiting', 'running') AND until <= ?2 AND target = ?3
        AND urgency = ?4 AND priority / ?6 = ?5
    ORDER BY priority, ordinal LIMIT 1";
const WAITING_IN: &str = "SELECT key FROM tasks
    WHERE host = ?1 AND repository = ?2 AND urgency > 0
        AND (+state = 'waiting' OR +state = 'running' AND until <= ?3)";
pub(super) const NEXT_DUE: &str =
    "SELECT min(until) FROM tasks WHERE host = ?1 AND state IN ('waiting', 'running')";
pub(super) const OUTCOME: &str =
    "SELECT outcome FROM tasks WHERE host = ?1 AND key = ?2 AND state = 'done'";
/// The plus keeps `SQLite` from the index by state, which would read all done tasks.
pub(super) const DONE_IN: &str = "SELECT key FROM tasks
    WHERE host = ?1 AND key > ?2 AND key < ?3 AND +state = 'done' ORDER BY key LIMIT ?4";
/// Interval at which a waiting worker looks for tasks that other processes added.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
const DAY_MS: i64 = 86_400_000;
