//! Failures of the way by deltas: whole layers come instead, whatever it is, and within bounds.

use super::*;
use imgdelta_core::{
    limits::{Ceiling, LimitChange},
    progress::{Progress, Stage},
};
use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Counts the downloads of a blob.
fn downloads(scene: &Scene, digest: &str) -> usize {
    let requests = scene.registry.requests();
    requests.iter().filter(|seen| seen.method == "GET" && seen.path.contains(digest)).count()
}

/// Acts once, when a stage begins.
struct AtStage<F: Fn() + Send + Sync>(Stage, F, AtomicU64);

impl<F: Fn() + Send + Sync> Progress for AtStage<F> {
    fn begin(&self, stage: Stage, _: u64) {
        if stage == self.0 && self.2.fetch_add(1, Relaxed) == 0 {
            (self.1)();
        }
    }
}

type Fail = Box<dyn Fn(&mut Scene)>;

#[test]
fn whatever_fails_on_the_way_by_deltas_whole_layers_come() {
    let own_layer = |scene: &Scene| scene.local("v1").layers[2].descriptor.digest.to_string();
    let fail_own_layer = move |scene: &Scene, fault: RegistryFault| {
        // Each attempt of the first step, and none of the next.
        scene.registry.fault("GET", &own_layer(scene), 3, fault);
    };
    let failures: [(&str, &str, Fail); 8] = [
        (
            "a recipe that does not make its layer",
            "should be",
            Box::new(|scene| {
                let recipe = scene.artifact("v1").recipes[0].blob.clone();
                let mut bytes = scene.registry.get(REPOSITORY, &recipe.digest.to_string()).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                let manifest = scene.artifacts("v1").remove(0);
                swap_recipe(scene, &manifest, &recipe, &bytes);
            }),
        ),
        (
            "a limit",
            "more than the limit of 10",
            Box::new(|scene| {
                let mut limits = Limits::default();
                limits.change(&"recipe-bytes=10".parse::<LimitChange>().unwrap());
                scene.session = scene.session.clone().limits(limits);
            }),
        ),
        (
            "a full scratch directory",
            "size of temporary files in bytes",
            Box::new(|scene| {
                // The recipe has room, and the stream of its base has not.
                let scratch = scene.scratch().ceiling(Ceiling::fixed(20_000));
                let session = Session::in_scratch(scratch).unwrap().threads(2).unwrap();
                scene.session = scene.registries.attach(session);
            }),
        ),
        (
            "a scratch directory that goes away",
            "scratch directory",
            Box::new(|scene| {
                let directory = scene.dir.path().join("scratch");
                std::fs::create_dir(&directory).unwrap();
                let session = Session::new(&directory).unwrap().threads(2).unwrap();
                let remove = move || std::fs::remove_dir(&directory).unwrap();
                let remove = AtStage(Stage::Reading, remove, AtomicU64::new(0));
                scene.session = scene.registries.attach(session.progress(Arc::new(remove)));
            }),
        ),
        (
            "a layer that the registry cuts",
            "connection",
            Box::new(move |scene| {
                fail_own_layer(scene, RegistryFault::Cut(100));
            }),
        ),
        (
            "a registry that fails",
            "status 500",
            Box::new(move |scene| {
                fail_own_layer(scene, RegistryFault::Status(500, Vec::new()));
            }),
        ),
        (
            "a registry that is busy",
            "status 429",
            Box::new(move |scene| {
                fail_own_layer(scene, RegistryFault::Status(429, Vec::new()));
            }),
        ),
        (
            "a login that ends",
            "status 401",
            Box::new(move |scene| {
                let fault = RegistryFault::Status(401, Vec::new());
                scene.registry.fault("GET", &own_layer(scene), 1, fault);
            }),
        ),
    ];
    for (what, reason, fail) in failures {
        let mut scene = Scene::with_delta(RegistryBehaviour::default());
        fail(&mut scene);
        let recipe = scene.artifact("v1").recipes[0].blob.digest.to_string();
        let pulled =
            scene.pull(":v1", &["v0"], OUT).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(ways(&pulled), ["base", "registry", "registry"], "{what}");
        scene.is_whole(OUT, "v1");
        let text = pulled.to_string();
        assert!(text.contains(reason), "{what}: {text}");
        assert!(text.contains("continuing without"), "{what}: {text}");
        assert_eq!(downloads(&scene, &recipe), 1, "{what}: the delta is tried once");
    }
}

#[test]
fn cancelling_is_no_reason_to_go_on() {
    #[derive(Debug, Default)]
    struct CancelAtReading(AtomicU64);
    impl Progress for CancelAtReading {
        fn begin(&self, stage: Stage, _: u64) {
            if stage == Stage::Reading {
                self.0.store(1, Relaxed);
            }
        }
        fn is_cancelled(&self) -> bool {
            self.0.load(Relaxed) > 0
        }
    }
    let mut scene = Scene::with_delta(RegistryBehaviour::default());
    scene.session = scene.session.clone().progress(Arc::new(CancelAtReading::default()));
    let error = scene.pull(":v1", &["v0"], OUT).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    for layer in scene.local("v1").layers {
        assert_eq!(downloads(&scene, &layer.descriptor.digest.to_string()), 0);
    }
}

