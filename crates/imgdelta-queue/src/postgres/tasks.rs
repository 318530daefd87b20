//! Tasks in a server, as scans and workers use them.

use super::{KEYS_AT_ONCE, PostgresQueue, millis, seconds, stored};
use crate::{
    LeaseTerms, LeasedTask, NewTask, Queue, QueueFuture, REVIVAL, Retry, Taker, TaskEnd,
    TaskFailure, TaskState, Ticket, VANISHED, VANISHED_REASON, bounds,
};
use std::{collections::BTreeMap, time::Duration};

impl Queue for PostgresQueue {
    fn add<'a>(&'a self, tasks: &'a [NewTask]) -> QueueFuture<'a, u64> {
        Box::pin(async move {
            let texts = |of: fn(&NewTask) -> &str| tasks.iter().map(of).collect::<Vec<&str>>();
            let urgencies: Vec<i16> = tasks.iter().map(|task| task.urgency.number()).collect();
            let priorities: Vec<i64> = tasks.iter().map(|task| task.priority.into()).collect();
            let rows = self
                .query(
                    "INSERT INTO imgdelta_tasks AS known
                         (host, key, repository, target, body, urgency, priority)
                     SELECT $1::text, key, repository, target, body, urgency, priority
                     FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::int2[],
                             $7::int8[]) WITH ORDINALITY
                         AS added (key, repository, target, body, urgency, priority, place)
                     ORDER BY place
                     ON CONFLICT (host, key) DO UPDATE SET body = excluded.body,
                         urgency = least(known.urgency, excluded.urgency),
                         priority = excluded.priority
                     WHERE known.state = 'waiting' AND (known.body, known.priority)
                         IS DISTINCT FROM (excluded.body, excluded.priority)
                         OR known.state = 'waiting' AND known.urgency > excluded.urgency
                     RETURNING xmax = 0",
                    &[
                        &self.host,
                        &texts(|task| &task.key),
                        &texts(|task| &task.repository),
                        &texts(|task| &task.target),
                        &texts(|task| &task.body),
                        &urgencies,
                        &priorities,
                    ],
                )
                .await?;
            Ok(rows.iter().filter(|row| row.get::<_, bool>(0)).count() as u64)
        })
    }

    fn withdraw_waiting<'a>(
        &'a self,
        repository: &'a str,
        wanted: &'a [String],
    ) -> QueueFuture<'a, u64> {
        Box::pin(async move {
            self.count(
                "DELETE FROM imgdelta_tasks WHERE host = $1 AND repository = $2
                     AND (state = 'waiting' OR state = 'running' AND until <= clock_timestamp())
                     AND urgency > 0 AND key != ALL($3) RETURNING 1",
                &[&self.host, &repository, &wanted],
            )
            .await
        })
    }

    fn take<'a>(
        &'a self,
        taker: &'a Taker,
        terms: &'a LeaseTerms,
    ) -> QueueFuture<'a, Option<LeasedTask>> {
        Box::pin(async move {
            let tries = i32::try_from(terms.tries).unwrap_or(i32::MAX);
            self.query(
                "UPDATE imgdelta_tasks SET state = 'failed', outcome = $3, reason = $4,
                        transient = true, changed = clock_timestamp(),
                        until = clock_timestamp() + $5 * interval '1 millisecond'
                 WHERE ordinal IN (SELECT ordinal FROM imgdelta_tasks
                     WHERE host = $1 AND state = 'running' AND until <= clock_timestamp()
                         AND tries >= $2
                     FOR UPDATE SKIP LOCKED)",
                &[&self.host, &tries, &VANISHED, &VANISHED_REASON, &millis(REVIVAL)],
            )
            .await?;
            self.query(
                "UPDATE imgdelta_tasks SET state = 'waiting', tries = 0, transient = false,
                        until = to_timestamp(0), changed = clock_timestamp()
                 WHERE ordinal IN (SELECT ordinal FROM imgdelta_tasks
                     WHERE host = $1 AND state = 'failed' AND transient
                         AND until <= clock_timestamp()
                     FOR UPDATE SKIP LOCKED)",
                &[&self.host],
            )
            .await?;
            let rows = self
                .query(
                    TAKE,
                    &[
                        &self.host,
                        &taker.worker,
                        &millis(terms.lease),
                        &taker.last_target.as_deref().unwrap_or_default(),
                        &i64::from(NewTask::BAND),
                    ],
                )
                .await?;
            if !rows.is_empty() {
                // There may be more tasks for those who wait.
                self.connection.added.notify_one();
            }
            Ok(rows.first().map(|row| LeasedTask {
                ticket: Ticket { key: row.get(0), turn: row.get(1) },
                body: row.get(2),
                target: row.get(3),
                tries: row.get::<_, i32>(4).unsigned_abs(),
                age: seconds(row.get(5)),
            }))
        })
    }

    fn beat<'a>(&'a self, ticket: &'a Ticket, terms: &'a LeaseTerms) -> QueueFuture<'a, bool> {
        Box::pin(async move {
            let changed = self
                .count(
                    "UPDATE imgdelta_tasks
                 SET until = clock_timestamp() + $4 * interval '1 millisecond'
                 WHERE host = $1 AND key = $2 AND turn = $3 AND state = 'running' RETURNING 1",
                    &[&self.host, &ticket.key, &ticket.turn, &millis(terms.lease)],
                )
                .await?;
            Ok(changed > 0)
        })
    }

    fn finish<'a>(&'a self, ticket: &'a Ticket, end: &'a TaskEnd) -> QueueFuture<'a, bool> {
        Box::pin(async move {
            let changed = self
                .count(
                    "WITH finished AS (UPDATE imgdelta_tasks
                     SET state = 'done', outcome = $4, reason = '', changed = clock_timestamp()
                     WHERE host = $1 AND key = $2 AND turn = $3 AND state = 'running' RETURNING 1),
                 summed AS (INSERT INTO imgdelta_days AS known
                         (host, day, published, delta_bytes, saved_bytes)
                     SELECT $1::text, floor(extract(epoch FROM clock_timestamp()) / 86400)::int8, 1,
                         $6::int8, $7::int8
                     FROM finished WHERE $5
                     ON CONFLICT (host, day) DO UPDATE SET published = known.published + 1,
                         delta_bytes = known.delta_bytes + excluded.delta_bytes,
                         saved_bytes = known.saved_bytes + excluded.saved_bytes)
                 SELECT 1 FROM finished",
                    &[
                        &self.host,
                        &ticket.key,
                        &ticket.turn,
                        &end.outcome,
                        &end.is_published,
                        &stored(end.delta_bytes),
                        &stored(end.saved_bytes),
                    ],
                )
                .await?;
            Ok(changed > 0)
        })
    }

    fn fail<'a>(
        &'a self,
        ticket: &'a Ticket,
        failure: &'a TaskFailure,
        terms: &'a LeaseTerms,
    ) -> QueueFuture<'a, Option<TaskState>> {
        Box::pin(async move {
            let is_transient = failure.retry == Retry::Later;
            let tries =
                if is_transient { i32::try_from(terms.tries).unwrap_or(i32::MAX) } else { 0 };
            // The pause for each number of tries, so that the doubling has one definition.
            let pauses: Vec<f64> =
                (1..=terms.tries.min(MAX_PAUSES)).map(|tries| millis(terms.wait(tries))).collect();
            let rows = self
                .query(
                    "UPDATE imgdelta_tasks SET outcome = $4, reason = $5,
                            changed = clock_timestamp(),
                            state = CASE WHEN tries >= $6 THEN 'failed' ELSE 'waiting' END,
                            transient = $8 AND tries >= $6,
                            until = clock_timestamp() + interval '1 millisecond'
                                * CASE WHEN tries >= $6 THEN $9
                                  ELSE ($7::float8[])[least(tries, cardinality($7::float8[]))] END
                     WHERE host = $1 AND key = $2 AND turn = $3 AND state = 'running'
                     RETURNING state",
                    &[
                        &self.host,
                        &ticket.key,
                        &ticket.turn,
                        &failure.error,
                        &failure.reason,
                        &tries,
                        &pauses,
                        &is_transient,
                        &millis(REVIVAL),
                    ],
                )
                .await?;
            Ok(rows.first().map(|row| TaskState::of_word(row.get(0))))
        })
    }

    fn give_back<'a>(&'a self, ticket: &'a Ticket) -> QueueFuture<'a, bool> {
        Box::pin(async move {
            let changed = self
                .count(
                    "UPDATE imgdelta_tasks SET state = 'waiting', tries = tries - 1,
                        until = to_timestamp(0), changed = clock_timestamp()
                 WHERE host = $1 AND key = $2 AND turn = $3 AND state = 'running' RETURNING 1",
                    &[&self.host, &ticket.key, &ticket.turn],
                )
                .await?;
            Ok(changed > 0)
        })
    }

    fn next_due(&self) -> QueueFuture<'_, Option<Duration>> {
        Box::pin(async move {
            let rows = self.query(NEXT_DUE, &[&self.host]).await?;
            let due = rows.first().and_then(|row| row.get::<_, Option<f64>>(0));
            Ok(due.map(seconds))
        })
    }

    fn added(&self, at_most: Duration) -> QueueFuture<'_, ()> {
        Box::pin(async move {
            // Either is an end of the wait.
            let _ = tokio::time::timeout(at_most, self.connection.added.notified()).await;
            Ok(())
        })
    }

    fn outcomes<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, BTreeMap<String, String>> {
        Box::pin(async move {
            let mut outcomes = BTreeMap::new();
            for keys in keys.chunks(KEYS_AT_ONCE) {
                let rows = self.query(OUTCOMES, &[&self.host, &keys]).await?;
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
            let limit = i64::from(limit);
            let rows = self.query(DONE_IN, &[&self.host, &after, &end, &limit]).await?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        })
    }

    fn forget<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, u64> {
        Box::pin(async move {
            self.count(
                "DELETE FROM imgdelta_tasks
                 WHERE host = $1 AND key = ANY($2) AND state != 'running' RETURNING 1",
                &[&self.host, &keys],
            )
            .await
        })
    }

    fn offer<'a>(&'a self, place: &'a str, things: &'a [String]) -> QueueFuture<'a, ()> {
        Box::pin(async move {
            self.query(
                "INSERT INTO imgdelta_places (host, place, thing) SELECT $1, $2, unnest($3::text[])
                 ON CONFLICT (host, thing, place) DO NOTHING",
                &[&self.host, &place, &things],
            )
            .await?;
            Ok(())
        })
    }

    fn offers<'a>(&'a self, things: &'a [String], limit: u32) -> QueueFuture<'a, Vec<String>> {
        Box::pin(async move {
            let rows = self
                .query(
                    "SELECT place FROM imgdelta_places WHERE host = $1 AND thing = ANY($2)
                     GROUP BY place ORDER BY max(ordinal) DESC LIMIT $3",
                    &[&self.host, &things, &i64::from(limit)],
                )
                .await?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        })
    }

    fn retract<'a>(&'a self, place: &'a str) -> QueueFuture<'a, ()> {
        Box::pin(async move {
            self.query(
                "DELETE FROM imgdelta_places WHERE host = $1 AND place = $2",
                &[&self.host, &place],
            )
            .await?;
            Ok(())
        })
    }
}

