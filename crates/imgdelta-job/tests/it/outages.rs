//! Outages of the database and the registry, at each moment of a task: nothing is made twice, every outcome
//! arrives, and the service goes on.

use imgdelta_job::{
    Config, Event, Job, Stop, StopPhase,
    queue::{ListedTask, PostgresQueue, SqliteQueue, TaskAdmin, TaskFilter, TaskState},
};
use imgdelta_registry::{
    Client, ClientOptions, Credentials, Proxies, Repository, artifact::ARTIFACT_TYPE,
};
use imgdelta_testkit::{
    Blobs, Link, LinkState, Packing, TestImage, WAIT_LIMIT, eventually, noise,
    postgres::PostgresServer,
    registry::{RegistryBehaviour, RegistryFault, RequestGate, TestRegistry},
    sha256, tar_of,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// A registry with three versions behind a link, and a directory. The rule wants two deltas.
struct Scene {
    registry: TestRegistry,
    link: Link,
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let registry = TestRegistry::start(RegistryBehaviour::default());
        for number in 1..=3_u8 {
            let mut program = noise(2, 60_000);
            program[30_000] = number;
            let layers = vec![tar_of(&[("shared", &noise(1, 30_000))]), tar_of(&[("p", &program)])];
            let mut blobs = Blobs::default();
            let root = TestImage::new(layers, Packing::Gzip).store(&mut blobs);
            blobs.tag(root, &format!("v{number}"));
            registry.put_image("team/app", &blobs);
        }
        let link = Link::to(registry.host().parse().unwrap());
        Self { registry, link, dir: tempfile::tempdir().unwrap() }
    }

    fn sqlite(&self) -> String {
        format!("sqlite = \"{}/queue.db\"", self.dir.path().display())
    }

    /// Starts a service that uses this queue; `lease` is that of its tasks.
    fn start(&self, queue: &str, lease: &str) -> Service {
        let text = format!(
            "[registry]\nhost = \"{}\"\n[queue]\n{queue}\nlease = \"{lease}\"\npause = \"0s\"\n\
             [budget]\nscratch = \"{}\"\nthreads = 1\n[scan]\nbusy = 0\n[serve]\n\
             listen = \"127.0.0.1:0\"\npoll = \"2s\"\n[[rule]]\nrepositories = [\"team/*\"]\n\
             preset = \"fast\"\nkeep = 2\nframes = false\n",
            self.link.address(),
            self.dir.path().display()
        );
        let config = Config::parse(&text, "job.toml").unwrap();
        let (stop, events) = (Stop::default(), Arc::new(Mutex::new(Vec::new())));
        let serving = {
            let (stop, events) = (stop.clone(), Arc::clone(&events));
            let handler = Arc::new(move |event| events.lock().unwrap().push(event));
            tokio::spawn(async move {
                let (credentials, proxies) = (Credentials::none(), Proxies::none());
                let job = Job::open_patiently(config, credentials, proxies, &stop).await?;
                job.serve(&stop, handler, |_| ()).await
            })
        };
        Service { stop, events, serving }
    }

    fn digest(&self, tag: &str) -> String {
        sha256(&self.registry.get("team/app", tag).unwrap())
    }

    /// Returns the last layer of a tag's image.
    fn layer(&self, tag: &str) -> String {
        let document = self.registry.get("team/app", tag).unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        let layers = document["layers"].as_array().unwrap();
        layers.last().unwrap()["digest"].as_str().unwrap().to_owned()
    }

    /// Asserts that the registry lists each delta to the newest version once.
    async fn assert_deltas(&self, row: &str) {
        let client = Client::new(ClientOptions::default());
        let host = self.registry.host();
        let repository = Repository::new(&client, &host, &"team/app".parse().unwrap());
        let target = self.digest("v3").parse().unwrap();
        let listed = repository.referrers(&target, ARTIFACT_TYPE).await.unwrap();
        let mut bases: Vec<String> =
            listed.iter().map(|entry| entry.annotations["org.imgdelta.base"].clone()).collect();
        bases.sort();
        let mut wanted = [self.digest("v1"), self.digest("v2")];
        wanted.sort();
        assert_eq!(bases, wanted, "{row}");
    }

    /// Returns how often each manifest was pushed.
    fn pushes(&self) -> Vec<usize> {
        let mut pushes: BTreeMap<String, usize> = BTreeMap::new();
        for seen in self.registry.requests() {
            if seen.method == "PUT" && seen.path.contains("/manifests/") && seen.status == 201 {
                *pushes.entry(seen.path).or_default() += 1;
            }
        }
        pushes.into_values().collect()
    }
}

/// A running service.
struct Service {
    stop: Stop,
    events: Arc<Mutex<Vec<Event>>>,
    serving: JoinHandle<imgdelta::Result<()>>,
}

