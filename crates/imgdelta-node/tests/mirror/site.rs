//! A real containerd, a registry that a test controls, and a mirror between them.
//! Knows which layers and files an image has; decides nothing about faults.

use super::*;
use imgdelta_node::{ContainerdRuntime, ImageStager};
use imgdelta_registry::{Credential, Secret};
use imgdelta_runtimes::containerd::ChainId;
use imgdelta_testkit::{
    Blobs, ContainerdProcess, ContainerdSettings, has,
    registry::{RegistryBehaviour, RequestRecord, TestRegistry},
};
use serde_json::json;
use std::{collections::BTreeSet, fs, path::PathBuf};
use tempfile::TempDir;

pub(crate) const NAMESPACE: &str = "k8s.io";

/// A user with a password.
pub(crate) type Login<'a> = Option<(&'a str, &'a str)>;

/// A version of an app: the files of its layers.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub layers: Vec<Vec<(&'static str, Vec<u8>)>>,
    pub packing: Packing,
}

impl App {
    /// Makes a version of the app with this seed, whose program has so many bytes.
    pub fn new(seed: u64, version: u8, program_bytes: usize) -> Self {
        let mut program = noise(2 * seed, program_bytes);
        program[program_bytes / 2] ^= version;
        let layers = vec![
            vec![("lib/shared", noise(2 * seed + 1, 80_000))],
            vec![("bin/program", program), ("etc/version", vec![b'0' + version])],
        ];
        Self { layers, packing: Packing::Gzip }
    }

    /// Makes two versions.
    pub fn pair(seed: u64) -> [Self; 2] {
        [0, 1].map(|version| Self::new(seed, version, 400_000))
    }

    pub fn image(&self) -> TestImage {
        let streams = self.layers.iter().map(|files| {
            let files: Vec<_> = files.iter().map(|(path, bytes)| (*path, &bytes[..])).collect();
            tar_of(&files)
        });
        TestImage::new(streams.collect(), self.packing)
    }

    /// Returns the manifest's digest.
    pub fn digest(&self) -> String {
        self.image().blobs().roots[0]["digest"].as_str().unwrap().to_owned()
    }

    /// Returns the config's digest.
    pub fn config_digest(&self) -> String {
        imgdelta_testkit::sha256(self.image().config().to_string().as_bytes())
    }

    /// Returns the names of its snapshots.
    fn chains(&self) -> Vec<String> {
        let streams = self.image().layers;
        let diff_ids = streams.iter().map(|stream| imgdelta_testkit::sha256(stream).parse());
        let diff_ids: Vec<DiffId> = diff_ids.map(std::result::Result::unwrap).collect();
        ChainId::of_layers(&diff_ids).iter().map(ToString::to_string).collect()
    }
}

/// Settings of a site.
#[derive(Clone, Debug)]
pub(crate) struct SiteSettings {
    /// The mirror's `blobs`.
    pub blobs: String,
    pub discards_layers: bool,
    /// The mirror's `hold`.
    pub hold: &'static str,
    pub registry: RegistryBehaviour,
    /// Directory of containerd's content and snapshots.
    pub root: Option<PathBuf>,
    /// Directory of the mirror's files.
    pub work: Option<PathBuf>,
}

impl Default for SiteSettings {
    fn default() -> Self {
        Self {
            blobs: "none".into(),
            discards_layers: false,
            hold: "120s",
            registry: RegistryBehaviour::default(),
            root: None,
            work: None,
        }
    }
}

/// A containerd, a registry, and a mirror between them.
pub(crate) struct Site {
    pub containerd: ContainerdProcess,
    pub registry: TestRegistry,
    mirror: Option<RunningMirror>,
    settings: SiteSettings,
    dir: TempDir,
}

impl Site {
    /// Starts containerd and registry; `None` if tools are missing.
    pub fn start(settings: SiteSettings) -> Option<Self> {
        if !has(&["containerd", "ctr"]) {
            return None;
        }
        let containerd = ContainerdProcess::start_with(&ContainerdSettings {
            discards_layers: settings.discards_layers,
            root: settings.root.clone(),
            ..Default::default()
        });
        fs::create_dir_all(containerd.registries()).unwrap();
        let registry = TestRegistry::start(settings.registry.clone());
        let dir = tempfile::tempdir().unwrap();
        Some(Self { containerd, registry, mirror: None, settings, dir })
    }

    /// Starts a site whose containerd has the older of two versions, and a mirror.
    pub fn with_base(settings: SiteSettings, repository: &str, apps: &[App; 2]) -> Option<Self> {
        let mut site = Self::start(settings)?;
        site.add(repository, apps, None);
        site.pull_base(repository, None);
        site.start_mirror();
        Some(site)
    }

