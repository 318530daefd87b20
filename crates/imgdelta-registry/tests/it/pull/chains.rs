//! Chains of deltas: any version from any older or newer one, by the cheapest way, with the bytes of
//! the image, whatever is wrong with a delta on the way.

use super::*;
use std::collections::HashSet;

/// A scene with the versions below `versions`, and a delta for each pair.
fn scene(behaviour: RegistryBehaviour, versions: u8, pairs: &[(u8, u8)]) -> Scene {
    let scene = Scene::new(behaviour);
    for version in 2..versions {
        scene.add(&format!("v{version}"), image(version));
    }
    for (base, target) in pairs {
        scene.push(&scene.make(&format!("v{base}"), &format!("v{target}"))).unwrap();
    }
    scene.registry.forget();
    scene
}

fn artifact_of(scene: &Scene, base: &str, target: &str) -> Artifact {
    let base = scene.local(base).digest;
    let artifacts = scene.artifacts(target);
    let mut artifacts = artifacts.iter().map(|manifest| Artifact::parse(manifest, "test").unwrap());
    artifacts.find(|artifact| artifact.base == Some(base)).unwrap()
}

fn gets(scene: &Scene) -> Vec<String> {
    let requests = scene.registry.requests();
    requests.into_iter().filter(|seen| seen.method == "GET").map(|seen| seen.path).collect()
}

#[test]
fn a_chain_of_two_deltas_fetches_two_recipes_and_nothing_of_the_version_between() {
    for behaviour in [RegistryBehaviour::default(), RegistryBehaviour::without_referrers()] {
        let scene = scene(behaviour, 3, &[(0, 1), (1, 2)]);
        let [first, last] =
            [("v0", "v1"), ("v1", "v2")].map(|(base, target)| artifact_of(&scene, base, target));
        scene.registry.forget();
        let plan = scene.plan(":v2", &["v0"], "oci:DIR/out:v2", true).unwrap();
        let text = plan.to_string();
        let [v0, v1, v2] =
            ["v0", "v1", "v2"].map(|name| scene.local(name).digest.hex()[..12].to_owned());
        assert!(text.contains(&format!("chain   sha256:{v0} to sha256:{v1}, ")), "{text}");
        assert!(text.contains(&format!("chain   sha256:{v1} to sha256:{v2}, ")), "{text}");
        assert!(
            text.contains("1 from the base; 1 rebuilt by a chain of deltas; 1 from the registry"),
            "{text}"
        );
        let streams = plan.base_streams();
        let base = scene.local("v0");
        assert_eq!(streams, HashSet::from([0, 1].map(|layer: usize| base.layers[layer].diff_id)));

        let pulled = plan.carry_out().unwrap();
        assert_eq!(ways(&pulled), ["base", "chain", "registry"]);
        assert!(pulled.notes.is_empty(), "{pulled}");
        scene.is_whole("oci:DIR/out:v2", "v2");
        let chain = pulled.json()["layers"][1]["chain"].clone();
        let recipes = [&first, &last].map(|artifact| artifact.recipes[0].blob.clone());
        for (step, (artifact, recipe)) in [&first, &last].into_iter().zip(&recipes).enumerate() {
            let expected = json!({
                "artifact": artifact.descriptor.digest.to_string(),
                "base": artifact.base.map(|base| base.to_string()),
                "makes": artifact.subject.map(|image| image.to_string()),
                "recipe": recipe.digest.to_string(),
                "bytes": recipe.size_bytes,
            });
            assert_eq!(chain[step], expected);
        }
        // Without the front of the first delta, the blobs of v1 could not even be made.
        let target = scene.local("v2");
        let blobs = [&last.front, &recipes[0], &recipes[1], &target.layers[2].descriptor];
        let blobs: u64 = blobs.iter().map(|blob| blob.size_bytes).sum();
        let config = target.config_bytes.len() as u64;
        assert_eq!(scene.registry.sent_bytes("/blobs/") as u64, blobs + config);
        let between = scene.local("v1").digest.to_string();
        let paths = gets(&scene);
        assert!(!paths.iter().any(|path| path.ends_with(&format!("/manifests/{between}"))));
        assert!(pulled.received_bytes < pulled.plain_bytes / 2, "{pulled}");
    }
}

