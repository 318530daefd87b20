//! Pushes and pulls against a registry in this process. With any damage to a delta the result is the
//! registry's image, and no more is downloaded than necessary.

mod chains;
mod fallback;
mod linked;
mod streams;

use imgdelta::{
    Session,
    create::{CreateOptions, KeptEnvelopes, Preset},
};
use imgdelta_apply::delta::{Delta, Envelope, SectionKind};
use imgdelta_core::{Difference, Error, Limits, Result, progress::Silent, scratch::Scratch};
use imgdelta_image::{
    image::{self, Image, OpenOptions},
    reference::{Reference, RegistryReference},
    store::{Descriptor, Store, source::ReadAt},
};
use imgdelta_registry::{
    ClientOptions, Manifest, ManifestReference, PushOptions, PushReport, Registries, RegistryStore,
    Repository, RequestError, Retry, UploadOutcome,
    artifact::{ARTIFACT_TYPE, Artifact, COMPRESSES_ANNOTATION, Front, RECIPE_TYPE, SplitDelta},
    pull::{Clock, LayerSource, LinkSpeed, PullOptions, PullPlan, PullReport},
    recipes,
};
use imgdelta_testkit::{
    Blobs, Packing, TestImage, noise,
    registry::{RegistryBehaviour, RegistryFault, TestRegistry},
    sha256, tar_of,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::Read,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Version 0 and 1 share a layer, a program that hardly changes, and each has a layer of its own.
fn image(version: u8) -> Blobs {
    let mut program = noise(2, 60_000);
    program[30_000] ^= version;
    let name = format!("own-{version}");
    let layers = vec![
        tar_of(&[("shared", &noise(1, 80_000))]),
        tar_of(&[("bin/program", &program), ("etc/version", &[version])]),
        tar_of(&[(&name, &noise(10 + u64::from(version), 20_000))]),
    ];
    TestImage::new(layers, Packing::Gzip).blobs()
}

/// A registry with two versions under the tags v0 and v1, and the means to pull.
struct Scene {
    dir: TempDir,
    registry: TestRegistry,
    runtime: Runtime,
    registries: Registries,
    session: Session,
}

const REPOSITORY: &str = "team/app";

impl Scene {
    fn new(behaviour: RegistryBehaviour) -> Self {
        let registry = TestRegistry::start(behaviour);
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let retry = Retry::default().attempts(3).first(Duration::from_millis(1));
        let registries = Registries::new(ClientOptions::default().retry(retry)).unwrap();
        let session = Session::new(dir.path()).unwrap().threads(2).unwrap();
        let session = registries.attach(session);
        let scene = Self { dir, registry, runtime, registries, session };
        for version in [0, 1] {
            scene.add(&format!("v{version}"), image(version));
        }
        scene
    }

    /// Puts an image into a local layout and into the registry.
    fn add(&self, name: &str, mut blobs: Blobs) {
        blobs.write_layout(&self.dir.path().join(name));
        blobs.roots[0]["annotations"]["org.opencontainers.image.ref.name"] = json!(name);
        self.registry.put_image(REPOSITORY, &blobs);
    }

    /// A scene with a delta from v0 to v1 pushed.
    fn with_delta(behaviour: RegistryBehaviour) -> Self {
        let scene = Self::new(behaviour);
        scene.push(&scene.small_delta()).unwrap();
        scene.registry.forget();
        scene
    }

    /// The delta from v0 to v1, which is the same in every scene.
    fn small_delta(&self) -> Vec<u8> {
        static DELTA: OnceLock<Vec<u8>> = OnceLock::new();
        DELTA.get_or_init(|| self.make("v0", "v1")).clone()
    }

    fn local_reference(&self, name: &str) -> Reference {
        format!("oci:{}/{name}", self.dir.path().display()).parse().unwrap()
    }

    fn local(&self, name: &str) -> Image {
        image::open(&self.local_reference(name), &OpenOptions::default()).unwrap()
    }

    fn scratch(&self) -> Scratch {
        Scratch::in_dir(self.dir.path()).unwrap()
    }

    fn repository(&self) -> Repository {
        Repository::new(
            self.registries.client(),
            &self.registry.host(),
            &REPOSITORY.parse().unwrap(),
        )
    }

    fn make(&self, old: &str, new: &str) -> Vec<u8> {
        self.make_with(&CreateOptions::default().preset(Preset::Fast), old, new)
    }

    fn make_with(&self, options: &CreateOptions, old: &str, new: &str) -> Vec<u8> {
        let (old, new) = (self.local_reference(old), self.local_reference(new));
        let draft = self.session.plan(&old, &new, options).unwrap().encode().unwrap();
        let mut bytes = Vec::new();
        draft.prove().unwrap().write_to(&mut bytes).unwrap();
        bytes
    }

    fn push(&self, delta: &[u8]) -> std::result::Result<PushReport, RequestError> {
        let delta = opened(delta);
        self.runtime.block_on(self.repository().push(&delta, &PushOptions::default()))
    }

    /// An image of the registry by a suffix such as `:v1`.
    fn reference(&self, name: &str) -> Reference {
        format!("docker://{}/{REPOSITORY}{name}", self.registry.host()).parse().unwrap()
    }

    fn registry_reference(&self, name: &str) -> RegistryReference {
        match self.reference(name) {
            Reference::Registry(reference) => reference,
            _ => unreachable!("a docker:// reference is in a registry"),
        }
    }

    fn output(&self, place: &str) -> Reference {
        place.replace("DIR", &self.dir.path().display().to_string()).parse().unwrap()
    }

    fn plan(&self, tag: &str, bases: &[&str], output: &str, deltas: bool) -> Result<PullPlan> {
        self.plan_with(&options().deltas(deltas), tag, bases, output)
    }

    fn plan_with(
        &self,
        options: &PullOptions,
        tag: &str,
        bases: &[&str],
        output: &str,
    ) -> Result<PullPlan> {
        let bases: Vec<Reference> = bases.iter().map(|name| self.local_reference(name)).collect();
        let (source, output) = (self.reference(tag), self.output(output));
        self.registries.plan_pull(&self.session, &source, &bases, &output, options)
    }

    fn pull(&self, tag: &str, bases: &[&str], output: &str) -> Result<PullReport> {
        self.plan(tag, bases, output, true)?.carry_out()
    }

    /// Asserts that a layout holds an image byte for byte.
    fn is_whole(&self, place: &str, like: &str) {
        let image = image::open(&self.output(place), &OpenOptions::default()).unwrap();
        let expected = self.local(like);
        assert_eq!(image.manifest, expected.manifest);
        assert_eq!(image.config_bytes, expected.config_bytes);
        for layer in &image.layers {
            let read = |store: &Arc<dyn Store>| {
                let mut bytes = Vec::new();
                store.open(&layer.descriptor).unwrap().read_to_end(&mut bytes).unwrap();
                bytes
            };
            let bytes = read(image.store());
            assert_eq!(sha256(&bytes), layer.descriptor.digest.to_string());
            assert_eq!(bytes, read(expected.store()));
        }
    }

    fn artifacts(&self, tag: &str) -> Vec<Manifest> {
        let repository = self.repository();
        let digest = self.local(tag).digest;
        let work = async {
            let mut manifests = Vec::new();
            for referrer in repository.referrers(&digest, ARTIFACT_TYPE).await.unwrap() {
                let reference = ManifestReference::Digest(referrer.descriptor.digest);
                manifests.push(repository.manifest(&reference).await.unwrap());
            }
            manifests
        };
        self.runtime.block_on(work)
    }

    fn artifact(&self, tag: &str) -> Artifact {
        Artifact::parse(&self.artifacts(tag)[0], "test").unwrap()
    }

    /// Puts an artifact in the place of the one that is there.
    fn replace_artifact(&self, change: impl Fn(&mut Value)) {
        self.replace(&self.artifacts("v1").remove(0), change);
    }

    fn replace(&self, old: &Manifest, change: impl Fn(&mut Value)) {
        let mut document: Value = serde_json::from_slice(&old.bytes).unwrap();
        change(&mut document);
        self.registry.remove(REPOSITORY, &old.descriptor.digest.to_string());
        let bytes = document.to_string();
        let kind = old.descriptor.media_type();
        self.registry.put_manifest(REPOSITORY, None, kind, bytes.as_bytes());
        self.registry.forget();
    }
}

/// A clock that stands still: a busy machine must not decide what a test sees.
#[derive(Debug)]
struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

fn options() -> PullOptions {
    PullOptions::default().clock(Arc::new(StillClock))
}

fn opened(delta: &[u8]) -> Delta {
    let source: Arc<dyn ReadAt> = Arc::new(delta.to_vec());
    Delta::open(source, "fresh", &Limits::default()).unwrap()
}

fn outcomes(pushed: &PushReport) -> Vec<UploadOutcome> {
    pushed.parts.iter().map(|part| part.outcome).collect()
}

/// The source of each layer, by its word in the JSON document.
fn ways(pulled: &PullReport) -> Vec<String> {
    let document = pulled.json();
    let layers = document["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["way"].as_str().unwrap().to_owned()).collect()
}

const OUT: &str = "oci:DIR/out:v1";

#[test]
fn a_pull_with_a_delta_fetches_the_recipe_and_what_is_new() {
    for behaviour in [RegistryBehaviour::default(), RegistryBehaviour::without_referrers()] {
        let scene = Scene::with_delta(behaviour);
        let pulled = scene.pull(":v1", &["v0"], OUT).unwrap();
        assert_eq!(ways(&pulled), ["base", "recipe", "registry"]);
        scene.is_whole(OUT, "v1");
        let artifact = scene.artifact("v1");
        let new = scene.local("v1").layers[2].descriptor.size_bytes;
        let parts = artifact.front.size_bytes + artifact.recipes[0].blob.size_bytes + new;
        let config = scene.local("v1").config_bytes.len() as u64;
        assert_eq!(scene.registry.sent_bytes("/blobs/") as u64, parts + config);
        assert!(artifact.recipes[0].blob.size_bytes < 1_000, "a byte has changed");
        assert!(pulled.received_bytes < parts + config + 4_000, "documents and lists");
        assert!(pulled.plain_bytes > 80_000 && pulled.received_bytes < 30_000);
        assert!(pulled.notes.is_empty(), "{:?}", pulled.notes);

        // And back, without a delta in that direction: the layers of v0 are downloaded whole.
        let back = scene.pull(":v0", &["out"], "oci:DIR/out:v0").unwrap();
        assert_eq!(ways(&back), ["there", "registry", "registry"]);
        scene.is_whole("oci:DIR/out:v0", "v0");
        scene.is_whole(OUT, "v1");
    }
}

#[test]
fn behind_a_fast_link_whole_layers_come_and_behind_a_slow_one_recipes() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    let pull = |bits_per_second, output| {
        let options = options().link(Some(LinkSpeed::new(bits_per_second, 2)));
        let plan = scene.plan_with(&options, ":v1", &["v0"], output).unwrap();
        plan.carry_out().unwrap()
    };
    let fast = pull(100_000_000_000, "oci:DIR/fast:v1");
    assert_eq!(ways(&fast), ["base", "registry", "registry"]);
    assert_eq!(fast.notes.len(), 1, "{fast}");
    assert!(fast.notes[0].to_string().contains("fewer bytes and more time"), "{fast}");
    assert_eq!(fast.json()["deltas"], json!([]));
    scene.is_whole("oci:DIR/fast:v1", "v1");

    let slow = pull(1_000_000, "oci:DIR/slow:v1");
    assert_eq!(ways(&slow), ["base", "recipe", "registry"]);
    assert!(slow.notes.is_empty(), "{slow}");
    scene.is_whole("oci:DIR/slow:v1", "v1");
}

#[test]
fn a_push_sends_what_is_not_there_and_the_parts_are_the_file_again() {
    use UploadOutcome::{Present, Sent};

    let scene = Scene::new(RegistryBehaviour::without_referrers());
    let delta = scene.make("v0", "v1");
    let pushed = scene.push(&delta).unwrap();
    // A front and a recipe; the carried layer is the target's own.
    assert_eq!(outcomes(&pushed), [Sent, Sent, Present]);
    let again = scene.push(&delta).unwrap();
    assert_eq!((again.sent_bytes(), again.artifact), (0, pushed.artifact));
    assert_eq!(scene.artifacts("v1").len(), 1, "one entry, however often it is pushed");

    let artifact = scene.artifact("v1");
    let get = |digest: &str| scene.registry.get(REPOSITORY, digest).unwrap();
    let front = Front::parse(get(&artifact.front.digest.to_string()), "test").unwrap();
    let mut joined = Vec::new();
    let mut part = |kind, ordinal: usize| {
        let blob = match kind {
            SectionKind::Recipe => &artifact.recipes[ordinal].blob,
            _ => &artifact.carried[ordinal],
        };
        Ok(Box::new(std::io::Cursor::new(get(&blob.digest.to_string()))) as Box<dyn Read>)
    };
    front.join(&mut part, &mut joined).unwrap();
    assert_eq!(joined, delta);
    assert_eq!(artifact.base, Some(scene.local("v0").digest));
    assert_eq!(artifact.recipes[0].target, Some(scene.local("v1").layers[1].diff_id));
    assert_eq!(artifact.recipes[0].sources, [scene.local("v0").layers[1].diff_id]);
}

#[test]
fn a_recipe_that_lies_in_another_repository_is_mounted() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    let delta = scene.make("v0", "v1");
    let recipe = scene.artifact("v1").recipes[0].blob.clone();
    let other = "team/other";
    let without = RegistryBehaviour { mounts_blobs: false, ..RegistryBehaviour::default() };
    for (behaviour, lies, from, expected) in [
        (RegistryBehaviour::default(), other, other, UploadOutcome::Mounted),
        (without, other, other, UploadOutcome::Sent),
        (RegistryBehaviour::default(), "team/third", other, UploadOutcome::Sent),
        (RegistryBehaviour::default(), other, REPOSITORY, UploadOutcome::Sent),
    ] {
        let there = Scene::new(behaviour);
        let digest = recipe.digest.to_string();
        there.registry.put_blob(lies, &scene.registry.get(REPOSITORY, &digest).unwrap());
        let elsewhere = HashMap::from([(recipe.digest, from.parse().unwrap())]);
        let options = PushOptions::default().elsewhere(elsewhere);
        let repository = there.repository();
        let delta = opened(&delta);
        let pushed = there.runtime.block_on(repository.push(&delta, &options)).unwrap();
        assert_eq!(outcomes(&pushed), [UploadOutcome::Sent, expected, UploadOutcome::Present]);
        let sent = if expected == UploadOutcome::Sent { recipe.size_bytes } else { 0 };
        assert_eq!(pushed.sent_bytes(), pushed.parts[0].blob.size_bytes + sent);
        let pulled = there.pull(":v1", &["v0"], OUT).unwrap();
        assert_eq!(ways(&pulled), ["base", "recipe", "registry"]);
    }
}

