//! Two processes with one queue in `PostgreSQL`: nothing twice, and nothing lost with one of them.

use super::scene::{Registry, Running, WAIT_LIMIT, documents, has, said, small_version};
use imgdelta_testkit::{Authority, Blobs, postgres::PostgresServer, wait_until};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    process::{Child, Stdio},
};

/// From each of 25 versions to a newer one, and back.
const TASKS: usize = 50;

fn push_all(registry: &Registry, repository: &str) {
    for number in 1..=26 {
        let mut blobs = Blobs::default();
        let root = small_version(number).store(&mut blobs);
        blobs.tag(root, "any");
        registry.put(repository, &format!("v{number}"), &blobs);
    }
}

fn config(registry: &Registry, repository: &str, to: &str, queue: &str, lease: &str) -> String {
    let queue = format!("postgres = \"{queue}\"\nlease = \"{lease}\"");
    let rule = format!("to = \"{to}\"\nkeep = 25\npreset = \"fast\"");
    registry.config(repository, &repository.replace('/', "-"), &queue, &rule)
}

fn spawn(registry: &Registry, config: &str) -> Child {
    let mut command = registry.command(&["job", "run", "--config", config, "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for a process to succeed and returns its documents.
fn ends(child: Child) -> Vec<Value> {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    documents(std::str::from_utf8(&output.stdout).unwrap())
}

/// Asserts that each delta is in the registry once and listed once.
fn assert_whole(registry: &Registry, repository: &str) -> BTreeSet<String> {
    let deltas = registry.deltas(repository);
    assert_eq!(deltas.len(), TASKS);
    let listed = registry.listed(repository);
    assert_eq!(listed, deltas.iter().cloned().collect::<Vec<_>>(), "each listed, and once");
    // No two for the same way.
    let ways = deltas.iter().map(|hex| {
        let document: Value = serde_json::from_slice(&registry.blob(hex)).unwrap();
        let base = document["annotations"]["org.imgdelta.base"].as_str().unwrap().to_owned();
        (base, document["subject"]["digest"].as_str().unwrap().to_owned())
    });
    assert_eq!(ways.collect::<BTreeSet<_>>().len(), TASKS);
    deltas
}

#[test]
fn two_workers_share_fifty_tasks() {
    if !has(&["docker-registry"]) {
        return;
    }
    let Some(server) = PostgresServer::start() else { return };
    let registry = Registry::start();
    push_all(&registry, "demo/shared");
    // Half of the deltas lead to the newest version and are in one list, which both workers write.
    // No lease ends, even on a busy machine.
    let config = config(&registry, "demo/shared", "newest", &server.database("shared"), "10m");
    let workers = [spawn(&registry, &config), spawn(&registry, &config)];
    let said = workers.map(ends);
    let published = said.each_ref().map(|documents| {
        let outcomes: BTreeSet<&str> =
            documents.iter().map(|document| document["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes, BTreeSet::from(["published"]), "{documents:?}");
        let artifacts = documents.iter().map(|document| {
            let artifact = document["artifact"].as_str().unwrap();
            artifact.strip_prefix("sha256:").unwrap().to_owned()
        });
        artifacts.collect::<Vec<String>>()
    });
    let mut all = published.concat();
    all.sort();
    let deltas = assert_whole(&registry, "demo/shared");
    assert_eq!(all, deltas.into_iter().collect::<Vec<_>>(), "each by one of the two, and once");
}

#[test]
fn the_tasks_of_a_killed_worker_are_finished_by_the_other() {
    if !has(&["docker-registry"]) {
        return;
    }
    let Some(server) = PostgresServer::start() else { return };
    let registry = Registry::start();
    push_all(&registry, "demo/killed");
    let config = config(&registry, "demo/killed", "neighbours", &server.database("killed"), "3s");
    let mut first = Running(spawn(&registry, &config));
    let second = spawn(&registry, &config);
    // In the middle of the tasks and of one of its own: it has finished some.
    let mut byte = [0];
    first.0.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    wait_until("15 deltas", WAIT_LIMIT, || registry.listed("demo/killed").len() >= 15);
    drop(first);
    assert!(registry.listed("demo/killed").len() < TASKS, "it was not the middle");
    let documents = ends(second);
    assert!(!documents.is_empty());
    for document in &documents {
        // What the other had published, but not accounted for, was there.
        let outcome = document["outcome"].as_str().unwrap();
        assert!(["published", "there"].contains(&outcome), "{document}");
    }
    assert_whole(&registry, "demo/killed");
    assert_eq!(registry.prints(&["job", "run", "--config", &config]), "", "nothing is left");
}

#[test]
fn a_queue_with_tls_connects_or_explains_the_failure() {
    if !has(&["docker-registry"]) {
        return;
    }
    let authority = Authority::new();
    let identity = authority.certify(&["db.example"]);
    let Some(server) = PostgresServer::start_on_port(Some(&identity)) else { return };
    server.database("q");
    let registry = Registry::start();
    let ca = registry.dir().join("ca.pem");
    fs::write(&ca, authority.certificate()).unwrap();
    for number in 1..=2 {
        let mut blobs = Blobs::default();
        let root = small_version(number).store(&mut blobs);
        blobs.tag(root, "any");
        registry.put("demo/tls", &format!("v{number}"), &blobs);
    }
    let run = |options: &str, more: &str| {
        let queue = format!("postgres = \"{} {options}\"\n{more}", server.options_on_port("q"));
        let config = registry.config("demo/tls", "tls", &queue, "preset = \"fast\"");
        registry.command(&["job", "run", "--config", &config]).output().unwrap()
    };
    let trusting = format!("ca = \"{}\"", ca.display());
    let strict = "host=db.example sslmode=verify-full";
    // Options, settings, exit code, what is said.
    let rows = [
        (strict, "", 6, "hint: name the authority that signed the server's certificate"),
        ("host=localhost sslmode=require", &trusting, 6, "hint: name the server as its"),
        ("sslmode=verify-ca", &trusting, 3, "tls:4:12: sslmode is one of disable, prefer, "),
        (strict, "ca = \"none.pem\"", 6, "imgdelta: none.pem: "),
        (strict, &trusting, 0, ""),
    ];
    for (options, more, code, expected) in rows {
        let output = run(options, more);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{options}: {said}");
        assert!(said.contains(expected), "{options}: {said}");
    }
    assert_eq!(registry.deltas("demo/tls").len(), 2, "there and back");
}
