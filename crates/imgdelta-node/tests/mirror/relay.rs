//! Requests that the mirror relays, and failures of the rebuild.

use super::*;
use imgdelta_registry::{Credential, Secret};
use imgdelta_testkit::registry::{RegistryAuth, RegistryBehaviour, RegistryFault, TestRegistry};
use tempfile::TempDir;

/// A registry with two versions and a delta, and a mirror for a runtime that has the older one.
struct Scene {
    registry: TestRegistry,
    mirror: RunningMirror,
    layers: Arc<Mutex<BTreeMap<String, u64>>>,
    dir: TempDir,
}

impl Scene {
    fn new(behaviour: RegistryBehaviour) -> Self {
        Self::with(behaviour, "", None)
    }

    fn with(behaviour: RegistryBehaviour, options: &str, failure: Option<&'static str>) -> Self {
        Self::of(&versions(), behaviour, options, failure)
    }

    /// A scene with two images of the test's own.
    fn of(
        images: &[TestImage; 2],
        behaviour: RegistryBehaviour,
        options: &str,
        failure: Option<&'static str>,
    ) -> Self {
        Self::serving(images, behaviour, options, |dir, [old, new]| {
            let runtime = ListRuntime { failure, ..ListRuntime::with(old) };
            (delta(dir, Some(old), new), runtime)
        })
    }

    /// A scene with the delta and the runtime that `prepare` makes in a directory, from the layouts of
    /// both images.
    fn serving(
        images: &[TestImage; 2],
        behaviour: RegistryBehaviour,
        options: &str,
        prepare: impl FnOnce(&Path, [&Path; 2]) -> (Delta, ListRuntime),
    ) -> Self {
        let registry = TestRegistry::start(behaviour);
        let dir = tempfile::tempdir().unwrap();
        for (version, image) in images.iter().enumerate() {
            let mut blobs = image.blobs();
            blobs.write_layout(&dir.path().join(format!("v{version}")));
            let name = format!("v{version}").into();
            blobs.roots[0]["annotations"]["org.opencontainers.image.ref.name"] = name;
            registry.put_image("team/app", &blobs);
        }
        let [old, new] = ["v0", "v1"].map(|name| dir.path().join(name));
        let target = format!("{}/team/app:v1", registry.host());
        let (delta, runtime) = prepare(dir.path(), [&old, &new]);
        push(&delta, &target, login());
        registry.forget();
        let layers = Arc::clone(&runtime.layers);
        let config = format!(
            "[mirror]\nlisten = '127.0.0.1:0'\n[rebuild]\ndirectory = '{}'\n{options}\n\
             [link]\nrate = '1Mbit'\n[[registry]]\nhost = '{}'\n",
            dir.path().join("work").display(),
            registry.host()
        );
        let mirror = RunningMirror::start(&config, Arc::new(runtime));
        Self { registry, mirror, layers, dir }
    }

    /// The digests of manifest, config and layers of the newer version.
    fn target(&self) -> Image {
        let reference = format!("oci:{}", self.dir.path().join("v1").display()).parse().unwrap();
        image::open(&reference, &OpenOptions::default()).unwrap()
    }

    /// Requests for whole layers of the newer version.
    fn layer_requests(&self) -> usize {
        let layers = self.target().layers;
        let is_layer = |path: &str| {
            layers.iter().any(|layer| path.contains(&layer.descriptor.digest.to_string()))
        };
        self.registry.requests().iter().filter(|request| is_layer(&request.path)).count()
    }

    fn get_manifest(&self) -> Answer {
        self.mirror.get("/v2/team/app/manifests/v1")
    }
}

fn login() -> Credentials {
    let password = Secret::new("secret".to_owned());
    Credentials::given(Credential::Password { user: "user".into(), password })
}

#[test]
fn the_layers_are_there_before_the_manifest_is_answered() {
    let scene = Scene::new(RegistryBehaviour::default());
    let target = scene.target();
    let answer = scene.get_manifest();
    assert_eq!((answer.status, &answer.body), (200, &target.manifest));
    assert_eq!(answer.headers["docker-content-digest"], target.digest.to_string());
    assert_eq!(answer.headers["content-type"], ACCEPT);
    // The base has the first layer, and the delta makes the second.
    let layers = scene.layers.lock().unwrap().clone();
    for layer in &target.layers {
        assert!(layers.contains_key(&layer.diff_id.to_string()), "{layers:?}");
    }
    assert_eq!(scene.layer_requests(), 0);
    assert_eq!(scene.mirror.status().rebuilt, 1);
    // The next request finds the layers.
    assert_eq!(scene.get_manifest().body, target.manifest);
    let metrics = scene.mirror.get("/metrics").text();
    assert!(metrics.contains("imgdelta_node_pulls_total{outcome=\"present\"} 1"), "{metrics}");
    assert!(metrics.contains("imgdelta_node_pulls_total{outcome=\"rebuilt\"} 1"), "{metrics}");
}

