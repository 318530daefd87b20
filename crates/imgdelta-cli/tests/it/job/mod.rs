//! `imgdelta job` as an operator meets it, with Debian's docker-registry: deltas made and pulled,
//! notifications, kills at any moment, two workers with one queue.
//!
//! On a machine without the tools the tests say so and pass; with `CI=true` they are compulsory.

mod asking;
mod identity;
mod kills;
mod pairs;
mod scene;
mod workers;

use imgdelta_testkit::{assert_valid, wait_until};
use scene::{Registry, Running, WAIT_LIMIT, has, said, wait_for_listener};
use serde_json::Value;
use std::{collections::BTreeSet, fs, process::Command};

#[test]
fn deltas_are_made_once_and_removed_with_their_image() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    (1..=3).for_each(|number| registry.push(number, "demo/app"));
    let config = registry.sqlite("demo/*", "job");
    let run = ["job", "run", "--config", &config];
    let wanted = registry.prints(&[&run[..], &["--dry-run"]].concat());
    assert_eq!(wanted.lines().count(), 4, "{wanted}");
    assert!(wanted.contains("wanted  demo/app: v2 to v3 for linux/amd64"), "{wanted}");
    assert_eq!(registry.deltas("demo/app").len(), 0);
    for document in registry.documents(&[&run[..], &["--dry-run", "--json"]].concat()) {
        assert_valid(&document, "job");
    }
    let made = registry.documents(&[&run[..], &["--json"]].concat());
    assert_eq!(made.len(), 4);
    for document in &made {
        assert_valid(document, "job");
        assert_eq!(document["outcome"], "published", "{document}");
        let (delta, pull) = (&document["delta_bytes"], &document["pull_bytes"]);
        assert!(delta.as_u64().unwrap() * 10 < pull.as_u64().unwrap(), "{document}");
        // Each base has its frames next to it.
        let frames = document["frames"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let frames: Value = serde_json::from_slice(&registry.blob(frames)).unwrap();
        assert_eq!(frames["artifactType"], "application/vnd.imgdelta.frames.v1");
        assert_eq!(frames["subject"]["digest"], document["base"]);
    }
    assert_eq!(registry.deltas("demo/app").len(), 4);
    assert_eq!(registry.prints(&run), "");

    // A repository that a rule names and that is not there is a mistake.
    let missing = registry.sqlite("demo/none", "missing");
    let output = registry.command(&["job", "run", "--config", &missing]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("demo/none: the repository, which a rule names"));
    assert_eq!(said(&output).matches("which a rule names").count(), 1, "said once");

    // An image that is deleted takes its deltas with it.
    let digest = made[0]["base"].as_str().unwrap().to_owned();
    registry.delete("demo/app", &digest);
    let after = registry.documents(&[&run[..], &["--json"]].concat());
    for document in &after {
        assert_valid(document, "job");
    }
    let removed = |kind: &str| {
        let events = after.iter().filter(|document| document["event"] == "removed");
        events.filter(|document| document["kind"] == kind).count()
    };
    assert_eq!(removed("delta"), 2, "there and back: {after:?}");
    assert_eq!(removed("frames"), 1, "those of the image: {after:?}");
    let listed: BTreeSet<String> = registry.listed("demo/app").into_iter().collect();
    assert_eq!(registry.deltas("demo/app"), listed);
}

#[test]
fn a_push_makes_a_delta_and_sigterm_ends_in_good_order() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    (1..=2).for_each(|number| registry.push(number, "demo/app"));
    let config = registry.sqlite("demo/app", "job");
    let log = fs::File::create(registry.dir().join("log")).unwrap();
    let serving = registry.command(&["job", "serve", "--config", &config]).stderr(log).spawn();
    let mut serving = Running(serving.unwrap());
    wait_for_listener(registry.notify);
    wait_until("two deltas", WAIT_LIMIT, || registry.listed("demo/app").len() == 2);
    registry.push(3, "demo/app");
    wait_until("six deltas", WAIT_LIMIT, || registry.listed("demo/app").len() == 6);
    // docker-registry also notified the job of its own pushes; they started no scan.
    let id = serving.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    wait_until("the end of the service", WAIT_LIMIT, || serving.0.try_wait().unwrap().is_some());
    assert_eq!(serving.0.wait().unwrap().code(), Some(0));
    let log = fs::read_to_string(registry.dir().join("log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
    assert_eq!((count("done"), count("stopped")), (6, 1), "{log}");
    assert!(!log.contains("hunter2"));
    assert_eq!(registry.prints(&["job", "run", "--config", &config]), "", "nothing is left");
}

#[test]
fn mistakes_have_their_exit_codes() {
    let home = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgdelta"));
        let output = command.args(args).current_dir(home.path()).env("HOME", home.path()).output();
        let output = output.unwrap();
        (output.status.code().unwrap(), said(&output))
    };
    assert_eq!(run(&["job"]).0, 2);
    assert_eq!(run(&["job", "run"]).0, 2);
    assert_eq!(run(&["job", "run", "--config", "none.toml"]).0, 6);
    let config = home.path().join("job.toml");
    fs::write(&config, "[registry]\nhost = \"127.0.0.1:1\"\n[[rule]]\nrepositories = 5\n").unwrap();
    let (code, text) = run(&["job", "run", "--config", "job.toml"]);
    assert!(code == 3 && text.contains("job.toml:4:16: "), "{code}: {text}");
}