#[test]
fn a_delta_without_its_image_is_not_pushed() {
    let scene = Scene::new(RegistryBehaviour::default());
    let delta = scene.make("v0", "v1");
    let target = scene.local("v1").digest.to_string();
    scene.registry.remove(REPOSITORY, &target);
    let failure = scene.push(&delta).unwrap_err();
    assert!(failure.is_not_found());
    assert!(failure.to_string().contains("not in this repository; push it first"), "{failure}");
    assert!(
        scene.registry.requests().iter().all(|seen| seen.method == "HEAD" || seen.path == "/v2/")
    );
    let error = Error::from(failure);
    assert!(matches!(error, Error::NotFound { .. }));
    assert!(error.to_string().contains(&format!("the image that the delta makes ({target})")));
    assert!(imgdelta_registry::advice(&error).unwrap().contains("push the new image"));
}

#[test]
fn without_a_delta_only_what_is_not_here_is_fetched() {
    let scene = Scene::new(RegistryBehaviour::default());
    let pulled = scene.pull(":v1", &["v0"], OUT).unwrap();
    assert_eq!(ways(&pulled), ["base", "registry", "registry"]);
    scene.is_whole(OUT, "v1");
    assert!(pulled.received_bytes >= pulled.plain_bytes);
    assert!(pulled.received_bytes < pulled.plain_bytes + 500, "and an empty list of referrers");

    let alone = scene.pull(":v1", &[], "oci:DIR/alone:v1").unwrap();
    assert_eq!(ways(&alone), ["registry"; 3]);
    scene.is_whole("oci:DIR/alone:v1", "v1");
    scene.registry.forget();
    let again = scene.pull(":v1", &[], "oci:DIR/alone:v1").unwrap();
    assert_eq!(ways(&again), ["there"; 3]);
    assert_eq!(scene.registry.sent_bytes("/blobs/"), scene.local("v1").config_bytes.len());
    // By digest, into an archive.
    let digest = format!("@{}", scene.local("v1").digest);
    scene.pull(&digest, &["v0"], "oci-archive:DIR/a.tar:v1").unwrap();
    scene.is_whole("oci-archive:DIR/a.tar:v1", "v1");
}

