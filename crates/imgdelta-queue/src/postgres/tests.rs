//! A real server, with and without TLS: which certificates are accepted, and the errors and advice.

use super::*;
use crate::{TaskAdmin, TaskCounts};
use imgdelta_core::Error;
use imgdelta_testkit::{
    Authority,
    postgres::{PASSWORD_ROLE, PostgresServer},
};
use std::{future::poll_fn, path::Path, pin::pin, task::Poll};

const HOST: &str = "registry.example";

/// A server with a certificate for `db.example` only, and a directory with its authority.
struct Scene {
    server: PostgresServer,
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Option<Self> {
        let authority = Authority::new();
        let identity = authority.certify(&["db.example"]);
        let server = PostgresServer::start_on_port(Some(&identity))?;
        server.database("q");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.certificate()).unwrap();
        let other = Authority::new();
        std::fs::write(dir.path().join("other.pem"), other.certificate()).unwrap();
        Some(Self { server, dir })
    }

    /// Connects with more options and one trusted authority.
    async fn connect(&self, options: &str, authority: &str) -> Result<PostgresQueue> {
        let authority = self.dir.path().join(authority);
        connect(&self.server, options, &[authority], None).await
    }
}

async fn connect(
    server: &PostgresServer,
    options: &str,
    authorities: &[PathBuf],
    password: Option<&Secret>,
) -> Result<PostgresQueue> {
    let server: PostgresOptions =
        format!("{} {options}", server.options_on_port("q")).parse().unwrap();
    PostgresQueue::connect(&server, authorities, password, HOST).await
}

/// Returns true if the server says that this connection uses TLS.
async fn uses_tls(queue: &PostgresQueue) -> bool {
    let rows = queue.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await;
    rows.unwrap()[0].get(0)
}

/// Returns the message and the advice of a failed connection.
fn failure(outcome: Result<PostgresQueue>) -> (String, &'static str) {
    let error = outcome.expect_err("refused");
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    (error.to_string(), advice(&error).unwrap_or_default())
}

/// The names resolve to nothing; the address is given as well.
#[tokio::test]
async fn only_a_trusted_certificate_is_accepted() {
    let Some(scene) = Scene::new() else { return };
    for mode in ["require", "verify-full", "prefer"] {
        let options = format!("host=db.example sslmode={mode}");
        let queue = scene.connect(&options, "ca.pem").await.unwrap();
        assert!(uses_tls(&queue).await, "{mode}");
        assert_eq!(queue.counts().await.unwrap(), TaskCounts::default());

        // Another authority of the same name.
        let (message, advice) = failure(scene.connect(&options, "other.pem").await);
        assert_eq!(
            message,
            format!(
                "queue in PostgreSQL, \"q\" at db.example port {}: error performing TLS \
                 handshake: invalid peer certificate: BadSignature",
                scene.server.port()
            ),
            "{mode}"
        );
        assert!(advice.contains("ca in [queue]"), "{advice}");

        for host in ["127.0.0.1", "db2.example", "localhost"] {
            let options = format!("host={host} sslmode={mode}");
            let (message, advice) = failure(scene.connect(&options, "ca.pem").await);
            assert!(
                message.contains("not valid for name") && message.contains("db.example"),
                "{message}"
            );
            assert!(advice.contains("host=NAME"), "{advice}");
        }
        // Without a name, the certificate must name the address.
        let (message, _) = failure(scene.connect(&format!("sslmode={mode}"), "ca.pem").await);
        assert!(message.contains("not valid for name \"127.0.0.1\""), "{message}");
    }
    // The machine's own authorities did not sign it.
    let outcome = connect(&scene.server, "host=db.example sslmode=require", &[], None).await;
    let (message, advice) = failure(outcome);
    assert!(message.ends_with("invalid peer certificate: UnknownIssuer"), "{message}");
    assert!(advice.contains("ca in [queue]"), "{advice}");
}

#[tokio::test]
async fn tls_is_not_used_with_disable_or_on_this_machine() {
    let Some(scene) = Scene::new() else { return };
    for options in ["host=db.example sslmode=disable", "host=localhost", ""] {
        let queue = scene.connect(options, "other.pem").await.unwrap();
        assert!(!uses_tls(&queue).await, "{options}");
    }
}

#[tokio::test]
async fn a_server_without_tls_needs_prefer_or_disable() {
    let Some(server) = PostgresServer::start_on_port(None) else { return };
    server.database("q");
    for mode in ["require", "verify-full"] {
        let options = format!("host=db.example sslmode={mode}");
        let (message, advice) = failure(connect(&server, &options, &[], None).await);
        assert!(message.ends_with("handshake: server does not support TLS"), "{message}");
        assert!(advice.contains("sslmode=disable"), "{advice}");
    }
    for mode in ["prefer", "disable"] {
        let options = format!("host=db.example sslmode={mode}");
        let queue = connect(&server, &options, &[], None).await.unwrap();
        assert!(!uses_tls(&queue).await, "{mode}");
    }
    let (message, advice) = failure(connect(&server, "dbname=none", &[], None).await);
    assert!(message.contains("database \"none\" does not exist"), "{message}");
    assert!(advice.contains("createdb"), "{advice}");
}

