//! Pairs that receivers ask for: queued once, made, reported, learned; and the call that asks.

use imgdelta::Error;
use imgdelta_job::{
    Config, Job, RunOptions, Stop, StopPhase,
    pairs::{PairReport, PairState, image_name},
    queue::TaskFilter,
};
use imgdelta_registry::{Credentials, ManifestReference, Proxies, RepositoryName};
use imgdelta_testkit::{
    Blobs, Packing, TestImage, assert_valid,
    http_client::request,
    noise,
    postgres::PostgresServer,
    registry::{RegistryBehaviour, TestRegistry},
    sha256, tar_of,
};
use serde_json::Value;
use std::{io::Write, net::TcpStream, sync::Arc, time::Duration};

/// A registry with versions of one image, and a job that wants the delta to the newest from the one
/// before.
struct Scene {
    registry: TestRegistry,
    dir: tempfile::TempDir,
    /// The server of the queue, and its options; without one, the queue is a file.
    server: Option<(PostgresServer, String)>,
}

impl Scene {
    fn new(versions: u8) -> Self {
        let registry = TestRegistry::start(RegistryBehaviour::default());
        let scene = Self { registry, dir: tempfile::tempdir().unwrap(), server: None };
        (1..=versions).for_each(|number| scene.push(number));
        scene
    }

    /// Returns a scene for each kind of queue.
    fn each(versions: u8) -> Vec<Self> {
        let mut scenes = vec![Self::new(versions)];
        if let Some(server) = PostgresServer::start() {
            let options = server.database("q");
            scenes.push(Self { server: Some((server, options)), ..Self::new(versions) });
        }
        scenes
    }

    fn queue(&self) -> String {
        match &self.server {
            Some((_, options)) => format!("postgres = \"{options}\""),
            None => format!("sqlite = \"{}/queue.db\"", self.dir.path().display()),
        }
    }

    fn push(&self, number: u8) {
        let mut program = noise(2, 40_000);
        program[20_000] = number;
        let layers = vec![tar_of(&[("program", &program)])];
        let mut blobs = Blobs::default();
        let root = TestImage::new(layers, Packing::Gzip).store(&mut blobs);
        blobs.tag(root, &format!("v{number}"));
        self.registry.put_image("team/app", &blobs);
    }

    async fn job(&self, more: &str) -> Arc<Job> {
        let dir = self.dir.path().display();
        let text = format!(
            "[registry]\nhost = \"{}\"\n[queue]\n{}\npause = \"0s\"\n\
             tries = 1\n[budget]\nscratch = \"{dir}\"\nthreads = 1\n{more}\n\
             [[rule]]\nrepositories = [\"team/*\"]\npreset = \"fast\"\nkeep = 1\nframes = false\n",
            self.registry.host(),
            self.queue()
        );
        let config = Config::parse(&text, "job.toml").unwrap();
        Job::open(config, Credentials::none(), Proxies::none()).await.unwrap()
    }

    fn digest(&self, tag: &str) -> String {
        sha256(&self.registry.get("team/app", tag).unwrap())
    }
}

fn app() -> RepositoryName {
    "team/app".parse().unwrap()
}

fn image(text: &str) -> ManifestReference {
    image_name(text).unwrap()
}