#[test]
fn a_node_without_images_rebuilds_by_a_delta_without_a_base() {
    // gzip does not see that the second file is the first one again.
    let twin = noise(7, 200_000);
    let twins = TestImage::new(vec![tar_of(&[("one", &twin), ("two", &twin)])], Packing::Gzip);
    let [plain, _] = versions();
    let images = [plain, twins];
    let behaviour = RegistryBehaviour::default;
    let scene = Scene::serving(&images, behaviour(), "", |dir, [_, new]| {
        (delta(dir, None, new), ListRuntime::default())
    });
    let target = scene.target();
    assert_eq!(scene.get_manifest().body, target.manifest);
    let layers = scene.layers.lock().unwrap().clone();
    assert!(layers.contains_key(&target.layers[0].diff_id.to_string()), "{layers:?}");
    assert_eq!((scene.layer_requests(), scene.mirror.status().rebuilt), (0, 1));

    // A delta that needs a base is none for this node.
    let scene = Scene::serving(&versions(), behaviour(), "", |dir, [old, new]| {
        (delta(dir, Some(old), new), ListRuntime::default())
    });
    assert_eq!(scene.get_manifest().body, scene.target().manifest);
    let metrics = scene.mirror.get("/metrics").text();
    assert!(metrics.contains("imgdelta_node_pulls_total{outcome=\"no-base\"} 1"), "{metrics}");
}

#[test]
fn whatever_the_rebuild_does_the_manifest_is_answered() {
    for failure in ["no space", "panic"] {
        let scene = Scene::with(RegistryBehaviour::default(), "", Some(failure));
        assert_eq!(scene.get_manifest().body, scene.target().manifest, "{failure}");
        let status = scene.mirror.status();
        assert_eq!((status.rebuilt, status.failed, status.running), (0, 1, 0), "{failure}");
        // A layer comes from the registry.
        let layer = &scene.target().layers[1].descriptor;
        let answer = scene.mirror.get(&format!("/v2/team/app/blobs/{}", layer.digest));
        assert_eq!((answer.status, answer.body.len() as u64), (200, layer.size_bytes));
    }
}

#[test]
fn exact_blobs_are_served_with_ranges_after_the_registry_has_agreed() {
    let behaviour = RegistryBehaviour::default();
    let scene = Scene::with(behaviour, "blobs = 'exact'", None);
    scene.get_manifest();
    let target = scene.target();
    let layer = &target.layers[1].descriptor;
    let path = format!("/v2/team/app/blobs/{}", layer.digest);
    let whole = scene.mirror.get(&path);
    assert_eq!(imgdelta_testkit::sha256(&whole.body), layer.digest.to_string());
    assert_eq!(whole.headers["content-length"], layer.size_bytes.to_string());
    let part = scene.mirror.request("GET", &path, &[("Range", "bytes=1000-")]);
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[1000..]));
    let size = layer.size_bytes;
    assert_eq!(part.headers["content-range"], format!("bytes 1000-{}/{size}", size - 1));
    let beyond = scene.mirror.request("GET", &path, &[("Range", &format!("bytes={size}-"))]);
    assert_eq!(
        (beyond.status, beyond.headers["content-range"].as_str()),
        (416, &*format!("bytes */{size}"))
    );
    let requests = scene.registry.requests();
    let of_layer: Vec<_> = requests.iter().filter(|request| request.path == path).collect();
    assert!(of_layer.len() == 3 && of_layer.iter().all(|request| request.method == "HEAD"));
}

#[test]
fn every_answer_needs_the_credentials_that_the_registry_wants() {
    let auth = RegistryAuth::Basic { user: "user".into(), password: "secret".into() };
    let behaviour = RegistryBehaviour { auth, ..RegistryBehaviour::default() };
    let scene = Scene::with(behaviour, "blobs = 'exact'", None);
    let manifest = "/v2/team/app/manifests/v1";
    let refused = scene.mirror.get(manifest);
    assert_eq!(refused.status, 401);
    assert!(refused.headers["www-authenticate"].starts_with("Basic"));
    // user:secret, and another tenant's user:other.
    let (right, wrong) = ("Basic dXNlcjpzZWNyZXQ=", "Basic dXNlcjpvdGhlcg==");
    let get = |path: &str, login| {
        scene.mirror.request("GET", path, &[("Accept", ACCEPT), ("Authorization", login)])
    };
    assert_eq!(get(manifest, wrong).status, 401);
    assert_eq!(scene.mirror.status().rebuilt, 0);
    assert_eq!(get(manifest, right).body, scene.target().manifest);
    assert_eq!(scene.mirror.status().rebuilt, 1);
    // What one tenant's pull rebuilt is not another's.
    let blob = format!("/v2/team/app/blobs/{}", scene.target().layers[1].descriptor.digest);
    for login in [wrong, ""] {
        assert_eq!(get(&blob, login).status, 401);
    }
    assert_eq!(get(&blob, right).status, 200);
    // The rebuild used the login of the request for everything.
    let requests = scene.registry.requests();
    let is_right = |login: &String| login == right;
    let rebuilds = requests.iter().filter(|r| r.path.contains("referrers") && r.status == 200);
    assert!(rebuilds.clone().count() > 0);
    assert!(rebuilds.clone().all(|r| r.headers.get("authorization").is_some_and(is_right)));
}

