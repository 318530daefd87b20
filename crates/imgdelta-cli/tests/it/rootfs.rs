//! The program with an unpacked image: its folder of frames makes it the base of deltas and pulls.

use imgdelta_testkit::{
    Blobs, Packing, TestImage, assert_valid, noise,
    registry::{RegistryBehaviour, TestRegistry},
    tar_of,
};
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

/// A scratch directory with layouts `old` and `new`, the files of the old image in `root`, and a
/// registry with both.
struct Device {
    dir: tempfile::TempDir,
    registry: TestRegistry,
}

impl Device {
    fn new() -> Self {
        let registry = TestRegistry::start(RegistryBehaviour::default());
        let device = Self { dir: tempfile::tempdir().unwrap(), registry };
        let lower = tar_of(&[("etc/version", b"1"), ("etc/lower", &noise(1, 5000))]);
        let data = tar_of(&[("data", &noise(3, 90_000))]);
        for (tag, version) in [("old", b"2"), ("new", b"3")] {
            let app = tar_of(&[("app", &noise(2, 200_000)), ("etc/version", version)]);
            let image = TestImage::new(vec![lower.clone(), app, data.clone()], Packing::Gzip);
            let mut blobs = Blobs::default();
            let manifest = image.store(&mut blobs);
            blobs.tag(manifest, tag);
            blobs.write_layout(&device.path(tag));
            device.registry.put_image("x/app", &blobs);
        }
        fs::create_dir_all(device.path("root/etc")).unwrap();
        for (name, content) in [
            ("etc/version", b"2".to_vec()),
            ("etc/lower", noise(1, 5000)),
            ("app", noise(2, 200_000)),
            ("data", noise(3, 90_000)),
        ] {
            fs::write(device.path("root").join(name), content).unwrap();
        }
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn image(&self, tag: &str) -> String {
        format!("docker://{}/x/app:{tag}", self.registry.host())
    }

    fn imgdelta(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_imgdelta"))
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .output()
            .unwrap()
    }

    /// Runs a line that succeeds; returns its result and its messages.
    fn run(&self, line: &str) -> (String, String) {
        let output = self.imgdelta(line);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{line}: {said}");
        (String::from_utf8(output.stdout).unwrap(), said)
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.run(&format!("{line} --json")).0).unwrap()
    }

    fn fails(&self, line: &str, code: i32) -> String {
        let output = self.imgdelta(line);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        said
    }

    fn is_new(&self, place: &str) {
        assert_eq!(self.json(&format!("diff {place} oci:new"))["same_image"], true, "{place}");
    }

    /// Pulls the new image from the unpacked one; returns the bytes of blobs that were sent.
    fn pull(&self, place: &str) -> usize {
        self.registry.forget();
        let new = self.image("new");
        let line = format!("pull {new} --base rootfs:root -o {place} --no-time-limit");
        self.run(&line);
        self.is_new(place);
        self.registry.sent_bytes("/v2/x/app/blobs/")
    }
}

#[test]
fn an_unpacked_image_is_the_base_of_a_delta_and_of_a_pull() {
    let device = Device::new();
    let said = device.fails("diff rootfs:root oci:new", 3);
    assert!(said.contains("imgdelta frames IMAGE -o FOLDER"), "{said}");
    let folder = "root/var/lib/imgdelta/image";
    // The folder has one image, which the next one replaces.
    device.run(&format!("frames oci:new -o {folder}"));
    let written = device.json(&format!("frames {} -o {folder}", device.image("old")));
    assert_valid(&written, "frames");
    assert_eq!((&written["layers"], &written["folder"]), (&3.into(), &folder.into()));
    assert_eq!(fs::read_dir(device.path(folder).join("frames")).unwrap().count(), 3);

    // The lower layer's version was overwritten, and the folder has it.
    assert_eq!(written["replaced_bytes"], 1);
    device.run("create oci:old oci:new -o full");
    device.run("apply full --base rootfs:root -o oci:exact:new");
    device.is_new("oci:exact:new");

    // Without it the lower layer is left out.
    fs::remove_dir_all(device.path(folder).join("replaced")).unwrap();
    let (diff, said) = device.run("diff rootfs:root oci:new --files");
    assert!(diff.contains("/etc/version") && !diff.contains("/data"), "{diff}");
    let note = "is not a base: /etc/version: overwritten by a higher layer";
    assert!(said.contains("imgdelta: rootfs:root: layer 1 (sha256:") && said.contains(note));

    device.run("create rootfs:root oci:new -o up");
    device.run(&format!("apply up --base rootfs:root:{folder} -o oci:made:new"));
    device.is_new("oci:made:new");
    let said = device.fails("apply up --base rootfs:root -o rootfs:other", 2);
    assert!(said.contains("a root file system is not a destination"), "{said}");

    let whole = device.pull("oci:plain:new");
    device.run(&format!("push full {}", device.image("new")));
    // `apply` needs all layers of this delta's base, and `pull` fetches the one that lacks.
    let said = device.fails("apply full --base rootfs:root -o oci:wrong", 4);
    assert!(said.contains("/etc/version: overwritten"), "{said}");
    let by_delta = device.pull("oci:pulled:new");
    assert!(by_delta * 4 < whole, "{by_delta} and {whole} bytes");

    // A file that changed costs whole layers, and never gives wrong bytes.
    fs::write(device.path("root/app"), noise(9, 200_000)).unwrap();
    let said = device.fails("apply up --base rootfs:root -o oci:wrong", 5);
    assert!(
        said.contains("rootfs:root, layer") && said.contains("after it was unpacked"),
        "{said}"
    );
    assert!(device.pull("oci:whole:new") > 200_000);
    fs::remove_file(device.path("root/app")).unwrap();
    assert!(device.pull("oci:again:new") > 200_000);
    fs::remove_file(device.path("root/data")).unwrap();
    let said = device.fails("diff rootfs:root oci:new", 3);
    assert!(said.contains("no layer of image sha256:"), "{said}");
}