impl Service {
    /// Returns the outcomes of tasks so far, sorted.
    fn outcomes(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let finished = events.iter().filter_map(|event| match event {
            Event::Finished(report) => {
                let (task, outcome) = (&report.task, report.outcome.word());
                Some(format!("{}>{} {outcome}", task.base_tag, task.target_tag))
            }
            _ => None,
        });
        let mut outcomes: Vec<String> = finished.collect();
        outcomes.sort();
        outcomes
    }

    /// Returns the ends of tasks so far: each pair once, if nothing is done twice.
    fn ends(&self) -> Vec<String> {
        let ends = self.outcomes();
        let ends = ends.iter().filter_map(|line| line.split_once(' '));
        ends.filter(|(_, outcome)| matches!(*outcome, "published" | "there"))
            .map(|(pair, _)| pair.to_owned())
            .collect()
    }

    /// Waits for both deltas, and stops the service.
    async fn finish(self, row: &str) -> Vec<String> {
        let deadline = Instant::now() + WAIT_LIMIT;
        while self.ends().len() < 2 {
            assert!(!self.serving.is_finished(), "{row}: the service ended");
            assert!(Instant::now() < deadline, "{row}: {:?}", self.events.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.stop.request(StopPhase::Finishing);
        let outcomes = self.outcomes();
        assert_eq!(self.ends(), ["v1>v3", "v2>v3"], "{row}: {outcomes:?}");
        self.serving.await.unwrap().unwrap();
        outcomes
    }
}

fn assert_done(tasks: &[ListedTask], row: &str) {
    let states: Vec<TaskState> = tasks.iter().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Done; 2], "{row}: {tasks:?}");
}

async fn tasks_in(options: &str, host: &str) -> Vec<ListedTask> {
    let queue = PostgresQueue::connect(&options.parse().unwrap(), &[], None, host).await.unwrap();
    queue.list(&TaskFilter::all(9)).await.unwrap().tasks
}

/// The moment at which an outage begins.
#[derive(Clone, Copy, Debug)]
enum Moment {
    BeforeTheStart,
    DuringTheScan,
    WhileALayerIsFetched,
    WhileADeltaIsPublished,
}

const MOMENTS: [Moment; 4] = [
    Moment::BeforeTheStart,
    Moment::DuringTheScan,
    Moment::WhileALayerIsFetched,
    Moment::WhileADeltaIsPublished,
];

impl Moment {
    /// Returns a gate that holds the request of this moment.
    fn gate(self, scene: &Scene) -> Option<RequestGate> {
        let (method, path) = match self {
            Self::BeforeTheStart => return None,
            Self::DuringTheScan => ("GET", "/tags/list".to_owned()),
            Self::WhileALayerIsFetched => ("GET", format!("/blobs/{}", scene.layer("v3"))),
            Self::WhileADeltaIsPublished => ("PUT", "/manifests/".to_owned()),
        };
        let gate = RequestGate::default();
        scene.registry.fault(method, &path, 1, RegistryFault::Held(gate.clone()));
        Some(gate)
    }
}