async fn want(job: &Job, base: &str, target: &str) -> PairReport {
    let mut reports = job.want(&app(), &image(base), &image(target), None).await.unwrap();
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

async fn run(job: &Arc<Job>) {
    job.run(RunOptions::default(), &Stop::default(), Arc::new(|_| ())).await.unwrap();
}

async fn tasks(job: &Job) -> Vec<String> {
    let page = job.queue().list(&TaskFilter::all(100)).await.unwrap();
    page.tasks.into_iter().map(|task| task.key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_is_queued_once_made_and_ready() {
    for scene in Scene::each(3) {
        let job = scene.job("").await;
        let states = async || {
            let reports = job.readiness(&app(), &image("v3"), &[image("v1")]).await.unwrap();
            reports.iter().map(|report| report.state).collect::<Vec<_>>()
        };
        assert_eq!(states().await, [PairState::Absent]);
        let digest = scene.digest("v1");
        for base in ["v1", "v1", digest.as_str()] {
            let report = want(&job, base, "v3").await;
            assert_eq!((report.state, report.reason), (PairState::Queued, None));
        }
        let key = format!("team/app {digest} {}", scene.digest("v3"));
        assert_eq!(tasks(&job).await, [key]);
        run(&job).await;
        // That of the rule, and the requested one, which no scan withdraws.
        assert_eq!(tasks(&job).await.len(), 2);
        let report = want(&job, "v1", "v3").await;
        assert_eq!(report.state, PairState::Ready, "{report}");
        assert!(report.delta_bytes.unwrap() < report.pull_bytes.unwrap(), "{report}");
        assert_eq!(states().await, [PairState::Ready]);
        // By default a rollout needs the pairs of the rule and of requests.
        let all = job.readiness(&app(), &image("v3"), &[]).await.unwrap();
        let bases: Vec<String> =
            all.iter().map(|report| report.task.base.unwrap().to_string()).collect();
        assert_eq!(bases, [scene.digest("v2"), digest]);
        assert!(all.iter().all(|report| report.state == PairState::Ready));

        // A delta that somebody removed is made again.
        let artifact = report.artifact.unwrap().to_string();
        scene.registry.remove("team/app", &artifact);
        assert_eq!(states().await, [PairState::Absent]);
        assert_eq!(want(&job, "v1", "v3").await.state, PairState::Queued);
        run(&job).await;
        assert_eq!(want(&job, "v1", "v3").await.state, PairState::Ready);
        assert_eq!(want(&job, "v1", "v1").await.state, PairState::Ready);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_is_an_error_or_refused_with_its_reason() {
    let scene = Scene::new(2);
    let job = scene.job("").await;
    let asked = async |repository: &str, base: &str, target: &str| {
        job.want(&repository.parse().unwrap(), &image(base), &image(target), None).await
    };
    let error = asked("other/app", "v1", "v2").await.unwrap_err();
    assert!(error.to_string().contains("no rule of the configuration"), "{error}");
    let error = asked("team/app", "v1", "v9").await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { what, .. } if what == "image v9"), "{error}");
    let platform = "linux/arm64".parse().unwrap();
    let error = job.want(&app(), &image("v1"), &image("v2"), Some(&platform)).await.unwrap_err();
    assert!(error.to_string().contains("linux/arm64"), "{error}");
    assert!(tasks(&job).await.is_empty());

    // Another image, for which a delta saves nothing.
    let layers = vec![tar_of(&[("other", &noise(9, 40_000))])];
    let mut blobs = Blobs::default();
    let root = TestImage::new(layers, Packing::Gzip).store(&mut blobs);
    blobs.tag(root, "other");
    scene.registry.put_image("team/app", &blobs);
    assert_eq!(want(&job, "v1", "other").await.state, PairState::Queued);
    run(&job).await;
    let report = want(&job, "v1", "other").await;
    assert_eq!(report.state, PairState::Refused, "{report}");
    assert!(report.reason.unwrap().contains("saves too little"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_version_has_a_delta_from_the_versions_that_receivers_have() {
    for scene in Scene::each(3) {
        let job = scene.job("").await;
        want(&job, "v1", "v3").await;
        run(&job).await;
        scene.push(4);
        run(&job).await;
        let reports =
            job.readiness(&app(), &image("v4"), &[image("v1"), image("v3")]).await.unwrap();
        assert!(reports.iter().all(|report| report.state == PairState::Ready), "{reports:?}");
        // A rollout needs it without naming the version.
        let reports = job.readiness(&app(), &image("v4"), &[]).await.unwrap();
        let bases: Vec<String> =
            reports.iter().map(|report| report.task.base.unwrap().to_string()).collect();
        assert_eq!(bases, [scene.digest("v3"), scene.digest("v1")]);
        // Nobody has v2.
        let reports = job.readiness(&app(), &image("v4"), &[image("v2")]).await.unwrap();
        assert_eq!(reports[0].state, PairState::Absent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_are_bounded() {
    for scene in Scene::each(12) {
        let job = scene.job("").await;
        let mut refused = 0;
        for base in 1..=12 {
            for target in (1..=12).filter(|target| *target != base) {
                let report = want(&job, &format!("v{base}"), &format!("v{target}")).await;
                match report.state {
                    PairState::Queued => assert_eq!(refused, 0),
                    PairState::Refused => refused += 1,
                    state => panic!("{state:?}"),
                }
            }
        }
        assert_eq!(refused, 12 * 11 - 100);
        // Those that wait may be asked for again.
        assert_eq!(want(&job, "v1", "v2").await.state, PairState::Queued);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_one_process_is_carried_out_by_another() {
    for scene in Scene::each(3) {
        let serving = scene.job("[serve]\nlisten = \"127.0.0.1:0\"\npoll = \"30d\"").await;
        let asking = scene.job("").await;
        let stop = Stop::default();
        let service = {
            let stop = stop.clone();
            tokio::spawn(async move { serving.serve(&stop, Arc::new(|_| ()), |_| ()).await })
        };
        let mut report = want(&asking, "v1", "v3").await;
        let started = std::time::Instant::now();
        while report.state.is_open() && started.elapsed() < Duration::from_secs(120) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            report = want(&asking, "v1", "v3").await;
        }
        assert_eq!(report.state, PairState::Ready, "{report}");
        stop.request(StopPhase::Finishing);
        service.await.unwrap().unwrap();
        // The pair of the rule, and this one.
        assert_eq!(tasks(&asking).await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_of_a_service_is_authorised_bounded_and_the_same_each_time() {
    for scene in Scene::each(2) {
        let secret = scene.dir.path().join("secret");
        std::fs::write(&secret, "hush\n").unwrap();
        let more =
            format!("[serve]\nlisten = \"127.0.0.1:0\"\nsecret-file = \"{}\"", secret.display());
        let job = scene.job(&more).await;
        let stop = Stop::default();
        let (sender, address) = tokio::sync::oneshot::channel();
        let serving = {
            let (job, stop) = (Arc::clone(&job), stop.clone());
            tokio::spawn(async move {
                job.serve(&stop, Arc::new(|_| ()), |address| sender.send(address).unwrap()).await
            })
        };
        let address = address.await.unwrap();
        let ask = |method: &'static str, head: &'static str, body: String| async move {
            tokio::task::spawn_blocking(move || {
                request(address, &format!("{method} /pairs"), head, &body)
            })
            .await
            .unwrap()
        };
        let secret = "Authorization: Bearer hush\r\n";
        let pair = |base: &str, target: &str| {
            format!(r#"{{"repository":"team/app","base":"{base}","target":"{target}"}}"#)
        };
        scene.registry.forget();
        let wrong = "Authorization: Bearer husk\r\n";
        for (method, head, body, status) in [
            ("POST", "", pair("v2", "v1"), 401),
            ("POST", wrong, pair("v2", "v1"), 401),
            ("GET", secret, String::new(), 405),
            ("POST", secret, "{}".to_owned(), 400),
            ("POST", secret, pair("v2", "../v1"), 400),
            ("POST", secret, pair("v2", &"x".repeat(5_000)), 413),
        ] {
            assert_eq!(ask(method, head, body.clone()).await.0, status, "{method} {head} {body}");
        }
        let (status, body) = ask("POST", secret, pair("v2", "v9")).await;
        assert_eq!(status, 404);
        assert!(body.contains("image v9"), "{body}");
        let state = async || -> Value {
            let (status, body) = ask("POST", secret, pair("v2", "v1")).await;
            assert_eq!(status, 200, "{body}");
            let document: Value = serde_json::from_str(&body).unwrap();
            assert_valid(&document, "job-pairs");
            document["pairs"][0].clone()
        };
        let first = state().await;
        assert!(
            ["queued", "making", "ready"].contains(&first["state"].as_str().unwrap()),
            "{first}"
        );
        let mut last = first;
        for _ in 0..1_200 {
            if last["state"] == "ready" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            last = state().await;
        }
        assert_eq!(last["state"], "ready", "{last}");
        assert!(
            last["delta_bytes"].as_u64().unwrap() > 0 && last["artifact"].is_string(),
            "{last}"
        );

        // Eight requests that wait for their bodies have all places; another is refused until they leave.
        let hold = || {
            let mut connection = TcpStream::connect(address).unwrap();
            write!(
                connection,
                "POST /pairs HTTP/1.1\r\nHost: job\r\nContent-Length: 9\r\n{secret}\r\n"
            )
            .unwrap();
            connection
        };
        let mut held: Vec<TcpStream> = (0..8).map(|_| hold()).collect();
        let mut last = 0;
        for _ in 0..40 {
            last = ask("POST", secret, pair("v2", "v1")).await.0;
            if last == 503 {
                break;
            }
            // This request had the place of one of them.
            held.push(hold());
        }
        assert_eq!(last, 503);
        drop(held);
        for _ in 0..200 {
            last = ask("POST", secret, pair("v2", "v1")).await.0;
            if last == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(last, 200);
        stop.request(StopPhase::Leaving);
        serving.await.unwrap().unwrap();
    }
}