#[test]
fn a_node_without_images_pulls_by_a_delta_that_needs_none() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    // Random bytes have no shorter form: this version has others.
    let text: Vec<u8> =
        (0..20_000).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
    let layer = tar_of(&[("text", &text)]);
    scene.add("v2", TestImage::new(vec![layer], Packing::Gzip).blobs());
    let images = scene.session.open_without_base(&scene.local_reference("v2")).unwrap();
    let pair = scene.session.read_pair(images, &imgdelta::diff::DiffOptions::default()).unwrap();
    let draft = pair.plan(&CreateOptions::default()).unwrap().encode().unwrap();
    let mut delta = Vec::new();
    draft.prove().unwrap().write_to(&mut delta).unwrap();
    assert_eq!(opened(&delta).base().manifest, None);
    scene.push(&delta).unwrap();
    let pulled = scene.pull(":v2", &[], "oci:DIR/first:v2").unwrap();
    assert_eq!(ways(&pulled), ["recipe"]);
    assert!(pulled.received_bytes < pulled.plain_bytes, "{pulled}");
    scene.is_whole("oci:DIR/first:v2", "v2");

    // The delta of v1 needs v0: its manifest is not read.
    let artifact = scene.artifacts("v1").remove(0).descriptor.digest;
    scene.registry.forget();
    let pulled = scene.pull(":v1", &[], "oci:DIR/alone:v1").unwrap();
    assert_eq!(ways(&pulled), ["registry"; 3]);
    assert_eq!(scene.registry.sent_bytes(&artifact.to_string()), 0);
}

#[test]
fn a_dry_run_fetches_no_layer_and_no_delta_is_looked_for_when_not_wanted() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    let plan = scene.plan(":v1", &["v0"], OUT, true).unwrap();
    assert!(matches!(plan.layers[1].source, LayerSource::Recipe { delta: 0, recipe: 0 }));
    let documents = scene.local("v1").config_bytes.len() as u64;
    let front = scene.artifact("v1").front.size_bytes;
    assert_eq!(scene.registry.sent_bytes("/blobs/") as u64, documents + front);
    assert!(!scene.dir.path().join("out").exists());
    assert_eq!(plan.json()["received_bytes"], Value::Null);
    assert!(
        plan.line().contains("1 from the base; 1 rebuilt; 1 from the registry"),
        "{}",
        plan.line()
    );

    scene.registry.forget();
    let plan = scene.plan(":v1", &["v0"], OUT, false).unwrap();
    assert_eq!(plan.layers[1].source, LayerSource::Registry);
    assert_eq!(plan.fetch_bytes() + documents + plan_manifest(&scene), plan.plain_bytes);
    assert_eq!(scene.registry.sent_bytes("/referrers/"), 0);
}

