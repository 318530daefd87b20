//! The tables of a queue in a file, and the migration of older files.
//!
//! Runs no query of a queue.

use super::clock::QueueClock;
use crate::TaskState;
use rusqlite::{Connection, OptionalExtension, params};

/// Creates or migrates the tables, and returns the version that the file had. A newer file stays
/// unchanged.
pub(super) fn prepare(
    connection: &Connection,
    host: &str,
    clock: &QueueClock,
) -> rusqlite::Result<i64> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > VERSION {
        return Ok(version);
    }
    if version < VERSION {
        connection.execute_batch(SCHEMA)?;
    }
    let mut count =
        connection.prepare("INSERT OR IGNORE INTO counts (host, state) VALUES (?1, ?2)")?;
    for state in TaskState::ALL {
        count.execute(params![host, state.word()])?;
    }
    if version == 1 {
        migrate(connection, host, clock)?;
    }
    forget_earlier_starts(connection, clock)?;
    Ok(version)
}

/// Moves the content of the tables of version 1, which had no registry: it becomes that of `host`.
/// Leases end, since only programs of version 1 have them.
fn migrate(connection: &Connection, host: &str, clock: &QueueClock) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO tasks (ordinal, host, key, repository, target, body, state, outcome, tries, turn,
             worker, added, changed)
         SELECT ordinal, ?1, key, substr(key, 1, max(instr(key, ' ') - 1, 0)),
             CASE WHEN key GLOB '* * *' THEN
                 substr(key, instr(key, ' ') + 1 + instr(substr(key, instr(key, ' ') + 1), ' '))
             ELSE '' END,
             body, state, outcome, tries, turn, worker, ?2, ?2
         FROM works ORDER BY ordinal",
        params![host, clock.date_ms()],
    )?;
    connection.execute(
        "INSERT INTO tags (host, repository, tag, digest, ordinal, changed)
         SELECT ?1, repository, tag, digest, ordinal, 0 FROM seen",
        [host],
    )?;
    connection.execute(
        "INSERT INTO places (ordinal, host, thing, place)
         SELECT ordinal, ?1, thing, place FROM offers",
        [host],
    )?;
    connection.execute_batch("DROP TABLE works; DROP TABLE seen; DROP TABLE offers;")
}

/// Ends leases and waits that were counted from an earlier start of this machine.
fn forget_earlier_starts(connection: &Connection, clock: &QueueClock) -> rusqlite::Result<()> {
    let start = clock.start();
    let known: Option<String> =
        connection.query_row("SELECT name FROM starts", [], |row| row.get(0)).optional()?;
    if known.as_deref() == Some(start.as_str()) {
        return Ok(());
    }
    connection.execute("DELETE FROM starts", [])?;
    connection.execute("INSERT INTO starts (name) VALUES (?1)", [start])?;
    connection.execute("UPDATE tasks SET until = 0 WHERE until > 0 AND state != 'done'", [])?;
    connection.execute("UPDATE scans SET until = 0, begun = 0, last_begun = NULL", [])?;
    Ok(())
}

