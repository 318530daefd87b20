//! A connection to a `PostgreSQL` server, made anew when it is lost.
//!
//! Speaks TLS as the configuration says, with rustls; a certificate that does not count is never
//! taken. Knows the tables, not what is asked of them.

use super::refusal::Refusal;
use crate::config::Server;
use imgdelta_core::{Error, Result};
use imgdelta_registry::{Secret, Trust};
use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_postgres::{Client, Config, Row, types::ToSql};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A connection, or what is needed for one.
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
    /// Connects, and makes the tables if they are not there.
    pub async fn open(
        server: &Server,
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
        // What a server asks for that is spoken to in TLS from the first byte.
        tls.alpn_protocols = vec![b"postgresql".to_vec()];
        let tls = MakeRustlsConnect::new(tls);
        let connection = Self { config, tls, place, client: Mutex::default() };
        connection.client().await?;
        Ok(connection)
    }

    async fn connect(&self) -> Result<Client> {
        let connected = self.config.connect(self.tls.clone()).await;
        let (client, connection) = connected.map_err(|error| self.wrong(error))?;
        // It ends with the client; what broke it, the next question says.
        tokio::spawn(async move { drop(connection.await) });
        client.batch_execute(SCHEMA).await.map_err(|error| self.wrong(error))?;
        let version = client.query_one("SELECT version FROM imgdelta_queue", &[]).await;
        let version: i32 = version.map_err(|error| self.wrong(error))?.get(0);
        if version > VERSION {
            let what = format!("of version {version}; this program knows {VERSION}");
            return Err(Error::bad_input(&self.place, what));
        }
        Ok(client)
    }

    fn wrong(&self, error: tokio_postgres::Error) -> Error {
        Error::io(&self.place)(std::io::Error::other(Refusal::from(error)))
    }

    /// Asks one statement, which is a transaction of its own. Who asks holds up nobody else, not
    /// even while waiting to be polled again.
    pub async fn ask(&self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let client = self.client().await?;
        let outcome = client.query(statement, values).await;
        // What the server answers itself, short of its end, leaves the connection as it is.
        let is_sound = match &outcome {
            Ok(_) => true,
            Err(error) => error.as_db_error().is_some_and(|error| error.severity() == "ERROR"),
        };
        if !is_sound {
            let mut slot = self.lock();
            // Others may have made a new one.
            if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, &client)) {
                *slot = None;
            }
        }
        outcome.map_err(|error| self.wrong(error))
    }

    /// Returns the connection, made anew if it is lost. Two who find that it is each make one; the
    /// first one's is dropped when it has answered.
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
/// The lock lets one of several workers that begin at once make the tables. An index that an older
/// program did not make is made to its tables, which it can still use: the version stays.
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
