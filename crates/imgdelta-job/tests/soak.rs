//! Pushes, kills and cuts at random: at the end every wanted delta exists, once, and is right.
//!
//! The services are processes of their own, which end by `kill -9`. Database and registry are behind links
//! that are cut; the database also crashes, and single requests to the registry fail.
//! `IMGDELTA_SOAK=1800` runs for that many seconds instead of a few; `IMGDELTA_SEED` repeats a run.

use imgdelta::{Reference, Session};
use imgdelta_job::{
    Config, Job, Stop,
    queue::{PostgresQueue, TaskAdmin, TaskFilter, TaskState},
};
use imgdelta_registry::{
    Client, ClientOptions, Credentials, Proxies, PullOptions, Registries, Repository,
    artifact::ARTIFACT_TYPE, pull::LayerSource,
};
use imgdelta_testkit::{
    Blobs, Link, LinkState, Packing, TestImage, noise,
    postgres::PostgresServer,
    registry::{RegistryBehaviour, RegistryFault, TestRegistry},
    tar_of,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

const REPOSITORIES: [&str; 3] = ["team/a", "team/b", "team/c"];
const KEEP: usize = 2;
/// The file with the configuration of a service, in the environment of its process.
const CONFIG: &str = "IMGDELTA_SOAK_CONFIG";
/// Time for what is left to do once the faults are over.
const WAIT_LIMIT: Duration = Duration::from_secs(300);

/// Numbers that look random and repeat with their seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }

    /// Sleeps for at most so many milliseconds.
    fn sleep(&mut self, milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(self.below(milliseconds)));
    }

    fn cut(&mut self) -> LinkState {
        [LinkState::Closed, LinkState::Silent][self.index(2)]
    }
}

fn push(registry: &TestRegistry, repository: &str, number: usize) -> String {
    let mut program = noise(repository.bytes().map(u64::from).sum(), 40_000);
    program[number % 40_000] ^= 0xFF;
    let image = TestImage::new(
        vec![tar_of(&[("shared", &noise(1, 20_000))]), tar_of(&[("program", &program)])],
        Packing::Gzip,
    );
    let mut blobs = Blobs::default();
    let root = image.store(&mut blobs);
    blobs.tag(root.clone(), &format!("v{number}"));
    registry.put_image(repository, &blobs);
    root["digest"].as_str().unwrap().to_owned()
}

/// A service in a process of its own, killed when it is dropped.
struct Service(Child);

impl Service {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "a_service_that_is_killed"]).env(CONFIG, config);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
#[ignore = "a process of the test below"]
fn a_service_that_is_killed() {
    let Some(file) = std::env::var_os(CONFIG) else { return };
    let config = Config::open(&PathBuf::from(file)).unwrap();
    Runtime::new().unwrap().block_on(async {
        let (stop, none) = (Stop::default(), Proxies::none());
        let job = Job::open_patiently(config, Credentials::none(), none, &stop).await.unwrap();
        job.serve(&stop, Arc::new(|_| ()), |_| ()).await.unwrap();
    });
}

/// Counts of what happened, for the report of a long run.
#[derive(Debug, Default)]
struct Happened {
    pushes: usize,
    kills: usize,
    crashes: usize,
    database_cuts: usize,
    registry_cuts: usize,
    faults: usize,
}

