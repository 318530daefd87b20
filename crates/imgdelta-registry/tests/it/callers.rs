//! Blocking and async calls from every kind of thread: plain ones, tasks of both tokio runtimes,
//! an executor that is not tokio.

use imgdelta::{Reference, Result, Session, create::CreateOptions};
use imgdelta_registry::{
    ClientOptions, PullOptions, PullReport, PushOptions, Registries, pull::LayerSource,
};
use imgdelta_testkit::{
    Packing, TestImage, noise,
    registry::{RegistryBehaviour, TestRegistry},
    tar_of,
};
use serde_json::json;
use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
};
use tempfile::TempDir;

/// Two versions of an image, `v0` and `v1`, in a registry and on this machine. Their second layers
/// are large and have nothing in common.
struct Scene {
    dir: TempDir,
    registry: TestRegistry,
    registries: Registries,
    session: Session,
}

impl Scene {
    fn new() -> Self {
        let registry = TestRegistry::start(RegistryBehaviour::default());
        let dir = tempfile::tempdir().unwrap();
        for version in [0, 1] {
            let mut program = noise(1, 60_000);
            program[30_000] ^= version;
            let name = format!("v{version}");
            let new = noise(2 + u64::from(version), 3_000_000);
            let layers = vec![tar_of(&[("program", &program)]), tar_of(&[(&name, &new)])];
            let mut blobs = TestImage::new(layers, Packing::Gzip).blobs();
            blobs.write_layout(&dir.path().join(&name));
            blobs.roots[0]["annotations"]["org.opencontainers.image.ref.name"] = json!(name);
            registry.put_image("team/app", &blobs);
        }
        let registries = Registries::new(ClientOptions::default()).unwrap();
        let session = registries.attach(Session::new(dir.path()).unwrap().threads(2).unwrap());
        Self { dir, registry, registries, session }
    }

    fn local(&self, name: &str) -> Reference {
        format!("oci:{}/{name}", self.dir.path().display()).parse().unwrap()
    }

    fn remote(&self, tag: &str) -> Reference {
        format!("docker://{}/team/app:{tag}", self.registry.host()).parse().unwrap()
    }

    /// Makes a delta by reading both images from the registry.
    fn make(&self) -> imgdelta::delta::Delta {
        let (old, new) = (self.remote("v0"), self.remote("v1"));
        let draft = self.session.plan(&old, &new, &CreateOptions::default()).unwrap().encode();
        draft.unwrap().prove().unwrap().delta().clone()
    }

    fn push(&self) {
        let options = PushOptions::default();
        let report = self.registries.push(&self.make(), &self.remote("v1"), &options).unwrap();
        assert!(report.sent_bytes() > 0, "{report}");
    }

    fn pull(&self) -> Result<PullReport> {
        let (source, base) = (self.remote("v1"), self.local("v0"));
        let (output, options) = (self.local("out:v1"), PullOptions::default().time_limit(false));
        self.registries.pull(&self.session, &source, &[base], &output, &options)
    }

    /// Pulls whole layers only.
    fn plain_pull(&self) -> Result<PullReport> {
        let (source, output) = (self.remote("v1"), self.local("plain:v1"));
        self.registries.pull(&self.session, &source, &[], &output, &PullOptions::default())
    }

    async fn pull_async(&self) -> Result<PullReport> {
        let (source, base) = (self.remote("v1"), self.local("v0"));
        let (output, options) = (self.local("out:v1"), PullOptions::default().time_limit(false));
        self.registries.pull_async(&self.session, &source, &[base], &output, &options).await
    }

    /// Asserts that the recipe was used and that the layout holds the registry's image.
    fn check(&self, report: &PullReport) {
        assert_eq!(report.json()["layers"][0]["way"], "recipe", "{report}");
        assert!(report.notes.is_empty(), "{report}");
        let diff = self.session.diff(&self.local("out:v1"), &self.remote("v1")).unwrap();
        assert!(diff.is_same_image(), "{diff}");
    }

    fn blocking_calls(&self) {
        self.push();
        self.check(&self.pull().unwrap());
        let plain = self.plain_pull().unwrap();
        assert!(plain.layers.iter().all(|layer| layer.source == LayerSource::Registry), "{plain}");
    }

    async fn async_calls(&self) {
        let (target, options) = (self.remote("v1"), PushOptions::default());
        let delta = self.make();
        self.registries.push_async(&delta, &target, &options).await.unwrap();
        self.check(&self.pull_async().await.unwrap());
    }
}

#[test]
fn blocking_calls_work_on_a_plain_thread() {
    Scene::new().blocking_calls();
}

#[tokio::test]
async fn blocking_calls_work_inside_a_task_of_a_current_thread_runtime() {
    Scene::new().blocking_calls();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_calls_work_inside_a_task_of_a_multi_thread_runtime() {
    tokio::spawn(async { Scene::new().blocking_calls() }).await.unwrap();
}

#[tokio::test]
async fn async_calls_work_in_a_current_thread_runtime() {
    Scene::new().async_calls().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn async_calls_work_in_a_multi_thread_runtime() {
    tokio::spawn(async { Scene::new().async_calls().await }).await.unwrap();
}

#[test]
fn async_calls_work_without_tokio() {
    block_on(Scene::new().async_calls());
}

/// The smallest executor.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn the_network_lives_as_long_as_a_session_an_image_or_a_plan() {
    let Scene { dir, registry, registries, session } = Scene::new();
    let scene = Scene { dir, registry, registries: registries.clone(), session: session.clone() };
    scene.push();
    let image = session.open(&scene.remote("v1")).unwrap();
    let (source, base, output) = (scene.remote("v1"), scene.local("v0"), scene.local("out:v1"));
    let options = PullOptions::default().time_limit(false);
    let plan = registries.plan_pull(&session, &source, &[base], &output, &options).unwrap();
    let Scene { dir, registry, registries: other_registries, session: other_session } = scene;
    drop((registries, other_registries, session, other_session));
    let store = image.store();
    let mut bytes = Vec::new();
    store.open(&image.layers[1].descriptor).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, image.layers[1].descriptor.size_bytes);
    drop(image);
    let report = plan.carry_out().unwrap();
    assert_eq!(report.layers.len(), 2);
    drop((dir, registry));
}