#[test]
fn a_layer_that_the_last_delta_keeps_comes_by_the_recipe_of_the_one_before() {
    for (kept, way) in [(KeptEnvelopes::Included, "chain"), (KeptEnvelopes::Omitted, "registry")] {
        let scene = Scene::new(RegistryBehaviour::default());
        // From k0 to k1 the first program changes, from k1 to k2 the second.
        for (name, first, second) in [("k0", 0, 0), ("k1", 1, 0), ("k2", 1, 1)] {
            let spoilt = |path, seed, version: u8| {
                let mut bytes = noise(seed, 60_000);
                bytes[20_000] ^= version;
                tar_of(&[(path, &bytes)])
            };
            let layers = vec![spoilt("first", 2, first), spoilt("second", 3, second)];
            scene.add(name, TestImage::new(layers, Packing::Gzip).blobs());
        }
        for (base, target) in [("k0", "k1"), ("k1", "k2")] {
            let options = CreateOptions::default().preset(Preset::Fast).kept_envelopes(kept);
            scene.push(&scene.make_with(&options, base, target)).unwrap();
        }
        let pulled = scene.pull(":k2", &["k0"], OUT).unwrap();
        assert_eq!(ways(&pulled), [way, "recipe"], "{pulled}");
        assert!(pulled.notes.is_empty(), "{pulled}");
        let steps = pulled.layers[0].chain.len();
        assert_eq!(steps, usize::from(way == "chain"));
        scene.is_whole(OUT, "k2");
    }
}

#[test]
fn only_as_many_deltas_in_sequence_as_the_caller_wants() {
    let scene = scene(RegistryBehaviour::default(), 4, &[(0, 1), (1, 2), (2, 3)]);
    for (most, way) in [(3, "chain"), (2, "registry"), (1, "registry"), (0, "registry")] {
        let plan = scene.plan_with(&options().chain(most), ":v3", &["v0"], OUT).unwrap();
        assert_eq!(plan.layers[1].source.word(), way, "{most}");
    }
    scene.registry.forget();
    let plan = scene.plan_with(&options().chain_requests(2), ":v3", &["v0"], OUT).unwrap();
    assert_eq!(plan.layers[1].source, LayerSource::Registry);
}

#[test]
fn no_chain_is_searched_where_the_direct_delta_is_as_good() {
    let scene = scene(RegistryBehaviour::default(), 3, &[(0, 1), (1, 2), (0, 2)]);
    let plan = scene.plan(":v2", &["v0"], OUT, true).unwrap();
    assert_eq!(plan.layers[1].source.word(), "recipe");
    let lists = gets(&scene).into_iter().filter(|path| path.contains("/referrers/")).count();
    assert_eq!(lists, 1);
}

/// A generator of numbers below a bound, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

/// A version whose program shares some of its bytes with that of each other version.
fn related(version: u8, numbers: &mut Numbers) -> Blobs {
    let mut program = noise(2, 40_000);
    for _ in 0..4 {
        let (at, from) = (numbers.below(38), 50 + numbers.below(6));
        let at = usize::try_from(at).unwrap() * 1000;
        program[at..at + 2000].copy_from_slice(&noise(from, 2000));
    }
    program[0] = version;
    let layers =
        vec![tar_of(&[("shared", &noise(1, 30_000))]), tar_of(&[("bin/program", &program)])];
    TestImage::new(layers, Packing::Gzip).blobs()
}

/// The least bytes of recipes from one version to another.
fn least(edges: &HashMap<(u8, u8), u64>, from: u8, to: u8, deltas: usize) -> Option<u64> {
    if from == to {
        return Some(0);
    }
    if deltas == 0 {
        return None;
    }
    let last = edges.iter().filter(|((_, target), _)| *target == to);
    let ways =
        last.filter_map(|((base, _), bytes)| Some(least(edges, from, *base, deltas - 1)? + bytes));
    ways.min()
}

