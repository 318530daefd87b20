//! Questions to a job and orders to it: status, tasks, retry, drop, pause, resume, explain, the page.

use super::scene::{Registry, Running, WAIT_LIMIT, has, said, wait_for_listener};
use imgdelta_testkit::{assert_valid, wait_until};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

/// Runs a command that prints one document, which is valid by its schema.
fn document(registry: &Registry, args: &[&str], schema: &str) -> Value {
    let text = registry.prints(&[args, &["--json"]].concat());
    let document = serde_json::from_str(&text).unwrap();
    assert_valid(&document, schema);
    document
}

/// Runs a command whose text must fit a terminal.
fn text(registry: &Registry, args: &[&str]) -> String {
    let text = registry.prints(args);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{args:?}: {line}");
    }
    text
}

#[test]
fn questions_and_orders_reach_the_queue() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    (1..=3).for_each(|number| registry.push(number, "demo/a-service-with-a-rather-long-name"));
    let app = "demo/a-service-with-a-rather-long-name";
    let config = registry.sqlite("demo/*", "job");
    let with = |words: &[&str]| -> Vec<String> {
        let words = words.iter().copied().chain(["--config", &config]);
        words.map(str::to_owned).collect()
    };
    let ask = |words: &[&str]| {
        let words = with(words);
        text(&registry, &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let read = |words: &[&str], schema: &str| {
        let words = with(words);
        document(&registry, &words.iter().map(String::as_str).collect::<Vec<_>>(), schema)
    };
    let refused = |words: &[&str]| {
        let output = registry.command(&[]).args(with(words)).output().unwrap();
        (output.status.code().unwrap(), said(&output))
    };

    // A question makes no queue.
    let (code, message) = refused(&["job", "status"]);
    assert!(code == 3 && message.contains("no queue is there"), "{code}: {message}");
    assert!(!registry.dir().join("job.db").exists());

    // Paused before the first task: nothing is made.
    registry.prints(&["job", "run", "--dry-run", "--config", &config]);
    assert!(ask(&["job", "pause", "--reason", "the database moves"]).starts_with("paused: "));
    assert_eq!(ask(&["job", "run"]), "");
    let status = read(&["job", "status"], "job-status");
    assert_eq!(status["tasks"]["waiting"], 4, "{status}");
    assert_eq!(status["paused"]["reason"], "the database moves");
    assert!(ask(&["job", "status"]).contains(": the database moves"));
    let waiting = read(&["job", "tasks", "--waiting"], "job-tasks");
    assert_eq!(waiting["tasks"].as_array().unwrap().len(), 4);
    let first = read(&["job", "tasks", "--max", "1"], "job-tasks");
    assert_eq!((first["tasks"].as_array().unwrap().len(), &first["is_cut"]), (1, &true.into()));

    // A dropped task is not added again by a scan; a retried one is.
    let id = waiting["tasks"][0]["id"].as_str().unwrap();
    assert_eq!(ask(&["job", "drop", &id[..6]]), "dropped 1 task\n");
    ask(&["job", "run"]);
    let failed = read(&["job", "tasks", "--failed"], "job-tasks");
    assert_eq!(
        (&failed["tasks"][0]["id"], &failed["tasks"][0]["reason"]),
        (&id.into(), &"dropped".into())
    );
    assert!(ask(&["job", "tasks", "--failed"]).contains("dropped by "));
    assert_eq!(read(&["job", "status"], "job-status")["failures"][0]["reason"], "dropped");
    let (code, message) = refused(&["job", "retry", "ffffffffffff"]);
    assert!(code == 3 && message.contains("a failed task `ffffffffffff`"), "{message}");
    assert!(message.contains(id), "the ids that there are: {message}");
    let (code, message) = refused(&["job", "retry", "v1"]);
    assert!(code == 3 && message.contains("not the id of a task"), "{message}");
    let retried = read(&["job", "retry", "--failed"], "job-change");
    assert_eq!((&retried["change"], &retried["count"]), (&"retried".into(), &1.into()));

    assert!(ask(&["job", "resume"]).starts_with("resumed: "));
    assert_eq!(ask(&["job", "resume"]), "was not paused\n");
    assert_eq!(registry.prints(&["job", "run", "--config", &config]).lines().count(), 4);
    let status = read(&["job", "status"], "job-status");
    assert_eq!(status["tasks"]["done"], 4, "{status}");
    let days = status["days"].as_array().unwrap();
    assert_eq!((days.len(), &days[29]["published"]), (30, &4.into()), "{days:?}");
    assert!(days[29]["saved_bytes"].as_u64().unwrap() > 0);
    assert!(ask(&["job", "status"]).contains("by 4 deltas in 30 days"));
    let done = ask(&["job", "tasks", "--done", "--repository", app]);
    assert_eq!(done.matches("published: ").count(), 4, "{done}");
    assert_eq!(ask(&["job", "tasks", "--repository", "demo/other"]), "no tasks\n");
}

#[test]
fn tags_and_pairs_are_explained() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    (1..=3).for_each(|number| registry.push(number, "demo/app"));
    let host = registry.server.host();
    let copy = |from: &str, to: &str| {
        let [from, to] = [from, to].map(|name| format!("docker://{host}/demo/{name}"));
        registry.skopeo(&["--src-tls-verify=false", "--dest-tls-verify=false", &from, &to]);
    };
    copy("app:v3", "app:latest");
    copy("app:v3", "app:v3.0");
    copy("app:v1", "odd:main-1a2b3c4");
    let config = registry.sqlite("demo/*", "job");
    let rule = "\n[[rule]]\nrepositories = [\"nigthly/*\", \"other/*\"]\n";
    fs::write(&config, fs::read_to_string(&config).unwrap() + rule).unwrap();

    // What has no effect is a warning, and no failure.
    let dry = ["job", "run", "--dry-run", "--config", &config];
    let output = registry.command(&dry).output().unwrap();
    let message = said(&output);
    for part in [
        "demo/odd: none of its 1 tags is a version for rule 1, for example main-1a2b3c4: not a version number",
        "rule 2 (nigthly/*, other/*) applies to no repository",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let documents = registry.documents(&[&dry[..], &["--json"]].concat());
    let warnings: Vec<&Value> =
        documents.iter().filter(|document| document["event"] == "warning").collect();
    assert_eq!(warnings.len(), 2, "{documents:?}");
    for document in &documents {
        assert_valid(document, "job");
    }

    let explain = |name: &str| {
        let args = ["job", "explain", name, "--config", &config];
        text(&registry, &args);
        document(&registry, &args, "job-explain")
    };
    let before = explain("demo/app");
    assert_eq!(before["rule"]["pattern"], "demo/*");
    let role = |document: &Value, tag: &str| {
        let tags = document["tags"].as_array().unwrap();
        tags.iter().find(|known| known["tag"] == tag).unwrap()["role"].clone()
    };
    assert_eq!(role(&before, "latest"), "not-a-number");
    assert_eq!((role(&before, "v1"), role(&before, "v2")), ("paired".into(), "paired".into()));
    // Two tags of one image: one of them is its name.
    let names = [role(&before, "v3"), role(&before, "v3.0")];
    assert!(names.contains(&"paired".into()) && names.contains(&"same-image".into()), "{names:?}");
    let pairs = before["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 4);
    assert!(pairs.iter().all(|pair| pair["task"].is_null() && pair["artifact"].is_null()));
    registry.prints(&["job", "run", "--config", &config]);
    let after = explain(&format!("docker://{host}/demo/app:v2"));
    let pairs = after["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 2, "from v2 and back: {after}");
    for pair in pairs {
        assert_eq!(pair["task"]["outcome"], "published");
        assert_eq!(pair["artifact"], pair["task"]["artifact"]);
    }
    assert_eq!(role(&explain("demo/odd"), "main-1a2b3c4"), "not-a-number");
    assert!(explain("elsewhere/app")["rule"].is_null());
    let missing = ["job", "explain", "demo/app:v9", "--config", &config];
    let output = registry.command(&missing).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
}

/// Sends a request, and returns the answer.
fn get(port: u16, path: &str, authorization: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}\r\n");
    connection.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_page_shows_the_job_to_those_who_know_the_secret() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    (1..=2).for_each(|number| registry.push(number, "demo/app"));
    let config = registry.sqlite("demo/app", "job");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("format = \"json\"", "format = \"json\"\nlevel = \"debug\"");
    fs::write(&config, text).unwrap();
    let log = fs::File::create(registry.dir().join("log")).unwrap();
    let serving = registry.command(&["job", "serve", "--config", &config]).stderr(log).spawn();
    let serving = Running(serving.unwrap());
    wait_for_listener(registry.notify);
    wait_until("two deltas", WAIT_LIMIT, || registry.listed("demo/app").len() == 2);
    let login = "Authorization: Basic eDpodW50ZXIy\r\n";
    wait_until("the page counts them", WAIT_LIMIT, || {
        get(registry.notify, "/", login).contains("<strong>2</strong> done")
    });
    let page = get(registry.notify, "/", login);
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("refresh: 60\r\n"), "{page}");
    assert!(page.contains("demo/app") && page.contains("class=\"delta\""), "{page}");
    let refused = get(registry.notify, "/", "");
    assert!(refused.starts_with("HTTP/1.1 401 ") && !refused.contains("demo/app"), "{refused}");
    drop(serving);

    // Each line of the log is a document: one for each task, and one for each request.
    let log = fs::read_to_string(registry.dir().join("log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let done: Vec<&Value> = lines.iter().filter(|line| line["message"] == "done").collect();
    assert_eq!(done.len(), 2, "{log}");
    for line in done {
        assert_eq!(
            (&line["repository"], &line["outcome"]),
            (&"demo/app".into(), &"published".into())
        );
        assert!(line["base"].as_str().unwrap().starts_with("sha256:"), "{line}");
        assert!(line["target"].as_str().unwrap().starts_with("sha256:"), "{line}");
        assert!(line["delta_bytes"].as_u64().unwrap() > 0 && line["seconds"].is_f64(), "{line}");
        assert_eq!((&line["attempt"], line["id"].as_str().unwrap().len()), (&1.into(), 12));
    }
    let requests = lines.iter().filter(|line| line["message"] == "request").count();
    assert!(requests > 20, "{requests} requests");
    assert!(!log.contains("hunter2"));
}
