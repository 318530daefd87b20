//! A pull with deltas gives the files of a plain pull, and the registry sends the deltas only.

use super::scene::{Registry, WAIT_LIMIT, has, names};
use imgdelta_testkit::{LoggedRequest, wait_until};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The requests of imgdelta that the registry logged after `skipped_lines` lines.
fn requests(registry: &Registry, skipped_lines: usize) -> Vec<LoggedRequest> {
    let mut requests = registry.server.requests(skipped_lines);
    requests.retain(|request| request.agent.starts_with("imgdelta/"));
    requests
}

/// The blobs of a layout, by name, and the digest that its index names.
fn layout(dir: &Path) -> (BTreeMap<String, Vec<u8>>, String) {
    let blobs = dir.join("blobs/sha256");
    let files = names(&blobs).into_iter().map(|name| {
        let bytes = fs::read(blobs.join(&name)).unwrap();
        (name, bytes)
    });
    let index: Value = serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    (files.collect(), index["manifests"][0]["digest"].as_str().unwrap().to_owned())
}

/// The digests of a manifest's layers.
fn layers(manifest: &[u8]) -> BTreeSet<String> {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

fn config_of(manifest: &[u8]) -> String {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    manifest["config"]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_pull_with_deltas_gives_what_skopeo_copies() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    (1..=3).for_each(|number| registry.push(number, "demo/app"));
    let config = registry.sqlite("demo/app", "job");
    assert_eq!(registry.prints(&["job", "run", "--config", &config]).lines().count(), 4);
    for (tag, base) in [("v3", "v1"), ("v3", "v2"), ("v1", "v3")] {
        let image = format!("docker://{}/demo/app:{tag}", registry.server.host());
        let (plain, pulled) = (format!("plain-{tag}-{base}"), format!("pulled-{tag}-{base}"));
        registry.skopeo(&["--src-tls-verify=false", &image, &format!("oci:{plain}:{tag}")]);

        let skipped_lines = registry.server.log_lines();
        let place = format!("oci:{pulled}:{tag}");
        let args = [
            "pull",
            &image,
            "--base",
            &format!("oci:{base}"),
            "-o",
            &place,
            "--json",
            "--no-time-limit",
        ];
        let pulled_json: Value = serde_json::from_str(&registry.prints(&args)).unwrap();

        // File by file, and by name.
        let plain = layout(&registry.dir().join(plain));
        let pulled = layout(&registry.dir().join(pulled));
        assert_eq!(pulled.1, plain.1, "{tag} over {base}: the manifest's digest");
        assert_eq!(pulled.0.keys().collect::<Vec<_>>(), plain.0.keys().collect::<Vec<_>>());
        assert!(pulled.0 == plain.0, "{tag} over {base}: a blob differs");

        // The bytes in the registry's log, without the first request and errors.
        let received = pulled_json["received_bytes"].as_u64().unwrap();
        let sum = |requests: &[LoggedRequest]| -> u64 {
            let counted = requests.iter().filter(|one| one.status == 200 && one.path != "/v2/");
            counted.map(|request| request.sent_bytes).sum()
        };
        // The registry writes a line after its answer, and the program does not wait for the line.
        let mut answers = Vec::new();
        wait_until("the log's last line", WAIT_LIMIT, || {
            answers = requests(&registry, skipped_lines);
            sum(&answers) >= received
        });
        assert_eq!(sum(&answers), received, "{answers:?}");
        let plain_bytes = pulled_json["plain_bytes"].as_u64().unwrap();
        assert!(received * 5 < plain_bytes, "{tag} over {base}: {pulled_json}");
        let manifest = &plain.0[plain.1.strip_prefix("sha256:").unwrap()];
        let (of_image, config) = (layers(manifest), config_of(manifest));
        let artifact = pulled_json["delta"]["artifact"].as_str().unwrap();
        let parts = layers(&registry.blob(artifact.strip_prefix("sha256:").unwrap()));
        let fetched: BTreeSet<String> = answers
            .iter()
            .filter(|answer| answer.method == "GET")
            .filter_map(|answer| answer.path.split_once("/blobs/"))
            .map(|(_, digest)| digest.to_owned())
            .filter(|digest| *digest != config)
            .collect();
        assert!(fetched.is_disjoint(&of_image), "{tag} over {base}: a layer: {answers:?}");
        assert!(!fetched.is_empty() && fetched.is_subset(&parts), "{answers:?} of {parts:?}");
    }
}