pub(super) const VERSION: i64 = 2;
/// `until` is the end of a running task's lease, the earliest start of a waiting task, or the time at
/// which a failed task waits again; in milliseconds since the machine's start. Dates are in
/// milliseconds since 1970. Triggers count the tasks, so that no counting reads them.
const SCHEMA: &str = "
    CREATE TABLE starts (name TEXT NOT NULL) STRICT;
    CREATE TABLE tasks (
        ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
        host TEXT NOT NULL,
        key TEXT NOT NULL,
        repository TEXT NOT NULL,
        target TEXT NOT NULL,
        body TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting',
        urgency INTEGER NOT NULL DEFAULT 2,
        priority INTEGER NOT NULL DEFAULT 0,
        outcome TEXT NOT NULL DEFAULT '',
        reason TEXT NOT NULL DEFAULT '',
        transient INTEGER NOT NULL DEFAULT 0,
        tries INTEGER NOT NULL DEFAULT 0,
        turn INTEGER NOT NULL DEFAULT 0,
        until INTEGER NOT NULL DEFAULT 0,
        worker TEXT NOT NULL DEFAULT '',
        added INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        UNIQUE (host, key)
    ) STRICT;
    CREATE INDEX tasks_in_order ON tasks (host, urgency, priority, ordinal)
        WHERE state IN ('waiting', 'running');
    CREATE INDEX tasks_by_target ON tasks (host, target) WHERE state IN ('waiting', 'running');
    CREATE INDEX tasks_due ON tasks (host, until) WHERE state IN ('waiting', 'running');
    CREATE INDEX tasks_transient ON tasks (host, until) WHERE state = 'failed' AND transient = 1;
    CREATE INDEX tasks_waiting ON tasks (host, added) WHERE state = 'waiting';
    CREATE INDEX tasks_by_state ON tasks (host, state, ordinal);
    CREATE INDEX tasks_by_repository ON tasks (host, repository, ordinal);
    CREATE TABLE counts (
        host TEXT NOT NULL,
        state TEXT NOT NULL,
        tasks INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (host, state)
    ) STRICT;
    CREATE TRIGGER tasks_come AFTER INSERT ON tasks BEGIN
        UPDATE counts SET tasks = tasks + 1 WHERE host = new.host AND state = new.state;
    END;
    CREATE TRIGGER tasks_go AFTER DELETE ON tasks BEGIN
        UPDATE counts SET tasks = tasks - 1 WHERE host = old.host AND state = old.state;
    END;
    CREATE TRIGGER tasks_change AFTER UPDATE OF state ON tasks WHEN old.state != new.state BEGIN
        UPDATE counts SET tasks = tasks - 1 WHERE host = old.host AND state = old.state;
        UPDATE counts SET tasks = tasks + 1 WHERE host = new.host AND state = new.state;
    END;
    CREATE TABLE pauses (
        host TEXT PRIMARY KEY,
        who TEXT NOT NULL,
        reason TEXT NOT NULL,
        since INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE days (
        host TEXT NOT NULL,
        day INTEGER NOT NULL,
        published INTEGER NOT NULL,
        delta_bytes INTEGER NOT NULL,
        saved_bytes INTEGER NOT NULL,
        PRIMARY KEY (host, day)
    ) STRICT;
    CREATE TABLE pairs (
        host TEXT NOT NULL,
        repository TEXT NOT NULL,
        base TEXT NOT NULL,
        target TEXT NOT NULL,
        platform TEXT NOT NULL,
        requests INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (host, repository, base, target)
    ) STRICT;
    CREATE INDEX pairs_by_time ON pairs (host, repository, last);
    CREATE TABLE tags (
        host TEXT NOT NULL,
        repository TEXT NOT NULL,
        tag TEXT NOT NULL,
        digest TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        PRIMARY KEY (host, repository, tag)
    ) STRICT;
    CREATE INDEX tags_by_ordinal ON tags (ordinal);
    CREATE INDEX tags_by_change ON tags (host, changed);
    CREATE TABLE documents (
        digest TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        platform TEXT NOT NULL,
        created INTEGER,
        children TEXT NOT NULL
    ) STRICT;
    CREATE TABLE places (
        ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
        host TEXT NOT NULL,
        thing TEXT NOT NULL,
        place TEXT NOT NULL,
        UNIQUE (host, thing, place)
    ) STRICT;
    CREATE INDEX places_by_name ON places (host, place);
    CREATE TABLE scans (
        host TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        until INTEGER NOT NULL,
        begun INTEGER NOT NULL,
        last_begun INTEGER,
        cursor TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE features (
        host TEXT NOT NULL,
        name TEXT NOT NULL,
        value INTEGER NOT NULL,
        noted INTEGER NOT NULL,
        PRIMARY KEY (host, name)
    ) STRICT;
    PRAGMA user_version = 2;";
