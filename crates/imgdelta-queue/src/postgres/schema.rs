//! The tables of a queue in a server, and the migration of older ones.
//!
//! Runs no query of a queue.

use tokio_postgres::{Client, Error};

/// Creates or migrates the tables, and returns the version that they had. Newer tables stay
/// unchanged.
pub(super) async fn prepare(client: &mut Client, host: &str) -> Result<i32, Error> {
    if let Some(version @ VERSION..) = version(client).await? {
        return Ok(version);
    }
    let transaction = client.transaction().await?;
    // One of several starting workers creates the tables; the others wait here.
    transaction.batch_execute("SELECT pg_advisory_xact_lock(7266271440937)").await?;
    let found = version(transaction.client()).await?;
    if let Some(version @ VERSION..) = found {
        return Ok(version);
    }
    transaction.batch_execute(SCHEMA).await?;
    if found.is_some() {
        for statement in MIGRATION {
            transaction.execute(*statement, &[&host]).await?;
        }
        transaction
            .batch_execute(
                "DROP TABLE imgdelta_works; DROP TABLE imgdelta_seen; DROP TABLE imgdelta_offers;
                 SELECT setval(pg_get_serial_sequence('imgdelta_tasks', 'ordinal'),
                     coalesce((SELECT max(ordinal) FROM imgdelta_tasks), 0) + 1);
                 SELECT setval(pg_get_serial_sequence('imgdelta_tags', 'ordinal'),
                     coalesce((SELECT max(ordinal) FROM imgdelta_tags), 0) + 1);
                 SELECT setval(pg_get_serial_sequence('imgdelta_places', 'ordinal'),
                     coalesce((SELECT max(ordinal) FROM imgdelta_places), 0) + 1);
                 UPDATE imgdelta_queue SET version = 2",
            )
            .await?;
    } else {
        transaction.batch_execute("INSERT INTO imgdelta_queue VALUES (2)").await?;
    }
    transaction.commit().await?;
    Ok(found.unwrap_or_default())
}

async fn version(client: &Client) -> Result<Option<i32>, Error> {
    // A name that was not found before is not looked up again within a transaction; rows are.
    let table = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class
        WHERE relname = 'imgdelta_queue' AND pg_table_is_visible(oid))";
    let table = client.query_one(table, &[]).await?;
    if !table.get::<_, bool>(0) {
        return Ok(None);
    }
    let version = client.query_opt("SELECT version FROM imgdelta_queue", &[]).await?;
    Ok(version.map(|row| row.get(0)))
}