/// Runs a service through an outage of a link at a moment.
async fn survive(
    scene: &Scene,
    queue: &str,
    link: &Link,
    state: LinkState,
    moment: Moment,
) -> Service {
    let gate = moment.gate(scene);
    let service = if let Some(gate) = gate {
        let service = scene.start(queue, "8s");
        eventually("the moment", async || gate.has_arrived()).await;
        link.set(state);
        gate.open();
        service
    } else {
        link.set(state);
        scene.start(queue, "8s")
    };
    // Longer than the queue waits for an answer, shorter than the lease.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!service.serving.is_finished(), "{state:?} {moment:?}: the service ended");
    link.set(LinkState::Open);
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_or_silently_cut_loses_and_doubles_nothing() {
    let Some(server) = PostgresServer::start_on_port(None) else { return };
    for (n, state) in [LinkState::Closed, LinkState::Silent].into_iter().enumerate() {
        for (m, moment) in MOMENTS.into_iter().enumerate() {
            let row = format!("database {state:?} {moment:?}");
            let (scene, database) = (Scene::new(), format!("q{n}{m}"));
            server.database(&database);
            let link = Link::to(server.address());
            let port = link.address().port();
            let queue = format!(
                "postgres = \"host=127.0.0.1 port={port} user=imgdelta dbname={database}\""
            );
            let service = survive(&scene, &queue, &link, state, moment).await;
            let outcomes = service.finish(&row).await;
            assert_eq!(outcomes, ["v1>v3 published", "v2>v3 published"], "{row}");
            assert_eq!(scene.pushes(), [1, 1], "{row}");
            scene.assert_deltas(&row).await;
            let host = scene.link.address().to_string();
            let tasks = tasks_in(&server.options(&database), &host).await;
            assert_done(&tasks, &row);
            let tries: Vec<u32> = tasks.iter().map(|task| task.tries).collect();
            assert_eq!(tries, [1, 1], "{row}: the lease did not end");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_or_silently_cut_loses_and_doubles_nothing() {
    for state in [LinkState::Closed, LinkState::Silent] {
        for moment in MOMENTS {
            let row = format!("registry {state:?} {moment:?}");
            let scene = Scene::new();
            let service = survive(&scene, &scene.sqlite(), &scene.link, state, moment).await;
            service.finish(&row).await;
            scene.assert_deltas(&row).await;
            let (file, host) = (scene.dir.path().join("queue.db"), scene.link.address());
            let queue = SqliteQueue::open(&file, &host.to_string()).unwrap();
            assert_done(&queue.list(&TaskFilter::all(9)).await.unwrap().tasks, &row);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_takes_the_place_of_the_database_continues() {
    for is_hot in [false, true] {
        let row = if is_hot { "read-only until promoted" } else { "refuses until promoted" };
        let Some(primary) = PostgresServer::start_on_port(None) else { return };
        primary.database("q");
        let Some(standby) = primary.start_standby(is_hot) else { return };
        let (scene, link) = (Scene::new(), Link::to(primary.address()));
        let gate = Moment::WhileALayerIsFetched.gate(&scene).unwrap();
        let port = link.address().port();
        let queue = format!("postgres = \"host=127.0.0.1 port={port} user=imgdelta dbname=q\"");
        let service = scene.start(&queue, "8s");
        eventually("a running task", async || gate.has_arrived()).await;
        // The standby follows within this time, or misses the lease; both are well.
        tokio::time::sleep(Duration::from_millis(500)).await;
        primary.crash();
        link.lead_to(standby.address());
        gate.open();
        eventually("a delta in the registry", async || !scene.pushes().is_empty()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        standby.promote();
        service.finish(row).await;
        scene.assert_deltas(row).await;
        let host = scene.link.address().to_string();
        assert_done(&tasks_in(&standby.options("q"), &host).await, row);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_survives_a_crash_of_postgresql_and_makes_nothing_twice() {
    let Some(server) = PostgresServer::start() else { return };
    let options = server.database("q");
    let scene = Scene::new();
    let gate = Moment::WhileALayerIsFetched.gate(&scene).unwrap();
    // The service starts before the server.
    server.crash();
    let service = scene.start(&format!("postgres = \"{options}\""), "120s");
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.restart();
    // The server crashes while a task waits for a layer.
    eventually("a running task", async || gate.has_arrived()).await;
    server.crash();
    gate.open();
    eventually("a delta in the registry", async || !scene.pushes().is_empty()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!service.serving.is_finished());
    server.restart();
    let outcomes = service.finish("crash").await;
    assert_eq!(outcomes, ["v1>v3 published", "v2>v3 published"]);
    let tasks = tasks_in(&options, &scene.link.address().to_string()).await;
    let states: Vec<_> = tasks.iter().map(|task| (task.state, task.tries)).collect();
    assert_eq!(states, [(TaskState::Done, 1), (TaskState::Done, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_registry_costs_no_lease_and_no_attempt() {
    let scene = Scene::new();
    // Longer than the lease in all.
    let slow = RegistryFault::Slow(Duration::from_millis(250));
    scene.registry.fault("*", "/v2/", usize::MAX, slow);
    let service = scene.start(&scene.sqlite(), "1s");
    let outcomes = service.finish("slow").await;
    assert_eq!(outcomes, ["v1>v3 published", "v2>v3 published"]);
    let (file, host) = (scene.dir.path().join("queue.db"), scene.link.address());
    let queue = SqliteQueue::open(&file, &host.to_string()).unwrap();
    let tasks = queue.list(&TaskFilter::all(9)).await.unwrap().tasks;
    assert_eq!(tasks.iter().map(|task| task.tries).collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_asks_to_wait_is_not_asked_meanwhile() {
    let scene = Scene::new();
    let gate = Moment::WhileALayerIsFetched.gate(&scene).unwrap();
    let service = scene.start(&scene.sqlite(), "60s");
    eventually("a running task", async || gate.has_arrived()).await;
    let busy = RegistryFault::Status(429, vec![("Retry-After", "5".to_owned())]);
    scene.registry.fault("*", "/v2/team/app/", 1, busy);
    let refused = || {
        let requests = scene.registry.requests();
        requests.iter().position(|seen| seen.status == 429).map(|at| requests.len() - at)
    };
    gate.open();
    eventually("a refusal", async || refused().is_some()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Requests that were under way when the refusal came; none follows.
    let under_way = refused().unwrap();
    assert!(under_way <= 3, "{under_way}");
    let outcomes = service.finish("429").await;
    assert_eq!(outcomes, ["v1>v3 published", "v2>v3 published"]);
    scene.assert_deltas("429").await;
    let (file, host) = (scene.dir.path().join("queue.db"), scene.link.address());
    let queue = SqliteQueue::open(&file, &host.to_string()).unwrap();
    let tasks = queue.list(&TaskFilter::all(9)).await.unwrap().tasks;
    assert_eq!(tasks.iter().map(|task| task.tries).collect::<Vec<_>>(), [1, 1]);
}
