//! The program on a node: images of a real containerd are compared, and are bases of deltas.
//!
//! On a machine without the tools the test prints that and passes; with `CI` set it must run.

use imgdelta_testkit::{
    ContainerdProcess, DockerRegistry, Packing, TestImage, assert_valid, free_port, has, noise,
    tar_of, wait_until,
};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
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

/// Runs a command that must succeed, and returns its result.
fn succeeds(dir: &Path, containerd: &ContainerdProcess, line: &str) -> String {
    let output = imgdelta(dir, containerd, line);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_image_of_containerd_is_compared_and_is_the_base_of_a_delta_and_of_a_pull() {
    if !has(&["containerd", "ctr", "docker-registry", "skopeo"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (containerd, registry) = (ContainerdProcess::start(), DockerRegistry::start(|_, _, _| {}));
    let run = |line: &str| succeeds(dir.path(), &containerd, line);
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
        let json: Value = serde_json::from_str(&json).unwrap();
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
    let said = failed(&format!("apply up --base {base} -o containerd:k8s.io//x"), 2);
    assert!(said.contains("`ctr images import FILE`"), "{said}");
}

/// Copies an image with skopeo, and fails with it.
fn skopeo(source: &str, destination: &str) {
    let status = Command::new("skopeo")
        .args(["copy", "-q", "--dest-tls-verify=false", source, destination])
        .status();
    assert!(status.unwrap().success(), "{source} {destination}");
}

#[test]
fn a_base_whose_blobs_were_discarded_serves_by_frames_of_the_registry() {
    if !has(&["containerd", "ctr", "docker-registry", "skopeo"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (containerd, registry) = (ContainerdProcess::start(), DockerRegistry::start(|_, _, _| {}));
    let run = |line: &str| succeeds(dir.path(), &containerd, line);
    let image = |version: &[u8]| {
        let layer = tar_of(&[("app", &noise(1, 200_000)), ("version", version)]);
        TestImage::new(vec![layer], Packing::Gzip)
    };
    let host = registry.host();
    for (tag, version) in [("old", b"1"), ("new", b"2")] {
        let layout = dir.path().join(tag);
        image(version).blobs().write_layout(&layout);
        let layout = format!("oci:{}:v1", layout.display());
        skopeo(&layout, &format!("docker://{host}/app:{tag}"));
    }
    run("create oci:old oci:new -o up");
    run(&format!("push up docker://{host}/app:new"));
    let tar = dir.path().join("old.tar");
    let layout = format!("oci:{}:v1", dir.path().join("old").display());
    skopeo(&layout, &format!("oci-archive:{}:app:old", tar.display()));
    containerd.ctr("k8s.io", &format!("images import --all-platforms {}", tar.display()));
    let names = containerd.ctr("k8s.io", "images ls -q");
    let base = format!("containerd:k8s.io//{}", names.lines().next().unwrap());
    let blobs = image(b"1").blobs();
    let (layer, bytes) = blobs.by_digest.iter().max_by_key(|(_, blob)| blob.len()).unwrap();
    containerd.ctr("k8s.io", &format!("content rm {layer}"));

    let pull = |output: &str| {
        let line = format!("pull --json docker://{host}/app:new --base {base} -o oci:{output}");
        let json = run(&format!("{line} --scratch ."));
        let json: Value = serde_json::from_str(&json).unwrap();
        let layer_bytes = bytes.len() as u64;
        (json["received_bytes"].as_u64().unwrap() < layer_bytes / 2, json["notes"].to_string())
    };
    let (is_small, notes) = pull("whole:v1");
    assert!(!is_small && notes.contains("layer 1 (sha256:"), "{notes}");
    assert!(notes.contains("is not a base: its blob is not there"), "{notes}");
    run(&format!("frames docker://{host}/app:old"));
    let (is_small, notes) = pull("small:v1");
    assert!(is_small && !notes.contains("not a base"), "{notes}");
    run("diff --exit-code oci:whole oci:small");
    let left = fs::read_dir(dir.path()).unwrap().flatten();
    let left = left.filter(|file| file.file_name().to_string_lossy().starts_with("imgdelta-"));
    assert_eq!(left.count(), 0);
}

/// A registry and a containerd, with the configuration of a node that names both.
struct Scene {
    dir: tempfile::TempDir,
    containerd: ContainerdProcess,
    registry: DockerRegistry,
    config: PathBuf,
}

impl Scene {
    /// Starts both; `None` if tools are missing.
    fn start() -> Option<Self> {
        if !has(&["containerd", "ctr", "docker-registry", "skopeo"]) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let containerd = ContainerdProcess::start_for_kubernetes();
        let registry = DockerRegistry::start(|_, _, _| {});
        let config = dir.path().join("node.toml");
        let text = format!(
            "[mirror]\nlisten = '127.0.0.1:{}'\n[containerd]\nsocket = '{}'\n\
             [rebuild]\ndirectory = '{}'\n[link]\nrate = '1Mbit'\n[[registry]]\nhost = '{}'\n",
            free_port(),
            containerd.socket().display(),
            dir.path().join("work").display(),
            registry.host(),
        );
        fs::write(&config, text).unwrap();
        Some(Self { dir, containerd, registry, config })
    }

    /// Pushes a version of the image under a tag; returns its name.
    fn push(&self, version: u8, tag: &str) -> String {
        self.push_large(200_000, version, tag)
    }

    /// Pushes a version of an image with so many bytes.
    fn push_large(&self, bytes: usize, version: u8, tag: &str) -> String {
        let layout = self.dir.path().join(format!("v{version}"));
        let layer = tar_of(&[("app", &noise(1, bytes)), ("version", &[version])]);
        TestImage::new(vec![layer], Packing::Gzip).blobs().write_layout(&layout);
        let name = format!("{}/app:{tag}", self.registry.host());
        let copied = Command::new("skopeo")
            .args(["copy", "-q", "--dest-tls-verify=false"])
            .arg(format!("oci:{}:v1", layout.display()))
            .arg(format!("docker://{name}"))
            .status();
        assert!(copied.unwrap().success());
        name
    }

    fn command(&self, action: &str, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgdelta"));
        command.args(["node", action, "--config"]).arg(&self.config);
        command.args(line.split_whitespace()).current_dir(self.dir.path());
        command
    }

    /// Stages; returns the exit code, the document of each image, and the messages.
    fn stage(&self, line: &str) -> (Option<i32>, Vec<Value>, String) {
        let output = self.command("stage", &format!("--json {line}")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let documents = String::from_utf8(output.stdout).unwrap();
        let documents = documents.lines().map(|line| {
            let document = serde_json::from_str(line).expect(line);
            assert_valid(&document, "stage");
            document
        });
        (output.status.code(), documents.collect(), said)
    }
}

#[test]
fn a_failing_image_does_not_stop_the_others_and_gives_the_exit_code() {
    let Some(scene) = Scene::start() else { return };
    let (first, second) = (scene.push(1, "v1"), scene.push(2, "v2"));
    let absent = first.replace(":v1", ":absent");
    let list = format!("# two of them\n{absent}\n{second} # the last\n{second}\n");
    fs::write(scene.dir.path().join("images.txt"), list).unwrap();
    let (code, documents, said) = scene.stage(&format!("{first} --from-file images.txt"));
    assert_eq!((code, documents.len()), (Some(3), 3), "{said}");
    let field = |at: usize, name: &str| documents[at][name].clone();
    assert_eq!((field(0, "image"), field(0, "outcome")), (first.clone().into(), "staged".into()));
    assert_eq!((field(1, "image"), field(1, "outcome")), (absent.clone().into(), "failed".into()));
    assert_eq!((field(2, "image"), field(2, "outcome")), (second.into(), "staged".into()));
    assert_eq!((field(1, "exit_code"), field(0, "exit_code")), (3.into(), 0.into()));
    assert!(field(1, "error").as_str().unwrap().contains("absent") && field(1, "pull").is_null());
    assert_eq!(field(0, "pull")["schema"], "imgdelta.pull/1");
    assert!(said.contains("absent"), "{said}");
    // Both layers are staged, and their lease is that of `node stage`.
    assert_eq!(scene.containerd.snapshot_count(), 2);
    let text = scene.command("stage", &format!("{first} {absent}")).output().unwrap();
    assert_eq!(text.status.code(), Some(3));
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains(&format!("present {first}\nfailed  {absent}\n")), "{text}");
    assert!(text.ends_with("0 images staged, 1 were there, 1 failed\n"), "{text}");
    let (code, documents, said) = scene.stage("--from-file nowhere.txt");
    assert_eq!((code, documents.len()), (Some(6), 0), "{said}");
    assert!(said.contains("nowhere.txt"), "{said}");
    assert_eq!(scene.stage("").0, Some(2), "an image, a list or --running");
}

#[test]
fn a_tag_that_moved_is_staged_again_and_one_that_did_not_is_there() {
    let Some(scene) = Scene::start() else { return };
    let (stable, other) = (scene.push(1, "stable"), scene.push(2, "other"));
    for name in [&stable, &other] {
        scene.containerd.ctr("k8s.io", &format!("images pull --plain-http {name}"));
    }
    scene.push(3, "stable");
    let (code, documents, said) = scene.stage("--running");
    assert_eq!(code, Some(0), "{said}");
    let outcomes = documents.iter().map(|one| (one["image"].clone(), one["outcome"].clone()));
    let expected = [(other.into(), "present".into()), (stable.into(), "staged".into())];
    assert_eq!(outcomes.collect::<Vec<(Value, Value)>>(), expected, "{said}");
    // The layers of the newer image; the name stays with the older one until something pulls it.
    assert_eq!(scene.containerd.snapshot_count(), 3);
}

#[test]
fn a_missing_socket_is_named_with_the_setting_that_named_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("node.toml");
    let text = "[containerd]\nsocket = 'no.sock'\n[rebuild]\ndirectory = 'work'\n\
                [[registry]]\nhost = 'r.test'\n";
    fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgdelta"));
    command.args(["node", "serve", "--config", "node.toml"]).current_dir(dir.path());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("no.sock") && said.contains("[containerd] socket"), "{said}");
}

/// A mirror that is ended when it is dropped.
struct ServingMirror(Child);

impl Drop for ServingMirror {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl ServingMirror {
    /// Returns a number of the process' status; sizes are in KiB.
    fn number(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

#[test]
fn an_idle_mirror_takes_little_memory() {
    let Some(scene) = Scene::start() else { return };
    let config = fs::read_to_string(&scene.config).unwrap();
    let port = config.split("127.0.0.1:").nth(1).unwrap().split('\'').next().unwrap();
    let address = format!("127.0.0.1:{port}");
    // Registries share threads, so that many of them cost little.
    let more = (0..20).map(|at| format!("[[registry]]\nhost = 'r{at}.test'\n"));
    fs::write(&scene.config, config.clone() + &more.collect::<Vec<_>>().concat()).unwrap();
    let process = scene.command("serve", "").stderr(Stdio::null()).spawn().unwrap();
    let mirror = ServingMirror(process);
    let get = |path: &str| -> Option<String> {
        let mut connection = TcpStream::connect(&address).ok()?;
        let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: m\r\nConnection: close\r\n{accept}\r\n\r\n");
        connection.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    wait_until("the mirror serves", Duration::from_secs(60), || get("/healthz").is_some());
    let measure = |when: &str| {
        get("/metrics").unwrap();
        let [own, all] = ["RssAnon:", "VmRSS:"].map(|field| mirror.number(field));
        let threads = mirror.number("Threads:");
        println!("{when}: {own} KiB of its own, {all} KiB with the program, {threads} threads");
        own
    };
    let idle = measure("an idle mirror");
    // A rebuild of an image of some megabytes leaves little.
    let names = [1, 2].map(|version| scene.push_large(8_000_000, version, &format!("v{version}")));
    scene.containerd.ctr("k8s.io", &format!("images pull --plain-http {}", names[0]));
    let run = |line: &str| {
        succeeds(scene.dir.path(), &scene.containerd, line);
    };
    run("create oci:v1 oci:v2 -o up --preset fast");
    run(&format!("push up docker://{}", names[1]));
    let host = scene.registry.host().replace(':', "%3A");
    get(&format!("/v2/app/manifests/v2?ns={host}")).unwrap();
    let status = get("/status").unwrap();
    assert!(status.contains("\"rebuilt\":1"), "{status}");
    let after = measure("after a rebuild");
    assert!(idle < 10 << 10 && after < 20 << 10, "{idle} KiB, {after} KiB");
}