#[tokio::test]
async fn a_password_is_bound_to_the_certificate() {
    let Some(scene) = Scene::new() else { return };
    let admin = scene.connect("", "ca.pem").await.unwrap();
    let role = format!("CREATE ROLE {PASSWORD_ROLE} LOGIN PASSWORD 'hunter2'");
    admin.query(&role, &[]).await.unwrap();
    admin.query("DROP SCHEMA public CASCADE", &[]).await.unwrap();
    admin.query("CREATE SCHEMA public", &[]).await.unwrap();
    admin.query(&format!("GRANT ALL ON SCHEMA public TO {PASSWORD_ROLE}"), &[]).await.unwrap();
    let connect = async |options: &str, password: Option<&str>| {
        let options = format!("user={PASSWORD_ROLE} {options}");
        let password = password.map(Secret::new);
        let authorities = [scene.dir.path().join("ca.pem")];
        connect(&scene.server, &options, &authorities, password.as_ref()).await
    };
    let bound = "host=db.example sslmode=require channel_binding=require";
    let queue = connect(bound, Some("hunter2")).await.unwrap();
    assert!(uses_tls(&queue).await);

    let rows = [
        (bound, Some("hunter3"), "password authentication failed", "password-file"),
        (bound, None, "password missing", "password-file"),
        ("host=db.example sslmode=disable", Some("hunter2"), "no encryption", "sslmode=require"),
    ];
    for (options, password, expected, hint) in rows {
        let (message, advice) = failure(connect(options, password).await);
        assert!(message.contains(expected) && !message.contains("hunter"), "{message}");
        assert!(advice.contains(hint), "{advice} for {message}");
    }
}

#[tokio::test]
async fn a_file_without_an_authority_is_an_error() {
    let server: PostgresOptions = "host=db.example".parse().unwrap();
    let missing =
        PostgresQueue::connect(&server, &["/no/ca.pem".into()], None, HOST).await.unwrap_err();
    assert!(matches!(&missing, Error::Io { place, .. } if place == "/no/ca.pem"), "{missing}");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let wrong = PostgresQueue::connect(&server, &[here], None, HOST).await.unwrap_err();
    assert!(matches!(wrong, Error::BadInput { .. }), "{wrong}");
}

#[tokio::test]
async fn the_queries_of_every_scan_read_no_other_rows() {
    let Some(server) = PostgresServer::start() else { return };
    let server: PostgresOptions = server.database("q").parse().unwrap();
    let queue = PostgresQueue::connect(&server, &[], None, HOST).await.unwrap();
    // With few rows the server would not use an index.
    let many = "INSERT INTO imgdelta_tasks (host, key, repository, target, body, state)
        SELECT 'registry.example', 'r ' || n, 'r', '', '', 'done'
        FROM generate_series(1, 20000) AS n";
    queue.query(many, &[]).await.unwrap();
    queue.query("ANALYZE imgdelta_tasks", &[]).await.unwrap();
    assert_eq!(queue.counts().await.unwrap().done, 20_000);
    let plan = async |statement: &str, values: &[&(dyn ToSql + Sync)]| -> String {
        let rows = queue.query(&format!("EXPLAIN {statement}"), values).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
    };
    let found = plan(tasks::DONE_IN, &[&HOST, &"r ", &"r!", &9_i64]).await;
    assert!(found.contains("Index Only Scan using imgdelta_tasks_done"), "{found}");
    assert!(found.contains("(key > ") && !found.contains("Sort"), "{found}");
    let found = plan(tasks::OUTCOMES, &[&HOST, &["r a", "r b"].as_slice()]).await;
    assert!(found.contains("(key = ANY") && !found.contains("Seq Scan"), "{found}");
    let take: &[&(dyn ToSql + Sync)] = &[&HOST, &"w", &5.0_f64, &"t", &9_i64];
    for found in [
        plan(tasks::TAKE, take).await,
        plan(tasks::NEXT_DUE, &[&HOST]).await,
        plan(admin::OLDEST, &[&HOST]).await,
    ] {
        assert!(!found.contains("Seq Scan on imgdelta_tasks"), "{found}");
    }
}

#[tokio::test]
async fn an_unpolled_caller_blocks_no_other() {
    let Some(server) = PostgresServer::start() else { return };
    let server: PostgresOptions = server.database("q").parse().unwrap();
    let queue = PostgresQueue::connect(&server, &[], None, HOST).await.unwrap();
    let mut first = pin!(queue.query("SELECT 5", &[]));
    let is_begun = poll_fn(|context| Poll::Ready(first.as_mut().poll(context).is_pending())).await;
    assert!(is_begun, "sent, and not polled again");
    assert_eq!(queue.counts().await.unwrap(), TaskCounts::default());
    assert_eq!(first.await.unwrap()[0].get::<_, i32>(0), 5);
}
