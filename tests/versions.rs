//! Debian's docker-registry with many versions: any version comes from any other at the price of the
//! deltas between them, and deltas survive the tools that copy a repository.
//!
//! On a machine without the tools the tests print that and pass; with `CI` set they must run.

use imgdelta::{
    Reference, Session,
    create::{CreateOptions, Preset},
    image::Image,
};
use imgdelta_registry::{
    ClientOptions, ManifestReference, PushOptions, Registries, Repository,
    artifact::{ARTIFACT_TYPE, Artifact},
    fallback_tag,
    pull::{PullOptions, PullReport},
};
use imgdelta_testkit::{DockerRegistry, Packing, TestImage, has, noise, tar_of};
use imgdelta_tests::{layout_blobs, run};
use serde_json::Value;
use std::fs;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Versions of an image in a registry and in local layouts.
struct Scene {
    registry: DockerRegistry,
    dir: TempDir,
    runtime: Runtime,
    registries: Registries,
    session: Session,
}

impl Scene {
    /// Makes versions from 1 on: a layer that all share, a program that changes in a few places, and a
    /// file that grows.
    fn new(versions: u8) -> Self {
        let registry = DockerRegistry::start(|_, _, _| {});
        let dir = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let registries = Registries::new(ClientOptions::default()).unwrap();
        let session = registries.attach(Session::new(dir.path()).unwrap().threads(2).unwrap());
        let scene = Self { registry, dir, runtime: runtime.unwrap(), registries, session };
        let (mut program, mut notes) = (noise(2, 200_000), noise(3, 50_000));
        for version in 1..=versions {
            let at = usize::from(version) * 20_000;
            program[at..at + 300].copy_from_slice(&noise(100 + u64::from(version), 300));
            notes.extend(noise(200 + u64::from(version), 100));
            let layers = vec![
                tar_of(&[("shared", &noise(1, 300_000))]),
                tar_of(&[("bin/program", &program)]),
                tar_of(&[("etc/notes", &notes)]),
            ];
            let made = scene.dir.path().join(format!("v{version}"));
            TestImage::new(layers, Packing::Gzip).blobs().write_layout(&made);
            let target = format!("docker://{}/demo/app:v{version}", scene.registry.host());
            scene.skopeo(&format!("copy -q --dest-tls-verify=false oci:v{version} {target}"));
        }
        scene
    }

    fn skopeo(&self, command: &str) {
        let (verb, rest) = command.split_once(' ').unwrap();
        run(self.dir.path(), &format!("skopeo --insecure-policy {verb} {rest}"));
    }

    fn local_reference(&self, name: &str) -> Reference {
        format!("oci:{}/{name}", self.dir.path().display()).parse().unwrap()
    }

    fn local(&self, name: &str) -> Image {
        self.session.open(&self.local_reference(name)).unwrap()
    }

    fn repository(&self, registry: &DockerRegistry, name: &str) -> Repository {
        Repository::new(self.registries.client(), &registry.host(), &name.parse().unwrap())
    }

    fn push(&self, registry: &DockerRegistry, repository: &str, base: u8, target: u8) {
        let [base, target] = [base, target].map(|it| self.local_reference(&format!("v{it}")));
        let options = CreateOptions::default().preset(Preset::Fast);
        let draft = self.session.plan(&base, &target, &options).unwrap().encode().unwrap();
        let delta = draft.prove().unwrap().delta().clone();
        let repository = self.repository(registry, repository);
        self.runtime.block_on(repository.push(&delta, &PushOptions::default())).unwrap();
    }

    fn pull(&self, host: &str, repository: &str, base: u8, target: u8) -> (PullReport, String) {
        let source = format!("docker://{host}/{repository}:v{target}").parse().unwrap();
        let place = format!("out-{base}-{target}");
        let _ = fs::remove_dir_all(self.dir.path().join(&place));
        let output = self.local_reference(&format!("{place}:v{target}"));
        let base = [self.local_reference(&format!("v{base}"))];
        let options = PullOptions::default().time_limit(false);
        let pulled = self.registries.pull(&self.session, &source, &base, &output, &options);
        (pulled.unwrap(), place)
    }

    /// The entries of the list of a version's referrers under the fallback tag.
    fn listed(&self, registry: &DockerRegistry, repository: &str, version: &str) -> Value {
        let tag = ManifestReference::Tag(fallback_tag(&self.local(version).digest));
        let repository = self.repository(registry, repository);
        let list = self.runtime.block_on(repository.manifest(&tag)).unwrap();
        serde_json::from_slice(&list.bytes).unwrap()
    }
}