fn plan_manifest(scene: &Scene) -> u64 {
    scene.local("v1").manifest.len() as u64
}

type Spoil = fn(&Scene);

#[test]
fn what_is_wrong_with_a_delta_costs_its_bytes_and_no_more() {
    let wrongs: [(&str, Spoil); 7] = [
        ("no recipe", |scene| {
            let recipe = scene.artifact("v1").recipes[0].blob.digest.to_string();
            scene.registry.remove(REPOSITORY, &recipe);
        }),
        ("a damaged recipe", |scene| {
            let recipe = scene.artifact("v1").recipes[0].blob.digest.to_string();
            let mut bytes = scene.registry.get(REPOSITORY, &recipe).unwrap();
            bytes[100] ^= 1;
            scene.registry.corrupt(REPOSITORY, &recipe, &bytes);
        }),
        ("a recipe that is none, under its right digest", |scene| {
            let length = scene.artifact("v1").recipes[0].blob.size_bytes;
            let digest = scene.registry.put_blob(REPOSITORY, &noise(5, length.try_into().unwrap()));
            scene.replace_artifact(|document| document["layers"][1]["digest"] = json!(digest));
        }),
        ("a recipe whose residue is another's", |scene| {
            let recipe = scene.artifact("v1").recipes[0].blob.digest.to_string();
            let mut bytes = scene.registry.get(REPOSITORY, &recipe).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            let digest = scene.registry.put_blob(REPOSITORY, &bytes);
            scene.replace_artifact(|document| document["layers"][1]["digest"] = json!(digest));
        }),
        ("a front that is none", |scene| {
            let digest = scene.registry.put_blob(REPOSITORY, b"something else");
            scene.replace_artifact(|document| {
                document["layers"][0]["digest"] = json!(digest);
                document["layers"][0]["size"] = json!(14);
            });
        }),
        ("a front of another image", |scene| {
            scene.push(&scene.make("v1", "v0")).unwrap();
            let front = scene.artifact("v0").front;
            scene.replace_artifact(|document| {
                document["layers"][0]["digest"] = json!(front.digest.to_string());
                document["layers"][0]["size"] = json!(front.size_bytes);
            });
        }),
        ("sources that are not here", |scene| {
            scene.replace_artifact(|document| {
                let digest = sha256(b"elsewhere");
                document["layers"][1]["annotations"]["org.imgdelta.sources"] = json!(digest);
            });
        }),
    ];
    for (what, spoil) in wrongs {
        let scene = Scene::with_delta(RegistryBehaviour::default());
        spoil(&scene);
        scene.registry.forget();
        let pulled = scene.pull(":v1", &["v0"], OUT).unwrap();
        assert_eq!(ways(&pulled), ["base", "registry", "registry"], "{what}");
        scene.is_whole(OUT, "v1");
        let delta: u64 =
            scene.artifact("v1").recipes[0].blob.size_bytes + scene.artifact("v1").front.size_bytes;
        let most = pulled.plain_bytes + delta + 5_000;
        assert!(pulled.received_bytes <= most, "{what}: {} of {most}", pulled.received_bytes);
        let has_note = pulled.notes.is_empty() == (what == "sources that are not here");
        assert!(has_note, "{what}: {:?}", pulled.notes);
    }
}

#[test]
fn a_delta_larger_than_a_plain_pull_is_refused_before_it_is_fetched() {
    for (part, place) in [(0, "front"), (1, "recipe")] {
        let scene = Scene::with_delta(RegistryBehaviour::default());
        let bytes = vec![0; 300_000];
        let digest = scene.registry.put_blob(REPOSITORY, &bytes);
        scene.replace_artifact(|document| {
            document["layers"][part]["digest"] = json!(digest);
            document["layers"][part]["size"] = json!(bytes.len());
        });
        let pulled = scene.pull(":v1", &["v0"], OUT).unwrap();
        scene.is_whole(OUT, "v1");
        assert_eq!(ways(&pulled), ["base", "registry", "registry"], "{place}");
        assert_eq!(scene.registry.sent_bytes(&digest), 0, "{place}");
    }
}

#[test]
fn a_pull_that_was_cut_continues_with_the_finished_layers() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    let last = scene.local("v1").layers[2].descriptor.digest.to_string();
    scene.registry.fault("GET", &last, 99, RegistryFault::Reset);
    let error = scene.pull(":v1", &["v0"], OUT).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let shown = error.to_string();
    assert!(
        shown.starts_with(&format!("docker://{}/{REPOSITORY}: blob", scene.registry.host())),
        "{shown}"
    );
    scene.registry.forget();
    let pulled = scene.pull(":v1", &["v0"], OUT).unwrap();
    scene.is_whole(OUT, "v1");
    // The number of layers that the first run finished depends on its workers; none comes twice.
    for way in &ways(&pulled)[..2] {
        assert!(["there", "base", "recipe"].contains(&way.as_str()), "{way}");
    }
}

#[test]
fn a_damaged_base_is_replaced_by_the_registry() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    for layer in scene.local("v0").layers {
        let hex = layer.descriptor.digest.hex();
        let path = scene.dir.path().join("v0/blobs/sha256").join(hex);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let pulled = scene.pull(":v1", &["v0"], OUT).unwrap();
    scene.is_whole(OUT, "v1");
    assert_eq!(pulled.notes.len(), 2, "{:?}", pulled.notes);
}

#[test]
fn a_registry_that_sends_wrong_layers_is_a_mismatch() {
    let scene = Scene::new(RegistryBehaviour::default());
    let digest = scene.local("v1").layers[0].descriptor.digest.to_string();
    scene.registry.fault("GET", &digest, 99, RegistryFault::WrongByte);
    let error = scene.pull(":v1", &[], OUT).unwrap_err();
    assert!(
        matches!(error, Error::Mismatch { difference: Difference::Digest { .. }, .. }),
        "{error}"
    );
    scene.registry.forget();
    scene.registry.fault("GET", &digest, 99, RegistryFault::Longer(9));
    let error = scene.pull(":v1", &[], OUT).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Mismatch { difference: Difference::Size { .. } | Difference::Longer { .. }, .. }
        ),
        "{error}"
    );
    assert!(!scene.dir.path().join("out/index.json").exists());
}