#[test]
fn in_any_graph_of_versions_the_cheapest_way_gives_the_image() {
    let mut numbers = Numbers(3);
    let mut used: HashMap<&str, usize> = HashMap::new();
    for round in 0..6 {
        let scene = Scene::new(RegistryBehaviour::default());
        let versions = 5;
        for version in 0..versions {
            scene.add(&format!("r{version}"), related(version, &mut numbers));
        }
        let mut edges = HashMap::new();
        for _ in 0..11 {
            let [base, target] = [0, 1].map(|_| u8::try_from(numbers.below(5)).unwrap());
            if base == target || edges.contains_key(&(base, target)) {
                continue;
            }
            let [from, to] = [base, target].map(|version| format!("r{version}"));
            scene.push(&scene.make(&from, &to)).unwrap();
            let recipe = &artifact_of(&scene, &from, &to).recipes[0].blob;
            edges.insert((base, target), recipe.size_bytes);
        }
        for (from, to) in [(0, 4), (4, 0), (1, 3), (2, 0)] {
            let (base, target) = (format!("r{from}"), format!("r{to}"));
            let plan = scene.plan(&format!(":{target}"), &[&base], OUT, true).unwrap();
            let whole = scene.local(&target).layers[1].descriptor.size_bytes;
            let expected = least(&edges, from, to, options().chain);
            // The front and a smaller gain than a list are not worth it.
            let fetched = plan.layers[1].fetch_bytes;
            match expected {
                Some(bytes) if plan.layers[1].source != LayerSource::Registry => {
                    assert_eq!(fetched, bytes, "round {round}: {base} to {target}, {edges:?}");
                }
                Some(bytes) => assert!(bytes + 20_000 > whole, "{bytes} of {whole}"),
                None => assert_eq!(fetched, whole),
            }
            *used.entry(plan.layers[1].source.word()).or_default() += 1;
            let pulled = plan.carry_out().unwrap();
            assert!(pulled.notes.is_empty(), "{pulled}");
            scene.is_whole(OUT, &target);
            std::fs::remove_dir_all(scene.dir.path().join("out")).unwrap();
        }
    }
    assert!(used["chain"] >= 3 && used["recipe"] >= 3 && used["registry"] >= 3, "{used:?}");
}

/// Puts a recipe of other bytes in the place of one, under a manifest that names it.
fn damage_recipe(scene: &Scene, base: &str, target: &str) {
    let wanted = artifact_of(scene, base, target);
    let recipe = wanted.recipes[0].blob.clone();
    let digest = recipe.digest.to_string();
    let mut bytes = scene.registry.get(REPOSITORY, &digest).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let artifacts = scene.artifacts(target);
    let manifest = artifacts.iter().find(|one| one.descriptor.digest == wanted.descriptor.digest);
    swap_recipe(scene, manifest.unwrap(), &recipe, &bytes);
}

#[test]
fn a_damaged_delta_on_the_way_leads_to_another_way_and_then_to_whole_layers() {
    type Damage = fn(&Scene, &str, &str);
    let missing: Damage = |scene, base, target| {
        let recipe = artifact_of(scene, base, target).recipes[0].blob.digest.to_string();
        scene.registry.remove(REPOSITORY, &recipe);
    };
    let corrupt: Damage = |scene, base, target| {
        let recipe = artifact_of(scene, base, target).recipes[0].blob.digest.to_string();
        let mut bytes = scene.registry.get(REPOSITORY, &recipe).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        scene.registry.corrupt(REPOSITORY, &recipe, &bytes);
    };
    for (what, damage) in [("missing", missing), ("corrupt", corrupt), ("false", damage_recipe)] {
        // Two ways: over v1, and over v2.
        let scene = scene(RegistryBehaviour::default(), 4, &[(0, 1), (1, 3), (0, 2), (2, 3)]);
        let over = |pulled: &PullReport| pulled.json()["layers"][1]["chain"][0]["makes"].clone();
        let plan = scene.plan(":v3", &["v0"], OUT, true).unwrap();
        let first = plan.json()["layers"][1]["chain"][0]["makes"].clone();
        let [v1, v2] = ["v1", "v2"].map(|name| json!(scene.local(name).digest.to_string()));
        let (middle, other) = if first == v1 { ("v1", v2) } else { ("v2", v1) };

        damage(&scene, "v0", middle);
        let pulled = scene.pull(":v3", &["v0"], OUT).unwrap();
        assert_eq!(ways(&pulled), ["base", "chain", "registry"], "{what}: {pulled}");
        assert_eq!(over(&pulled), other, "{what}");
        assert_eq!(pulled.notes.len(), 1, "{what}: {pulled}");
        scene.is_whole(OUT, "v3");

        damage(&scene, "v0", if middle == "v1" { "v2" } else { "v1" });
        let pulled = scene.pull(":v3", &["v0"], "oci:DIR/whole:v3").unwrap();
        assert_eq!(ways(&pulled), ["base", "registry", "registry"], "{what}: {pulled}");
        assert_eq!(pulled.notes.len(), 2, "{what}: {pulled}");
        scene.is_whole("oci:DIR/whole:v3", "v3");
    }
}

#[test]
fn a_sink_of_streams_takes_a_chain() {
    let scene = scene(RegistryBehaviour::default(), 3, &[(0, 1), (1, 2)]);
    let pulled = scene.pull(":v2", &["v0"], "docker-archive:DIR/out.tar:app").unwrap();
    assert_eq!(ways(&pulled), ["base", "chain", "registry"]);
    let made = image::open(&scene.output("docker-archive:DIR/out.tar"), &OpenOptions::default());
    let made = made.unwrap();
    let expected = scene.local("v2");
    assert_eq!(made.config_bytes, expected.config_bytes);
    for layer in &made.layers {
        made.read_layer(layer, &mut Vec::new(), &Silent, &mut |_| Ok(())).unwrap();
    }
}

