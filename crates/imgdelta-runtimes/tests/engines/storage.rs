//! Storages of podman.

use super::{Registry, open, open_layout, read, tag, versions};
use imgdelta_image::{image::Image, reference::ImageName, store::Store};
use imgdelta_runtimes::containers_storage::{
    ContainersStorageSink, ContainersStorageStore, StorageOptions, StorageSinkOptions,
};
use imgdelta_testkit::has;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

/// A storage in a scratch directory.
struct Storage {
    dir: TempDir,
    driver: &'static str,
}

impl Storage {
    fn new(driver: &'static str) -> Self {
        let storage = Self { dir: tempfile::tempdir().unwrap(), driver };
        let (root, run) = (storage.root(), storage.dir.path().join("run"));
        let text = format!(
            "[storage]\ndriver = {driver:?}\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            root.display(),
            run.display()
        );
        fs::write(storage.configuration(), text).unwrap();
        storage
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn configuration(&self) -> PathBuf {
        self.dir.path().join("storage.conf")
    }

    /// Runs podman or skopeo on it, with words that are separated by spaces.
    fn run(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let output = Command::new(words.next().unwrap())
            .args(words)
            .env("CONTAINERS_STORAGE_CONF", self.configuration())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Copies an image from a layout.
    fn copy(&self, layout: &Path, name: &str) {
        self.run(&format!("skopeo copy -q oci:{} containers-storage:{name}", layout.display()));
    }

    fn options(&self) -> StorageOptions {
        let run_root = Some(self.dir.path().join("run"));
        StorageOptions::new(self.root()).driver(Some(self.driver.into())).run_root(run_root)
    }

    fn store(&self) -> Arc<ContainersStorageStore> {
        Arc::new(ContainersStorageStore::open(&self.options()).unwrap())
    }

    /// Returns the file of this name in the directory of the layer that has it.
    fn file(&self, name: &str) -> PathBuf {
        let layers = fs::read_dir(self.root().join("overlay")).unwrap().flatten();
        let files = layers.map(|layer| layer.path().join("diff").join(name));
        let mut files: Vec<PathBuf> = files.filter(|file| file.is_file()).collect();
        assert_eq!(files.len(), 1, "{name}: {files:?}");
        files.remove(0)
    }
}

#[test]
fn an_image_of_a_storage_has_the_manifest_of_its_registry_and_the_exact_streams() {
    if !has(&["skopeo"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = versions();
    for (image, name) in [(&old, "old"), (&new, "new")] {
        image.blobs().write_layout(&dir.path().join(name));
    }
    let expected = open_layout(&dir.path().join("new"));
    for driver in ["overlay", "vfs"] {
        let storage = Storage::new(driver);
        storage.copy(&dir.path().join("old"), "localhost/app:old");
        storage.copy(&dir.path().join("new"), "localhost/app:new");
        let store = storage.store();
        assert_eq!(store.names().unwrap(), ["localhost/app:old", "localhost/app:new"]);
        let id = expected.config_digest.hex();
        for name in [
            tag("localhost/app:new"),
            tag("app:new"),
            tag(&format!("app:new@{id}")),
            tag(&format!("@{}", &id[..12])),
            tag(&id[..12]),
            tag(&format!("localhost/app@{}", expected.digest)),
            ImageName::Digest(expected.digest),
        ] {
            let image = open(&store, Some(&name));
            assert_eq!(image.manifest, expected.manifest, "{driver}, {name}");
            assert_eq!(image.config_bytes, expected.config_bytes);
        }
        let image = open(&store, Some(&tag("app:new")));
        for (ordinal, stream) in new.layers.iter().enumerate() {
            assert!(!image.layers[ordinal].has_blob());
            assert!(read(&image, ordinal).unwrap() == *stream, "{driver}, layer {ordinal}");
        }
        for wrong in [tag("app:other"), tag("other:new"), tag(&format!("app:old@{id}"))] {
            let error = store.find(Some(&wrong)).unwrap_err().to_string();
            assert!(error.contains("localhost/app:old"), "{error}");
        }
    }
}

#[test]
fn a_layer_that_changed_on_the_disk_is_named_with_its_file() {
    if !has(&["skopeo"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    versions()[0].blobs().write_layout(dir.path());
    let storage = Storage::new("overlay");
    storage.copy(dir.path(), "localhost/app:1");
    let store = storage.store();
    let image = open(&store, None);
    let error = |image: &Image, ordinal| read(image, ordinal).unwrap_err().to_string();
    fs::write(storage.file("version"), "2").unwrap();
    let said = error(&image, 1);
    let layer = format!("layer {}", image.layers[1].diff_id);
    assert!(said.contains(&layer) && said.contains("\"version\": its content"), "{said}");
    fs::remove_file(storage.file("lib/data")).unwrap();
    assert!(error(&image, 0).contains("\"lib/data\": No such file"), "{}", error(&image, 0));
    // A layer that is removed while the store is open, and one without tar-split.
    let layers = storage.root().join("overlay-layers");
    for item in fs::read_dir(layers).unwrap().flatten() {
        if item.path().extension().is_some_and(|end| end == "gz") {
            fs::remove_file(item.path()).unwrap();
        }
    }
    let said = error(&open(&storage.store(), None), 1);
    assert!(said.contains("tar-split.gz: missing") && said.contains(&layer), "{said}");
}

#[test]
fn documents_are_read_under_the_lock_of_the_storage() {
    if !has(&["skopeo", "python3"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    versions()[0].blobs().write_layout(dir.path());
    let storage = Storage::new("overlay");
    storage.copy(dir.path(), "localhost/app:1");
    // A writer, which leaves half a document while it has the lock.
    let mut writer = Command::new("python3")
        .args(["-c", WRITER])
        .arg(storage.root().join("overlay-layers"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(writer.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    let options = storage.options();
    let reader = std::thread::spawn(move || ContainersStorageStore::open(&options).map(drop));
    // Long enough for a reader that ignores the lock to fail; one that waits takes any time.
    std::thread::sleep(std::time::Duration::from_millis(300));
    writer.stdin.take().unwrap().write_all(b"go\n").unwrap();
    reader.join().unwrap().unwrap();
    assert!(writer.wait().unwrap().success());
}

const WRITER: &str = "
import fcntl, sys
folder = sys.argv[1]
lock = open(folder + '/layers.lock', 'r+')
fcntl.lockf(lock, fcntl.LOCK_EX)
whole = open(folder + '/layers.json').read()
open(folder + '/layers.json', 'w').write(whole[:40])
print('locked', flush=True)
sys.stdin.readline()
open(folder + '/layers.json', 'w').write(whole)
";

#[test]
fn podman_pulls_a_staged_image_with_manifest_and_config_only() {
    if !has(&["podman", "skopeo", "docker-registry"]) {
        return;
    }
    let (registry, storage) = (Registry::start(), Storage::new("overlay"));
    let pull = |tag: &str| {
        storage.run(&format!("podman pull -q --tls-verify=false {}", registry.name(tag)))
    };
    pull("old");
    let scratch = storage.dir.path().join("scratch");
    let options = StorageSinkOptions::new(storage.options(), &scratch);
    let base = open(&storage.store(), Some(&tag(&registry.name("old"))));
    registry.rebuild(base, ContainersStorageSink::new(options).unwrap());
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "nothing is left");
    let expected = open_layout(&registry.path("new"));
    // It has no name yet.
    let names = [registry.name("old"), format!("@{}", expected.config_digest.hex())];
    assert_eq!(storage.store().names().unwrap(), names);
    let requests = registry.requests(|| drop(pull("new")));
    let config = format!("GET /v2/app/blobs/{}", expected.config_digest);
    assert_eq!(requests, ["GET /v2/", "GET /v2/app/manifests/new", &config]);
    let digests = storage.run("podman images --digests --format {{.Tag}}:{{.Digest}}");
    assert!(digests.contains(&format!("new:{}", expected.digest)), "{digests}");
    // The way back: the pulled image is a base with its exact streams.
    let image = open(&storage.store(), Some(&tag(&registry.name("new"))));
    for (ordinal, stream) in versions()[1].layers.iter().enumerate() {
        assert!(read(&image, ordinal).unwrap() == *stream);
    }
}

#[test]
fn a_copy_that_fails_is_reported_and_leaves_nothing() {
    if !has(&["skopeo"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    versions()[0].blobs().write_layout(&dir.path().join("layout"));
    let storage = Storage::new("overlay");
    storage.copy(&dir.path().join("layout"), "localhost/app:1");
    let options = StorageSinkOptions::new(storage.options(), dir.path().join("scratch"));
    let missing = ContainersStorageSink::new(options.program("/no/such/skopeo")).unwrap_err();
    assert!(missing.to_string().contains("/no/such/skopeo"), "{missing}");
    let error = ContainersStorageStore::open(&StorageOptions::new(dir.path())).unwrap_err();
    assert!(error.to_string().contains("no storage of podman"), "{error}");
    let options = storage.options().driver(Some("btrfs".into()));
    let error = ContainersStorageStore::open(&options).unwrap_err().to_string();
    assert!(error.contains("only overlay and vfs"), "{error}");
}