/// A clock that goes on by a second at each look.
#[derive(Debug, Default)]
struct LookClock(Mutex<Duration>);

impl Clock for LookClock {
    fn now(&self) -> Duration {
        let mut now = self.0.lock().unwrap();
        *now += Duration::from_secs(1);
        *now
    }
}

#[test]
fn deltas_that_take_longer_than_a_plain_pull_are_given_up() {
    let pull = |has_limit| {
        let scene = Scene::with_delta(RegistryBehaviour::default());
        let options = PullOptions::default().clock(Arc::new(LookClock::default()));
        let options = options.time_limit(has_limit);
        let plan = scene.plan_with(&options, ":v1", &["v0"], OUT).unwrap();
        let pulled = plan.carry_out().unwrap();
        scene.is_whole(OUT, "v1");
        (scene, pulled)
    };
    let (scene, pulled) = pull(true);
    assert_eq!(ways(&pulled), ["base", "registry", "registry"]);
    let text = pulled.to_string();
    assert!(text.contains("applying deltas takes more than 2."), "{text}");
    assert!(text.contains("a plain pull about 0.1 s; continuing without deltas"), "{text}");
    let recipe = scene.artifact("v1").recipes[0].blob.digest.to_string();
    assert_eq!(downloads(&scene, &recipe), 1);

    let (_, pulled) = pull(false);
    assert_eq!(ways(&pulled), ["base", "recipe", "registry"]);
    assert!(pulled.notes.is_empty(), "{pulled}");
}

/// Adds referrers of the right type, with long annotations.
fn add_referrers(scene: &Scene, count: usize) {
    let old = scene.artifacts("v1").remove(0);
    for number in 0..count {
        let mut document: Value = serde_json::from_slice(&old.bytes).unwrap();
        document["annotations"]["filler"] = json!(format!("{number:0400}"));
        let kind = old.descriptor.media_type();
        scene.registry.put_manifest(REPOSITORY, None, kind, document.to_string().as_bytes());
    }
    scene.registry.forget();
}

#[test]
fn a_long_list_of_referrers_costs_less_than_a_plain_pull() {
    for page_entries in [0, 7] {
        let scene =
            Scene::with_delta(RegistryBehaviour { page_entries, ..RegistryBehaviour::default() });
        add_referrers(&scene, 300);
        let pulled = scene.pull(":v1", &["v0"], OUT).unwrap();
        scene.is_whole(OUT, "v1");
        assert_eq!(ways(&pulled), ["base", "registry", "registry"], "{page_entries}");
        let text = pulled.to_string();
        assert!(text.contains("cannot search for deltas"), "{page_entries}: {text}");
        let most = pulled.plain_bytes * 3 / 2;
        assert!(pulled.received_bytes <= most, "{} of {most}", pulled.received_bytes);
    }
}

#[test]
fn a_list_of_referrers_without_end_is_left_after_some_pages() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    // Each page is empty and names the next one.
    let path = format!("/v2/{REPOSITORY}/referrers/{}", scene.local("v1").digest);
    let page = vec![
        ("Content-Type", "application/vnd.oci.image.index.v1+json".to_owned()),
        ("Link", format!("<{path}?again>; rel=\"next\"")),
    ];
    scene.registry.fault("GET", "/referrers/", 10_000, RegistryFault::Status(200, page));
    let pulled = scene.pull(":v1", &["v0"], OUT).unwrap();
    assert_eq!(ways(&pulled), ["base", "registry", "registry"]);
    assert!(pulled.to_string().contains("count of pages is 21"), "{pulled}");
    assert_eq!(downloads(&scene, "/referrers/"), 20);
    scene.is_whole(OUT, "v1");
}

#[test]
fn forged_deltas_next_to_an_image_end_in_a_plain_pull() {
    let stream = noise(5, 2_000_000);
    let forged = imgdelta_forge::beside(&stream);
    for (number, delta) in forged.iter().enumerate() {
        let scene = Scene::new(RegistryBehaviour::default());
        scene.add("base", imgdelta_forge::base_image());
        scene.add("genuine", delta.image(vec![stream.clone()]));
        scene.push(&delta.bytes()).unwrap();
        let report = scene.pull(":genuine", &["base"], "oci:DIR/out:x").unwrap();
        scene.is_whole("oci:DIR/out:x", "genuine");
        let tried = report.notes.iter().any(|note| note.to_string().contains("delta"));
        assert!(tried, "forged delta {number} was used: {:?}", report.notes);
    }
    // All of them together.
    let scene = Scene::new(RegistryBehaviour::default());
    scene.add("base", imgdelta_forge::base_image());
    scene.add("genuine", forged[0].image(vec![stream]));
    for delta in &forged {
        scene.push(&delta.bytes()).unwrap();
    }
    scene.pull(":genuine", &["base"], "oci:DIR/out:x").unwrap();
    scene.is_whole("oci:DIR/out:x", "genuine");
}