#[test]
fn a_base_under_another_manifest_is_found_by_its_streams() {
    let scene = scene(RegistryBehaviour::default(), 3, &[(0, 1), (1, 2)]);
    // The same layers in another compression, so no manifest of the registry names it.
    let mut other = TestImage::new(Vec::new(), Packing::Plain);
    let base = scene.local("v0");
    for layer in &base.layers {
        let mut stream = Vec::new();
        let mut take = |piece: &[u8]| {
            stream.extend_from_slice(piece);
            Ok(())
        };
        base.read_layer(layer, &mut Vec::new(), &Silent, &mut take).unwrap();
        other.layers.push(stream);
    }
    other.blobs().write_layout(&scene.dir.path().join("plain"));
    let pulled = scene.pull(":v2", &["plain"], OUT).unwrap();
    assert_eq!(ways(&pulled)[1], "chain", "{pulled}");
    scene.is_whole(OUT, "v2");
}

#[test]
fn a_hostile_graph_costs_few_requests() {
    // Each version has deltas from forty others that lead nowhere, and some in circles.
    let scene = scene(RegistryBehaviour::default(), 2, &[(0, 1)]);
    let manifest = scene.artifacts("v1").remove(0);
    scene.registry.remove(REPOSITORY, &manifest.descriptor.digest.to_string());
    let image = |number: u64| {
        if number == 0 {
            scene.local("v1").digest.to_string()
        } else {
            sha256(format!("image {number}").as_bytes())
        }
    };
    let stream = |number: u64| sha256(format!("stream {number}").as_bytes());
    let mut numbers = Numbers(5);
    for target in 0..40 {
        // The lists and manifests of forty deltas of the image would take all bytes of a search.
        for delta in 0..if target == 0 { 3 } else { 40 } {
            let base = if target == 0 { delta + 1 } else { numbers.below(60) };
            let mut document: Value = serde_json::from_slice(&manifest.bytes).unwrap();
            document["subject"]["digest"] = json!(image(target));
            document["annotations"]["org.imgdelta.base"] = json!(image(base));
            document["annotations"]["org.imgdelta.bytes"] = json!(delta.to_string());
            let recipe = &mut document["layers"][1]["annotations"];
            recipe["org.imgdelta.sources"] = json!(stream(base));
            if target > 0 {
                recipe["org.imgdelta.target"] = json!(stream(target));
            }
            let bytes = document.to_string();
            let kind = manifest.descriptor.media_type();
            scene.registry.put_manifest(REPOSITORY, None, kind, bytes.as_bytes());
        }
    }
    scene.registry.forget();
    let pulled = scene.pull(":v1", &["v0"], OUT).unwrap();
    assert_eq!(ways(&pulled), ["base", "registry", "registry"]);
    scene.is_whole(OUT, "v1");
    let paths = gets(&scene);
    let documents = paths.iter().filter(|path| !path.contains("/blobs/")).count();
    // Manifest and list of the image, three deltas of it, and the requests of the search.
    assert!(documents <= 2 + 3 + options().chain_requests, "{documents}");
    assert!(documents > 10, "the search for chains begins: {documents}");
    let lists: Vec<&String> = paths.iter().filter(|path| path.contains("/referrers/")).collect();
    let distinct: HashSet<&&String> = lists.iter().collect();
    assert_eq!(lists.len(), distinct.len(), "no image is listed twice");
}

#[test]
fn an_error_of_a_list_between_does_not_end_the_pull() {
    let scene = scene(RegistryBehaviour::default(), 3, &[(0, 1), (1, 2)]);
    let between = scene.local("v1").digest.to_string();
    for (times, fault) in [
        (3, RegistryFault::Status(500, Vec::new())),
        (1, RegistryFault::Status(403, Vec::new())),
        (3, RegistryFault::Cut(3)),
    ] {
        scene.registry.fault("GET", &format!("/referrers/{between}"), times, fault);
        let pulled = scene.pull(":v2", &["v0"], OUT).unwrap();
        assert_eq!(ways(&pulled)[1], "registry", "{pulled}");
        assert!(pulled.to_string().contains("cannot search for chains of deltas"), "{pulled}");
        scene.is_whole(OUT, "v2");
        std::fs::remove_dir_all(scene.dir.path().join("out")).unwrap();
    }
}