#[test]
fn after_kills_and_cuts_every_wanted_delta_exists_once_and_is_right() {
    let Some(server) = PostgresServer::start_on_port(None) else { return };
    let options = server.database("q");
    let registry = TestRegistry::start(RegistryBehaviour::without_referrers());
    let database_link = Link::to(server.address());
    let registry_link = Link::to(registry.host().parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let span = Duration::from_secs(number("IMGDELTA_SOAK").unwrap_or(6));
    let seed = number("IMGDELTA_SEED").unwrap_or(20_260_101);
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let config = dir.path().join("job.toml");
    let text = format!(
        "[registry]\nhost = \"{}\"\n[queue]\npostgres = \"host=127.0.0.1 port={} user=imgdelta \
         dbname=q\"\nlease = \"6s\"\npause = \"0s\"\ntries = 50\n[budget]\nscratch = \"{}\"\n\
         threads = 1\n[serve]\nlisten = \"127.0.0.1:0\"\npoll = \"1s\"\n[[rule]]\n\
         repositories = [\"team/*\"]\npreset = \"fast\"\nkeep = {KEEP}\nframes = false\n",
        registry_link.address(),
        database_link.address().port(),
        dir.path().display()
    );
    std::fs::write(&config, text).unwrap();
    let mut pushed: Vec<Vec<String>> = REPOSITORIES
        .iter()
        .map(|repository| vec![push(&registry, repository, 1), push(&registry, repository, 2)])
        .collect();
    let mut services = [Service::start(&config), Service::start(&config)];
    let (started, mut happened) = (Instant::now(), Happened::default());
    // In a long run most tasks end between two faults; a short one is over before.
    let calm = if span > Duration::from_secs(60) { 8000 } else { 1500 };
    while started.elapsed() < span {
        let at = dice.index(REPOSITORIES.len());
        let digest = push(&registry, REPOSITORIES[at], pushed[at].len() + 1);
        pushed[at].push(digest);
        happened.pushes += 1;
        let fault = match dice.below(6) {
            0 => Some(RegistryFault::Reset),
            1 => Some(RegistryFault::Status(503, Vec::new())),
            2 => Some(RegistryFault::Cut(10_000)),
            3 => Some(RegistryFault::Status(429, vec![("Retry-After", "1".into())])),
            _ => None,
        };
        if let Some(fault) = fault {
            happened.faults += 1;
            registry.fault("*", "/v2/", 1 + dice.index(6), fault);
        }
        match dice.below(16) {
            0 => {
                happened.crashes += 1;
                server.crash();
                dice.sleep(1000);
                server.restart();
            }
            1 | 2 => {
                happened.kills += 1;
                // The old one first: two processes of one place would be three for a moment.
                let place = dice.index(2);
                let killed = std::mem::replace(&mut services[place], Service::start(&config));
                drop(killed);
            }
            3 => {
                happened.database_cuts += 1;
                database_link.set(dice.cut());
                dice.sleep(3000);
                database_link.set(LinkState::Open);
            }
            4 => {
                happened.registry_cuts += 1;
                registry_link.set(dice.cut());
                dice.sleep(3000);
                registry_link.set(LinkState::Open);
            }
            _ => dice.sleep(calm),
        }
    }
    registry.forget();
    println!("{happened:?}");
    Runtime::new().unwrap().block_on(check_queue(&registry, &registry_link, &pushed, &options));
    drop(services);
    let mut deltas = 0;
    for (repository, pushed) in REPOSITORIES.iter().zip(&pushed) {
        deltas += assert_each_delta_once(&registry, repository);
        let target = pushed.len();
        for base in (1..target).rev().take(KEEP) {
            assert_right(&registry, dir.path(), repository, base, target);
        }
    }
    println!("{deltas} deltas in the registry");
}

/// Waits until the registry lists each wanted delta, once, and until no task is open.
async fn check_queue(registry: &TestRegistry, link: &Link, pushed: &[Vec<String>], options: &str) {
    let deadline = Instant::now() + WAIT_LIMIT;
    let (client, host) = (Client::new(ClientOptions::default()), registry.host());
    let queue_host = link.address().to_string();
    let queue = PostgresQueue::connect(&options.parse().unwrap(), &[], None, &queue_host).await;
    let queue = queue.unwrap();
    let open = async || {
        let tasks = queue.list(&TaskFilter::all(u32::MAX)).await.unwrap().tasks;
        let is_open = |state: TaskState| state != TaskState::Done;
        tasks.into_iter().filter(|task| is_open(task.state)).collect::<Vec<_>>()
    };
    for (repository, pushed) in REPOSITORIES.iter().zip(pushed) {
        let target = pushed.last().unwrap();
        let wanted: BTreeSet<&String> = pushed.iter().rev().skip(1).take(KEEP).collect();
        let place = Repository::new(&client, &host, &repository.parse().unwrap());
        loop {
            let listed = place.referrers(&target.parse().unwrap(), ARTIFACT_TYPE).await;
            let listed = listed.unwrap_or_default();
            let bases: Vec<&String> = listed
                .iter()
                .filter_map(|entry| entry.annotations.get("org.imgdelta.base"))
                .collect();
            let distinct: BTreeSet<&String> = bases.iter().copied().collect();
            assert_eq!(bases.len(), distinct.len(), "one delta for each base");
            if wanted.iter().all(|base| distinct.contains(base)) {
                break;
            }
            assert!(Instant::now() < deadline, "{repository}: {:?}", open().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    while queue.counts().await.unwrap().open() > 0 {
        assert!(Instant::now() < deadline, "{:?}", open().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let done = queue.list(&TaskFilter::all(u32::MAX).state(TaskState::Done)).await.unwrap().tasks;
    let attempts: u32 = done.iter().map(|task| task.tries).sum();
    println!("{} tasks done, {attempts} attempts", done.len());
    let failed = open().await;
    assert!(failed.is_empty(), "{failed:?}");
}

/// Asserts that no pair of images has two deltas, listed or not; returns the number of deltas.
fn assert_each_delta_once(registry: &TestRegistry, repository: &str) -> usize {
    let mut pairs: BTreeMap<(String, String), usize> = BTreeMap::new();
    for manifest in registry.manifests(repository) {
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        if manifest["artifactType"] == ARTIFACT_TYPE {
            let base = manifest["annotations"]["org.imgdelta.base"].as_str().unwrap();
            let target = manifest["subject"]["digest"].as_str().unwrap();
            *pairs.entry((base.to_owned(), target.to_owned())).or_default() += 1;
        }
    }
    let doubled: Vec<_> = pairs.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "{repository}: {doubled:?}");
    pairs.len()
}

/// Pulls a version with a base, and asserts that a delta made its program. A pull shows an image only
/// if every digest is right.
fn assert_right(registry: &TestRegistry, dir: &Path, repository: &str, base: usize, target: usize) {
    let registries = Registries::new(ClientOptions::default()).unwrap();
    let session = registries.attach(Session::new(dir).unwrap().threads(1).unwrap());
    let remote = |number: usize| -> Reference {
        format!("docker://{}/{repository}:v{number}", registry.host()).parse().unwrap()
    };
    let local = |name: &str, number: usize| -> Reference {
        let place = repository.replace('/', "-");
        format!("oci:{}/{place}-{base}-{name}:v{number}", dir.display()).parse().unwrap()
    };
    let options = PullOptions::default().time_limit(false);
    let old = local("old", base);
    registries.pull(&session, &remote(base), &[], &old, &options).unwrap();
    let report = registries
        .pull(&session, &remote(target), &[old], &local("new", target), &options)
        .unwrap();
    assert!(report.notes.is_empty(), "{report}");
    let program = &report.layers[1].source;
    assert!(
        matches!(program, LayerSource::Recipe { .. }),
        "{repository} {base} {target}: {report}"
    );
}
