//! Scans of many repositories: requests of the first scan and of later ones, of one process and of
//! three, and a push in the middle.
//!
//! `IMGDELTA_REPOSITORIES=10000` runs the long form. `benches/job.py scans` prints times and memory, with
//! the registry in another process.

use imgdelta_job::{Config, EventHandler, Job, RunOptions, Stop, StopPhase};
use imgdelta_registry::{Credentials, Proxies};
use imgdelta_testkit::{
    Blobs, Packing, TestImage, eventually,
    http_client::notify,
    registry::{RegistryBehaviour, RegistryFault, RequestRecord, TestRegistry},
    tar_of,
};
use std::{sync::Arc, time::Duration};

const TAGS: usize = 5;
/// Versions that the rule needs: three bases and the newest.
const NEEDED: usize = 4;

fn put(registry: &TestRegistry, repository: usize, tag: usize) {
    let layer = tar_of(&[("version", format!("{repository} {tag}").as_bytes())]);
    let image = TestImage::new(vec![layer], Packing::Plain);
    let mut blobs = Blobs::default();
    let root = image.store(&mut blobs);
    blobs.tag(root, &format!("v{tag}"));
    registry.put_image(&format!("team/app{repository:05}"), &blobs);
}

struct Scene {
    registry: TestRegistry,
    dir: tempfile::TempDir,
    repositories: usize,
}

impl Scene {
    fn new(repositories: usize) -> Self {
        let behaviour = RegistryBehaviour { page_entries: 1000, ..RegistryBehaviour::default() };
        let registry = TestRegistry::start(behaviour);
        for repository in 0..repositories {
            for tag in 1..=TAGS {
                put(&registry, repository, tag);
            }
        }
        let scene = Self { registry, dir: tempfile::tempdir().unwrap(), repositories };
        scene.slow_down();
        scene
    }

    /// Each answer takes 5 ms.
    fn slow_down(&self) {
        let slow = RegistryFault::Slow(Duration::from_millis(5));
        self.registry.fault("*", "/v2/", usize::MAX, slow);
    }

    async fn job(&self, rule: &str, more: &str) -> Arc<Job> {
        let dir = self.dir.path().display();
        let text = format!(
            "[registry]\nhost = \"{}\"\n[queue]\nsqlite = \"{dir}/queue.db\"\n\
             [budget]\nscratch = \"{dir}\"\n{more}\n[[rule]]\nrepositories = [\"team/*\"]\n{rule}",
            self.registry.host()
        );
        let config = Config::parse(&text, "job.toml").unwrap();
        Job::open(config, Credentials::none(), Proxies::none()).await.unwrap()
    }

    /// Returns the requests so far, and forgets them.
    fn requests(&self) -> Vec<RequestRecord> {
        let mut requests = self.registry.requests();
        self.registry.forget();
        self.slow_down();
        requests.retain(|seen| seen.path != "/v2/");
        requests
    }
}

fn count(requests: &[RequestRecord], end: &str) -> usize {
    requests.iter().filter(|seen| seen.path.ends_with(end)).count()
}

fn silent() -> EventHandler {
    Arc::new(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_make_the_requests_of_one_and_later_scans_almost_none() {
    let variable = std::env::var("IMGDELTA_REPOSITORIES").ok();
    let repositories = variable.map_or(30, |number| number.parse().expect("a number"));
    let scene = Scene::new(repositories);
    let pages = repositories.div_ceil(1000);

    // No worker takes a task: this is about scans.
    let job = scene.job("", "").await;
    job.queue().pause("test", "scans only").await.unwrap();
    let (stop, mut services) = (Stop::default(), tokio::task::JoinSet::new());
    for _ in 0..3 {
        let serve = "[serve]\nlisten = \"127.0.0.1:0\"\npoll = \"30d\"";
        let (job, stop) = (scene.job("", serve).await, stop.clone());
        services.spawn(async move { job.serve(&stop, silent(), |_| ()).await });
    }
    let wanted = (repositories * (NEEDED - 1)) as u64;
    eventually("all tasks", async || job.queue().counts().await.unwrap().waiting == wanted).await;
    stop.request(StopPhase::Finishing);
    while let Some(ended) = services.join_next().await {
        ended.unwrap().unwrap();
    }
    let first = scene.requests();
    // The list of tags; manifest and config of each version.
    assert_eq!(first.len(), repositories * (1 + 2 * NEEDED) + pages, "of three processes");

    let dry = RunOptions::default().dry_run(true);
    let again = scene.job("immutable-tags = true\n", "").await;
    again.run(dry, &Stop::default(), silent()).await.unwrap();
    assert_eq!(scene.requests().len(), repositories + pages, "tags only");
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_repositories_are_scanned_between_the_scans_of_all() {
    let scene = Scene::new(2);
    let scan = async || {
        let job = scene.job("", "").await;
        job.queue().pause("test", "scans only").await.unwrap();
        job.run(RunOptions::default(), &Stop::default(), silent()).await.unwrap();
    };
    scan().await;
    put(&scene.registry, 1, 6);
    scan().await;
    scene.requests();
    // Two processes; a busy repository is scanned once in a second by one of them.
    let (stop, mut services) = (Stop::default(), tokio::task::JoinSet::new());
    for _ in 0..2 {
        let serve = "[serve]\nlisten = \"127.0.0.1:0\"\npoll = \"5s\"";
        let (job, stop) = (scene.job("", serve).await, stop.clone());
        services.spawn(async move { job.serve(&stop, silent(), |_| ()).await });
    }
    let lists = |repository: &str| {
        count(&scene.registry.requests(), &format!("team/{repository}/tags/list"))
    };
    eventually("scans of the busy one", async || lists("app00001") >= lists("app00000") + 4).await;
    let scans_of_all = lists("app00000");
    // Five for each scan of all, whose own is one of two at once.
    assert!(lists("app00001") <= 6 * (scans_of_all + 1), "{scans_of_all}");
    stop.request(StopPhase::Finishing);
    while let Some(ended) = services.join_next().await {
        ended.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_does_not_wait_for_the_scan_that_runs() {
    let scene = Scene::new(30);
    let job = scene.job("", "").await;
    job.queue().pause("test", "scans only").await.unwrap();
    // A scan that takes a minute or more: one request in 150 ms.
    let options = "[scan]\nrate = 7\n[serve]\nlisten = \"127.0.0.1:0\"\nsettle = \"1ms\"";
    let serving = scene.job("", options).await;
    let (stop, (send, receive)) = (Stop::default(), tokio::sync::oneshot::channel());
    let service = {
        let stop = stop.clone();
        let listening = |address| send.send(address).unwrap();
        tokio::spawn(async move { serving.serve(&stop, silent(), listening).await })
    };
    let address = receive.await.unwrap();
    eventually("a first task", async || job.queue().counts().await.unwrap().waiting > 0).await;
    // The last repository by name, which the scan has not reached.
    put(&scene.registry, 29, 9);
    notify(address, "team/app00029", "v9");
    let is_queued = async || {
        let filter = imgdelta_job::queue::TaskFilter::all(9).repository("team/app00029");
        !job.queue().list(&filter).await.unwrap().tasks.is_empty()
    };
    eventually("tasks of the push", is_queued).await;
    let lists = count(&scene.requests(), "/tags/list");
    assert!(lists < scene.repositories, "the scan is not over: {lists}");
    stop.request(StopPhase::Finishing);
    service.await.unwrap().unwrap();
}