fn way(pulled: &PullReport, layer: usize) -> String {
    pulled.json()["layers"][layer]["way"].as_str().unwrap().to_owned()
}

#[test]
fn six_versions_with_deltas_from_three_before_come_from_any_version() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let scene = Scene::new(6);
    for target in 2..=6_u8 {
        for base in target.saturating_sub(3).max(1)..target {
            scene.push(&scene.registry, "demo/app", base, target);
        }
    }
    let host = scene.registry.host();
    for (base, target) in [(1, 6), (2, 6), (1, 5), (3, 6)] {
        let since = scene.registry.log_lines();
        let (pulled, place) = scene.pull(&host, "demo/app", base, target);
        let expected = if target - base > 3 { "chain" } else { "recipe" };
        assert_eq!([1, 2].map(|layer| way(&pulled, layer)), [expected; 2], "{pulled}");
        assert!(pulled.notes.is_empty(), "{pulled}");

        let source = format!("docker://{host}/demo/app:v{target}");
        let by_skopeo = format!("skopeo-{base}-{target}");
        scene.skopeo(&format!("copy -q --src-tls-verify=false {source} oci:{by_skopeo}:v{target}"));
        let blobs = |layout: &str| layout_blobs(&scene.dir.path().join(layout));
        assert_eq!(blobs(&place), blobs(&by_skopeo), "{base} to {target}");
        // The registry's own count of bodies that it sent to imgdelta.
        let requests = scene.registry.requests(since);
        let gets = requests.iter().filter(|one| one.agent.starts_with("imgdelta/"));
        let gets: Vec<_> = gets.filter(|one| one.method == "GET").collect();
        let sent: u64 = gets.iter().map(|one| one.sent_bytes).sum();
        // Recipes of a few hundred bytes a version; lists and manifests.
        assert!(sent < 40_000, "{base} to {target}: {sent} bytes of {}", pulled.plain_bytes);
        assert!(pulled.plain_bytes > 240_000, "{pulled}");
        assert!(gets.len() <= 30, "{} requests", gets.len());
        println!("v{base} to v{target}: {sent} bytes, {} requests, {expected}", gets.len());
    }
}

#[test]
fn skopeo_sync_keeps_deltas_usable_and_the_next_push_repairs_the_list() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let scene = Scene::new(2);
    scene.push(&scene.registry, "demo/app", 1, 2);
    let listed = scene.listed(&scene.registry, "demo/app", "v2");
    assert_eq!(listed["manifests"][0]["artifactType"], ARTIFACT_TYPE);
    for (all, copied) in [(true, "a list without types"), (false, "one manifest")] {
        let mirror = DockerRegistry::start(|_, _, _| {});
        let (from, to) = (scene.registry.host(), mirror.host());
        let all_images = if all { "--all " } else { "" };
        scene.skopeo(&format!(
            "sync {all_images}--src-tls-verify=false --dest-tls-verify=false --src docker --dest \
             docker {from}/demo/app {to}/mirror"
        ));
        let listed = scene.listed(&mirror, "mirror/app", "v2");
        if all {
            assert!(listed["manifests"][0].get("artifactType").is_none(), "{listed}");
        } else {
            assert!(listed.get("manifests").is_none(), "{listed}");
        }
        let (pulled, place) = scene.pull(&to, "mirror/app", 1, 2);
        assert_eq!([1, 2].map(|layer| way(&pulled, layer)), ["recipe"; 2], "{copied}: {pulled}");
        assert!(pulled.notes.is_empty(), "{copied}: {pulled}");
        let exact = scene.local(&format!("{place}:v2"));
        assert_eq!(exact.digest, scene.local("v2").digest);

        // The same delta again: the list is one again, with types.
        let repository = scene.repository(&mirror, "mirror/app");
        let known = listed["manifests"][0]["digest"].clone();
        scene.push(&mirror, "mirror/app", 1, 2);
        let listed = scene.listed(&mirror, "mirror/app", "v2");
        let entries = listed["manifests"].as_array().unwrap();
        assert_eq!(entries.len(), 1, "{copied}: {listed}");
        assert_eq!(entries[0]["artifactType"], ARTIFACT_TYPE, "{copied}");
        assert!(!all || entries[0]["digest"] == known);
        let target = scene.local("v2").digest;
        let found = scene.runtime.block_on(repository.referrers(&target, ARTIFACT_TYPE)).unwrap();
        let reference = ManifestReference::Digest(found[0].descriptor.digest);
        let manifest = scene.runtime.block_on(repository.manifest(&reference)).unwrap();
        let artifact = Artifact::parse(&manifest, "mirror").unwrap();
        assert_eq!(artifact.base, Some(scene.local("v1").digest));
    }
}
