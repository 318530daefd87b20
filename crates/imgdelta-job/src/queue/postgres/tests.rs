//! A real server, with and without TLS: who is spoken to, who is not, and what is said then.

use super::*;
use imgdelta_core::Error;
use imgdelta_testkit::{
    Authority,
    postgres::{PASSWORD_ROLE, PostgresServer},
};
use std::{future::poll_fn, path::Path, pin::pin, task::Poll};

/// A server that shows a certificate for `db.example` only, and a directory with its authority's.
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

    /// Connects with these options besides, where one authority counts.
    async fn connect(&self, options: &str, authority: &str) -> Result<Postgres> {
        let authority = self.dir.path().join(authority);
        connect(&self.server, options, &[authority], None).await
    }
}

async fn connect(
    server: &PostgresServer,
    options: &str,
    authorities: &[PathBuf],
    password: Option<&Secret>,
) -> Result<Postgres> {
    let server: Server = format!("{} {options}", server.options_on_port("q")).parse().unwrap();
    Postgres::connect(&server, authorities, password).await
}

/// Whether the server says that this connection is in TLS.
async fn is_in_tls(queue: &Postgres) -> bool {
    let rows = queue.ask("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await;
    rows.unwrap()[0].get(0)
}

/// What was said, and what was advised.
fn told(outcome: Result<Postgres>) -> (String, &'static str) {
    let error = outcome.expect_err("refused");
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    (error.to_string(), advice(&error).unwrap_or_default())
}

/// Names that lead nowhere are used, and the address besides.
#[tokio::test]
async fn a_certificate_that_counts_is_taken_and_no_other() {
    let Some(scene) = Scene::new() else { return };
    for mode in ["require", "verify-full", "prefer"] {
        let options = format!("host=db.example sslmode={mode}");
        let queue = scene.connect(&options, "ca.pem").await.unwrap();
        assert!(is_in_tls(&queue).await, "{mode}");
        assert_eq!(queue.counts().await.unwrap(), Counts::default());

        // An authority that is called the same.
        let (said, advice) = told(scene.connect(&options, "other.pem").await);
        assert_eq!(
            said,
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
            let (said, advice) = told(scene.connect(&options, "ca.pem").await);
            assert!(said.contains("not valid for name") && said.contains("db.example"), "{said}");
            assert!(advice.contains("host=NAME"), "{advice}");
        }
        // Without a name, it is to be the address's.
        let (said, _) = told(scene.connect(&format!("sslmode={mode}"), "ca.pem").await);
        assert!(said.contains("not valid for name \"127.0.0.1\""), "{said}");
    }
    // The machine's own authorities signed nothing of the kind.
    let outcome = connect(&scene.server, "host=db.example sslmode=require", &[], None).await;
    let (said, advice) = told(outcome);
    assert!(said.ends_with("invalid peer certificate: UnknownIssuer"), "{said}");
    assert!(advice.contains("ca in [queue]"), "{advice}");
}

#[tokio::test]
async fn without_tls_where_that_is_written_or_it_stays_here() {
    let Some(scene) = Scene::new() else { return };
    for options in ["host=db.example sslmode=disable", "host=localhost", ""] {
        let queue = scene.connect(options, "other.pem").await.unwrap();
        assert!(!is_in_tls(&queue).await, "{options}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_spoken_to_only_if_that_may_be() {
    let Some(server) = PostgresServer::start_on_port(None) else { return };
    server.database("q");
    for mode in ["require", "verify-full"] {
        let options = format!("host=db.example sslmode={mode}");
        let (said, advice) = told(connect(&server, &options, &[], None).await);
        assert!(said.ends_with("handshake: server does not support TLS"), "{said}");
        assert!(advice.contains("sslmode=disable"), "{advice}");
    }
    for mode in ["prefer", "disable"] {
        let options = format!("host=db.example sslmode={mode}");
        let queue = connect(&server, &options, &[], None).await.unwrap();
        assert!(!is_in_tls(&queue).await, "{mode}");
    }
    let (said, advice) = told(connect(&server, "dbname=none", &[], None).await);
    assert!(said.contains("database \"none\" does not exist"), "{said}");
    assert!(advice.contains("createdb"), "{advice}");
}

#[tokio::test]
async fn a_password_is_bound_to_the_certificate() {
    let Some(scene) = Scene::new() else { return };
    let admin = scene.connect("", "ca.pem").await.unwrap();
    let role = format!("CREATE ROLE {PASSWORD_ROLE} LOGIN PASSWORD 'hunter2'");
    admin.ask(&role, &[]).await.unwrap();
    admin.ask(&format!("GRANT CREATE ON SCHEMA public TO {PASSWORD_ROLE}"), &[]).await.unwrap();
    for table in ["queue", "works", "seen", "offers"] {
        admin.ask(&format!("DROP TABLE imgdelta_{table}"), &[]).await.unwrap();
    }
    let connect = async |options: &str, password: Option<&str>| {
        let options = format!("user={PASSWORD_ROLE} {options}");
        let password = password.map(Secret::new);
        let authorities = [scene.dir.path().join("ca.pem")];
        connect(&scene.server, &options, &authorities, password.as_ref()).await
    };
    let bound = "host=db.example sslmode=require channel_binding=require";
    let queue = connect(bound, Some("hunter2")).await.unwrap();
    assert!(is_in_tls(&queue).await);

    let rows = [
        (bound, Some("hunter3"), "password authentication failed", "password-file"),
        (bound, None, "password missing", "password-file"),
        ("host=db.example sslmode=disable", Some("hunter2"), "no encryption", "sslmode=require"),
    ];
    for (options, password, expected, hint) in rows {
        let (said, advice) = told(connect(options, password).await);
        assert!(said.contains(expected) && !said.contains("hunter"), "{said}");
        assert!(advice.contains(hint), "{advice} for {said}");
    }
}

#[tokio::test]
async fn a_file_without_an_authority_is_told() {
    let server: Server = "host=db.example".parse().unwrap();
    let missing = Postgres::connect(&server, &["/no/ca.pem".into()], None).await.unwrap_err();
    assert!(matches!(&missing, Error::Io { place, .. } if place == "/no/ca.pem"), "{missing}");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let wrong = Postgres::connect(&server, &[here], None).await.unwrap_err();
    assert!(matches!(wrong, Error::BadInput { .. }), "{wrong}");
}

#[tokio::test]
async fn what_is_asked_at_every_look_reads_no_other_rows() {
    let Some(server) = PostgresServer::start() else { return };
    let server: Server = server.database("q").parse().unwrap();
    let queue = Postgres::connect(&server, &[], None).await.unwrap();
    // A queue of before there was this index gets it, and is still of the same version.
    queue.ask("DROP INDEX imgdelta_works_done", &[]).await.unwrap();
    let queue = Postgres::connect(&server, &[], None).await.unwrap();
    let version = queue.ask("SELECT version FROM imgdelta_queue", &[]).await.unwrap();
    assert_eq!(version[0].get::<_, i32>(0), 1);

    // With few rows it would not be worth the server's while.
    let many = "INSERT INTO imgdelta_works (key, body, state)
        SELECT 'r ' || n, '', 'done' FROM generate_series(1, 20000) AS n";
    queue.ask(many, &[]).await.unwrap();
    queue.ask("ANALYZE imgdelta_works", &[]).await.unwrap();
    let plan = async |statement: &str, values: &[&(dyn ToSql + Sync)]| -> String {
        let rows = queue.ask(&format!("EXPLAIN {statement}"), values).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
    };
    let found = plan(DONE_IN, &[&"r ", &"r!", &9_i64]).await;
    assert!(found.contains("Index Only Scan using imgdelta_works_done"), "{found}");
    assert!(found.contains("Index Cond: ((key > ") && !found.contains("Sort"), "{found}");
    let found = plan(OUTCOMES, &[&["r a", "r b"].as_slice()]).await;
    assert!(found.contains("Index Cond: (key = ANY") && !found.contains("Seq Scan"), "{found}");
}

#[tokio::test]
async fn who_is_not_polled_holds_up_nobody() {
    let Some(server) = PostgresServer::start() else { return };
    let server: Server = server.database("q").parse().unwrap();
    let queue = Postgres::connect(&server, &[], None).await.unwrap();
    let mut first = pin!(queue.ask("SELECT 5", &[]));
    let is_begun = poll_fn(|context| Poll::Ready(first.as_mut().poll(context).is_pending())).await;
    assert!(is_begun, "sent, and left alone");
    assert_eq!(queue.counts().await.unwrap(), Counts::default());
    assert_eq!(first.await.unwrap()[0].get::<_, i32>(0), 5);
}
