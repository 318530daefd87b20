//! A connection to a `PostgreSQL` server, reopened when it is lost.
//!
//! Uses TLS through rustls as the configuration says, and never accepts an untrusted certificate
//! (test `only_a_trusted_certificate_is_accepted`). Every wait has an end: a server that vanishes
//! without an answer costs a caller half a minute, or less with short leases. Knows no query.

use super::{error::PostgresError, schema};
use crate::PostgresOptions;
use imgdelta_core::{Error, Result};
use imgdelta_credentials::{Secret, Trust};
use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client, Config, Row, error::SqlState, types::ToSql};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A connection, and the data to open another one.
pub(super) struct Connection {
    config: Config,
    tls: MakeRustlsConnect,
    /// Time after which the server counts as away.
    answer_timeout: Duration,
    place: String,
    host: String,
    client: Mutex<Option<Arc<Client>>>,
    /// Wakes those who wait for tasks of this registry.
    pub added: Arc<Notify>,
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
        host: &str,
    ) -> Result<Self> {
        let mut config = server.options().clone();
        if let Some(password) = password {
            config.password(password.reveal());
        }
        let answer_timeout = server.longest_answer();
        config.connect_timeout(CONNECT_TIMEOUT.min(answer_timeout));
        config.keepalives_idle(answer_timeout);
        config.tcp_user_timeout(answer_timeout);
        config.application_name("imgdelta");
        let database = config.get_dbname().or(config.get_user()).unwrap_or("postgres");
        let place = format!("queue in PostgreSQL, {database:?} at {server}");
        let trust = Trust { authorities: authorities.to_vec(), ..Trust::default() };
        let mut tls = trust.config(&server.to_string())?;
        // Servers require this protocol name if TLS starts with the first byte.
        tls.alpn_protocols = vec![b"postgresql".to_vec()];
        let tls = MakeRustlsConnect::new(tls);
        let (client, added) = (Mutex::default(), Arc::default());
        let host = host.to_owned();
        let connection = Self { config, tls, answer_timeout, place, host, client, added };
        connection.client().await?;
        Ok(connection)
    }

    async fn connect(&self) -> Result<Client> {
        let connecting = self.config.connect(self.tls.clone());
        let connected = self.in_time(CONNECT_TIMEOUT.min(self.answer_timeout), connecting).await?;
        let (mut client, mut connection) = connected.map_err(|error| self.failed(error))?;
        let (added, host) = (Arc::clone(&self.added), self.host.clone());
        // It ends with the client; the next statement reports a broken connection.
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await
            {
                if let AsyncMessage::Notification(notification) = message
                    && notification.payload() == host
                {
                    wake(&added);
                }
            }
        });
        let prepared = self.in_time(PREPARE_TIMEOUT, schema::prepare(&mut client, &self.host));
        let version = prepared.await?.map_err(|error| self.failed(error))?;
        if version > schema::VERSION {
            let known = schema::VERSION;
            let what = format!("of version {version}; this program knows {known}");
            return Err(Error::bad_input(&self.place, what));
        }
        let settings = format!(
            "SET statement_timeout = {}; LISTEN imgdelta_tasks",
            // The server gives up first, so that no caller repeats what still runs there.
            (self.answer_timeout * 2 / 3).as_millis()
        );
        let set = self.in_time(self.answer_timeout, client.batch_execute(&settings)).await?;
        set.map_err(|error| self.failed(error))?;
        // Tasks may have been added while nobody listened.
        wake(&self.added);
        Ok(client)
    }

    /// Waits no longer than `limit` for the server.
    async fn in_time<T>(&self, limit: Duration, waiting: impl Future<Output = T>) -> Result<T> {
        tokio::time::timeout(limit, waiting).await.map_err(|_| {
            let message = format!("no answer in {} s", limit.as_secs());
            Error::io(&self.place)(io::Error::new(io::ErrorKind::TimedOut, message))
        })
    }

    fn failed(&self, error: tokio_postgres::Error) -> Error {
        Error::io(&self.place)(io::Error::other(PostgresError::from(error)))
    }

    /// Runs one statement, which is a transaction of its own. A caller that is not polled does not
    /// block others (test `an_unpolled_caller_blocks_no_other`).
    pub async fn query(&self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let client = self.client().await?;
        let outcome = self.in_time(self.answer_timeout, client.query(statement, values)).await;
        // An error of the statement itself leaves the connection usable.
        let is_usable = match &outcome {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => error.as_db_error().is_some_and(|error| {
                // A server that takes no writes has lost its place to another one.
                error.severity() == "ERROR" && *error.code() != SqlState::READ_ONLY_SQL_TRANSACTION
            }),
            Err(_) => false,
        };
        if !is_usable {
            let mut slot = self.lock();
            // Another caller may have opened a new one.
            if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, &client)) {
                *slot = None;
            }
        }
        outcome?.map_err(|error| self.failed(error))
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

/// Wakes those who wait, and the next one who will: it may have looked a moment ago.
fn wake(added: &Notify) {
    added.notify_waiters();
    added.notify_one();
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The migration of a million tasks takes minutes, and another worker may be at it.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(900);
