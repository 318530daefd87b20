//! A real Prometheus scrapes a job: every alert and every panel of the dashboard has an answer.
//!
//! On a machine without Prometheus the test says so and passes; with `CI=true` it is compulsory.

use imgdelta_job::{Config, Job, Stop, StopPhase};
use imgdelta_registry::{Credentials, Proxies};
use imgdelta_testkit::{
    Blobs, Packing, TestImage, free_port, has, noise,
    pages::{text, top},
    registry::{RegistryBehaviour, TestRegistry},
    tar_of, wait_until,
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

/// Puts a version with a program that differs by a byte.
fn put(registry: &TestRegistry, repository: &str, number: u8) {
    let mut program = noise(2, 60_000);
    program[30_000] = number;
    let image = TestImage::new(vec![tar_of(&[("program", &program)])], Packing::Gzip);
    let mut blobs = Blobs::default();
    let root = image.store(&mut blobs);
    blobs.tag(root, &format!("v{number}"));
    registry.put_image(repository, &blobs);
}

/// Puts two versions, the second of which has another layer than its config promises: its task fails.
fn put_damaged(registry: &TestRegistry, repository: &str) {
    put(registry, repository, 1);
    let stream = tar_of(&[("program", b"other")]);
    let mut config = TestImage::new(vec![stream.clone()], Packing::Gzip).config();
    config["rootfs"]["diff_ids"][0] = format!("sha256:{}", "0".repeat(64)).into();
    let mut blobs = Blobs::default();
    let config = blobs.add_json("application/vnd.oci.image.config.v1+json", &config);
    let layer = blobs.add(Packing::Gzip.media_type(), Packing::Gzip.pack(&stream));
    let root = blobs.add_manifest(&config, &[layer]);
    blobs.tag(root, "v2");
    registry.put_image(repository, &blobs);
}

struct Prometheus {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    /// Starts it with the rules of deploy/, so that it scrapes a port.
    fn start(job: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rules = top().join("deploy/alerts.yaml");
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}\n\
             rule_files: [\"{}\"]\nscrape_configs:\n  - job_name: imgdelta\n    static_configs: \
             [{{targets: [\"127.0.0.1:{job}\"]}}]\n",
            fs::canonicalize(rules).unwrap().display()
        );
        fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        let port = free_port();
        let process = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, port, _directory: directory }
    }

    /// Asks its API. HTTP/1.0 has no chunks.
    fn ask(&self, path: &str) -> Option<Value> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        connection.write_all(format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// Returns the samples of a query; none before it serves.
    fn query(&self, query: &str) -> Option<Vec<Value>> {
        let mut encoded = String::new();
        for byte in query.bytes() {
            if byte.is_ascii_alphanumeric() {
                encoded.push(char::from(byte));
            } else {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        let answer = self.ask(&format!("/api/v1/query?query={encoded}"))?;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        Some(answer["data"]["result"].as_array().unwrap().clone())
    }
}

/// The queries of the dashboard, for all jobs.
fn panels() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana.json")).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap().replace("$job", ".*");
            queries.push((panel["title"].as_str().unwrap().to_owned(), query));
        }
    }
    queries
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_and_panel_has_an_answer_of_prometheus() {
    if !has(&["prometheus"]) {
        return;
    }
    let registry = TestRegistry::start(RegistryBehaviour::default());
    (1..=3).for_each(|number| put(&registry, "team/app", number));
    put_damaged(&registry, "team/damaged");
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().display();
    let text = format!(
        "[registry]\nhost = \"{}\"\n[queue]\nsqlite = \"{place}/queue.db\"\ntries = 1\n[budget]\n\
         scratch = \"{place}\"\n[serve]\nlisten = \"127.0.0.1:0\"\npoll = \"1s\"\n\
         [[rule]]\nrepositories = [\"team/*\"]\npreset = \"fast\"\n",
        registry.host()
    );
    let config = Config::parse(&text, "job.toml").unwrap();
    let job = Job::open(config, Credentials::none(), Proxies::none()).await.unwrap();
    let (stop, address) = (Stop::default(), Arc::new(Mutex::new(None)));
    let serving = {
        let (stop, address) = (stop.clone(), Arc::clone(&address));
        let listening = move |at: std::net::SocketAddr| *address.lock().unwrap() = Some(at.port());
        tokio::spawn(async move { job.serve(&stop, Arc::new(|_| ()), listening).await })
    };
    let checking = tokio::task::spawn_blocking(move || {
        wait_until("the service", LIMIT, || address.lock().unwrap().is_some());
        let port = address.lock().unwrap().unwrap();
        let prometheus = Prometheus::start(port);
        // Every panel has data: of two tasks, of failures, of requests, of scans.
        for (title, query) in panels() {
            let what = format!("data of {title}: {query}");
            wait_until(&what, LIMIT, || {
                prometheus.query(&query).is_some_and(|samples| !samples.is_empty())
            });
        }
        // Every rule was evaluated without a mistake, and a healthy job raises no alarm at once.
        let rules = prometheus.ask("/api/v1/rules").unwrap();
        let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
        let names: BTreeSet<&str> =
            rules.iter().map(|rule| rule["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), alerts().len(), "{names:?}");
        for rule in &rules {
            assert_eq!(rule["health"], "ok", "{rule}");
            let query = rule["query"].as_str().unwrap();
            let samples = prometheus.query(query).unwrap();
            let is_failed = rule["name"] == "ImgdeltaTasksFailed";
            assert_eq!(!samples.is_empty(), is_failed, "{rule}: {samples:?}");
        }
        (prometheus, rules)
    });
    let (prometheus, rules) = checking.await.unwrap();
    stop.request(StopPhase::Leaving);
    serving.await.unwrap().unwrap();
    // Without workers, one alert begins to wait.
    let gone = tokio::task::spawn_blocking(move || {
        let gone = rules.iter().find(|rule| rule["name"] == "ImgdeltaGone").unwrap();
        let query = gone["query"].as_str().unwrap();
        wait_until("the alert", LIMIT, || prometheus.query(query).unwrap().len() == 1);
    });
    gone.await.unwrap();
}

/// The names of the alerts of deploy/.
fn alerts() -> Vec<String> {
    let rules = text("deploy/alerts.yaml");
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

/// Each alert fires in some test of the rules, and is silent in some.
#[test]
fn every_alert_fires_when_it_should() {
    let tests = text("tests/deploy/alerts.test.yaml");
    for name in alerts() {
        assert!(tests.contains(&format!("- alertname: {name}\n")), "{name} fires in no test");
        let silent = format!("{{alertname: {name}, ");
        assert!(
            tests.contains(&silent) || name == "ImgdeltaBacklog",
            "{name} is silent in no test"
        );
    }
    if has(&["promtool"]) {
        let mut command = Command::new("promtool");
        command.args(["test", "rules", "tests/deploy/alerts.test.yaml"]).current_dir(top());
        let output = command.output().unwrap();
        let message = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{message}{}", String::from_utf8_lossy(&output.stderr));
    }
}

const LIMIT: Duration = Duration::from_secs(120);
