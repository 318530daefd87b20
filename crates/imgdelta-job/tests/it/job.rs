//! A job with a registry in this process: deltas made, published, skipped, removed.

use imgdelta_job::{
    Config, Event, EventHandler, Job, RunOptions, Stop, StopPhase,
    queue::{TaskCounts, TaskFilter, TaskState},
    report::TaskOutcome,
};
use imgdelta_registry::{
    Client, ClientOptions, Credentials, Proxies, Repository, artifact::ARTIFACT_TYPE, fallback_tag,
};
use imgdelta_testkit::{
    Blobs, Packing, TestImage, eventually,
    http_client::{notification, request},
    noise,
    registry::{RegistryBehaviour, RegistryFault, TestRegistry},
    tar_of,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpStream,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A version: a shared layer, and one with a program that differs by a byte.
fn version(number: u8, architecture: &str) -> TestImage {
    let mut program = noise(2, 60_000);
    program[30_000] = number;
    let layers = vec![
        tar_of(&[("shared", &noise(1, 30_000))]),
        tar_of(&[("program", &program), ("version", &[number])]),
    ];
    TestImage::new(layers, Packing::Gzip).platform("linux", architecture)
}

fn put(registry: &TestRegistry, repository: &str, tag: &str, image: &TestImage) -> String {
    let mut blobs = Blobs::default();
    let root = image.store(&mut blobs);
    blobs.tag(root.clone(), tag);
    registry.put_image(repository, &blobs);
    root["digest"].as_str().unwrap().to_owned()
}

struct Scene {
    registry: TestRegistry,
    dir: tempfile::TempDir,
}

impl Scene {
    fn new(behaviour: RegistryBehaviour) -> Self {
        let registry = TestRegistry::start(behaviour);
        for number in 1..=3 {
            put(&registry, "team/app", &format!("v{number}"), &version(number, "amd64"));
        }
        Self { registry, dir: tempfile::tempdir().unwrap() }
    }

    fn config(&self, rule: &str, more: &str) -> Config {
        let dir = self.dir.path().display();
        let text = format!(
            "[registry]\nhost = \"{}\"\n[queue]\nsqlite = \"{dir}/queue.db\"\npause = \"0s\"\n\
             tries = 2\n[budget]\nscratch = \"{dir}\"\nthreads = 1\nparallel = 2\n{more}\n\
             [[rule]]\nrepositories = [\"team/*\"]\npreset = \"fast\"\n{rule}",
            self.registry.host()
        );
        Config::parse(&text, "job.toml").unwrap()
    }

    async fn job(&self, rule: &str, more: &str) -> Arc<Job> {
        Job::open(self.config(rule, more), Credentials::none(), Proxies::none()).await.unwrap()
    }

    /// Returns the bases of the deltas to a tag's image.
    async fn bases(&self, tag: &str) -> Vec<String> {
        let document = self.registry.get("team/app", tag).unwrap();
        let digest = imgdelta_testkit::sha256(&document).parse().unwrap();
        let client = Client::new(ClientOptions::default());
        let repository =
            Repository::new(&client, &self.registry.host(), &"team/app".parse().unwrap());
        let mut bases = Vec::new();
        for found in repository.referrers(&digest, ARTIFACT_TYPE).await.unwrap() {
            let artifact = found.descriptor.digest.to_string();
            let document = self.registry.get("team/app", &artifact).unwrap();
            let document: Value = serde_json::from_slice(&document).unwrap();
            bases.push(document["annotations"]["org.imgdelta.base"].as_str().unwrap().to_owned());
        }
        bases.sort();
        bases
    }

    /// Returns the artifacts with frames of an image.
    async fn frames(&self, digest: &str) -> Vec<String> {
        let client = Client::new(ClientOptions::default());
        let repository =
            Repository::new(&client, &self.registry.host(), &"team/app".parse().unwrap());
        let artifacts = repository.frames_artifacts(&digest.parse().unwrap()).await.unwrap();
        artifacts.iter().map(ToString::to_string).collect()
    }

    fn digest(&self, tag: &str) -> String {
        imgdelta_testkit::sha256(&self.registry.get("team/app", tag).unwrap())
    }

    fn digests(&self, tags: &[&str]) -> Vec<String> {
        let digests: BTreeSet<String> = tags.iter().map(|tag| self.digest(tag)).collect();
        digests.into_iter().collect()
    }
}

fn handler() -> (EventHandler, Arc<Mutex<Vec<Event>>>) {
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let kept = Arc::clone(&events);
    (Arc::new(move |event| kept.lock().unwrap().push(event)), events)
}

/// Runs a job, and returns its events in words.
async fn run(job: &Arc<Job>, options: RunOptions) -> Vec<String> {
    let (handler, events) = handler();
    job.run(options, &Stop::default(), handler).await.unwrap();
    words(&events)
}

fn words(events: &Mutex<Vec<Event>>) -> Vec<String> {
    let mut words: Vec<String> = events.lock().unwrap().iter().map(word).collect();
    words.sort();
    words
}

fn word(event: &Event) -> String {
    match event {
        Event::Wanted(task) => format!("wanted {}>{}", task.base_tag, task.target_tag),
        Event::Finished(report) => {
            let (task, outcome) = (&report.task, report.outcome.word());
            format!("{outcome} {}>{}", task.base_tag, task.target_tag)
        }
        Event::Stray(_) => "stray".into(),
        Event::Removed(_) => "removed".into(),
        Event::Warning(_) => "warning".into(),
        Event::Trouble(name, _) => format!("trouble {name}"),
        _ => "?".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_are_made_once_in_any_number_of_runs() {
    for behaviour in [RegistryBehaviour::default(), RegistryBehaviour::without_referrers()] {
        let scene = Scene::new(behaviour);
        let job = scene.job("keep = 2\n", "").await;
        let dry = run(&job, RunOptions::default().dry_run(true)).await;
        assert_eq!(dry, ["wanted v1>v3", "wanted v2>v3"]);
        assert_eq!(scene.bases("v3").await, [""; 0]);
        let made = run(&job, RunOptions::default()).await;
        assert_eq!(made, ["published v1>v3", "published v2>v3"]);
        assert_eq!(scene.bases("v3").await, scene.digests(&["v1", "v2"]));
        assert_eq!(run(&job, RunOptions::default()).await, [""; 0]);

        // A new queue: the published deltas are found in the registry.
        drop(job);
        std::fs::remove_file(scene.dir.path().join("queue.db")).unwrap();
        for rest in ["queue.db-wal", "queue.db-shm"] {
            let _ = std::fs::remove_file(scene.dir.path().join(rest));
        }
        let job = scene.job("keep = 2\n", "").await;
        assert_eq!(run(&job, RunOptions::default()).await, ["there v1>v3", "there v2>v3"]);
        assert_eq!(scene.bases("v3").await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_agree_with_the_registry() {
    let scene = Scene::new(RegistryBehaviour::default());
    let job = scene.job("keep = 1\nrollback = true\n", "").await;
    let (handler, events) = handler();
    job.run(RunOptions::default(), &Stop::default(), handler).await.unwrap();
    let events = std::mem::take(&mut *events.lock().unwrap());
    assert_eq!(events.len(), 2);
    for event in &events {
        let Event::Finished(report) = event else { panic!("{event:?}") };
        let json = report.json();
        assert_eq!(
            (&json["schema"], &json["outcome"]),
            (&json!("imgdelta.job/1"), &json!("published"))
        );
        assert_eq!(json["platform"], "linux/amd64");
        assert!(report.delta_bytes > 0 && report.delta_bytes * 10 < report.pull_bytes, "{json}");
        let artifact = scene.registry.get("team/app", json["artifact"].as_str().unwrap()).unwrap();
        let artifact: Value = serde_json::from_slice(&artifact).unwrap();
        assert_eq!(artifact["subject"]["digest"], json["target"]);
        assert_eq!(artifact["annotations"]["org.imgdelta.bytes"], report.delta_bytes.to_string());
        assert!(report.to_string().starts_with("team/app: v"), "{report}");
    }
    assert_eq!(scene.bases("v3").await, scene.digests(&["v2"]));
    assert_eq!(scene.bases("v2").await, scene.digests(&["v3"]), "the way back");
}

/// An image for which gzip is too short-sighted: one file twice, further apart than it looks.
fn twins(number: u64) -> TestImage {
    let twin = noise(number, 200_000);
    let layers = vec![tar_of(&[("one", &twin), ("two", &twin)])];
    TestImage::new(layers, Packing::Gzip).platform("linux", "amd64")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_version_gets_a_delta_for_receivers_without_an_image() {
    let scene = Scene::new(RegistryBehaviour::default());
    for number in 1..=2 {
        put(&scene.registry, "team/twins", &format!("v{number}"), &twins(number));
    }
    let of_twins = |words: Vec<String>| -> Vec<String> {
        words.into_iter().filter(|word| !word.ends_with(">v3")).collect()
    };
    let job = scene.job("keep = 1\nfirst = true\n", "[retention]\nremove = true").await;
    let made = of_twins(run(&job, RunOptions::default()).await);
    assert_eq!(made, ["published >v2", "published v1>v2"]);
    let repository = Repository::new(
        &Client::new(ClientOptions::default()),
        &scene.registry.host(),
        &"team/twins".parse().unwrap(),
    );
    let target = imgdelta_testkit::sha256(&scene.registry.get("team/twins", "v2").unwrap());
    let listed = repository.referrers(&target.parse().unwrap(), ARTIFACT_TYPE).await.unwrap();
    let annotations = listed.iter().map(|delta| {
        let artifact = delta.descriptor.digest.to_string();
        let document = scene.registry.get("team/twins", &artifact).unwrap();
        serde_json::from_slice::<Value>(&document).unwrap()["annotations"].clone()
    });
    let (of_base, first): (Vec<Value>, Vec<Value>) =
        annotations.partition(|annotations| annotations.get("org.imgdelta.base").is_some());
    assert_eq!((of_base.len(), first.len()), (1, 1));
    let bytes: u64 = first[0]["org.imgdelta.bytes"].as_str().unwrap().parse().unwrap();
    assert!(bytes < 220_000, "{bytes}");
    assert_eq!(run(&job, RunOptions::default()).await, [""; 0], "made once, and not a stray");

    // A newer version has its own.
    put(&scene.registry, "team/twins", "v4", &twins(4));
    let made = of_twins(run(&job, RunOptions::default()).await);
    assert_eq!(made, ["published >v4", "published v2>v4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_bases_are_published_and_made_once_for_each_layer() {
    for behaviour in [RegistryBehaviour::default(), RegistryBehaviour::without_referrers()] {
        let scene = Scene::new(behaviour);
        let job = scene.job("keep = 1\n", "").await;
        assert_eq!(run(&job, RunOptions::default()).await, ["published v2>v3"]);
        let artifacts = scene.frames(&scene.digest("v2")).await;
        assert_eq!(artifacts.len(), 1);
        for tag in ["v1", "v3"] {
            assert_eq!(scene.frames(&scene.digest(tag)).await, [""; 0], "no delta starts there");
        }
        let document = scene.registry.get("team/app", &artifacts[0]).unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(document["subject"]["digest"], scene.digest("v2"));
        let layers = document["layers"].as_array().unwrap();
        let image = version(2, "amd64");
        for stream in &image.layers {
            let diff_id = imgdelta_testkit::sha256(stream);
            let named = |layer: &&Value| layer["annotations"]["org.imgdelta.target"] == diff_id;
            let layer = layers.iter().find(named).expect("each layer has frames");
            let bytes = layer["annotations"]["org.imgdelta.bytes"].as_str().unwrap();
            assert_eq!(bytes, stream.len().to_string());
            assert!(layer["size"].as_u64().unwrap() < 500, "{layer}");
        }

        // The next base shares a layer, whose frames are read and not made again.
        let of_shared = |layer: &&Value| {
            let diff_id = imgdelta_testkit::sha256(&image.layers[0]);
            layer["annotations"]["org.imgdelta.target"] == diff_id
        };
        let shared = layers.iter().find(of_shared).unwrap()["digest"].as_str().unwrap().to_owned();
        let reads = || {
            let requests = scene.registry.requests().into_iter();
            let of_frames =
                requests.filter(|seen| seen.method == "GET" && seen.path.contains(&shared));
            of_frames.count()
        };
        assert_eq!(reads(), 0);
        put(&scene.registry, "team/app", "v4", &version(4, "amd64"));
        assert_eq!(run(&job, RunOptions::default()).await, ["published v3>v4"]);
        assert_eq!(scene.frames(&scene.digest("v3")).await.len(), 1);
        assert_eq!(reads(), 1);

        // Frames are found again with a new queue, and are not made without the setting.
        drop(job);
        for file in ["queue.db", "queue.db-wal", "queue.db-shm"] {
            let _ = std::fs::remove_file(scene.dir.path().join(file));
        }
        let job = scene.job("keep = 2\nframes = false\n", "").await;
        assert_eq!(run(&job, RunOptions::default()).await, ["published v2>v4", "there v3>v4"]);
        put(&scene.registry, "team/app", "v5", &version(5, "amd64"));
        assert_eq!(run(&job, RunOptions::default()).await, ["published v3>v5", "published v4>v5"]);
        assert_eq!(scene.frames(&scene.digest("v4")).await, [""; 0]);
        assert_eq!(scene.frames(&scene.digest("v2")).await, artifacts);
    }
}

/// An image on a base layer of a version, with an application of its own.
fn on_base(number: u8, application: u64) -> TestImage {
    let mut base = noise(3, 80_000);
    base[40_000] = number;
    let mut program = noise(application, 20_000);
    program[10_000] = number;
    TestImage::new(vec![tar_of(&[("base", &base)]), tar_of(&[("app", &program)])], Packing::Gzip)
}

/// Versions of an application on a base layer that does not change.
fn on_same_base(number: u8, application: u64) -> TestImage {
    let mut image = on_base(number, application);
    image.layers[0] = tar_of(&[("base", &noise(3, 80_000))]);
    image
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compression_of_a_base_layer_is_found_once() {
    let scene = Scene::new(RegistryBehaviour::default());
    let push = |repository: &str, numbers: std::ops::RangeInclusive<u8>, application| {
        for number in numbers {
            let image = on_same_base(number, application);
            put(&scene.registry, repository, &format!("v{number}"), &image);
        }
    };
    push("base/a", 1..=2, 11);
    push("base/b", 1..=2, 12);
    let dir = scene.dir.path().display();
    let config = format!(
        "[registry]\nhost = \"{}\"\n[queue]\nsqlite = \"{dir}/queue.db\"\n\
         [budget]\nscratch = \"{dir}\"\n[scan]\nparallel = 1\n[[rule]]\nkeep = 1\nrepositories = [\"base/*\"]\n",
        scene.registry.host()
    );
    let config = Config::parse(&config, "job.toml").unwrap();
    let job = Job::open(config, Credentials::none(), Proxies::default()).await.unwrap();
    let made = async || {
        let (handler, events) = handler();
        job.run(RunOptions::default(), &Stop::default(), handler).await.unwrap();
        let events = std::mem::take(&mut *events.lock().unwrap());
        let reused = |event: &Event| match event {
            Event::Finished(report) => report.json()["reused_envelopes"].as_u64().unwrap(),
            _ => panic!("{event:?}"),
        };
        events.iter().map(reused).collect::<Vec<u64>>()
    };
    assert_eq!(made().await, [0, 1], "the second image has the first one's base layer");
    // Both layers of the second image were compressed for the first delta: one is kept now, too.
    push("base/a", 3..=3, 11);
    assert_eq!(made().await, [1]);
}

/// Returns the blobs of a delta's recipes.
fn recipes(registry: &TestRegistry, repository: &str, artifact: &Value) -> Vec<String> {
    let document = registry.get(repository, artifact.as_str().unwrap()).unwrap();
    let document: Value = serde_json::from_slice(&document).unwrap();
    let layers = document["layers"].as_array().unwrap();
    layers[1..].iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn recipes_of_a_base_layer_are_made_once_for_all_images_on_it() {
    let scene = Scene::new(RegistryBehaviour::default());
    let push = |repository: &str, application| {
        for number in 1..=2 {
            put(&scene.registry, repository, &format!("v{number}"), &on_base(number, application));
        }
    };
    for (repository, application) in [("base/a", 11), ("base/b", 12), ("base/c", 13)] {
        push(repository, application);
    }
    let dir = scene.dir.path().display();
    let config = format!(
        "[registry]\nhost = \"{}\"\n[queue]\nsqlite = \"{dir}/queue.db\"\n\
         [budget]\nscratch = \"{dir}\"\n[scan]\nparallel = 1\n[[rule]]\n\
         repositories = [\"base/*\"]\n",
        scene.registry.host()
    );
    let config = Config::parse(&config, "job.toml").unwrap();
    let job = Job::open(config, Credentials::none(), Proxies::none()).await.unwrap();
    let made = async || {
        let (handler, events) = handler();
        job.run(RunOptions::default(), &Stop::default(), handler).await.unwrap();
        let events = std::mem::take(&mut *events.lock().unwrap());
        let report = |event: &Event| match event {
            Event::Finished(report) => report.json(),
            _ => panic!("{event:?}"),
        };
        events.iter().map(report).collect::<Vec<Value>>()
    };
    let reports = made().await;
    let reused: Vec<&Value> = reports.iter().map(|report| &report["reused_recipes"]).collect();
    assert_eq!(reused, [&json!(0), &json!(1), &json!(1)]);
    let of = |report: &Value| {
        recipes(&scene.registry, report["repository"].as_str().unwrap(), &report["artifact"])
    };
    let [first, second, third] = [0, 1, 2].map(|at: usize| of(&reports[at]));
    assert_eq!((first.len(), &second[0], &third[0]), (2, &first[0], &first[0]));
    assert!(second[1] != first[1] && second[1] != third[1]);

    let seen = scene.registry.requests();
    let mounted = seen.iter().filter(|seen| seen.method == "POST" && seen.status == 201);
    assert_eq!(mounted.count(), 2, "the registry has it, so that it is not sent again");

    // A damaged recipe is not a reason to fail: it is made again.
    for (repository, recipe) in [("base/a", &first), ("base/b", &second), ("base/c", &third)] {
        scene.registry.corrupt(repository, &recipe[0], b"no recipe");
    }
    push("base/d", 14);
    let reports = made().await;
    assert_eq!((reports.len(), &reports[0]["outcome"]), (1, &json!("published")));
    assert_eq!(reports[0]["reused_recipes"], 0);
    assert_eq!(of(&reports[0])[0], first[0], "the same again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_that_saves_too_little_is_not_published() {
    let scene = Scene::new(RegistryBehaviour::default());
    let job = scene.job("keep = 1\nworth = 0.001\n", "").await;
    assert_eq!(run(&job, RunOptions::default()).await, ["not-worth v2>v3"]);
    assert_eq!(scene.bases("v3").await, [""; 0]);
    assert_eq!(
        job.queue().counts().await.unwrap(),
        TaskCounts { done: 1, ..TaskCounts::default() }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_platform_is_a_delta_and_other_artifacts_are_ignored() {
    let scene = Scene::new(RegistryBehaviour::default());
    let registry = &scene.registry;
    for (tag, number) in [("v4", 4), ("v5", 5)] {
        let mut blobs = Blobs::default();
        let children = ["amd64", "arm64"].map(|architecture| {
            let mut child = version(number, architecture).store(&mut blobs);
            child["platform"] = json!({"os": "linux", "architecture": architecture});
            child
        });
        let root = blobs.add_index(&children);
        blobs.tag(root, tag);
        registry.put_image("team/app", &blobs);
    }
    // A chart under a version's tag, and rubbish.
    let chart = json!({"schemaVersion": 2, "layers": [],
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "size": 2,
            "digest": imgdelta_testkit::sha256(b"{}")}});
    let kind = "application/vnd.oci.image.manifest.v1+json";
    registry.put_manifest("team/app", Some("v6"), kind, chart.to_string().as_bytes());
    registry.put_manifest("team/app", Some("v7"), kind, b"rubbish");
    // Another repository, found by the registry's list, and one that no rule names.
    put(registry, "team/web", "v1", &version(1, "amd64"));
    put(registry, "team/web", "v2", &version(2, "amd64"));
    put(registry, "other/web", "v1", &version(1, "amd64"));
    put(registry, "other/web", "v2", &version(2, "amd64"));
    let job = scene.job("keep = 1\n", "").await;
    let made = run(&job, RunOptions::default()).await;
    assert_eq!(made, ["published v1>v2", "published v4>v5", "published v4>v5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_task_is_retried_and_fails_for_good() {
    let scene = Scene::new(RegistryBehaviour::default());
    let job = scene.job("keep = 1\n", "").await;
    // All blobs are wrong, except the configs, which the dry run caches.
    run(&job, RunOptions::default().dry_run(true)).await;
    scene.registry.fault("GET", "/blobs/", 99, RegistryFault::WrongByte);
    let (handler, events) = handler();
    let outcome = job.run(RunOptions::default(), &Stop::default(), handler).await;
    assert!(matches!(outcome, Err(imgdelta::Error::Mismatch { .. })), "{outcome:?}");
    assert_eq!(words(&events), ["failed v2>v3", "waits v2>v3"]);
    let failed =
        job.queue().list(&TaskFilter::all(9).state(TaskState::Failed)).await.unwrap().tasks;
    assert!(failed[0].outcome.contains("digest"), "{}", failed[0].outcome);
    scene.registry.forget();
    assert_eq!(run(&job, RunOptions::default()).await, [""; 0], "it is not retried by itself");
    let again = run(&job, RunOptions::default().retry_failed(true)).await;
    assert_eq!(again, ["published v2>v3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_above_the_disk_budget_fails_for_good() {
    let scene = Scene::new(RegistryBehaviour::default());
    let job = scene.job("keep = 1\n", "disk = \"1MiB\"").await;
    assert_eq!(run(&job, RunOptions::default()).await, ["published v2>v3"], "it is small");
    let big = TestImage::new(vec![tar_of(&[("big", &noise(9, 300_000))])], Packing::Gzip);
    put(&scene.registry, "team/app", "v4", &big);
    let (handler, events) = handler();
    let outcome = job.run(RunOptions::default(), &Stop::default(), handler).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, imgdelta::Error::OverLimit { .. }), "{error:?}");
    assert!(error.to_string().contains("estimated size of temporary files"), "{error}");
    assert_eq!(words(&events), ["failed v3>v4"]);
}

/// Bytes of bodies that were fetched from the registry: all, and those of distinct objects.
fn fetched_bytes(registry: &TestRegistry) -> (usize, usize) {
    let requests = registry.requests();
    let fetched =
        requests.iter().filter(|seen| seen.method == "GET" && seen.path.contains("/blobs/"));
    let mut distinct = BTreeMap::new();
    let mut all = 0;
    for seen in fetched {
        all += seen.sent_bytes;
        // A blob of several repositories is one.
        let digest = seen.path.rsplit('/').next().unwrap().to_owned();
        distinct.insert(digest, seen.sent_bytes);
    }
    (all, distinct.values().sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_versions_go_first_and_each_blob_is_fetched_once() {
    let scene = Scene::new(RegistryBehaviour::default());
    for repository in ["team/a", "team/b", "team/c"] {
        for number in 1..=4 {
            let mut image = version(number, "amd64");
            let own = noise(repository.bytes().map(u64::from).sum(), 20_000);
            image.layers.push(tar_of(&[("own", &own)]));
            put(&scene.registry, repository, &format!("v{number}"), &image);
        }
    }
    let mut config = scene.config("keep = 3\nrollback = true\n", "[scan]\nparallel = 1");
    // One worker, so that the order shows.
    config.budget.parallel = config.scan.parallel.clone();
    let job = Job::open(config, Credentials::none(), Proxies::none()).await.unwrap();
    let (handler, events) = handler();
    job.run(RunOptions::default(), &Stop::default(), handler).await.unwrap();
    let order: Vec<String> = events
        .lock()
        .unwrap()
        .iter()
        .map(|event| match event {
            Event::Finished(report) => {
                let task = &report.task;
                let name = task.repository.as_str().strip_prefix("team/").unwrap();
                format!("{name} {}>{}", &task.base_tag[1..], &task.target_tag[1..])
            }
            _ => panic!("{event:?}"),
        })
        .filter(|line| !line.starts_with("app"))
        .collect();
    let lines: Vec<&str> = order.iter().map(String::as_str).collect();
    assert_eq!(lines[..3], ["a 3>4", "b 3>4", "c 3>4"], "what most receivers wait for");
    // The rest of a target is done in one go, with its blobs at hand.
    assert_eq!(lines[3..9], ["c 2>4", "c 1>4", "a 2>4", "a 1>4", "b 2>4", "b 1>4"]);
    assert_eq!(lines[9..12], ["a 4>3", "b 4>3", "c 4>3"], "then the ways back");
    assert_eq!(lines.len(), 18);
    let (all, distinct) = fetched_bytes(&scene.registry);
    assert!(2 * all <= 3 * distinct, "{all} bytes for {distinct} distinct ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_counts_no_attempt_and_ends_a_single_run() {
    let scene = Scene::new(RegistryBehaviour::default());
    let job = scene.job("keep = 2\n", "").await;
    run(&job, RunOptions::default().dry_run(true)).await;
    let busy = RegistryFault::Status(429, vec![("Retry-After", "900".into())]);
    let digest = scene.digest("v3");
    scene.registry.fault("HEAD", &format!("/manifests/{digest}"), 99, busy);
    let (handler, events) = handler();
    let error = job.run(RunOptions::default(), &Stop::default(), handler).await.unwrap_err();
    assert!(error.to_string().contains("asks to wait 900 s"), "{error}");
    assert_eq!(words(&events), [""; 0], "no task failed");
    let filter = TaskFilter::all(9).state(TaskState::Waiting);
    let waiting = job.queue().list(&filter).await.unwrap().tasks;
    assert_eq!(waiting.iter().map(|task| task.tries).collect::<Vec<_>>(), [0, 0]);
    scene.registry.forget();
    let job = scene.job("keep = 2\n", "").await;
    let made = run(&job, RunOptions::default()).await;
    assert_eq!(made, ["published v1>v3", "published v2>v3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_that_was_not_published_is_not_made_again() {
    let scene = Scene::new(RegistryBehaviour::default());
    let job = scene.job("keep = 1\nframes = false\n", "cache = \"0B\"").await;
    run(&job, RunOptions::default().dry_run(true)).await;
    let before = fetched_bytes(&scene.registry).0;
    scene.registry.fault("PUT", "/manifests/", 1, RegistryFault::Refused(400, "UNKNOWN"));
    let (handler, events) = handler();
    let _ = job.run(RunOptions::default(), &Stop::default(), handler).await;
    assert_eq!(words(&events), ["published v2>v3", "waits v2>v3"]);
    let (all, distinct) = fetched_bytes(&scene.registry);
    assert_eq!(all - before, distinct, "no image is read again, though none is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_without_changes_asks_for_the_tags_only() {
    let scene = Scene::new(RegistryBehaviour::default());
    let scan = async |rule: &str| {
        // A new process: only the queue remembers.
        let job = scene.job(rule, "").await;
        let before = scene.registry.requests().len();
        let wanted = run(&job, RunOptions::default().dry_run(true)).await;
        let requests = scene.registry.requests();
        let paths = requests[before..].iter().map(|seen| format!("{} {}", seen.method, seen.path));
        let paths: Vec<String> = paths.filter(|path| !path.ends_with("/v2/")).collect();
        (wanted, paths)
    };
    let (wanted, first) = scan("keep = 2\n").await;
    assert_eq!(wanted, ["wanted v1>v3", "wanted v2>v3"]);
    assert_eq!(first.len(), 2 + 3 * 2, "lists; three times manifest and config: {first:?}");
    let (wanted, second) = scan("keep = 2\n").await;
    assert_eq!(wanted, ["wanted v1>v3", "wanted v2>v3"]);
    assert_eq!(second.len(), 2 + 3, "tags may have moved: {second:?}");
    let lists = ["GET /v2/_catalog", "GET /v2/team/app/tags/list"];
    assert_eq!(scan("keep = 2\nimmutable-tags = true\n").await.1, lists);
    // New tags are found, and moved ones are not looked for.
    put(&scene.registry, "team/app", "v4", &version(4, "amd64"));
    let (wanted, requests) = scan("keep = 2\nimmutable-tags = true\n").await;
    assert_eq!(wanted, ["wanted v2>v4", "wanted v3>v4"]);
    assert_eq!(requests.len(), 2 + 2, "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_other_artifacts_are_read_once() {
    let scene = Scene::new(RegistryBehaviour::default());
    // A chart, newer than all versions by its number.
    let config = scene.registry.put_blob("team/app", b"{\"name\": \"app\"}");
    let config_type = "application/vnd.cncf.helm.config.v1+json";
    let chart = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": config_type, "digest": config, "size": 15},
        "layers": [],
    });
    let kind = "application/vnd.oci.image.manifest.v1+json";
    scene.registry.put_manifest("team/app", Some("9.0.0"), kind, chart.to_string().as_bytes());
    let mut counts = Vec::new();
    for rule in ["keep = 1\n", "keep = 1\n", "keep = 1\nimmutable-tags = true\n"] {
        let job = scene.job(rule, "").await;
        let wanted = run(&job, RunOptions::default().dry_run(true)).await;
        assert_eq!(wanted, ["wanted v2>v3"]);
        let requests = scene.registry.requests();
        counts.push(requests.iter().filter(|seen| seen.path != "/v2/").count());
        scene.registry.forget();
    }
    assert_eq!(counts, [2 + 1 + 2 * 2, 2 + 3, 2], "documents; digests of tags; lists");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_a_later_scan_does_not_want_are_withdrawn() {
    let scene = Scene::new(RegistryBehaviour::default());
    let job = scene.job("keep = 2\n", "").await;
    job.queue().pause("test", "to see the tasks").await.unwrap();
    assert_eq!(run(&job, RunOptions::default()).await, [""; 0]);
    assert_eq!(job.queue().counts().await.unwrap().waiting, 2);
    put(&scene.registry, "team/app", "v4", &version(4, "amd64"));
    assert_eq!(run(&job, RunOptions::default()).await, [""; 0]);
    job.queue().resume().await.unwrap();
    let made = run(&job, RunOptions::default()).await;
    assert_eq!(made, ["published v2>v4", "published v3>v4"], "no delta to v3");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_services_scans() {
    let scene = Scene::new(RegistryBehaviour::default());
    let (stop, mut services) = (Stop::default(), tokio::task::JoinSet::new());
    let (handler, events) = handler();
    for _ in 0..3 {
        let serve = "[serve]\nlisten = \"127.0.0.1:0\"\npoll = \"30d\"";
        let job = scene.job("keep = 2\n", serve).await;
        let (stop, handler) = (stop.clone(), Arc::clone(&handler));
        services.spawn(async move { job.serve(&stop, handler, |_| ()).await });
    }
    eventually("the deltas", async || words(&events).len() == 2).await;
    stop.request(StopPhase::Finishing);
    while let Some(ended) = services.join_next().await {
        ended.unwrap().unwrap();
    }
    let requests = scene.registry.requests();
    let scans = requests.iter().filter(|seen| seen.path.ends_with("/tags/list")).count();
    assert_eq!(scans, 1);
    assert_eq!(words(&events), ["published v1>v3", "published v2>v3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_image_is_not_a_failure() {
    let scene = Scene::new(RegistryBehaviour::default());
    let job = scene.job("keep = 2\n", "").await;
    let v1 = scene.digest("v1");
    // Scanned, and deleted before the task starts.
    run(&job, RunOptions::default().dry_run(true)).await;
    scene.registry.fault(
        "HEAD",
        &format!("/manifests/{v1}"),
        9,
        RegistryFault::Status(404, Vec::new()),
    );
    assert_eq!(run(&job, RunOptions::default()).await, ["gone v1>v3", "published v2>v3"]);
    scene.registry.forget();
    assert_eq!(run(&job, RunOptions::default()).await, ["published v1>v3"], "the image is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_deltas_of_missing_images_are_removed() {
    for behaviour in [RegistryBehaviour::default(), RegistryBehaviour::without_referrers()] {
        let scene = Scene::new(behaviour);
        let retention = "[retention]\nremove = true";
        let job = scene.job("keep = 2\n", retention).await;
        run(&job, RunOptions::default()).await;
        // Another tool's signature of the same image.
        let (v1, v3) = (scene.digest("v1"), scene.digest("v3"));
        let size = scene.registry.get("team/app", "v3").unwrap().len();
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let signature = json!({"schemaVersion": 2, "mediaType": kind,
            "artifactType": "application/vnd.example.signature", "layers": [],
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
                "digest": imgdelta_testkit::sha256(b"{}")},
            "subject": {"mediaType": kind, "digest": v3, "size": size}});
        let signature =
            scene.registry.put_manifest("team/app", None, kind, signature.to_string().as_bytes());
        assert_eq!(run(&job, RunOptions::default()).await, [""; 0], "nothing is gone yet");

        let before = scene.bases("v3").await;
        scene.registry.remove("team/app", &v1);
        let dry = run(&job, RunOptions::default().dry_run(true)).await;
        assert!(dry.contains(&"stray".to_owned()), "{dry:?}");
        assert_eq!(scene.bases("v3").await, before);
        let frames = scene.frames(&v1).await;
        assert_eq!(frames.len(), 1);
        assert!(scene.registry.get("team/app", &frames[0]).is_some());
        // The delta, and the frames of its base.
        assert_eq!(run(&job, RunOptions::default()).await, ["removed", "removed"]);
        assert_eq!(scene.bases("v3").await, scene.digests(&["v2"]));
        assert!(scene.registry.get("team/app", &frames[0]).is_none());
        assert_eq!(scene.frames(&v1).await, [""; 0]);
        assert_eq!(scene.frames(&scene.digest("v2")).await.len(), 1);
        assert!(scene.registry.get("team/app", &signature).is_some());

        // Without the target, its deltas are found through the queue.
        scene.registry.remove("team/app", &v3);
        assert!(run(&job, RunOptions::default()).await.contains(&"removed".to_owned()));
        assert!(scene.registry.get("team/app", &signature).is_some());
        assert_eq!(run(&job, RunOptions::default()).await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_changes_no_image_and_no_tag() {
    for behaviour in [RegistryBehaviour::default(), RegistryBehaviour::without_referrers()] {
        let scene = Scene::new(behaviour);
        let tags = ["v1", "v2", "v3"];
        let before = tags.map(|tag| scene.registry.get("team/app", tag));
        let job = scene.job("keep = 2\nrollback = true\n", "[retention]\nremove = true").await;
        assert_eq!(run(&job, RunOptions::default()).await.len(), 4);
        assert_eq!(tags.map(|tag| scene.registry.get("team/app", tag)), before);
        for request in scene.registry.requests() {
            assert_ne!(request.method, "DELETE", "{request:?}");
            if request.method == "PUT"
                && let Some((_, name)) = request.path.split_once("/manifests/")
            {
                assert!(name.starts_with("sha256:") || name.starts_with("sha256-"), "{name}");
            }
        }
    }
}

/// Replaces an image's list, as a tool does that read it before the deltas were pushed.
fn empty_list(scene: &Scene, digest: &str) {
    let tag = fallback_tag(&digest.parse().unwrap()).to_string();
    let kind = "application/vnd.oci.image.index.v1+json";
    let empty = json!({"schemaVersion": 2, "mediaType": kind, "manifests": []}).to_string();
    scene.registry.put_manifest("team/app", Some(&tag), kind, empty.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unlisted_delta_is_removed_with_its_image() {
    let scene = Scene::new(RegistryBehaviour::without_referrers());
    let job = scene.job("keep = 2\n", "[retention]\nremove = true").await;
    let (handler, events) = handler();
    job.run(RunOptions::default(), &Stop::default(), handler).await.unwrap();
    let events = std::mem::take(&mut *events.lock().unwrap());
    let artifacts: Vec<String> = events
        .iter()
        .map(|event| match event {
            Event::Finished(report) => report.artifact.unwrap().to_string(),
            _ => panic!("{event:?}"),
        })
        .collect();
    let v3 = scene.digest("v3");
    empty_list(&scene, &v3);
    scene.registry.remove("team/app", &v3);
    let is_there = |artifact: &String| scene.registry.get("team/app", artifact).is_some();
    assert!(artifacts.len() == 2 && artifacts.iter().all(is_there), "no list names them");
    let ran = run(&job, RunOptions::default()).await;
    assert_eq!(ran, ["published v1>v2", "removed", "removed"]);
    assert!(!artifacts.iter().any(is_there));
    assert_eq!(
        job.queue().counts().await.unwrap(),
        TaskCounts { done: 1, ..TaskCounts::default() }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_missing_images_are_forgotten_with_retention() {
    for (retention, kept) in [("[retention]\nremove = true", 1), ("", 2)] {
        let scene = Scene::new(RegistryBehaviour::default());
        let job = scene.job("keep = 1\nworth = 0.001\n", retention).await;
        let done = async || {
            let counts = job.queue().counts().await.unwrap();
            assert_eq!(counts, TaskCounts { done: counts.done, ..TaskCounts::default() });
            counts.done
        };
        assert_eq!(run(&job, RunOptions::default()).await, ["not-worth v2>v3"]);
        scene.registry.remove("team/app", &scene.digest("v2"));
        run(&job, RunOptions::default().dry_run(true)).await;
        assert_eq!(done().await, 1, "a dry run changes nothing");
        assert_eq!(run(&job, RunOptions::default()).await, ["not-worth v1>v3"]);
        assert_eq!(done().await, kept);
        // With the image its task returns, unless the queue still has it.
        put(&scene.registry, "team/app", "v2", &version(2, "amd64"));
        assert_eq!(run(&job, RunOptions::default()).await.len() as u64, 2 - kept);
        assert_eq!(done().await, 2, "a task between existing images stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_leads_to_a_delta() {
    let scene = Scene::new(RegistryBehaviour::default());
    let secret = scene.dir.path().join("secret");
    std::fs::write(&secret, "hunter2\n").unwrap();
    let serve = format!(
        "[serve]\nlisten = \"127.0.0.1:0\"\npoll = \"30d\"\nsettle = \"1ms\"\nsecret-file = \"{}\"",
        secret.display()
    );
    let job = scene.job("keep = 1\n", &serve).await;
    let (stop, (handler, events)) = (Stop::default(), handler());
    let (send, receive) = tokio::sync::oneshot::channel();
    let serving = {
        let (job, stop) = (Arc::clone(&job), stop.clone());
        tokio::spawn(async move {
            job.serve(&stop, handler, |address| send.send(address).unwrap()).await
        })
    };
    let address = receive.await.unwrap();
    // The first scan needs no notification.
    eventually("the first delta", async || words(&events) == ["published v2>v3"]).await;

    put(&scene.registry, "team/app", "v4", &version(4, "amd64"));
    let body = notification("team/app", "v4");
    assert_eq!(request(address, "POST /notify", "", &body).0, 401);
    assert_eq!(request(address, "POST /notify", "Authorization: Bearer hunter3\r\n", &body).0, 401);
    let secret = "Authorization: Bearer hunter2\r\n";
    assert_eq!(request(address, "POST /notify", secret, "rubbish").0, 400);
    assert_eq!(request(address, "POST /notify", secret, notification("no/rule", "v1")).0, 202);
    assert_eq!(words(&events).len(), 1);
    assert_eq!(request(address, "POST /notify", secret, &body).0, 202);
    eventually("two events", async || words(&events).len() == 2).await;
    assert_eq!(words(&events), ["published v2>v3", "published v3>v4"]);
    assert_eq!(scene.bases("v4").await, scene.digests(&["v3"]));

    let (status, metrics) = request(address, "GET /metrics", "", "");
    assert_eq!(status, 200);
    for line in [
        "imgdelta_tasks{state=\"done\"} 2",
        "imgdelta_deltas_total{outcome=\"published\"} 2",
        "imgdelta_notifications_total{result=\"taken\"} 2",
        "imgdelta_notifications_total{result=\"refused\"} 3",
        "imgdelta_scans_total{result=\"complete\"} 1",
        "imgdelta_queue_up 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
    assert_eq!(request(address, "GET /healthz", "", ""), (200, "alive".into()));
    assert_eq!(request(address, "GET /readyz", "", "").0, 200);
    assert_eq!(request(address, "GET /notify", "", "").0, 405);
    assert_eq!(request(address, "GET /none", "", "").0, 404);
    assert_eq!(request(address, "GET /", "", "").0, 401, "the page needs the secret, too");
    stop.request(StopPhase::Finishing);
    serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).is_err(), "the address is free");
}

/// Names that would lead requests elsewhere if they became paths.
const STRANGE_NAMES: [&str; 12] = [
    "web/../../admin/secret?x=",
    "web/..%2f..%2fadmin#",
    "web/a b\r\nX: y",
    "web/%2e%2e/x",
    "web/Upper",
    "web/a?b",
    "web/a#b",
    "web/a\u{7}b",
    "//127.0.0.1:1/evil",
    "http://127.0.0.1:1/latest?x=",
    "../../../../_catalog?",
    "",
];

#[tokio::test(flavor = "multi_thread")]
async fn notifications_of_strange_names_make_no_request() {
    let scene = Scene::new(RegistryBehaviour::default());
    // The pattern admits any name, and the registry lists a strange one.
    scene.registry.put_manifest("web/../admin", Some("v1"), "application/json", b"{}");
    let rule = "keep = 1\n[[rule]]\nrepositories = [\"**\"]\n";
    let serve = "[serve]\nlisten = \"127.0.0.1:0\"\npoll = \"30d\"\nsettle = \"1ms\"";
    let job = scene.job(rule, serve).await;
    let (stop, (handler, events)) = (Stop::default(), handler());
    let (send, receive) = tokio::sync::oneshot::channel();
    let serving = {
        let (job, stop) = (Arc::clone(&job), stop.clone());
        tokio::spawn(async move {
            job.serve(&stop, handler, |address| send.send(address).unwrap()).await
        })
    };
    let address = receive.await.unwrap();
    eventually("the first delta", async || words(&events).contains(&"published v2>v3".into()))
        .await;
    scene.registry.forget();
    for name in STRANGE_NAMES {
        assert_eq!(request(address, "POST /notify", "", notification(name, "v1")).0, 202);
    }
    // A real name comes through, after all the others.
    put(&scene.registry, "team/app", "v4", &version(4, "amd64"));
    assert_eq!(request(address, "POST /notify", "", notification("team/app", "v4")).0, 202);
    eventually("the second delta", async || words(&events).contains(&"published v3>v4".into()))
        .await;
    for seen in scene.registry.requests() {
        assert!(seen.path.starts_with("/v2/team/app/") || seen.path == "/v2/", "{}", seen.path);
    }
    let (_, metrics) = request(address, "GET /metrics", "", "");
    for line in [
        "imgdelta_ignored_names_total{source=\"notification\"} 12",
        "imgdelta_ignored_names_total{source=\"list\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
    stop.request(StopPhase::Finishing);
    serving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_notifications_of_one_repository_are_one_scan() {
    let scene = Scene::new(RegistryBehaviour::default());
    let serve = "[serve]\nlisten = \"127.0.0.1:0\"\npoll = \"30d\"\nsettle = \"1s\"";
    let job = scene.job("keep = 1\n", serve).await;
    let (stop, (handler, events)) = (Stop::default(), handler());
    let (send, receive) = tokio::sync::oneshot::channel();
    let serving = {
        let (job, stop) = (Arc::clone(&job), stop.clone());
        tokio::spawn(async move {
            job.serve(&stop, handler, |address| send.send(address).unwrap()).await
        })
    };
    let address = receive.await.unwrap();
    eventually("the first delta", async || words(&events) == ["published v2>v3"]).await;
    scene.registry.forget();
    put(&scene.registry, "team/app", "v4", &version(4, "amd64"));
    let event = json!({"action": "push", "target": {"repository": "team/app", "tag": "v4"}});
    let body = json!({"events": vec![event; 10_000]}).to_string();
    assert_eq!(request(address, "POST /notify", "", &body).0, 202);
    eventually("the second delta", async || words(&events).len() == 2).await;
    let scans = scene.registry.requests();
    let count = |end| scans.iter().filter(|seen| seen.path.ends_with(end)).count();
    assert_eq!((count("/manifests/v4"), count("/tags/list")), (1, 0), "the tag it names");
    stop.request(StopPhase::Finishing);
    serving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_only_this_machine_may_notify() {
    let scene = Scene::new(RegistryBehaviour::default());
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let job = scene.job("keep = 1\n", &format!("[serve]\nlisten = \"{listen}\"")).await;
        let outcome = job.serve(&Stop::default(), handler().0, |_| panic!("it listens")).await;
        let error = outcome.unwrap_err().to_string();
        assert!(error.starts_with(&format!("address {listen}: ")), "{error}");
        assert!(error.contains("set secret-file in [serve], or listen on 127.0.0.1"), "{error}");
    }
    assert_eq!(scene.registry.requests().len(), 0);
}

/// A gzip file of zeros, which expands a thousand times.
fn bomb(name: &'static str, bytes: usize, packed: &mut Vec<u8>) -> &'static str {
    *packed = imgdelta_testkit::gzip(&vec![0; bytes]);
    name
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_that_expand_beyond_the_disk_budget_stay_closed() {
    let scene = Scene::new(RegistryBehaviour::default());
    let mut packed = Vec::new();
    for (tag, bytes) in [("v4", 1 << 10), ("v5", 40 << 20)] {
        let name = bomb("zeros.gz", bytes, &mut packed);
        let image = TestImage::new(
            vec![tar_of(&[("shared", &noise(1, 30_000)), (name, &packed)])],
            Packing::Gzip,
        );
        put(&scene.registry, "team/bomb", tag, &image);
    }
    assert!(packed.len() < 100_000, "{}", packed.len());
    // 40 MB of zeros do not fit, and everything else does.
    let budget = format!("disk = \"2MB\"\nscratch = \"{}\"", scene.dir.path().display());
    let config = scene.config("keep = 1\n", "");
    let text = format!(
        "[registry]\nhost = \"{}\"\n[queue]\nsqlite = \"{}\"\ntries = 1\n[budget]\n{budget}\n\
         [[rule]]\nrepositories = [\"team/bomb\"]\npreset = \"fast\"\nworth = \"100%\"\n",
        config.registry.host.get_ref(),
        scene.dir.path().join("bomb.db").display(),
    );
    let config = Config::parse(&text, "job.toml").unwrap();
    let job = Job::open(config, Credentials::none(), Proxies::none()).await.unwrap();
    assert_eq!(run(&job, RunOptions::default()).await, ["published v4>v5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_leaving_tasks_are_given_back() {
    let scene = Scene::new(RegistryBehaviour::default());
    let serve = "[serve]\nlisten = \"127.0.0.1:0\"\ngrace = \"0s\"";
    let job = scene.job("keep = 1\n", serve).await;
    run(&job, RunOptions::default().dry_run(true)).await;
    // The task waits for its first answer, long enough to be seen.
    let slow = RegistryFault::Slow(Duration::from_secs(3));
    let v2 = scene.digest("v2");
    scene.registry.fault("HEAD", &format!("/manifests/{v2}"), 9, slow);
    let (stop, (handler, events)) = (Stop::default(), handler());
    let serving = {
        let (job, stop) = (Arc::clone(&job), stop.clone());
        tokio::spawn(async move { job.serve(&stop, handler, |_| ()).await })
    };
    eventually("a running task", async || job.queue().counts().await.unwrap().running == 1).await;
    stop.request(StopPhase::Finishing);
    serving.await.unwrap().unwrap();
    assert_eq!(words(&events), [""; 0]);
    assert_eq!(
        job.queue().counts().await.unwrap(),
        TaskCounts { waiting: 1, ..TaskCounts::default() }
    );
    scene.registry.forget();
    assert_eq!(run(&job, RunOptions::default()).await, ["published v2>v3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_racing_workers_publish_one_delta() {
    let scene = Scene::new(RegistryBehaviour::without_referrers());
    let first = scene.job("keep = 2\n", "").await;
    // The second job has its own queue, as if the lease of the first had ended.
    let text = scene.dir.path().join("other.db");
    let mut config = scene.config("keep = 2\n", "");
    config.queue.sqlite = Some(toml::Spanned::new(0..0, text));
    let second = Job::open(config, Credentials::none(), Proxies::none()).await.unwrap();
    let (one, other) =
        tokio::join!(run(&first, RunOptions::default()), run(&second, RunOptions::default()));
    assert_eq!((one.len(), other.len()), (2, 2));
    let expected = [TaskOutcome::Published.word(), TaskOutcome::There.word()];
    for word in one.iter().chain(&other) {
        assert!(expected.contains(&word.split(' ').next().unwrap()), "{word}");
    }
    assert_eq!(scene.bases("v3").await, scene.digests(&["v1", "v2"]), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_that_others_dropped_from_a_list_are_listed_again() {
    let scene = Scene::new(RegistryBehaviour::without_referrers());
    let job = scene.job("keep = 2\n", "").await;
    run(&job, RunOptions::default()).await;
    let bases = scene.digests(&["v1", "v2"]);
    assert_eq!(scene.bases("v3").await, bases);
    empty_list(&scene, &scene.digest("v3"));
    assert_eq!(scene.bases("v3").await, [""; 0]);
    assert_eq!(run(&job, RunOptions::default().dry_run(true)).await.len(), 2);
    assert_eq!(scene.bases("v3").await, [""; 0], "a dry run changes nothing");
    assert_eq!(run(&job, RunOptions::default()).await, [""; 0]);
    assert_eq!(scene.bases("v3").await, bases);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_copied_without_types_is_repaired_once() {
    let scene = Scene::new(RegistryBehaviour::without_referrers());
    let job = scene.job("keep = 2\n", "").await;
    run(&job, RunOptions::default()).await;
    let tag = fallback_tag(&scene.digest("v3").parse().unwrap()).to_string();
    let list = || -> Value {
        serde_json::from_slice(&scene.registry.get("team/app", &tag).unwrap()).unwrap()
    };
    let whole = list();
    let mut copied = whole.clone();
    for entry in copied["manifests"].as_array_mut().unwrap() {
        assert!(entry.as_object_mut().unwrap().remove("artifactType").is_some());
    }
    let kind = "application/vnd.oci.image.index.v1+json";
    scene.registry.put_manifest("team/app", Some(&tag), kind, copied.to_string().as_bytes());
    assert_eq!(scene.bases("v3").await, scene.digests(&["v1", "v2"]), "they count all the same");
    assert_eq!(run(&job, RunOptions::default()).await, [""; 0]);
    assert_eq!(list(), whole);
    scene.registry.forget();
    assert_eq!(run(&job, RunOptions::default()).await, [""; 0]);
    let written = scene.registry.requests().into_iter().find(|seen| seen.method == "PUT");
    assert!(written.is_none(), "{written:?}");
}

#[tokio::test]
async fn a_queue_that_cannot_be_opened_is_an_error() {
    let scene = Scene::new(RegistryBehaviour::default());
    let mut config = scene.config("", "");
    config.queue.sqlite = Some(toml::Spanned::new(0..0, Path::new("/no/such/dir/q.db").into()));
    let error = Job::open(config, Credentials::none(), Proxies::none()).await.unwrap_err();
    assert!(matches!(error, imgdelta::Error::Io { .. }), "{error}");
}