pub(super) const VERSION: i32 = 2;
/// The content of version 1, which had no registry, becomes that of one. Leases end, since only
/// programs of version 1 have them.
const MIGRATION: &[&str] = &[
    "INSERT INTO imgdelta_tasks
         (ordinal, host, key, repository, target, body, state, outcome, tries, turn, worker)
     OVERRIDING SYSTEM VALUE
     SELECT ordinal, $1, key, split_part(key, ' ', 1), split_part(key, ' ', 3), body, state, outcome,
         tries, turn, worker
     FROM imgdelta_works ORDER BY ordinal",
    "INSERT INTO imgdelta_tags (host, repository, tag, digest, ordinal, changed)
     SELECT $1, repository, tag, digest, ordinal, to_timestamp(0) FROM imgdelta_seen",
    "INSERT INTO imgdelta_places (ordinal, host, thing, place) OVERRIDING SYSTEM VALUE
     SELECT ordinal, $1, thing, place FROM imgdelta_offers",
];
/// `until` is the end of a running task's lease, the earliest start of a waiting task, or the time at
/// which a failed task waits again. Triggers count the tasks, so that no counting reads them, and wake
/// idle workers.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS imgdelta_queue (version INTEGER NOT NULL);
    CREATE TABLE imgdelta_tasks (
        ordinal BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        host TEXT NOT NULL,
        key TEXT NOT NULL,
        repository TEXT NOT NULL,
        target TEXT NOT NULL,
        body TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting',
        urgency SMALLINT NOT NULL DEFAULT 2,
        priority BIGINT NOT NULL DEFAULT 0,
        outcome TEXT NOT NULL DEFAULT '',
        reason TEXT NOT NULL DEFAULT '',
        transient BOOLEAN NOT NULL DEFAULT false,
        tries INTEGER NOT NULL DEFAULT 0,
        turn BIGINT NOT NULL DEFAULT 0,
        until TIMESTAMPTZ NOT NULL DEFAULT to_timestamp(0),
        worker TEXT NOT NULL DEFAULT '',
        added TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
        changed TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
        UNIQUE (host, key)
    );
    CREATE INDEX imgdelta_tasks_in_order ON imgdelta_tasks (host, urgency, priority, ordinal)
        WHERE state IN ('waiting', 'running');
    CREATE INDEX imgdelta_tasks_by_target ON imgdelta_tasks (host, target)
        WHERE state IN ('waiting', 'running');
    CREATE INDEX imgdelta_tasks_running ON imgdelta_tasks (host, until) WHERE state = 'running';
    CREATE INDEX imgdelta_tasks_due ON imgdelta_tasks (host, until)
        WHERE state IN ('waiting', 'running');
    CREATE INDEX imgdelta_tasks_transient ON imgdelta_tasks (host, until)
        WHERE state = 'failed' AND transient;
    CREATE INDEX imgdelta_tasks_waiting ON imgdelta_tasks (host, added) WHERE state = 'waiting';
    CREATE INDEX imgdelta_tasks_by_state ON imgdelta_tasks (host, state, ordinal);
    CREATE INDEX imgdelta_tasks_by_repository ON imgdelta_tasks (host, repository, ordinal);
    CREATE INDEX imgdelta_tasks_done ON imgdelta_tasks (host, key COLLATE \"C\")
        WHERE state = 'done';
    CREATE TABLE imgdelta_counts (
        host TEXT PRIMARY KEY,
        waiting BIGINT NOT NULL,
        running BIGINT NOT NULL,
        done BIGINT NOT NULL,
        failed BIGINT NOT NULL
    );
    CREATE FUNCTION imgdelta_tasks_come() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO imgdelta_counts AS c (host, waiting, running, done, failed)
        SELECT host, count(*) FILTER (WHERE state = 'waiting'),
            count(*) FILTER (WHERE state = 'running'), count(*) FILTER (WHERE state = 'done'),
            count(*) FILTER (WHERE state = 'failed')
        FROM come GROUP BY host ORDER BY host
        ON CONFLICT (host) DO UPDATE SET waiting = c.waiting + excluded.waiting,
            running = c.running + excluded.running, done = c.done + excluded.done,
            failed = c.failed + excluded.failed;
        PERFORM pg_notify('imgdelta_tasks', host) FROM come WHERE state = 'waiting' GROUP BY host;
        RETURN NULL;
    END $$;
    CREATE FUNCTION imgdelta_tasks_go() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE imgdelta_counts AS c SET waiting = c.waiting - g.waiting,
            running = c.running - g.running, done = c.done - g.done, failed = c.failed - g.failed
        FROM (SELECT host, count(*) FILTER (WHERE state = 'waiting') AS waiting,
                count(*) FILTER (WHERE state = 'running') AS running,
                count(*) FILTER (WHERE state = 'done') AS done,
                count(*) FILTER (WHERE state = 'failed') AS failed
            FROM gone GROUP BY host) AS g
        WHERE c.host = g.host;
        RETURN NULL;
    END $$;
    CREATE FUNCTION imgdelta_tasks_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE imgdelta_counts AS c SET waiting = c.waiting + m.waiting,
            running = c.running + m.running, done = c.done + m.done, failed = c.failed + m.failed
        FROM (SELECT host, coalesce(sum(n) FILTER (WHERE state = 'waiting'), 0) AS waiting,
                coalesce(sum(n) FILTER (WHERE state = 'running'), 0) AS running,
                coalesce(sum(n) FILTER (WHERE state = 'done'), 0) AS done,
                coalesce(sum(n) FILTER (WHERE state = 'failed'), 0) AS failed
            FROM (SELECT host, state, 1 AS n FROM come
                UNION ALL SELECT host, state, -1 FROM gone) AS moved
            GROUP BY host) AS m
        WHERE c.host = m.host AND (m.waiting != 0 OR m.running != 0 OR m.done != 0 OR m.failed != 0);
        PERFORM pg_notify('imgdelta_tasks', come.host) FROM come JOIN gone USING (ordinal)
        WHERE come.state = 'waiting' AND gone.state != 'waiting' GROUP BY come.host;
        RETURN NULL;
    END $$;
    CREATE TRIGGER imgdelta_tasks_come AFTER INSERT ON imgdelta_tasks
        REFERENCING NEW TABLE AS come
        FOR EACH STATEMENT EXECUTE FUNCTION imgdelta_tasks_come();
    CREATE TRIGGER imgdelta_tasks_go AFTER DELETE ON imgdelta_tasks
        REFERENCING OLD TABLE AS gone
        FOR EACH STATEMENT EXECUTE FUNCTION imgdelta_tasks_go();
    CREATE TRIGGER imgdelta_tasks_change AFTER UPDATE ON imgdelta_tasks
        REFERENCING NEW TABLE AS come OLD TABLE AS gone
        FOR EACH STATEMENT EXECUTE FUNCTION imgdelta_tasks_change();
    CREATE TABLE imgdelta_pauses (
        host TEXT PRIMARY KEY,
        who TEXT NOT NULL,
        reason TEXT NOT NULL,
        since TIMESTAMPTZ NOT NULL
    );
    CREATE TABLE imgdelta_days (
        host TEXT NOT NULL,
        day BIGINT NOT NULL,
        published BIGINT NOT NULL,
        delta_bytes BIGINT NOT NULL,
        saved_bytes BIGINT NOT NULL,
        PRIMARY KEY (host, day)
    );
    CREATE TABLE imgdelta_pairs (
        host TEXT NOT NULL,
        repository TEXT NOT NULL,
        base TEXT NOT NULL,
        target TEXT NOT NULL,
        platform TEXT NOT NULL,
        requests BIGINT NOT NULL,
        last TIMESTAMPTZ NOT NULL,
        PRIMARY KEY (host, repository, base, target)
    );
    CREATE INDEX imgdelta_pairs_by_time ON imgdelta_pairs (host, repository, last);
    CREATE TABLE imgdelta_tags (
        host TEXT NOT NULL,
        repository TEXT NOT NULL,
        tag TEXT NOT NULL,
        digest TEXT NOT NULL,
        ordinal BIGINT GENERATED BY DEFAULT AS IDENTITY,
        changed TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (host, repository, tag)
    );
    CREATE INDEX imgdelta_tags_by_change ON imgdelta_tags (host, changed);
    CREATE TABLE imgdelta_documents (
        digest TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        platform TEXT NOT NULL,
        created BIGINT,
        children TEXT NOT NULL
    );
    CREATE TABLE imgdelta_places (
        ordinal BIGINT GENERATED ALWAYS AS IDENTITY,
        host TEXT NOT NULL,
        thing TEXT NOT NULL,
        place TEXT NOT NULL,
        PRIMARY KEY (host, thing, place)
    );
    CREATE INDEX imgdelta_places_by_name ON imgdelta_places (host, place);
    CREATE TABLE imgdelta_scans (
        host TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        until TIMESTAMPTZ NOT NULL,
        begun TIMESTAMPTZ,
        last_begun TIMESTAMPTZ,
        cursor TEXT NOT NULL DEFAULT ''
    );
    CREATE TABLE imgdelta_features (
        host TEXT NOT NULL,
        name TEXT NOT NULL,
        value BOOLEAN NOT NULL,
        noted TIMESTAMPTZ NOT NULL,
        PRIMARY KEY (host, name)
    );";