#[test]
fn a_token_of_a_runtime_is_passed_on_and_used_for_the_delta() {
    let auth = RegistryAuth::Bearer { user: Some(("user".into(), "secret".into())), uses: 1000 };
    let behaviour = RegistryBehaviour { auth, ..RegistryBehaviour::default() };
    let scene = Scene::new(behaviour);
    let challenge = scene.mirror.get("/v2/team/app/manifests/v1");
    assert_eq!(challenge.status, 401);
    let realm = &challenge.headers["www-authenticate"];
    assert!(realm.contains("realm=\"http://") && realm.contains(&scene.registry.host()), "{realm}");
    let token = token(&scene.registry, realm);
    let login = format!("Bearer {token}");
    let headers = [("Accept", ACCEPT), ("Authorization", login.as_str())];
    let answer = scene.mirror.request("GET", "/v2/team/app/manifests/v1", &headers);
    assert_eq!((answer.status, &answer.body), (200, &scene.target().manifest));
    assert_eq!(scene.mirror.status().rebuilt, 1);
    let asked = scene.registry.requests().iter().filter(|r| r.path.contains("token")).count();
    assert_eq!(asked, 1, "only the runtime asks for tokens");
}

/// Asks a registry's token server as a runtime does.
fn token(registry: &TestRegistry, challenge: &str) -> String {
    let field = |name: &str| {
        let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let realm = field("realm");
    let (_, path) = realm.split_once(&registry.host()).unwrap();
    let mut connection = TcpStream::connect(registry.host()).unwrap();
    let request = format!(
        "GET {path}?service={}&scope=repository:team/app:pull HTTP/1.1\r\nHost: r\r\n\
         Authorization: Basic dXNlcjpzZWNyZXQ=\r\nConnection: close\r\n\r\n",
        field("service")
    );
    connection.write_all(request.as_bytes()).unwrap();
    let answer: serde_json::Value =
        serde_json::from_slice(&Answer::read(&mut connection).body).unwrap();
    answer["token"].as_str().unwrap().to_owned()
}

#[test]
fn after_a_damaged_delta_the_runtime_alone_fetches_whole_layers() {
    let scene = Scene::new(RegistryBehaviour::default());
    let [old, new] = versions().map(|image| image.blobs());
    let is_of_image =
        |digest: &String| old.by_digest.contains_key(digest) || new.by_digest.contains_key(digest);
    let parts = scene.registry.blobs("team/app").into_iter().filter(|one| !is_of_image(one));
    // The artifact has an empty config, a recipe, and a front with the documents, which is larger.
    let mut parts: Vec<String> = parts.collect();
    parts.sort_by_key(|one| scene.registry.get("team/app", one).unwrap().len());
    let recipe = parts.remove(1);
    let bytes = vec![0; scene.registry.get("team/app", &recipe).unwrap().len()];
    scene.registry.corrupt("team/app", &recipe, &bytes);
    assert_eq!(scene.get_manifest().body, scene.target().manifest);
    let status = scene.mirror.status();
    assert_eq!((status.rebuilt, status.failed), (0, 1), "{status:?}");
    assert_eq!(scene.layer_requests(), 0, "the mirror fetches no whole layer");
}

#[test]
fn a_failed_rebuild_is_not_repeated_at_once() {
    let scene = Scene::with(RegistryBehaviour::default(), "", Some("no space"));
    for _ in 0..3 {
        assert_eq!(scene.get_manifest().body, scene.target().manifest);
    }
    let status = scene.mirror.status();
    assert_eq!((status.rebuilt, status.failed, status.whole), (0, 1, 2), "{status:?}");
    let metrics = scene.mirror.get("/metrics").text();
    assert!(metrics.contains("pulls_total{outcome=\"failed-before\"} 2"), "{metrics}");
}

#[test]
fn temporary_files_of_a_rebuild_stay_below_disk() {
    let image = |version: u8| {
        let files = [("zeros", &vec![0; 70 << 20][..]), ("version", &[version])];
        let program = tar_of(&[("program", &noise(2, 400_000))]);
        TestImage::new(vec![program, tar_of(&files)], Packing::Gzip)
    };
    for (disk, rebuilt) in [("64MiB", 0), ("300MiB", 1)] {
        let options = format!("disk = '{disk}'");
        let images = [image(0), image(1)];
        let scene = Scene::of(&images, RegistryBehaviour::default(), &options, None);
        assert_eq!(scene.get_manifest().body, scene.target().manifest);
        let status = scene.mirror.status();
        assert_eq!((status.rebuilt, status.failed), (rebuilt, 1 - rebuilt), "{disk}: {status:?}");
    }
}

#[test]
fn many_requests_at_once_are_one_rebuild() {
    let scene = Scene::new(RegistryBehaviour::default());
    let target = scene.target();
    std::thread::scope(|scope| {
        let requests: Vec<_> = (0..30).map(|_| scope.spawn(|| scene.get_manifest())).collect();
        for request in requests {
            assert_eq!(request.join().unwrap().body, target.manifest);
        }
    });
    let status = scene.mirror.status();
    assert_eq!((status.rebuilt, status.failed, status.held), (1, 0, 0));
}

#[test]
fn a_mirror_serves_its_registries_only_and_pulls_only() {
    let scene = Scene::new(RegistryBehaviour::default());
    let ask =
        |method: &str, path: &str| scene.mirror.request(method, path, &[("Accept", ACCEPT)]).status;
    assert_eq!(ask("GET", "/v2/team/app/manifests/v1?ns=elsewhere.test"), 404);
    assert_eq!(ask("GET", "/v2/team/app/manifests/v1?ns=127.0.0.1%3A1"), 404);
    assert_eq!(ask("GET", "/v2/../../manifests/v1"), 404);
    assert_eq!(ask("PUT", "/v2/team/app/manifests/v1"), 405);
    assert_eq!(ask("GET", "/"), 404);
    assert_eq!(scene.registry.requests().len(), 0);
    assert_eq!(ask("GET", "/healthz"), 200);
    assert_eq!(ask("GET", "/readyz"), 200);
    assert_eq!(ask("GET", "/v2/"), 200);
    assert_eq!(ask("HEAD", "/v2/team/app/manifests/v1"), 200);
    assert_eq!(ask("HEAD", "/v2/team/app/manifests/absent"), 404);
    assert_eq!(scene.mirror.status().rebuilt, 0, "a HEAD rebuilds nothing");
}

#[test]
fn a_request_with_several_lines_of_accept_reaches_the_registry_with_all_of_them() {
    let scene = Scene::new(RegistryBehaviour::default());
    let list = "application/vnd.oci.image.index.v1+json";
    let headers = [("Accept", ACCEPT), ("Accept", list)];
    let answer = scene.mirror.request("HEAD", "/v2/team/app/manifests/v1", &headers);
    assert_eq!(answer.status, 200);
    let requests = scene.registry.requests();
    let relayed = requests.iter().find(|request| request.method == "HEAD").unwrap();
    assert_eq!(relayed.headers["accept"], format!("{ACCEPT}, {list}"));
}

#[test]
fn a_registry_that_is_gone_is_reported_so_that_the_runtime_asks_it_itself() {
    let scene = Scene::new(RegistryBehaviour::default());
    scene.get_manifest();
    scene.registry.fault("GET", "manifests", 9, RegistryFault::Reset);
    let answer = scene.get_manifest();
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("errors"), "{}", answer.text());
}

#[test]
fn rebuilds_per_minute_are_limited_and_further_images_come_whole() {
    let options = "per-minute = 0";
    let scene = Scene::with(RegistryBehaviour::default(), options, None);
    assert_eq!(scene.get_manifest().body, scene.target().manifest);
    let status = scene.mirror.status();
    assert_eq!((status.rebuilt, status.whole), (0, 1));
}

#[test]
fn an_image_whose_base_has_no_blobs_is_left_to_the_runtime() {
    let scene = Scene::new(RegistryBehaviour::default());
    let base = scene.dir.path().join("v0");
    let reference = format!("oci:{}", base.display()).parse().unwrap();
    let image = image::open(&reference, &OpenOptions::default()).unwrap();
    for layer in &image.layers {
        let name = layer.descriptor.digest.to_string().replace(':', "/");
        std::fs::remove_file(base.join("blobs").join(name)).unwrap();
    }
    assert_eq!(scene.get_manifest().body, scene.target().manifest);
    let status = scene.mirror.status();
    assert_eq!((status.rebuilt, status.failed), (0, 1));
    // The runtime fetches each layer; the mirror fetches none.
    assert_eq!(scene.layer_requests(), 0);
}
