//! `kill -9` at any moment: unfinished tasks run again, and no delta is published twice.

use super::scene::{Registry, WAIT_LIMIT, has, names, version};
use std::{
    process::{Child, Stdio},
    time::{Duration, Instant},
};

/// Moment of a kill.
enum Moment {
    /// After this many tenths of the time of a complete run.
    Tenths(u32),
    /// After the first part of a delta, before the others.
    Part,
    /// After a delta's manifest, before it is listed.
    Artifact,
    /// After the first delta is listed, before the queue knows it.
    Listed,
}

/// Seven while deltas are made, and three while they are published.
const MOMENTS: [Moment; 10] = [
    Moment::Tenths(1),
    Moment::Tenths(2),
    Moment::Tenths(3),
    Moment::Tenths(5),
    Moment::Tenths(6),
    Moment::Tenths(8),
    Moment::Tenths(9),
    Moment::Part,
    Moment::Artifact,
    Moment::Listed,
];

impl Moment {
    fn wait(&self, registry: &Registry, repository: &str, whole: Duration, run: &mut Child) {
        let storage = registry.storage(repository);
        let count = |path: &str| names(&storage.join(path)).len();
        let (layers, revisions, tags) =
            ("_layers/sha256", "_manifests/revisions/sha256", "_manifests/tags");
        let before = [count(layers), count(revisions), count(tags)];
        let has_come = || match self {
            Self::Tenths(_) => true,
            Self::Part => count(layers) > before[0],
            Self::Artifact => count(revisions) > before[1],
            Self::Listed => count(tags) > before[2],
        };
        if let Self::Tenths(tenths) = self {
            std::thread::sleep(whole * *tenths / 10);
        }
        let deadline = Instant::now() + WAIT_LIMIT;
        while !has_come() {
            assert!(run.try_wait().unwrap().is_none(), "it ended before the moment");
            assert!(Instant::now() < deadline, "waited {WAIT_LIMIT:?} in vain");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

#[test]
fn kills_at_any_moment_lose_and_double_nothing() {
    if !has(&["docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    let killed: Vec<String> = (0..MOMENTS.len()).map(|n| format!("demo/killed{n}")).collect();
    for repository in killed.iter().map(String::as_str).chain(["demo/calm"]) {
        for number in 1..=3 {
            registry.put(repository, &format!("v{number}"), &version(number).blobs());
        }
    }
    let config = |repository: &str| {
        let name = repository.replace('/', "-");
        let dir = registry.dir().display();
        let queue = format!("sqlite = \"{dir}/{name}.db\"\nlease = \"2s\"");
        registry.config(repository, &name, &queue, "keep = 2\npreset = \"fast\"")
    };
    let begun = Instant::now();
    let calm = config("demo/calm");
    assert_eq!(registry.prints(&["job", "run", "--config", &calm]).lines().count(), 4);
    let whole = begun.elapsed();
    let expected = registry.deltas("demo/calm");
    assert_eq!(expected.len(), 4);

    let mut fates = Vec::new();
    for (n, moment) in MOMENTS.iter().enumerate() {
        let mut command = registry.command(&["job", "run", "--config", &config(&killed[n])]);
        let mut run = command.stdout(Stdio::null()).spawn().unwrap();
        moment.wait(&registry, &killed[n], whole, &mut run);
        run.kill().unwrap();
        run.wait().unwrap();
        fates.push((registry.deltas(&killed[n]).len(), registry.listed(&killed[n]).len()));
    }
    // (deltas in the registry, listed deltas) after each kill.
    println!("a whole run: {whole:?}; found after the kills: {fates:?}");

    let expected: Vec<String> = expected.into_iter().collect();
    for repository in &killed {
        registry.prints(&["job", "run", "--config", &config(repository)]);
        // The same images give the same deltas.
        let deltas: Vec<String> = registry.deltas(repository).into_iter().collect();
        assert_eq!(deltas, expected, "{repository}: none lost, none added");
        assert_eq!(registry.listed(repository), expected, "{repository}: each listed, and once");
    }
}
