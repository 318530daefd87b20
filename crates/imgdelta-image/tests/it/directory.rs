//! Directories of skopeo as images.

use imgdelta_core::Limits;
use imgdelta_image::{
    image::{Image, OpenOptions},
    store::{Store as _, directory::DirectoryImage},
};
use std::{fs, io::Read as _, path::Path, sync::Arc};

/// Copies an image of testdata to the files of `skopeo copy … dir:DIR`.
fn write(directory: &Path) {
    let layout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/small/old");
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let root = index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "");
    for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        let name = blob.file_name().into_string().unwrap();
        let name = if name == root { "manifest.json".to_owned() } else { name };
        fs::copy(blob.path(), directory.join(name)).unwrap();
    }
}

#[test]
fn a_directory_of_skopeo_is_an_image() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let store = Arc::new(DirectoryImage::open(dir.path(), &Limits::default()).unwrap());
    let image = Image::open(store.clone(), None, &OpenOptions::default()).unwrap();
    assert_eq!(image.layers.len(), 4);
    let layer = &image.layers[0].descriptor;
    let mut bytes = Vec::new();
    store.open(layer).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, layer.size_bytes);
    fs::remove_file(dir.path().join(layer.digest.hex())).unwrap();
    let error = store.open(layer).err().unwrap().to_string();
    assert!(error.contains(&format!("blob {}", layer.digest)), "{error}");
}

#[test]
fn other_directories_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = || DirectoryImage::open(dir.path(), &Limits::default()).unwrap_err().to_string();
    assert!(open().contains("manifest.json is missing"));
    fs::write(dir.path().join("manifest.json"), "[]").unwrap();
    assert!(open().contains("not a manifest"));
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
    fs::remove_file(dir.path().join("manifest.json")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("manifest.json")).unwrap();
    assert!(open().contains("a link out of"));
}