#[test]
fn images_in_a_registry_are_read_and_kept() {
    let scene = Scene::new(RegistryBehaviour::default());
    let (handle, scratch) = (scene.runtime.handle().clone(), Some(scene.scratch()));
    let (client, reference) = (scene.registries.client(), scene.registry_reference(":v1"));
    let (store, name) = RegistryStore::open(client, &reference, handle, scratch);
    let image = Image::open(store, name.as_ref(), &OpenOptions::default()).unwrap();
    let local = scene.local("v1");
    assert_eq!((image.digest, &image.config_bytes), (local.digest, &local.config_bytes));
    for _ in 0..2 {
        for (layer, expected) in image.layers.iter().zip(&local.layers) {
            assert_eq!(layer.diff_id, expected.diff_id);
            let mut notes = Vec::new();
            image.read_layer(layer, &mut notes, &Silent, &mut |_| Ok(())).unwrap();
        }
    }
    let all: u64 = local.layers.iter().map(|layer| layer.descriptor.size_bytes).sum();
    let config = local.config_bytes.len() as u64;
    assert_eq!(scene.registry.sent_bytes("/blobs/") as u64, all + config, "each was fetched once");

    let handle = scene.runtime.handle().clone();
    let reference = scene.registry_reference(":v9");
    let (store, name) = RegistryStore::open(client, &reference, handle, None);
    let error = Image::open(store, name.as_ref(), &OpenOptions::default()).unwrap_err();
    assert!(error.to_string().ends_with("is not there; there is v0, v1"), "{error}");
}

#[test]
fn recipes_of_a_shared_layer_are_one_blob() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    // Another image over the same changed layer.
    for version in [0, 1] {
        let mut program = noise(2, 60_000);
        program[30_000] ^= version;
        let layers = vec![
            tar_of(&[("bin/program", &program), ("etc/version", &[version])]),
            tar_of(&[("other", &noise(40 + u64::from(version), 9_000))]),
        ];
        scene.add(&format!("w{version}"), TestImage::new(layers, Packing::Gzip).blobs());
    }
    let pushed = scene.push(&scene.make("w0", "w1")).unwrap();
    let recipes: Vec<UploadOutcome> = pushed
        .parts
        .iter()
        .filter(|part| part.blob.media_type() == RECIPE_TYPE)
        .map(|part| part.outcome)
        .collect();
    assert_eq!(recipes, [UploadOutcome::Present]);
}

/// Words of few letters: they compress, and not to nothing.
fn words(seed: u64, count: usize) -> Vec<u8> {
    noise(seed, count)
        .into_iter()
        .map(|byte| b"etaoinshrdlu ,.\n"[usize::from(byte % 16)])
        .collect()
}

#[test]
fn a_recipe_makes_a_zstd_layer_too() {
    let scene = Scene::new(RegistryBehaviour::default());
    for version in [0, 1] {
        let mut text = words(2, 90_000);
        text[40_000] ^= version;
        let layers = vec![tar_of(&[("words", &text)])];
        scene.add(&format!("z{version}"), TestImage::new(layers, Packing::Zstd).blobs());
    }
    scene.push(&scene.make("z0", "z1")).unwrap();
    let artifact = scene.artifact("z1");
    let repository = scene.repository();
    let offered = recipes::offers(&repository, &artifact.descriptor.digest);
    let offered = scene.runtime.block_on(offered).unwrap().recipes;
    assert!(matches!(offered[0].envelopes[0].1, Envelope::Zstd(_)), "{offered:?}");
    scene.registry.forget();
    let pulled = scene.pull(":z1", &["z0"], OUT).unwrap();
    assert_eq!(ways(&pulled), ["recipe"]);
    scene.is_whole(OUT, "z1");
    let layer = scene.local("z1").layers[0].descriptor.size_bytes;
    assert!(layer > 40_000 && pulled.received_bytes < layer / 4, "{}", pulled.received_bytes);
}

/// Images of two layers. Of m1 the first is nearly that of m3 and half of the second; of m2 the
/// second is, and nothing of the first. Deltas from both to m3 are pushed.
fn mixed() -> (Scene, [Manifest; 2]) {
    static DELTAS: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    let scene = Scene::new(RegistryBehaviour::default());
    let spoilt = |seed, at: usize| {
        let mut bytes = noise(seed, 60_000);
        bytes[at] ^= 1;
        bytes
    };
    let half = [&noise(3, 60_000)[..30_000], &noise(50, 30_000)[..]].concat();
    for (name, first, second) in [
        ("m1", spoilt(2, 30_000), half),
        ("m2", noise(60, 60_000), spoilt(3, 30_000)),
        ("m3", noise(2, 60_000), noise(3, 60_000)),
    ] {
        let layers = vec![tar_of(&[("first", &first)]), tar_of(&[("second", &second)])];
        scene.add(name, TestImage::new(layers, Packing::Gzip).blobs());
    }
    let deltas = DELTAS.get_or_init(|| [scene.make("m1", "m3"), scene.make("m2", "m3")]);
    let of = |delta| {
        let artifact = scene.push(delta).unwrap().artifact;
        let manifests = scene.artifacts("m3");
        manifests.into_iter().find(|manifest| manifest.descriptor.digest == artifact).unwrap()
    };
    let manifests = [of(&deltas[0]), of(&deltas[1])];
    scene.registry.forget();
    (scene, manifests)
}

/// The artifact and the recipe that makes a layer of m3.
fn recipe_for(scene: &Scene, manifest: &Manifest, layer: usize) -> (Artifact, Descriptor) {
    let artifact = Artifact::parse(manifest, "test").unwrap();
    let target = Some(scene.local("m3").layers[layer].diff_id);
    let recipe = artifact.recipes.iter().find(|recipe| recipe.target == target).unwrap();
    (artifact.clone(), recipe.blob.clone())
}

