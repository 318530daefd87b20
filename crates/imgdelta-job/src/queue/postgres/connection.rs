//! A connection to a `PostgreSQL` server, reopened when it is lost.
//!
//! Uses TLS through rustls as the configuration says, and never accepts an untrusted certificate
//! (test `only_a_trusted_certificate_is_accepted`). Creates the tables; knows no query.

use super::error::PostgresError;
use crate::config::PostgresOptions;
use imgdelta::{Error, Result};
use imgdelta_registry::{Secret, Trust};
use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_postgres::{Client, Config, Row, types::ToSql};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A connection, and the data to open another one.
pub(super) struct Connection {
    config: Config,
    tls: MakeRustlsConnect,
    place: String,
    client: Mutex<Option<Arc<Client>>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, and creates the tables if they do not exist.
    pub async fn open(
        server: &PostgresOptions,
        authorities: &[PathBuf],
        password: Option<&Secret>,
    ) -> Result<Self> {
        let mut config = server.options().clone();
        if let Some(password) = password {
            config.password(password.reveal());
        }
        config.connect_timeout(CONNECT_TIMEOUT);
        config.application_name("imgdelta");
        let database = config.get_dbname().or(config.get_user()).unwrap_or("postgres");
        let place = format!("queue in PostgreSQL, {database:?} at {server}");
        let trust = Trust { authorities: authorities.to_vec(), ..Trust::default() };
        let mut tls = trust.config(&server.to_string())?;
        // Servers require this protocol name if TLS starts with the first byte.
        tls.alpn_protocols = vec![b"postgresql".to_vec()];
        let tls = MakeRustlsConnect::new(tls);
        let connection = Self { config, tls, place, client: Mutex::default() };
        connection.client().await?;
        Ok(connection)
    }

    async fn connect(&self) -> Result<Client> {
        let connected = self.config.connect(self.tls.clone()).await;
        let (client, connection) = connected.map_err(|error| self.failed(error))?;
        // It ends with the client; the next statement reports a broken connection.
        tokio::spawn(async move { drop(connection.await) });
        client.batch_execute(SCHEMA).await.map_err(|error| self.failed(error))?;
        let version = client.query_one("SELECT version FROM imgdelta_queue", &[]).await;
        let version: i32 = version.map_err(|error| self.failed(error))?.get(0);
        if version > VERSION {
            let what = format!("of version {version}; this program knows {VERSION}");
            return Err(Error::bad_input(&self.place, what));
        }
        Ok(client)
    }

    fn failed(&self, error: tokio_postgres::Error) -> Error {
        Error::io(&self.place)(std::io::Error::other(PostgresError::from(error)))
    }

    /// Runs one statement, which is a transaction of its own. A caller that is not polled does not
    /// block others (test `an_unpolled_caller_blocks_no_other`).
    pub async fn query(&self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let client = self.client().await?;
        let outcome = client.query(statement, values).await;
        // An error of the statement itself leaves the connection usable.
        let is_usable = match &outcome {
            Ok(_) => true,
            Err(error) => error.as_db_error().is_some_and(|error| error.severity() == "ERROR"),
        };
        if !is_usable {
            let mut slot = self.lock();
            // Another caller may have opened a new one.
            if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, &client)) {
                *slot = None;
            }
        }
        outcome.map_err(|error| self.failed(error))
    }

    /// Returns the connection; opens a new one if it is lost. Two callers at once may open one
    /// each; the first of these ends with its statement.
    async fn client(&self) -> Result<Arc<Client>> {
        let current = self.lock().clone();
        match current {
            Some(client) if !client.is_closed() => Ok(client),
            _ => {
                let client = Arc::new(self.connect().await?);
                *self.lock() = Some(Arc::clone(&client));
                Ok(client)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Client>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const VERSION: i32 = 1;
/// The lock lets one of several starting workers create the tables. Older programs did not create
/// every index; adding one does not disturb them, so that the version stays.
const SCHEMA: &str = "
    BEGIN;
    SELECT pg_advisory_xact_lock(7266271440937);
    CREATE TABLE IF NOT EXISTS imgdelta_queue (version INTEGER NOT NULL);
    INSERT INTO imgdelta_queue SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM imgdelta_queue);
    CREATE TABLE IF NOT EXISTS imgdelta_works (
        ordinal BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting',
        outcome TEXT NOT NULL DEFAULT '',
        tries INTEGER NOT NULL DEFAULT 0,
        turn BIGINT NOT NULL DEFAULT 0,
        until TIMESTAMPTZ NOT NULL DEFAULT to_timestamp(0),
        worker TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX IF NOT EXISTS imgdelta_works_by_state ON imgdelta_works (state, ordinal);
    CREATE INDEX IF NOT EXISTS imgdelta_works_done
        ON imgdelta_works (key COLLATE \"C\") WHERE state = 'done';
    CREATE TABLE IF NOT EXISTS imgdelta_seen (
        repository TEXT NOT NULL,
        tag TEXT NOT NULL,
        digest TEXT NOT NULL,
        ordinal BIGINT GENERATED BY DEFAULT AS IDENTITY,
        PRIMARY KEY (repository, tag)
    );
    CREATE TABLE IF NOT EXISTS imgdelta_offers (
        ordinal BIGINT GENERATED ALWAYS AS IDENTITY,
        thing TEXT NOT NULL,
        place TEXT NOT NULL,
        PRIMARY KEY (thing, place)
    );
    CREATE INDEX IF NOT EXISTS imgdelta_offers_by_place ON imgdelta_offers (place);
    COMMIT;";
