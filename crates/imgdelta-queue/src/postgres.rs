//! A queue in a `PostgreSQL` server, shared by workers on many machines.
//!
//! Times are the server's, so that the clocks of machines do not matter. Rows that another worker
//! locks are skipped. The next statement after a lost connection opens a new one. Each change is one
//! statement, and so one transaction: none holds a lock while it waits for a machine.

mod admin;
mod connection;
mod error;
mod registry;
mod schema;
mod tasks;

pub use error::{advice, is_away};

use crate::PostgresOptions;
use connection::Connection;
use imgdelta_core::Result;
use imgdelta_credentials::Secret;
use std::{path::PathBuf, time::Duration};
use tokio_postgres::{Row, types::ToSql};

/// A queue in a server, for the tasks of one registry.
#[derive(Debug)]
pub struct PostgresQueue {
    connection: Connection,
    host: String,
}

impl PostgresQueue {
    /// Connects to a server for the tasks of the registry `host`, and creates the tables if they do
    /// not exist. The tasks of older tables without names of registries become those of `host`. With
    /// TLS, an authority of the machine or of these files must have signed the server's certificate.
    pub async fn connect(
        server: &PostgresOptions,
        authorities: &[PathBuf],
        password: Option<&Secret>,
        host: &str,
    ) -> Result<Self> {
        let connection = Connection::open(server, authorities, password, host).await?;
        Ok(Self { connection, host: host.to_owned() })
    }

    /// Runs one statement, which is a transaction of its own.
    pub(super) async fn query(
        &self,
        statement: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        self.connection.query(statement, values).await
    }

    /// Runs one statement that returns a row for each change, and returns their number.
    async fn count(&self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        Ok(self.query(statement, values).await?.len() as u64)
    }
}

/// Returns milliseconds, for multiplication by the server.
fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

/// Returns a span that the server computed in seconds; a negative one is none.
fn seconds(span: f64) -> Duration {
    Duration::try_from_secs_f64(span.max(0.0)).unwrap_or(Duration::MAX)
}

/// Returns a count as the server stores it.
fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Some hundred kilobytes per statement.
const KEYS_AT_ONCE: usize = 1000;

#[cfg(test)]
mod tests;