    pub fn name(&self, repository: &str, tag: &str) -> String {
        format!("{}/{repository}:{tag}", self.registry.host())
    }

    /// Puts versions into the registry, tagged `v0` and `v1`, with deltas both ways.
    pub fn add(&self, repository: &str, apps: &[App; 2], login: Login<'_>) {
        let layouts = self.publish(repository, apps);
        for (old, new) in [(0, 1), (1, 0)] {
            let delta = delta(self.dir.path(), Some(&layouts[old]), &layouts[new]);
            let name = format!("{}/{repository}@{}", self.registry.host(), apps[new].digest());
            push(&delta, &name, credentials(login));
        }
    }

    fn publish(&self, repository: &str, apps: &[App; 2]) -> [PathBuf; 2] {
        [0, 1].map(|version| {
            let mut blobs = apps[version].image().blobs();
            let layout = self.dir.path().join(repository).join(version.to_string());
            blobs.write_layout(&layout);
            let tag = json!(format!("v{version}"));
            blobs.roots[0]["annotations"]["org.opencontainers.image.ref.name"] = tag;
            self.registry.put_image(repository, &blobs);
            layout
        })
    }

    /// Puts an index of platforms into the registry, which names an image that is there.
    pub fn add_index(&self, repository: &str, app: &App, tag: &str) -> String {
        let mut blobs = Blobs::default();
        let mut native = app.image().store(&mut blobs);
        native["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let foreign = app.image().platform("linux", "s390x");
        let mut foreign = foreign.store(&mut blobs);
        foreign["platform"] = json!({"os": "linux", "architecture": "s390x"});
        let index = blobs.add_index(&[foreign, native]);
        let digest = index["digest"].as_str().unwrap().to_owned();
        blobs.tag(index, tag);
        self.registry.put_image(repository, &blobs);
        digest
    }

    /// Brings the older version onto the node, without a mirror, as a base.
    pub fn pull_base(&self, repository: &str, login: Login<'_>) {
        let name = self.name(repository, "v0");
        if self.settings.discards_layers && self.settings.blobs != "exact" {
            // Of layers that containerd pulled itself nothing but their files would be left.
            let config = self.config();
            let runtime: Arc<dyn Runtime> = Arc::new(ContainerdRuntime::connect(&config).unwrap());
            let session = Session::new(self.dir.path()).unwrap();
            let image = format!("docker://{name}").parse().unwrap();
            let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
            let logins =
                move || credentials(login.as_ref().map(|(user, password)| (&**user, &**password)));
            let stager = ImageStager::new(config, runtime, session, logins).unwrap();
            stager.stage(&image).unwrap();
        }
        // containerd 1.7 and later expect TLS of every registry that no file describes.
        let host = self.registry.host();
        let directory = self.containerd.registries().join(&host);
        fs::create_dir_all(&directory).unwrap();
        let server = format!("server = 'http://{host}'\n[host.'http://{host}']\n");
        fs::write(directory.join("hosts.toml"), server).unwrap();
        self.containerd.try_kubelet_pull(&name, login).unwrap();
        fs::remove_dir_all(directory).unwrap();
        // Discarded blobs are there until a collection.
        self.containerd.ctr(NAMESPACE, "leases create --id discarded");
        self.containerd.ctr(NAMESPACE, "leases delete --sync discarded");
    }

    pub fn config_text(&self) -> String {
        format!(
            "[mirror]\nlisten = '127.0.0.1:0'\nhold = '{}'\n[hosts]\ndirectory = '{}'\n\
             [containerd]\nsocket = '{}'\n[rebuild]\nblobs = '{}'\ndirectory = '{}'\n\
             [link]\nrate = '1Mbit'\n[[registry]]\nhost = '{}'\nplain-http = true\n",
            self.settings.hold,
            self.containerd.registries().display(),
            self.containerd.socket().display(),
            self.settings.blobs,
            self.work().display(),
            self.registry.host()
        )
    }

    fn config(&self) -> Config {
        Config::parse(&self.config_text(), "node.toml").unwrap()
    }

    /// Returns the directory of the mirror's files.
    pub fn work(&self) -> PathBuf {
        self.settings.work.clone().unwrap_or_else(|| self.dir.path().join("work"))
    }

    pub fn start_mirror(&mut self) {
        let runtime = Arc::new(ContainerdRuntime::connect(&self.config()).unwrap());
        self.mirror = Some(RunningMirror::start(&self.config_text(), runtime));
    }

    pub fn mirror(&self) -> &RunningMirror {
        self.mirror.as_ref().expect("it was started")
    }

    pub fn status(&self) -> Status {
        self.mirror().status()
    }

    /// Pulls through the mirror; returns the paths that the runtime fetched from the registry.
    pub fn pull(&self, name: &str, login: Login<'_>) -> BTreeSet<String> {
        let before = self.registry.requests().len();
        self.containerd.try_kubelet_pull(name, login).unwrap();
        self.fetched(before)
    }

    /// Returns the paths that the runtime has fetched since a number of requests.
    pub fn fetched(&self, before: usize) -> BTreeSet<String> {
        let requests = self.runtime_requests(before).into_iter();
        let fetches = requests.filter(|one| one.method == "GET" && one.status == 200);
        fetches.map(|one| one.path).collect()
    }

    /// Returns the requests of the runtime, which the mirror relays under its name.
    pub fn runtime_requests(&self, before: usize) -> Vec<RequestRecord> {
        let mut requests = self.registry.requests().split_off(before);
        let is_runtime = |agent: &String| agent.starts_with("containerd");
        requests.retain(|one| one.headers.get("user-agent").is_some_and(is_runtime));
        requests
    }

    /// Returns the paths of an image's manifest and config.
    pub fn small_objects(repository: &str, app: &App) -> BTreeSet<String> {
        let path = |kind: &str, name: String| format!("/v2/{repository}/{kind}/{name}");
        [path("manifests", app.digest()), path("blobs", app.config_digest())].into()
    }

    /// Compares every file of an image with the app's.
    pub fn has_files(&self, name: &str, app: &App) {
        let target = self.dir.path().join("mounted");
        fs::create_dir_all(&target).unwrap();
        self.containerd.ctr(NAMESPACE, &format!("images mount {name} {}", target.display()));
        for (path, bytes) in app.layers.iter().flatten() {
            assert!(fs::read(target.join(path)).unwrap() == *bytes, "{name}: {path}");
        }
        self.containerd.ctr(NAMESPACE, &format!("images unmount --rm {}", target.display()));
    }

    /// Compares the names of all committed snapshots with those of the apps' layers.
    pub fn has_no_other_snapshots(&self, apps: &[&App]) {
        let known: BTreeSet<String> = apps.iter().flat_map(|app| app.chains()).collect();
        for line in self.containerd.ctr(NAMESPACE, "snapshots ls").lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.last() == Some(&"Committed") {
                assert!(known.contains(words[0]), "an unknown snapshot: {line}");
            }
        }
    }