/// `first` is the first task that is due and whose target no other process works on; `same` the first
/// one of the worker's last target in its band.
pub(super) const TAKE: &str = "WITH elsewhere AS (SELECT target FROM imgdelta_tasks
        WHERE host = $1 AND state = 'running' AND until > clock_timestamp() AND worker != $2),
    first AS (SELECT ordinal, urgency, priority FROM imgdelta_tasks
        WHERE host = $1 AND state IN ('waiting', 'running') AND until <= clock_timestamp()
            AND (target = '' OR target NOT IN (SELECT target FROM elsewhere))
            AND NOT EXISTS (SELECT 1 FROM imgdelta_pauses WHERE host = $1)
        ORDER BY urgency, priority, ordinal LIMIT 1 FOR UPDATE SKIP LOCKED),
    same AS (SELECT ordinal FROM imgdelta_tasks
        WHERE host = $1 AND state IN ('waiting', 'running') AND until <= clock_timestamp()
            AND $4 != '' AND target = $4 AND urgency = (SELECT urgency FROM first)
            AND priority / $5 = (SELECT priority / $5 FROM first)
        ORDER BY priority, ordinal LIMIT 1 FOR UPDATE SKIP LOCKED)
    UPDATE imgdelta_tasks SET state = 'running', tries = tries + 1, turn = turn + 1, worker = $2,
        until = clock_timestamp() + $3 * interval '1 millisecond', changed = clock_timestamp()
    WHERE ordinal = coalesce((SELECT ordinal FROM same), (SELECT ordinal FROM first))
    RETURNING key, turn, body, target, tries,
        extract(epoch FROM clock_timestamp() - added)::float8";
pub(super) const NEXT_DUE: &str =
    "SELECT extract(epoch FROM min(until) - clock_timestamp())::float8 FROM imgdelta_tasks
    WHERE host = $1 AND state IN ('waiting', 'running')";
pub(super) const OUTCOMES: &str = "SELECT key, outcome FROM imgdelta_tasks
    WHERE host = $1 AND key = ANY($2) AND state = 'done'";
/// In the order of bytes, as its index is; the server's language does not matter.
pub(super) const DONE_IN: &str = "SELECT key FROM imgdelta_tasks
    WHERE host = $1 AND key COLLATE \"C\" > $2 AND key COLLATE \"C\" < $3 AND state = 'done'
    ORDER BY key COLLATE \"C\" LIMIT $4";
/// After so many doublings every pause is the longest.
const MAX_PAUSES: u32 = 32;