#[test]
fn each_layer_comes_by_the_delta_that_is_best_for_it() {
    let (scene, manifests) = mixed();
    let pulled = scene.pull(":m3", &["m1", "m2"], OUT).unwrap();
    assert_eq!(ways(&pulled), ["recipe", "recipe"]);
    assert!(pulled.notes.is_empty(), "{:?}", pulled.notes);
    scene.is_whole(OUT, "m3");

    let target = scene.local("m3");
    let (first, recipe) = recipe_for(&scene, &manifests[0], 0);
    let (second, other) = recipe_for(&scene, &manifests[1], 1);
    assert!(recipe.size_bytes < 1_000 && other.size_bytes < 1_000);
    let parts = [&first.front, &second.front, &recipe, &other];
    let blobs: u64 = parts.iter().map(|blob| blob.size_bytes).sum();
    let sent = |path| scene.registry.sent_bytes(path) as u64;
    assert_eq!(sent("/blobs/"), blobs + target.config_bytes.len() as u64);
    let manifest_bytes = manifests.iter().map(|manifest| manifest.bytes.len()).sum::<usize>();
    assert_eq!(sent("/manifests/"), (target.manifest.len() + manifest_bytes) as u64);
    let all = sent("/blobs/") + sent("/manifests/") + sent("/referrers/");
    assert_eq!(pulled.received_bytes, all);

    let document = pulled.json();
    let digests = manifests.each_ref().map(|manifest| manifest.descriptor.digest.to_string());
    for at in [0, 1] {
        assert_eq!(document["deltas"][at]["artifact"], digests[at]);
        assert_eq!(document["deltas"][at]["layers"], 1);
        assert_eq!(document["layers"][at]["delta"], digests[at]);
        assert!(pulled.to_string().contains(&format!("delta   {}\n", digests[at])), "{pulled}");
    }
    assert_eq!(document["deltas"].as_array().unwrap().len(), 2);
    assert_eq!(document["delta"]["artifact"], digests[0], "the one that saves most");

    // Without its base, the second delta adds nothing.
    let (scene, _) = mixed();
    let plan = scene.plan(":m3", &["m1"], OUT, true).unwrap();
    assert_eq!((plan.deltas.len(), plan.layers[1].source.delta()), (1, Some(0)));
    assert_eq!(scene.registry.sent_bytes(&second.front.digest.to_string()), 0);
}

#[test]
fn a_front_says_how_a_blob_is_made_from_the_stream_of_any_base() {
    let (scene, _) = mixed();
    // A base has the stream and not the blob; the delta has a recipe for the stream.
    let layers = vec![tar_of(&[("second", &noise(3, 60_000))])];
    scene.add("p", TestImage::new(layers, Packing::Plain).blobs());
    scene.registry.forget();
    let pulled = scene.pull(":m3", &["m1", "p"], OUT).unwrap();
    assert_eq!(ways(&pulled), ["recipe", "remade"]);
    assert!(pulled.notes.is_empty() && pulled.received_bytes < 10_000, "{pulled}");
    scene.is_whole(OUT, "m3");
}

/// Image s0 has the streams of k1 in uncompressed blobs. The delta from k1 to k1 has the envelopes of
/// its layers, or not.
fn kept_layers(kept: KeptEnvelopes) -> (Scene, Artifact) {
    let scene = Scene::new(RegistryBehaviour::default());
    let layers =
        vec![tar_of(&[("first", &noise(70, 60_000))]), tar_of(&[("second", &noise(71, 60_000))])];
    let image = |packing| TestImage::new(layers.clone(), packing);
    scene.add("k1", image(Packing::Gzip).blobs());
    scene.add("s0", image(Packing::Plain).blobs());
    let options = CreateOptions::default().preset(Preset::Fast).kept_envelopes(kept);
    scene.push(&scene.make_with(&options, "k1", "k1")).unwrap();
    let artifact = scene.artifact("k1");
    scene.registry.forget();
    (scene, artifact)
}

#[test]
fn a_base_of_streams_needs_the_front_of_a_delta_and_no_layer() {
    let (scene, artifact) = kept_layers(KeptEnvelopes::Included);
    assert_eq!(artifact.compresses.as_ref().unwrap().to_string(), "0-1");
    let pulled = scene.pull(":k1", &["s0"], OUT).unwrap();
    assert_eq!(ways(&pulled), ["remade", "remade"]);
    assert!(pulled.received_bytes < 10_000 && pulled.plain_bytes > 100_000, "{pulled}");
    assert!(pulled.notes.iter().all(|note| !note.to_string().contains("skipped")), "{pulled}");
    scene.is_whole(OUT, "k1");
}

#[test]
fn a_delta_that_cannot_compress_what_a_base_has_is_not_fetched() {
    let (scene, artifact) = kept_layers(KeptEnvelopes::Omitted);
    assert_eq!(artifact.compresses, None);
    let plan = scene.plan(":k1", &["s0"], OUT, true).unwrap();
    assert!(plan.deltas.is_empty());
    assert_eq!(scene.registry.sent_bytes(&artifact.front.digest.to_string()), 0);
    assert_eq!(ways(&plan.carry_out().unwrap()), ["registry", "registry"]);
    scene.is_whole(OUT, "k1");
}

#[test]
fn a_false_or_missing_claim_of_compression_costs_a_front_at_most() {
    let cases = [
        // The front has no envelopes.
        (KeptEnvelopes::Omitted, json!("0-1"), true),
        (KeptEnvelopes::Included, json!("0"), true),
        // Older deltas, and annotations that do not parse.
        (KeptEnvelopes::Included, json!(null), false),
        (KeptEnvelopes::Included, json!("1-0"), false),
        (KeptEnvelopes::Included, json!("0-4096"), false),
    ];
    for (kept, claim, is_fetched) in cases {
        let (scene, artifact) = kept_layers(kept);
        let manifest = scene.artifacts("k1").remove(0);
        let set = |document: &mut Value| {
            let annotations = document["annotations"].as_object_mut().unwrap();
            annotations.remove(COMPRESSES_ANNOTATION);
            if !claim.is_null() {
                annotations.insert(COMPRESSES_ANNOTATION.to_owned(), claim.clone());
            }
        };
        scene.replace(&manifest, set);
        scene.registry.forget();
        let pulled = scene.pull(":k1", &["s0"], OUT).unwrap();
        assert_eq!(ways(&pulled), ["registry", "registry"], "{claim}");
        let front = scene.registry.sent_bytes(&artifact.front.digest.to_string());
        assert_eq!(front > 0, is_fetched, "{claim}");
        let is_noted =
            pulled.notes.iter().any(|note| note.to_string().contains("says that it compresses"));
        assert_eq!(is_noted, is_fetched, "{claim}: {pulled}");
        scene.is_whole(OUT, "k1");
    }
}

#[test]
fn a_front_is_fetched_only_if_it_saves_more_than_it_costs() {
    let (scene, manifests) = mixed();
    let (_, expensive) = recipe_for(&scene, &manifests[0], 1);
    let large = scene.registry.put_blob(REPOSITORY, &noise(8, 50_000));
    assert!(expensive.size_bytes < 50_000, "what the second saves");
    scene.replace(&manifests[1], |document| {
        document["layers"][0]["digest"] = json!(large);
        document["layers"][0]["size"] = json!(50_000);
    });
    let plan = scene.plan(":m3", &["m1", "m2"], OUT, true).unwrap();
    assert_eq!((plan.deltas.len(), scene.registry.sent_bytes(&large)), (1, 0));
}

