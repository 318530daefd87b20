//! The program with a storage of podman: its images are compared, and are bases of deltas and pulls.
//!
//! On a machine without the tools the test prints that and passes; with `CI` set it must run.

use imgdelta_testkit::{DockerRegistry, Packing, TestImage, has, noise, tar_of};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A scratch directory with layouts `old` and `new`, and a storage that has the old image.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        let app = |version: &[u8]| tar_of(&[("app", &noise(1, 200_000)), ("version", version)]);
        let lower = tar_of(&[("lower", &noise(2, 90_000))]);
        for (tag, version) in [("old", b"1"), ("new", b"2")] {
            let layers = vec![lower.clone(), app(version)];
            TestImage::new(layers, Packing::Gzip).blobs().write_layout(&machine.path(tag));
        }
        let text = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            machine.path("storage").display(),
            machine.path("run").display()
        );
        fs::write(machine.path("storage.conf"), text).unwrap();
        machine.skopeo("oci:old:v1 containers-storage:localhost/app:old");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, program: &str, line: &str) -> Output {
        Command::new(program)
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"))
            .output()
            .unwrap()
    }

    fn skopeo(&self, line: &str) {
        let copied = self.command("skopeo", &format!("copy -q --dest-tls-verify=false {line}"));
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    }

    fn imgdelta(&self, line: &str) -> Output {
        self.command(env!("CARGO_BIN_EXE_imgdelta"), line)
    }

    fn run(&self, line: &str) -> String {
        let output = self.imgdelta(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, line: &str, code: i32) -> String {
        let output = self.imgdelta(line);
        assert_eq!(output.status.code(), Some(code), "{line}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn digest(&self, reference: &str) -> String {
        let json = self.run(&format!("diff --json {reference} {reference}"));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        json["new"]["digest"].as_str().unwrap().to_owned()
    }

    /// Returns the file of this name that the storage unpacked.
    fn unpacked(&self, name: &str) -> PathBuf {
        let layers = fs::read_dir(self.path("storage/overlay")).unwrap().flatten();
        let mut files = layers.map(|layer| layer.path().join("diff").join(name));
        files.find(|file| file.is_file()).unwrap()
    }
}

#[test]
fn an_image_of_podman_is_compared_and_is_the_base_of_a_delta_of_a_pull_and_of_staging() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let (machine, registry) = (Machine::new(), DockerRegistry::start(|_, _, _| {}));
    let target = format!("docker://{}/app:new", registry.host());
    machine.skopeo(&format!("oci:new:v1 {target}"));
    let base = "containers-storage:app:old";
    let diff = machine.run(&format!("diff {base} oci:new"));
    assert!(diff.contains("/version"), "{diff}");
    let named =
        format!("containers-storage:[overlay@{}]app:old", machine.path("storage").display());
    machine.run(&format!("diff --exit-code {named} oci:old"));
    machine.run(&format!("create {base} oci:new -o up"));
    machine.run(&format!("apply up --base {base} -o oci:made:v1"));
    assert_eq!(machine.digest("oci:made:v1"), machine.digest("oci:new"));
    machine.run(&format!("push up {target}"));
    let pulled = machine.run(&format!("pull {target} --base {base} -o oci:pulled:v1"));
    assert!(pulled.contains("rebuilt"), "{pulled}");
    assert_eq!(machine.digest("oci:pulled:v1"), machine.digest("oci:new"));

    // Mistakes are named with what is there.
    let said = machine.fails("diff containers-storage:nginx oci:new", 3);
    assert!(
        said.contains("localhost/app:old") && said.contains("containers-storage:NAME"),
        "{said}"
    );
    let said = machine.fails("diff containers-storage:[x]app oci:new", 2);
    assert!(said.contains("must begin with /"), "{said}");
    let said = machine.fails(&format!("apply up --base {base} -o containers-storage:x"), 2);
    assert!(said.contains("`podman load -i FILE`"), "{said}");
    let said = machine.fails("diff docker-daemon:[/no/such]x oci:new", 3);
    assert!(said.contains("containerd:moby//NAME"), "{said}");

    // A storage that changed costs whole layers, and never gives wrong bytes.
    fs::write(machine.unpacked("version"), "9").unwrap();
    let said = machine.fails(&format!("apply up --base {base} -o oci:wrong"), 3);
    assert!(said.contains("\"version\": its content is not the layer's"), "{said}");
    let pulled = machine.run(&format!("pull {target} --base {base} -o oci:whole:v1"));
    assert!(pulled.contains("\"version\": its content") && pulled.contains("registry"), "{pulled}");
    assert_eq!(machine.digest("oci:whole:v1"), machine.digest("oci:new"));
    fs::write(machine.unpacked("version"), "1").unwrap();

    // Staging puts the image into the storage, without a name.
    stage(&machine, &registry, &target);
}

fn stage(machine: &Machine, registry: &DockerRegistry, target: &str) {
    let text = format!(
        "runtime = \"podman\"\n[rebuild]\ndirectory = \"{}\"\n[link]\nrate = \"1Mbit\"\n\
         [[registry]]\nhost = {:?}\n",
        machine.path("node").display(),
        registry.host()
    );
    fs::write(machine.path("node.toml"), text).unwrap();
    let old = format!("{}/app:old", registry.host());
    machine.skopeo(&format!("oci:old:v1 containers-storage:{old}"));
    let staged = machine.run(&format!("node stage --config node.toml {target}"));
    assert!(staged.contains("1 already there") && staged.contains("1 rebuilt"), "{staged}");
    let id = config_id(&machine.path("new"));
    assert_eq!(
        machine.digest(&format!("containers-storage:@{id}")),
        machine.digest("oci:new"),
        "the storage has the image of the registry"
    );
    let again = machine.run(&format!("node stage --config node.toml {target}"));
    assert!(again.starts_with("present "), "{again}");
    machine.run("node clean --config node.toml");
}

/// Returns the digits of the digest of a layout's config.
fn config_id(layout: &Path) -> String {
    let reference = format!("oci:{}", layout.display()).parse().unwrap();
    let session = imgdelta::Session::new(std::env::temp_dir()).unwrap();
    session.open(&reference).unwrap().config_digest.hex()
}
