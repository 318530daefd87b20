//! Pairs on request and the gate of a rollout, as an operator and a pipeline meet them.

use super::scene::{Registry, Running, WAIT_LIMIT, has, said, wait_for_listener};
use imgdelta_testkit::{assert_valid, wait_until};
use serde_json::Value;
use std::{fs, process::Command};

/// Runs a command with a configuration that prints one document of pairs; returns it with its exit code.
fn pairs(registry: &Registry, config: &str, words: &[&str]) -> (i32, Value) {
    let args = [words, &["--json", "--config", config]].concat();
    let output = registry.command(&args).output().unwrap();
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", said(&output)));
    assert_valid(&document, "job-pairs");
    (output.status.code().unwrap(), document)
}

/// Returns the states of a document's pairs, with the tags of their bases.
fn states(document: &Value) -> Vec<(&str, &str)> {
    let pairs = document["pairs"].as_array().unwrap();
    assert!(pairs.iter().all(|pair| pair["target_tag"] == "v4"), "{document}");
    pairs
        .iter()
        .map(|pair| (pair["base_tag"].as_str().unwrap(), pair["state"].as_str().unwrap()))
        .collect()
}

#[test]
fn a_rollout_waits_for_the_deltas_that_it_needs() {
    if !has(&["skopeo", "docker-registry", "curl"]) {
        return;
    }
    let registry = Registry::start();
    (1..=4).for_each(|number| registry.push(number, "demo/app"));
    let config = registry.config(
        "demo/*",
        "job",
        &format!("sqlite = \"{}/job.db\"\nlease = \"2s\"", registry.dir().display()),
        "keep = 1",
    );
    let ask = |words: &[&str]| pairs(&registry, &config, words);
    let gate = ["job", "ready", "demo/app:v4"];

    // Nothing is made yet; a question asks for nothing.
    let (code, document) = ask(&gate);
    assert_eq!((code, &document["is_ready"]), (1, &false.into()));
    assert_eq!(states(&document), [("v3", "absent")]);
    let (code, document) = ask(&[&gate[..], &["--from", "v1"]].concat());
    assert_eq!((code, states(&document)), (1, vec![("v1", "absent")]));

    // Asking twice is asking once.
    for _ in 0..2 {
        let (code, document) = ask(&["job", "want", "demo/app:v1", "demo/app:v4"]);
        assert_eq!((code, states(&document)), (0, vec![("v1", "queued")]));
    }
    let waiting = registry.prints(&["job", "tasks", "--waiting", "--json", "--config", &config]);
    let waiting: Value = serde_json::from_str(&waiting).unwrap();
    assert_eq!(waiting["tasks"].as_array().unwrap().len(), 1, "{waiting}");
    assert_eq!(waiting["tasks"][0]["urgency"], "requested");
    let (code, document) = ask(&[&gate[..], &["--from", "v1", "--wait", "1s"]].concat());
    assert_eq!((code, states(&document)), (1, vec![("v1", "queued")]), "at the end of the wait");

    // A service makes what the rule and the requests name, while the gate waits.
    let log = fs::File::create(registry.dir().join("log")).unwrap();
    let serving = registry.command(&["job", "serve", "--config", &config]).stderr(log).spawn();
    let serving = Running(serving.unwrap());
    let (code, document) = ask(&[&gate[..], &["--wait", "10m"]].concat());
    assert_eq!((code, &document["is_ready"]), (0, &true.into()), "{document}");
    let mut ready = states(&document);
    ready.sort_unstable();
    assert_eq!(ready, [("v1", "ready"), ("v3", "ready")]);
    for pair in document["pairs"].as_array().unwrap() {
        assert!(pair["delta_bytes"].as_u64().unwrap() > 0 && pair["artifact"].is_string());
    }
    let listed = registry.listed("demo/app");
    assert!(listed.len() >= 2, "{listed:?}");
    let asked = [&gate[..], &["--from", "v2", "--want", "--wait", "10m"]].concat();
    let (code, document) = ask(&asked);
    assert_eq!((code, states(&document)), (0, vec![("v2", "ready")]));
    let text = registry.prints(&[&gate[..], &["--from", "v2", "--config", &config]].concat());
    assert!(text.starts_with("ready   demo/app: v2 to v4 for linux/amd64, "), "{text}");

    // The call of docs/gitops.md.
    wait_for_listener(registry.notify);
    let call = |login: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--noproxy", "*", "-w", "\n%{http_code}", "-H"]);
        curl.arg(format!("Authorization: Bearer {login}"));
        curl.args(["-d", r#"{"repository": "demo/app", "base": "v2", "target": "v4"}"#]);
        curl.arg(format!("http://127.0.0.1:{}/pairs", registry.notify));
        let output = curl.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    };
    assert_eq!(call("hunter3").0, "401");
    wait_until("an answer", WAIT_LIMIT, || call("hunter2").0 == "200");
    let document = serde_json::from_str(&call("hunter2").1).unwrap();
    assert_valid(&document, "job-pairs");
    assert_eq!(states(&document), [("v2", "ready")]);
    drop(serving);
}

#[test]
fn a_wrong_pair_is_explained() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    registry.push(1, "demo/app");
    let config = registry.sqlite("demo/app", "job");
    let refused = |words: &[&str], code: i32, part: &str| {
        let output = registry.command(&[words, &["--config", &config]].concat()).output().unwrap();
        let message = said(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {message}");
        assert!(message.contains(part), "{words:?}: {message}");
    };
    refused(&["job", "want", "demo/app:v1", "other/app:v1"], 3, "two images of one repository");
    refused(&["job", "want", "demo/app:v1", "demo/app:v9"], 3, "image v9");
    refused(&["job", "want", "demo/app", "demo/app:v1"], 3, "expected REPOSITORY:TAG");
    refused(&["job", "want", "other/app:v1", "other/app:v2"], 3, "no rule of the configuration");
    refused(&["job", "ready", "demo/app:v1", "--wait", "soon"], 2, "expected a time such as 90s");
    refused(&["job", "ready", "demo/app:v1", "--want"], 2, "--from");
    // A first version has no base: a rollout need not wait.
    let first = registry.prints(&["job", "ready", "demo/app:v1", "--config", &config]);
    assert_eq!(first, "no delta to this image is wanted\n");
}