#[test]
fn what_is_wrong_with_one_delta_leaves_the_other() {
    type Harm = fn(&Scene, &Manifest, &Descriptor);
    let harms: [(&str, Harm); 4] = [
        ("gone", |scene, _, recipe| scene.registry.remove(REPOSITORY, &recipe.digest.to_string())),
        ("damaged", |scene, _, recipe| {
            let digest = recipe.digest.to_string();
            let mut bytes = scene.registry.get(REPOSITORY, &digest).unwrap();
            bytes[50] ^= 1;
            scene.registry.corrupt(REPOSITORY, &digest, &bytes);
        }),
        ("none, under its right digest", |scene, manifest, recipe| {
            let bytes = noise(5, recipe.size_bytes.try_into().unwrap());
            swap_recipe(scene, manifest, recipe, &bytes);
        }),
        ("of another residue", |scene, manifest, recipe| {
            let mut bytes = scene.registry.get(REPOSITORY, &recipe.digest.to_string()).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            swap_recipe(scene, manifest, recipe, &bytes);
        }),
    ];
    for (what, harm) in harms {
        for (wrong, expected) in [(0, ["registry", "recipe"]), (1, ["recipe", "recipe"])] {
            let (scene, manifests) = mixed();
            let (_, recipe) = recipe_for(&scene, &manifests[wrong], wrong);
            harm(&scene, &manifests[wrong], &recipe);
            scene.registry.forget();
            let pulled = scene.pull(":m3", &["m1", "m2"], OUT).unwrap();
            assert_eq!(ways(&pulled), expected, "{what} {wrong}");
            assert_eq!(pulled.notes.len(), 1, "{what} {wrong}: {:?}", pulled.notes);
            scene.is_whole(OUT, "m3");
            // The first delta still makes the layers that the second one cannot, for more bytes.
            let document = pulled.json();
            let used = [0, 1].map(|at| document["deltas"][at]["layers"].as_u64().unwrap());
            assert_eq!(used, if wrong == 0 { [0, 1] } else { [2, 0] }, "{what} {wrong}");
            let whole = scene.local("m3").layers[1].descriptor.digest.to_string();
            assert_eq!(scene.registry.sent_bytes(&whole), 0, "{what} {wrong}");
        }
    }
}

#[test]
fn a_recipe_that_two_deltas_have_is_fetched_once_at_most() {
    let deltas: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    for is_gone in [false, true] {
        let scene = Scene::new(RegistryBehaviour::default());
        let mut old = noise(2, 40_000);
        old[20_000] ^= 1;
        for (name, layers) in [
            ("t1", [&old, &noise(3, 40_000)[..39_000], &noise(61, 40_000)]),
            ("t2", [&old, &noise(62, 40_000)[..], &noise(4, 40_000)[..39_000]]),
            ("t3", [&noise(2, 40_000), &noise(3, 40_000)[..], &noise(4, 40_000)]),
        ] {
            let files = ["first", "second", "third"].into_iter().zip(layers);
            let layers = files.map(|file| tar_of(&[file])).collect();
            scene.add(name, TestImage::new(layers, Packing::Gzip).blobs());
        }
        let deltas = deltas.get_or_init(|| ["t1", "t2"].map(|name| scene.make(name, "t3")));
        let parts = deltas.each_ref().map(|delta| scene.push(delta).unwrap().parts);
        let shared = parts[0].iter().map(|part| part.blob.digest.to_string()).find(|digest| {
            parts[1].iter().any(|part| {
                part.blob.media_type() == RECIPE_TYPE
                    && part.outcome == UploadOutcome::Present
                    && part.blob.digest.to_string() == *digest
            })
        });
        let shared = shared.expect("a recipe of both");
        if is_gone {
            scene.registry.remove(REPOSITORY, &shared);
        }
        scene.registry.forget();
        let pulled = scene.pull(":t3", &["t1", "t2"], OUT).unwrap();
        let first = if is_gone { "registry" } else { "recipe" };
        assert_eq!(ways(&pulled), [first, "recipe", "recipe"]);
        scene.is_whole(OUT, "t3");
        let seen = scene.registry.requests();
        assert_eq!(seen.iter().filter(|seen| seen.path.contains(&shared)).count(), 1);
    }
}

/// Makes a recipe of an artifact another blob.
fn swap_recipe(scene: &Scene, manifest: &Manifest, recipe: &Descriptor, bytes: &[u8]) {
    let digest = scene.registry.put_blob(REPOSITORY, bytes);
    scene.replace(manifest, |document| {
        let parts = document["layers"].as_array_mut().unwrap();
        let part = parts.iter_mut().find(|part| part["digest"] == recipe.digest.to_string());
        part.unwrap()["digest"] = json!(digest);
    });
}

#[test]
fn any_number_of_false_promises_costs_less_than_a_plain_pull() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    let old = scene.artifacts("v1").remove(0);
    let mut fronts = Vec::new();
    scene.registry.remove(REPOSITORY, &old.descriptor.digest.to_string());
    for seed in 0..40 {
        let mut document: Value = serde_json::from_slice(&old.bytes).unwrap();
        let front = scene.registry.put_blob(REPOSITORY, &noise(100 + seed, 35_000));
        document["layers"][0]["digest"] = json!(front);
        document["layers"][0]["size"] = json!(35_000);
        let bytes = document.to_string();
        scene.registry.put_manifest(
            REPOSITORY,
            None,
            old.descriptor.media_type(),
            bytes.as_bytes(),
        );
        fronts.push(front);
    }
    scene.registry.forget();
    let pulled = scene.pull(":v1", &["v0"], OUT).unwrap();
    assert_eq!(ways(&pulled), ["base", "registry", "registry"]);
    scene.is_whole(OUT, "v1");
    let fetched = fronts.iter().filter(|front| scene.registry.sent_bytes(front) > 0).count();
    assert!(fetched <= 1, "a second would make it more expensive than {}", pulled.plain_bytes);
    // List, manifests and fronts together cost less than a plain pull.
    let most = 2 * pulled.plain_bytes;
    assert!(pulled.received_bytes < most, "{} of {most}", pulled.received_bytes);
}