    pub fn leases(&self) -> Vec<String> {
        let leases = self.containerd.ctr(NAMESPACE, "leases ls -q");
        leases.lines().map(str::to_owned).collect()
    }

    /// Ends the time of the mirror's leases, and waits until containerd has collected.
    pub fn end_leases(&self) {
        for lease in self.leases() {
            assert!(lease.starts_with("imgdelta"), "a lease of others: {lease}");
            // The mirror may end it at this moment, too.
            self.containerd.try_ctr(NAMESPACE, &format!("leases delete --sync {lease}"));
        }
        self.containerd.ctr(NAMESPACE, "leases create --id collection");
        self.containerd.ctr(NAMESPACE, "leases delete --sync collection");
        assert_eq!(self.leases(), [""; 0], "leases that do not end");
    }

    /// Removes all names of an image.
    pub fn remove_image(&self, app: &App) {
        let images = self.containerd.ctr(NAMESPACE, "images ls");
        for line in images.lines().filter(|line| line.contains(&app.digest())) {
            let name = line.split_whitespace().next().unwrap();
            self.containerd.ctr(NAMESPACE, &format!("images remove --sync {name}"));
        }
    }

    /// Stops the mirror, removes all images, ends the leases: the node is empty then.
    pub fn ends_empty(mut self) {
        drop(self.mirror.take());
        for name in self.containerd.ctr(NAMESPACE, "images ls -q").lines() {
            self.containerd.ctr(NAMESPACE, &format!("images remove --sync {name}"));
        }
        self.end_leases();
        let containerd = &self.containerd;
        let left = (containerd.snapshot_count(), containerd.blob_count());
        assert_eq!(left, (0, 0), "snapshots, and blobs");
        assert_eq!(containerd.ingest_count(), 0, "unfinished blobs");
    }
}

pub(crate) fn credentials(login: Login<'_>) -> Credentials {
    login.map_or_else(Credentials::none, |(user, password)| {
        let password = Secret::new(password.to_owned());
        Credentials::given(Credential::Password { user: user.to_owned(), password })
    })
}
