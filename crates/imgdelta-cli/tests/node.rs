//! The program on a node: images of a real containerd are compared, and are bases of deltas.
//!
//! On a machine without the tools the test prints that and passes; with `CI` set it must run.

use imgdelta_testkit::{ContainerdProcess, DockerRegistry, Packing, TestImage, has, noise, tar_of};
use std::{
    path::Path,
    process::{Command, Output},
};

fn imgdelta(dir: &Path, containerd: &ContainerdProcess, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_imgdelta"))
        .args(line.split_whitespace())
        .current_dir(dir)
        .env("CONTAINERD_ADDRESS", containerd.socket())
        .env_remove("CONTAINERD_NAMESPACE")
        .output()
        .unwrap()
}

#[test]
fn an_image_of_containerd_is_compared_and_is_the_base_of_a_delta_and_of_a_pull() {
    if !has(&["containerd", "ctr", "docker-registry", "skopeo"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (containerd, registry) = (ContainerdProcess::start(), DockerRegistry::start(|_, _, _| {}));
    let run = |line: &str| {
        let output = imgdelta(dir.path(), &containerd, line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let app = |version: &[u8]| tar_of(&[("app", &noise(1, 200_000)), ("version", version)]);
    for (tag, version) in [("old", b"1"), ("new", b"2")] {
        let layout = dir.path().join(tag);
        TestImage::new(vec![app(version)], Packing::Gzip).blobs().write_layout(&layout);
    }
    let pushed = Command::new("skopeo")
        .args(["copy", "-q", "--dest-tls-verify=false"])
        .arg(format!("oci:{}:v1", dir.path().join("new").display()))
        .arg(format!("docker://{}/app:new", registry.host()))
        .status();
    assert!(pushed.unwrap().success());
    // The node's image, in a namespace of its own.
    let tar = dir.path().join("old.tar");
    let copied = Command::new("skopeo")
        .args(["copy", "-q"])
        .arg(format!("oci:{}:v1", dir.path().join("old").display()))
        .arg(format!("oci-archive:{}:app:old", tar.display()))
        .status();
    assert!(copied.unwrap().success());
    containerd.ctr("k8s.io", &format!("images import --all-platforms {}", tar.display()));
    let names = containerd.ctr("k8s.io", "images ls -q");
    let base = format!("containerd:k8s.io//{}", names.lines().next().unwrap());

    let diff = run(&format!("diff {base} oci:new"));
    assert!(diff.contains("/version"), "{diff}");
    run(&format!("create {base} oci:new -o up"));
    run(&format!("apply up --base {base} -o oci:made:v1"));
    let digest = |reference: &str| {
        let json = run(&format!("diff --json {reference} {reference}"));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        json["new"]["digest"].as_str().unwrap_or_default().to_owned()
    };
    assert!(!digest("oci:made:v1").is_empty());
    assert_eq!(digest("oci:made:v1"), digest("oci:new"));
    let target = format!("docker://{}/app:new", registry.host());
    run(&format!("push up {target}"));
    let pulled = run(&format!("pull {target} --base {base} -o oci:pulled:v1"));
    assert_eq!(digest("oci:pulled:v1"), digest("oci:new"), "{pulled}");
    let layer = TestImage::new(vec![app(b"2")], Packing::Gzip).blobs();
    let layer_bytes = layer.by_digest.values().map(Vec::len).max().unwrap() as u64;
    let sent = registry
        .requests(0)
        .into_iter()
        .filter(|request| request.agent.starts_with("imgdelta/") && request.method == "GET");
    let sent_bytes: u64 = sent.map(|request| request.sent_bytes).sum();
    assert!(sent_bytes < layer_bytes / 2, "{sent_bytes} of {layer_bytes}");

    // Mistakes are named with what is there.
    let failed = |line: &str, code: i32| {
        let output = imgdelta(dir.path(), &containerd, line);
        assert_eq!(output.status.code(), Some(code), "{line}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = failed("diff containerd:k8s.io//nginx oci:new", 3);
    assert!(said.contains("nginx") && said.contains("app"), "{said}");
    let said = failed("diff containerd:app oci:new", 3);
    assert!(said.contains("namespace default"), "{said}");
    let said = failed("diff containerd://app oci:new", 2);
    assert!(said.contains("the namespace before // is missing"), "{said}");
    let said = failed(&format!("apply up --base {base} -o containerd:k8s.io//x"), 3);
    assert!(said.contains("`ctr images import FILE`"), "{said}");
}