#[test]
fn an_artifact_says_which_recipes_it_offers() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    let artifact = scene.artifact("v1");
    let of = |artifact: &Artifact| {
        let digest = artifact.descriptor.digest;
        scene.runtime.block_on(recipes::offers(&scene.repository(), &digest))
    };
    let offer = of(&artifact).unwrap();
    let offered = offer.recipes;
    let (old, new) = (scene.local("v0"), scene.local("v1"));
    assert_eq!(offered.len(), 1);
    assert_eq!(offered[0].target, new.layers[1].diff_id);
    assert_eq!(offered[0].sources, [old.layers[1].diff_id]);
    assert_eq!(offered[0].blob, artifact.recipes[0].blob);
    let [(blob, Envelope::Deflate(remake))] = &offered[0].envelopes[..] else {
        panic!("{:?}", offered[0].envelopes);
    };
    assert!(*blob == new.layers[1].descriptor.digest && !remake.is_empty());
    let fetch = |blob| {
        let (repository, scratch) = (scene.repository(), scene.scratch());
        scene.runtime.block_on(recipes::fetch(&repository, blob, &scratch, &Silent))
    };
    let file = fetch(&offered[0].blob).unwrap();
    assert_eq!(file.size_bytes().unwrap(), offered[0].blob.size_bytes);
    let gone = Descriptor::new(None, sha256(b"elsewhere").parse().unwrap(), 9);
    assert!(matches!(fetch(&gone), Err(Error::NotFound { .. })));

    // A front of another image than the artifact's subject.
    for (place, value, what) in [
        ("subject", json!(null), "it has no subject"),
        ("subject", json!({"digest": old.digest.to_string(), "size": 9}), "digest is"),
        ("layers", json!([document_of(&artifact.front)]), "other recipes than its manifest"),
    ] {
        let scene = Scene::with_delta(RegistryBehaviour::default());
        let manifest = scene.artifacts("v1").remove(0);
        let mut document: Value = serde_json::from_slice(&manifest.bytes).unwrap();
        document[place] = value;
        let (kind, bytes) = (manifest.descriptor.media_type(), document.to_string());
        let digest = scene.registry.put_manifest(REPOSITORY, None, kind, bytes.as_bytes());
        let digest = digest.parse().unwrap();
        let outcome = scene.runtime.block_on(recipes::offers(&scene.repository(), &digest));
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(what), "{place}: {error}");
    }
    let nothing = scene.runtime.block_on(recipes::offers(&scene.repository(), &new.digest));
    assert!(matches!(nothing, Err(Error::BadInput { .. })), "an image is not a delta");
}

fn document_of(blob: &Descriptor) -> Value {
    json!({"mediaType": blob.media_type(), "digest": blob.digest.to_string(),
        "size": blob.size_bytes})
}

/// Digests and sizes change with the format of deltas; what a manifest says does not.
fn without_digests(mut manifest: Value) -> Value {
    for layer in manifest["layers"].as_array_mut().unwrap() {
        layer["digest"] = json!("");
        layer["size"] = json!(0);
    }
    manifest["annotations"]["org.imgdelta.bytes"] = json!("");
    manifest
}

#[test]
fn the_page_shows_a_real_manifest() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let bytes = std::fs::read(top.join("testdata/small/small.imgdelta")).unwrap();
    let source: Arc<dyn ReadAt> = Arc::new(bytes);
    let delta = Delta::open(source, "small", &Limits::default()).unwrap();
    let size = delta.manifest().len() as u64;
    let subject = Descriptor::new(Some(delta.media_type()), delta.digest(), size);
    let manifest = SplitDelta::of(&delta).unwrap();
    let manifest = manifest.manifest(&delta, &subject, Some("imgdelta 0.2.0"));
    let made: Value = serde_json::from_slice(&manifest.bytes).unwrap();
    let page = std::fs::read_to_string(top.join("docs/registry.md")).unwrap();
    let shown = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let shown: Value = serde_json::from_str(shown).unwrap_or_default();
    let pretty = serde_json::to_string_pretty(&made).unwrap();
    assert!(!shown.is_null() && without_digests(shown) == without_digests(made), "{pretty}");
}

#[test]
fn a_later_run_continues_a_layer_where_an_earlier_one_stopped() {
    let scene = Scene::new(RegistryBehaviour::default());
    let size = 3 << 20;
    let layers = vec![tar_of(&[("large", &noise(7, size))])];
    let blobs = TestImage::new(layers, Packing::Gzip).blobs();
    let (digest, blob) = (blobs.by_digest.iter())
        .max_by_key(|(_, bytes)| bytes.len())
        .map(|(digest, bytes)| (digest.clone(), bytes.len()))
        .unwrap();
    scene.add("large", blobs);
    let path = format!("/blobs/{digest}");
    let pull = || {
        let source = format!("docker://{}/{REPOSITORY}:large", scene.registry.host());
        let options = PullOptions::default();
        let output = scene.local_reference("out");
        scene.registries.pull(&scene.session, &source.parse().unwrap(), &[], &output, &options)
    };
    let partial = || {
        let blobs = std::fs::read_dir(scene.dir.path().join("out/blobs")).unwrap();
        let names = blobs.map(|item| item.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("partial")).count()
    };
    // The whole blob, and then each rest of it, is cut.
    let third = blob / 3;
    scene.registry.fault("GET", &path, 1, RegistryFault::Cut(third));
    scene.registry.fault("GET", &path, 99, RegistryFault::Reset);
    pull().unwrap_err();
    assert_eq!(partial(), 1);
    scene.registry.forget();
    pull().unwrap();
    let requests = scene.registry.requests();
    let downloads: Vec<_> =
        requests.iter().filter(|one| one.method == "GET" && one.path.ends_with(&path)).collect();
    assert_eq!(downloads.len(), 1);
    let start: usize = downloads[0].headers["range"]
        .strip_prefix("bytes=")
        .and_then(|range| range.strip_suffix('-'))
        .unwrap()
        .parse()
        .unwrap();
    assert!(start > third / 2 && start <= third, "{start} of {blob}");
    assert_eq!(downloads[0].sent_bytes, blob - start);
    assert_eq!(partial(), 0);
    assert_eq!(scene.local("out").layers.len(), 1);
}

#[test]
fn a_damaged_beginning_is_downloaded_again_in_the_run_after() {
    let scene = Scene::new(RegistryBehaviour::default());
    let layers = vec![tar_of(&[("large", &noise(7, 3 << 20))])];
    let blobs = TestImage::new(layers, Packing::Gzip).blobs();
    let digest = (blobs.by_digest.iter()).max_by_key(|(_, bytes)| bytes.len()).unwrap().0.clone();
    scene.add("large", blobs);
    let output = scene.dir.path().join("out/blobs");
    std::fs::create_dir_all(&output).unwrap();
    let name = format!(".imgdelta-partial-{}", digest.replace(':', "-"));
    std::fs::write(output.join(name), vec![0; 1 << 20]).unwrap();
    let pull = || {
        let source = format!("docker://{}/{REPOSITORY}:large", scene.registry.host());
        let (options, output) = (PullOptions::default(), scene.local_reference("out"));
        scene.registries.pull(&scene.session, &source.parse().unwrap(), &[], &output, &options)
    };
    pull().unwrap_err();
    pull().unwrap();
}
