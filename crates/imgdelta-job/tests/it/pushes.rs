//! Pushes in quick succession: the newest version's deltas come next, those in between are not made, and
//! each blob is fetched once. `benches/job.py pushes` prints times.

use imgdelta_job::{
    Config, Event, Job, Stop, StopPhase,
    queue::{TaskFilter, TaskState},
};
use imgdelta_registry::{Credentials, Proxies};
use imgdelta_testkit::{
    Blobs, Packing, TestImage, eventually,
    http_client::notify,
    noise,
    registry::{RegistryBehaviour, RegistryFault, RequestGate, TestRegistry},
    tar_of,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Stores a version, and returns the digest of its own layer.
fn put(registry: &TestRegistry, number: u8) -> String {
    let mut program = noise(2, 60_000);
    program[30_000] = number;
    let layers = vec![tar_of(&[("shared", &noise(1, 30_000))]), tar_of(&[("program", &program)])];
    let mut blobs = Blobs::default();
    let root = TestImage::new(layers, Packing::Gzip).store(&mut blobs);
    blobs.tag(root, &format!("v{number}"));
    registry.put_image("team/app", &blobs);
    let manifest = registry.get("team/app", &format!("v{number}")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["layers"][1]["digest"].as_str().unwrap().to_owned()
}

/// A service with the versions v1 to v4, whose three deltas are made.
struct Scene {
    registry: TestRegistry,
    job: Arc<Job>,
    events: Arc<Mutex<Vec<String>>>,
    address: SocketAddr,
    stop: Stop,
    serving: tokio::task::JoinHandle<imgdelta::Result<()>>,
    _dir: tempfile::TempDir,
}

impl Scene {
    /// Starts the service; each answer takes `pause` until the three deltas are made.
    async fn new(pause: Duration) -> Self {
        let registry = TestRegistry::start(RegistryBehaviour::default());
        (1..=4).for_each(|number| drop(put(&registry, number)));
        registry.fault("*", "/v2/", usize::MAX, RegistryFault::Slow(pause));
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().display();
        let text = format!(
            "[registry]\nhost = \"{}\"\n[queue]\nsqlite = \"{place}/queue.db\"\n[budget]\n\
             scratch = \"{place}\"\nthreads = 1\n[serve]\nlisten = \"127.0.0.1:0\"\npoll = \"30d\"\n\
             settle = \"1ms\"\n[[rule]]\nrepositories = [\"team/*\"]\npreset = \"fast\"\n\
             keep = 3\nframes = false\n",
            registry.host()
        );
        let config = Config::parse(&text, "job.toml").unwrap();
        let job = Job::open(config, Credentials::none(), Proxies::none()).await.unwrap();
        let (stop, events) = (Stop::default(), Arc::new(Mutex::new(Vec::new())));
        let (send, receive) = tokio::sync::oneshot::channel();
        let serving = {
            let (job, stop, events) = (Arc::clone(&job), stop.clone(), Arc::clone(&events));
            let handler = Arc::new(move |event| {
                if let Event::Finished(report) = event {
                    let (task, outcome) = (&report.task, report.outcome.word());
                    let line = format!("{}>{} {outcome}", task.base_tag, task.target_tag);
                    events.lock().unwrap().push(line);
                }
            });
            let listening = |address| send.send(address).unwrap();
            tokio::spawn(async move { job.serve(&stop, handler, listening).await })
        };
        let address = receive.await.unwrap();
        let scene = Self { registry, job, events, address, stop, serving, _dir: dir };
        eventually("the first deltas", async || scene.ends().len() == 3).await;
        scene.registry.forget();
        scene
    }

    fn ends(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }

    /// Pushes v5, and returns a gate before which its first task waits.
    async fn push_held(&self) -> RequestGate {
        let (gate, layer) = (RequestGate::default(), put(&self.registry, 5));
        let held = RegistryFault::Held(gate.clone());
        self.registry.fault("GET", &format!("/blobs/{layer}"), 1, held);
        notify(self.address, "team/app", "v5");
        eventually("a running task", async || gate.has_arrived()).await;
        gate
    }

    async fn finish(self) -> Vec<String> {
        eventually("the last delta", async || self.ends().contains(&LAST.to_owned())).await;
        self.stop.request(StopPhase::Finishing);
        self.serving.await.unwrap().unwrap();
        self.events.lock().unwrap()[3..].to_vec()
    }
}

/// The last delta that the rule wants.
const LAST: &str = "v13>v16 published";

fn published(pairs: [&str; 3]) -> Vec<String> {
    pairs.map(|pair| format!("{pair} published")).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twelve_pushes_the_newest_is_next_and_each_blob_is_fetched_once() {
    let scene = Scene::new(Duration::ZERO).await;
    // The task of the first push waits for its layer until the others have come.
    let gate = scene.push_held().await;
    for number in 6..=16 {
        put(&scene.registry, number);
        notify(scene.address, "team/app", &format!("v{number}"));
    }
    let waiting = TaskFilter::all(99).state(TaskState::Waiting);
    let newest = imgdelta_testkit::sha256(&scene.registry.get("team/app", "v16").unwrap());
    eventually("the tasks of the newest version alone", async || {
        let tasks = scene.job.queue().list(&waiting).await.unwrap().tasks;
        let is_newest = tasks.iter().all(|task| task.key.ends_with(&newest));
        // One of them runs already if the first task was young enough to be abandoned.
        is_newest && [2, 3].contains(&tasks.len())
    })
    .await;
    let before = scene.ends().len();
    gate.open();
    eventually("the last delta", async || scene.ends().contains(&LAST.to_owned())).await;
    let requests = scene.registry.requests();
    let ends = scene.finish().await[before - 3..].to_vec();
    let (newest, others): (Vec<_>, Vec<_>) =
        ends.into_iter().partition(|line| line.ends_with(">v16 published"));
    assert_eq!(newest, published(["v15>v16", "v14>v16", "v13>v16"]), "the nearest way first");
    assert!(others.len() <= 1, "no task but the one that ran: {others:?}");

    let mut distinct = BTreeMap::new();
    let mut fetched = 0;
    for seen in requests {
        if seen.method == "GET" && seen.path.contains("/blobs/") {
            fetched += seen.sent_bytes;
            distinct.insert(seen.path, seen.sent_bytes);
        }
    }
    let distinct: usize = distinct.values().sum();
    assert!(2 * fetched <= 3 * distinct, "{fetched} bytes for {distinct} distinct ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_young_task_of_an_old_version_is_abandoned() {
    // The usual task takes many seconds; this one has just begun.
    let scene = Scene::new(Duration::from_millis(500)).await;
    let gate = scene.push_held().await;
    for number in 6..=16 {
        put(&scene.registry, number);
        notify(scene.address, "team/app", &format!("v{number}"));
    }
    // It ends although its layer does not come.
    let deltas = ["v15>v16", "v14>v16", "v13>v16"];
    eventually("the last delta", async || scene.ends().contains(&LAST.to_owned())).await;
    let tasks = scene.job.queue().list(&TaskFilter::all(99)).await.unwrap().tasks;
    let old = imgdelta_testkit::sha256(&scene.registry.get("team/app", "v5").unwrap());
    assert!(tasks.iter().all(|task| !task.key.ends_with(&old)), "withdrawn");
    gate.open();
    let mut ends = scene.finish().await;
    // Others may have ended between two pushes.
    ends.retain(|line| line.ends_with(">v16 published") || line.ends_with(">v5 published"));
    assert_eq!(ends, published(deltas));
}
