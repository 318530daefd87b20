//! A registry's content in a file, as the last scan found it.

use super::{SqliteQueue, clock::millis};
use crate::{DocumentRecord, QueueFuture, RegistryRecords, ScanTurn, TagRecord};
use rusqlite::{OptionalExtension, params};
use std::{collections::HashSet, time::Duration};

impl RegistryRecords for SqliteQueue {
    fn note_tags<'a>(
        &'a self,
        repository: &'a str,
        tags: &'a [(String, String)],
    ) -> QueueFuture<'a, Vec<u64>> {
        let (repository, tags) = (repository.to_owned(), tags.to_vec());
        self.with(move |connection, access| {
            let mut insert = connection.prepare(
                "INSERT INTO tags (host, repository, tag, digest, ordinal, changed)
                 VALUES (?1, ?2, ?3, ?4, (SELECT COALESCE(MAX(ordinal), 0) + 1 FROM tags), ?5)
                 ON CONFLICT (host, repository, tag) DO UPDATE
                 SET digest = excluded.digest, ordinal = excluded.ordinal,
                     changed = excluded.changed
                 WHERE tags.digest != excluded.digest",
            )?;
            let mut ask = connection.prepare(
                "SELECT ordinal FROM tags WHERE host = ?1 AND repository = ?2 AND tag = ?3",
            )?;
            let (host, now) = (&access.host, access.clock.date_ms());
            let mut numbers = Vec::new();
            for (tag, digest) in &tags {
                insert.execute(params![host, repository, tag, digest, now])?;
                let number: i64 =
                    ask.query_row(params![host, repository, tag], |row| row.get(0))?;
                numbers.push(number.unsigned_abs());
            }
            Ok(numbers)
        })
    }

    fn tags<'a>(&'a self, repository: &'a str) -> QueueFuture<'a, Vec<TagRecord>> {
        let repository = repository.to_owned();
        self.with(move |connection, access| {
            let mut query = connection.prepare(
                "SELECT tag, digest, ordinal FROM tags WHERE host = ?1 AND repository = ?2
                 ORDER BY tag",
            )?;
            let tags = query.query_map(params![access.host, repository], |row| {
                let number = row.get::<_, i64>(2)?.unsigned_abs();
                Ok(TagRecord { tag: row.get(0)?, digest: row.get(1)?, number })
            })?;
            tags.collect()
        })
    }

    fn retain_tags<'a>(
        &'a self,
        repository: &'a str,
        present: &'a [String],
    ) -> QueueFuture<'a, ()> {
        let (repository, present) = (repository.to_owned(), present.to_vec());
        self.with(move |connection, access| {
            let present: HashSet<String> = present.into_iter().collect();
            let mut list =
                connection.prepare("SELECT tag FROM tags WHERE host = ?1 AND repository = ?2")?;
            let tags = list.query_map(params![access.host, repository], |row| row.get(0))?;
            let tags: Vec<String> = tags.collect::<rusqlite::Result<_>>()?;
            let mut delete = connection
                .prepare("DELETE FROM tags WHERE host = ?1 AND repository = ?2 AND tag = ?3")?;
            for tag in tags.iter().filter(|tag| !present.contains(*tag)) {
                delete.execute(params![access.host, repository, tag])?;
            }
            Ok(())
        })
    }

    fn changed_repositories(&self, span: Duration, limit: u32) -> QueueFuture<'_, Vec<String>> {
        self.with(move |connection, access| {
            let mut query = connection.prepare(
                "SELECT repository FROM tags AS moved WHERE host = ?1 AND changed > ?2
                     AND EXISTS (SELECT 1 FROM tags AS older WHERE older.host = moved.host
                         AND older.repository = moved.repository
                         AND older.changed < moved.changed)
                 GROUP BY repository ORDER BY max(changed) DESC, repository LIMIT ?3",
            )?;
            let since = access.clock.date_ms().saturating_sub(millis(span));
            let names =
                query.query_map(params![access.host, since.max(0), limit], |row| row.get(0))?;
            names.collect()
        })
    }

    fn documents<'a>(&'a self, digests: &'a [String]) -> QueueFuture<'a, Vec<DocumentRecord>> {
        let digests = digests.to_vec();
        self.with(move |connection, _| {
            let mut query = connection.prepare(
                "SELECT kind, platform, created, children FROM documents WHERE digest = ?1",
            )?;
            let mut documents = Vec::new();
            for digest in digests {
                let found = query.query_row([&digest], |row| {
                    let children = row.get_ref(3)?.as_str()?.split_whitespace();
                    Ok(DocumentRecord {
                        digest: digest.clone(),
                        kind: row.get(0)?,
                        platform: row.get(1)?,
                        created: row.get(2)?,
                        children: children.map(str::to_owned).collect(),
                    })
                });
                documents.extend(found.optional()?);
            }
            Ok(documents)
        })
    }

    fn add_documents<'a>(&'a self, documents: &'a [DocumentRecord]) -> QueueFuture<'a, ()> {
        let documents = documents.to_vec();
        self.with(move |connection, _| {
            let mut insert = connection.prepare(
                "INSERT INTO documents VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (digest) DO NOTHING",
            )?;
            for document in documents {
                let DocumentRecord { digest, kind, platform, created, children } = document;
                insert.execute(params![digest, kind, platform, created, children.join(" ")])?;
            }
            Ok(())
        })
    }

    fn hold_scan<'a>(
        &'a self,
        holder: &'a str,
        lease: Duration,
        interval: Duration,
    ) -> QueueFuture<'a, Option<ScanTurn>> {
        let holder = holder.to_owned();
        self.with(move |connection, access| {
            let now = access.clock.steady_ms();
            // A lease that ended leaves its cursor; `begun` is zero between complete scans.
            let cursor = connection.query_row(
                "INSERT INTO scans (host, holder, until, begun) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (host) DO UPDATE SET holder = excluded.holder, until = excluded.until,
                     begun = CASE WHEN begun = 0 THEN excluded.begun ELSE begun END
                 WHERE (holder = excluded.holder OR until <= ?4)
                     AND (begun > 0 OR last_begun IS NULL OR last_begun + ?5 <= ?4)
                 RETURNING cursor",
                params![access.host, holder, access.clock.after(lease), now, millis(interval)],
                |row| row.get(0),
            );
            Ok(cursor.optional()?.map(|cursor| ScanTurn { cursor }))
        })
    }

    fn save_scan<'a>(&'a self, holder: &'a str, cursor: &'a str) -> QueueFuture<'a, bool> {
        let (holder, cursor) = (holder.to_owned(), cursor.to_owned());
        self.with(move |connection, access| {
            let changed = connection.execute(
                "UPDATE scans SET cursor = ?3 WHERE host = ?1 AND holder = ?2 AND until > 0",
                params![access.host, holder, cursor],
            )?;
            Ok(changed > 0)
        })
    }

    fn end_scan<'a>(&'a self, holder: &'a str, is_complete: bool) -> QueueFuture<'a, ()> {
        let holder = holder.to_owned();
        self.with(move |connection, access| {
            let end = if is_complete {
                "UPDATE scans SET until = 0, last_begun = begun, begun = 0, cursor = ''
                 WHERE host = ?1 AND holder = ?2"
            } else {
                "UPDATE scans SET until = 0 WHERE host = ?1 AND holder = ?2"
            };
            connection.execute(end, params![access.host, holder])?;
            Ok(())
        })
    }

    fn set_feature<'a>(&'a self, name: &'a str, value: bool) -> QueueFuture<'a, ()> {
        let name = name.to_owned();
        self.with(move |connection, access| {
            connection.execute(
                "INSERT INTO features VALUES (?1, ?2, ?3, ?4) ON CONFLICT (host, name) DO UPDATE
                 SET value = excluded.value, noted = excluded.noted",
                params![access.host, name, value, access.clock.date_ms()],
            )?;
            Ok(())
        })
    }

    fn feature<'a>(&'a self, name: &'a str, span: Duration) -> QueueFuture<'a, Option<bool>> {
        let name = name.to_owned();
        self.with(move |connection, access| {
            let now = access.clock.date_ms();
            let value = connection.query_row(
                "SELECT value FROM features WHERE host = ?1 AND name = ?2
                     AND noted BETWEEN ?3 AND ?4",
                params![access.host, name, now.saturating_sub(millis(span)), now],
                |row| row.get(0),
            );
            value.optional()
        })
    }
    fn claim<'a>(&'a self, name: &'a str, span: Duration) -> QueueFuture<'a, bool> {
        let name = name.to_owned();
        self.with(move |connection, access| {
            let now = access.clock.date_ms();
            // A note from the future, by a wrong date, does not count.
            let changed = connection.execute(
                "INSERT INTO features VALUES (?1, ?2, 1, ?4) ON CONFLICT (host, name) DO UPDATE
                 SET noted = excluded.noted WHERE features.noted NOT BETWEEN ?3 + 1 AND ?4",
                params![access.host, name, now.saturating_sub(millis(span)), now],
            )?;
            Ok(changed > 0)
        })
    }
}
