//! A registry's content in a server, as the last scan found it.

use super::{KEYS_AT_ONCE, PostgresQueue, millis};
use crate::{DocumentRecord, QueueFuture, RegistryRecords, ScanTurn, TagRecord};
use std::time::Duration;
use tokio_postgres::Row;

impl RegistryRecords for PostgresQueue {
    fn note_tags<'a>(
        &'a self,
        repository: &'a str,
        tags: &'a [(String, String)],
    ) -> QueueFuture<'a, Vec<u64>> {
        Box::pin(async move {
            let names: Vec<&str> = tags.iter().map(|(tag, _)| tag.as_str()).collect();
            let digests: Vec<&str> = tags.iter().map(|(_, digest)| digest.as_str()).collect();
            self.query(
                "INSERT INTO imgdelta_tags AS known (host, repository, tag, digest, changed)
                 SELECT $1::text, $2::text, tag, digest, now()
                 FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS added (tag, digest, place)
                 WHERE NOT EXISTS (SELECT 1 FROM imgdelta_tags AS same
                     WHERE same.host = $1 AND same.repository = $2 AND same.tag = added.tag
                         AND same.digest = added.digest)
                 ORDER BY place
                 ON CONFLICT (host, repository, tag) DO UPDATE
                 SET digest = excluded.digest, ordinal = excluded.ordinal,
                     changed = excluded.changed
                 WHERE known.digest != excluded.digest",
                &[&self.host, &repository, &names, &digests],
            )
            .await?;
            let rows = self
                .query(
                    "SELECT ordinal FROM unnest($3::text[]) WITH ORDINALITY AS wanted (tag, place)
                     JOIN imgdelta_tags USING (tag)
                     WHERE host = $1 AND repository = $2 ORDER BY place",
                    &[&self.host, &repository, &names],
                )
                .await?;
            Ok(rows.iter().map(|row| row.get::<_, i64>(0).unsigned_abs()).collect())
        })
    }

    fn tags<'a>(&'a self, repository: &'a str) -> QueueFuture<'a, Vec<TagRecord>> {
        Box::pin(async move {
            let rows = self
                .query(
                    "SELECT tag, digest, ordinal FROM imgdelta_tags
                     WHERE host = $1 AND repository = $2 ORDER BY tag COLLATE \"C\"",
                    &[&self.host, &repository],
                )
                .await?;
            let record = |row: &Row| TagRecord {
                tag: row.get(0),
                digest: row.get(1),
                number: row.get::<_, i64>(2).unsigned_abs(),
            };
            Ok(rows.iter().map(record).collect())
        })
    }

    fn retain_tags<'a>(
        &'a self,
        repository: &'a str,
        present: &'a [String],
    ) -> QueueFuture<'a, ()> {
        Box::pin(async move {
            self.query(
                "DELETE FROM imgdelta_tags
                 WHERE host = $1 AND repository = $2 AND tag != ALL($3)",
                &[&self.host, &repository, &present],
            )
            .await?;
            Ok(())
        })
    }

    fn changed_repositories(&self, span: Duration, limit: u32) -> QueueFuture<'_, Vec<String>> {
        Box::pin(async move {
            let rows = self
                .query(
                    "SELECT repository FROM imgdelta_tags AS moved
                     WHERE host = $1 AND changed > now() - $2 * interval '1 millisecond'
                         AND EXISTS (SELECT 1 FROM imgdelta_tags AS older
                             WHERE older.host = moved.host
                                 AND older.repository = moved.repository
                                 AND older.changed < moved.changed)
                     GROUP BY repository ORDER BY max(changed) DESC, repository LIMIT $3",
                    &[&self.host, &millis(span), &i64::from(limit)],
                )
                .await?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        })
    }

    fn documents<'a>(&'a self, digests: &'a [String]) -> QueueFuture<'a, Vec<DocumentRecord>> {
        Box::pin(async move {
            let mut documents = Vec::new();
            for digests in digests.chunks(KEYS_AT_ONCE) {
                let rows = self
                    .query(
                        "SELECT digest, kind, platform, created, children
                         FROM imgdelta_documents WHERE digest = ANY($1)",
                        &[&digests],
                    )
                    .await?;
                documents.extend(rows.iter().map(|row| {
                    let children: &str = row.get(4);
                    DocumentRecord {
                        digest: row.get(0),
                        kind: row.get(1),
                        platform: row.get(2),
                        created: row.get(3),
                        children: children.split_whitespace().map(str::to_owned).collect(),
                    }
                }));
            }
            Ok(documents)
        })
    }

    fn add_documents<'a>(&'a self, documents: &'a [DocumentRecord]) -> QueueFuture<'a, ()> {
        Box::pin(async move {
            let texts =
                |of: fn(&DocumentRecord) -> &str| documents.iter().map(of).collect::<Vec<&str>>();
            let created: Vec<Option<i64>> =
                documents.iter().map(|document| document.created).collect();
            let children: Vec<String> =
                documents.iter().map(|document| document.children.join(" ")).collect();
            self.query(
                "INSERT INTO imgdelta_documents (digest, kind, platform, created, children)
                 SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::text[])
                 ON CONFLICT (digest) DO NOTHING",
                &[
                    &texts(|document| &document.digest),
                    &texts(|document| &document.kind),
                    &texts(|document| &document.platform),
                    &created,
                    &children,
                ],
            )
            .await?;
            Ok(())
        })
    }

    fn hold_scan<'a>(
        &'a self,
        holder: &'a str,
        lease: Duration,
        interval: Duration,
    ) -> QueueFuture<'a, Option<ScanTurn>> {
        Box::pin(async move {
            // A lease that ended leaves its cursor; `begun` is null between complete scans.
            let rows = self
                .query(
                    "INSERT INTO imgdelta_scans AS known (host, holder, until, begun)
                     VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond',
                         clock_timestamp())
                     ON CONFLICT (host) DO UPDATE
                     SET holder = excluded.holder, until = excluded.until,
                         begun = coalesce(known.begun, excluded.begun)
                     WHERE (known.holder = excluded.holder OR known.until <= clock_timestamp())
                         AND (known.begun IS NOT NULL OR known.last_begun IS NULL
                             OR known.last_begun + $4 * interval '1 millisecond'
                                 <= clock_timestamp())
                     RETURNING cursor",
                    &[&self.host, &holder, &millis(lease), &millis(interval)],
                )
                .await?;
            Ok(rows.first().map(|row| ScanTurn { cursor: row.get(0) }))
        })
    }

    fn save_scan<'a>(&'a self, holder: &'a str, cursor: &'a str) -> QueueFuture<'a, bool> {
        Box::pin(async move {
            let changed = self
                .count(
                    "UPDATE imgdelta_scans SET cursor = $3
                 WHERE host = $1 AND holder = $2 AND until > to_timestamp(0) RETURNING 1",
                    &[&self.host, &holder, &cursor],
                )
                .await?;
            Ok(changed > 0)
        })
    }

    fn end_scan<'a>(&'a self, holder: &'a str, is_complete: bool) -> QueueFuture<'a, ()> {
        Box::pin(async move {
            let end = if is_complete {
                "UPDATE imgdelta_scans
                 SET until = to_timestamp(0), last_begun = begun, begun = NULL, cursor = ''
                 WHERE host = $1 AND holder = $2"
            } else {
                "UPDATE imgdelta_scans SET until = to_timestamp(0) WHERE host = $1 AND holder = $2"
            };
            self.query(end, &[&self.host, &holder]).await?;
            Ok(())
        })
    }

    fn set_feature<'a>(&'a self, name: &'a str, value: bool) -> QueueFuture<'a, ()> {
        Box::pin(async move {
            self.query(
                "INSERT INTO imgdelta_features VALUES ($1, $2, $3, clock_timestamp())
                 ON CONFLICT (host, name) DO UPDATE
                 SET value = excluded.value, noted = excluded.noted",
                &[&self.host, &name, &value],
            )
            .await?;
            Ok(())
        })
    }

    fn feature<'a>(&'a self, name: &'a str, span: Duration) -> QueueFuture<'a, Option<bool>> {
        Box::pin(async move {
            let rows = self
                .query(
                    "SELECT value FROM imgdelta_features WHERE host = $1 AND name = $2
                         AND noted > clock_timestamp() - $3 * interval '1 millisecond'",
                    &[&self.host, &name, &millis(span)],
                )
                .await?;
            Ok(rows.first().map(|row| row.get(0)))
        })
    }
    fn claim<'a>(&'a self, name: &'a str, span: Duration) -> QueueFuture<'a, bool> {
        Box::pin(async move {
            let changed = self
                .count(
                    "INSERT INTO imgdelta_features AS known
                     VALUES ($1, $2, true, clock_timestamp())
                     ON CONFLICT (host, name) DO UPDATE SET noted = excluded.noted
                     WHERE known.noted <= clock_timestamp() - $3 * interval '1 millisecond'
                     RETURNING 1",
                    &[&self.host, &name, &millis(span)],
                )
                .await?;
            Ok(changed > 0)
        })
    }
}
