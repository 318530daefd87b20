//! Unpacked images as bases: the layers whose files are all there, and nothing outside the root.

use imgdelta_core::{Error, Limits, progress::Silent};
use imgdelta_frames::{
    FRAMES_DIRECTORY, FrameLimits, FrameStore, ReplacedFiles, frames_of, replaced_directory,
};
use imgdelta_image::{
    image::{Image, OpenOptions, open},
    store::Store as _,
};
use imgdelta_runtimes::rootfs::RootfsStore;
use imgdelta_testkit::{Packing, TestImage, noise, tar_stream::Tar};
use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

/// An image, its root file system, and the folder of its frames.
struct Scene {
    dir: TempDir,
    layers: Vec<Vec<u8>>,
}

impl Scene {
    /// Unpacks the layers one over another, as an engine's merged view shows them.
    fn new(layers: Vec<Vec<u8>>) -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap(), layers };
        fs::create_dir(scene.root()).unwrap();
        scene.layers.iter().for_each(|layer| unpack(layer, &scene.root()));
        let image = TestImage::new(scene.layers.clone(), Packing::Gzip);
        let layout = scene.dir.path().join("layout");
        image.blobs().write_layout(&layout);
        let reference = format!("oci:{}", layout.display()).parse().unwrap();
        let image = open(&reference, &OpenOptions::default()).unwrap();
        let folder = scene.frames();
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        for (digest, bytes) in
            [(image.digest, &image.manifest), (image.config_digest, &image.config_bytes)]
        {
            fs::write(folder.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        }
        for name in ["oci-layout", "index.json"] {
            fs::copy(layout.join(name), folder.join(name)).unwrap();
        }
        let store = FrameStore::open(&folder.join(FRAMES_DIRECTORY), FrameLimits::default());
        let store = store.unwrap();
        for layer in &image.layers {
            let Some(frames) = frames_of(&image, layer, &Silent).unwrap() else { continue };
            let mut file = store.receive(&frames.diff_id, "", frames.stream_bytes).unwrap();
            file.write(&frames.bytes).unwrap();
            file.publish().unwrap();
        }
        scene
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn frames(&self) -> PathBuf {
        self.dir.path().join("frames")
    }

    fn open(&self) -> imgdelta_core::Result<(Image, Vec<String>)> {
        let store = RootfsStore::open(&self.root(), Some(&self.frames()), &Limits::default())?;
        let notes = store.notes().iter().map(ToString::to_string).collect();
        let image = Image::open(Arc::new(store), None, &OpenOptions::default())?;
        Ok((image, notes))
    }

    /// Returns the positions of the layers that the opened image has, after comparing their streams.
    fn present(&self, image: &Image) -> Vec<usize> {
        let streams = (0..image.layers.len()).map(|ordinal| read(image, ordinal).unwrap());
        let position = |stream| self.layers.iter().position(|layer| *layer == stream).unwrap();
        streams.map(position).collect()
    }
}

/// Unpacks a layer over those below it. Follows the links of directories, as an engine does.
fn unpack(layer: &[u8], root: &Path) {
    for member in tar::Archive::new(layer).entries().unwrap() {
        let mut member = member.unwrap();
        let path = root.join(member.path().unwrap());
        match member.header().entry_type() {
            tar::EntryType::Directory => fs::create_dir_all(path).unwrap(),
            tar::EntryType::Symlink => {
                symlink(member.link_name().unwrap().unwrap(), path).unwrap();
            }
            _ => drop(io::copy(&mut member, &mut fs::File::create(path).unwrap()).unwrap()),
        }
    }
}

/// Reads a layer and compares its digest.
fn read(image: &Image, ordinal: usize) -> imgdelta_core::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    image.read_layer(&image.layers[ordinal], &mut Vec::new(), &Silent, &mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

fn write(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
}

/// Three layers. The second overwrites a file of the first by one of the same length.
fn layers(second: impl FnOnce(Tar) -> Tar) -> Vec<Vec<u8>> {
    let first = Tar::new()
        .dir("usr/")
        .dir("usr/bin/")
        .symlink("bin", "usr/bin")
        .file("usr/bin/tool", &noise(1, 200_000))
        .file("version", b"1")
        .file("empty", b"");
    let third = Tar::new().file("bin/extra", &noise(3, 50_000));
    [first, second(Tar::new()), third].map(|stream| stream.zeros(2).0).to_vec()
}

#[test]
fn layers_whose_files_are_all_there_are_put_together() {
    let scene = Scene::new(layers(|layer| layer.file("app", &noise(2, 300_000))));
    let (image, notes) = scene.open().unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    // The links of the first layer are followed inside the root.
    assert!(scene.root().join("usr/bin/extra").is_file());
    assert_eq!(scene.present(&image), [0, 1, 2]);
    // All layers: the config is the image's own.
    let layout = format!("oci:{}", scene.dir.path().join("layout").display()).parse().unwrap();
    let original = open(&layout, &OpenOptions::default()).unwrap();
    assert_eq!(image.config_digest, original.config_digest);
}

#[test]
fn a_layer_with_an_overwritten_file_is_left_out_even_if_the_length_is_the_same() {
    let scene = Scene::new(layers(|layer| layer.file("version", b"2")));
    let (image, notes) = scene.open().unwrap();
    let [note] = &notes[..] else { panic!("{notes:?}") };
    assert!(note.contains("layer 1 (sha256:"), "{note}");
    assert!(note.ends_with("is not a base: /version: overwritten by a higher layer"), "{note}");
    assert_eq!(scene.present(&image), [1, 2]);
    assert!(image.notes.iter().all(|note| !note.what.contains("history")), "{:?}", image.notes);
}

#[test]
fn files_that_higher_layers_replace_or_remove_are_kept_in_the_folder() {
    let first = Tar::new()
        .dir("etc/")
        .file("etc/version", b"1")
        .file("etc/gone", &noise(4, 3000))
        .dir("tree/")
        .file("tree/deep", &noise(5, 4000))
        .dir("opaque/")
        .file("opaque/old", b"old")
        .file("kept", &noise(6, 100_000));
    let second = Tar::new()
        .file("etc/version", b"2")
        .file("etc/.wh.gone", b"")
        .file(".wh.tree", b"")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"new");
    let third = Tar::new().file("etc/version", b"3");
    let scene = Scene::new([first, second, third].map(|stream| stream.zeros(2).0).to_vec());
    for name in ["etc/gone", "etc/.wh.gone", ".wh.tree", "opaque/old", "opaque/.wh..wh..opq"] {
        fs::remove_file(scene.root().join(name)).unwrap();
    }
    fs::remove_dir_all(scene.root().join("tree")).unwrap();
    let (image, notes) = scene.open().unwrap();
    assert_eq!((scene.present(&image), notes.len()), (vec![2], 2));

    let layout = format!("oci:{}", scene.dir.path().join("layout").display()).parse().unwrap();
    let original = open(&layout, &OpenOptions::default()).unwrap();
    let kept = ReplacedFiles::new(replaced_directory(&scene.frames()));
    assert_eq!(kept.keep(&original, &Silent).unwrap(), 1 + 3000 + 4000 + 3 + 1);
    let (image, notes) = scene.open().unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    assert_eq!(scene.present(&image), [0, 1, 2]);
}

#[test]
fn a_layer_with_a_missing_or_longer_file_or_without_frames_is_left_out() {
    let scene = Scene::new(layers(|layer| layer.file("app", &noise(2, 300_000))));
    fs::remove_file(scene.root().join("usr/bin/tool")).unwrap();
    write(&scene.root().join("app"), b"another length");
    let (image, notes) = scene.open().unwrap();
    assert!(notes[0].ends_with("/usr/bin/tool: missing"), "{notes:?}");
    assert!(notes[1].ends_with("/app: 14 bytes long, should be 300000"), "{notes:?}");
    assert_eq!(scene.present(&image), [2]);

    // A directory or a link in the place of a file is not followed.
    fs::remove_file(scene.root().join("app")).unwrap();
    fs::create_dir(scene.root().join("app")).unwrap();
    let (_, notes) = scene.open().unwrap();
    assert!(notes[1].ends_with("/app: not a regular file"), "{notes:?}");

    let folder = scene.frames().join(FRAMES_DIRECTORY);
    let diff_id = image.layers[0].diff_id.to_string().replace(':', "-");
    let frames = folder.join(format!("{diff_id}.frames"));
    let bytes = fs::read(&frames).unwrap();
    write(&frames, &bytes[..bytes.len() - 9]);
    let error = scene.open().unwrap_err().to_string();
    assert!(error.contains("no layer of image sha256:"), "{error}");
    assert!(error.ends_with("/usr/bin/tool: missing"), "the first reason: {error}");
    fs::remove_file(frames).unwrap();
    assert!(scene.open().is_err());
    write(&scene.root().join("usr/bin/tool"), &noise(1, 200_000));
    let (_, notes) = scene.open().unwrap();
    assert!(notes[1].ends_with("the folder has no frames of it"), "{notes:?}");
    fs::remove_dir_all(folder).unwrap();
    let error = scene.open().unwrap_err().to_string();
    assert!(error.contains("imgdelta frames IMAGE -o FOLDER"), "{error}");
}

#[test]
fn a_changed_file_of_the_same_length_is_an_error_and_not_wrong_bytes() {
    let scene = Scene::new(layers(|layer| layer.file("app", &noise(2, 300_000))));
    write(&scene.root().join("app"), &noise(9, 300_000));
    let (image, notes) = scene.open().unwrap();
    assert!(notes.is_empty(), "no content is read: {notes:?}");
    let error = read(&image, 1).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains("rootfs:"), "{error}");
    assert_eq!(read(&image, 0).unwrap(), scene.layers[0]);
    // A file that is cut after the image was opened.
    write(&scene.root().join("app"), b"");
    let error = read(&image, 1).unwrap_err().to_string();
    assert!(error.contains("\"app\": 0 bytes long, should be 300000"), "{error}");
}

#[test]
fn no_link_leads_out_of_the_root() {
    let secret = noise(5, 4000);
    let layer = Tar::new().dir("data/").file("data/secret", &secret).file("kept", b"kept");
    let other = Tar::new().file("other", b"other");
    let scene = Scene::new(vec![layer.zeros(2).0, other.zeros(2).0]);
    let outside = scene.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    write(&outside.join("secret"), &secret);
    fs::remove_dir_all(scene.root().join("data")).unwrap();
    for target in [outside.display().to_string(), "../outside".into(), "../../outside".into()] {
        symlink(&target, scene.root().join("data")).unwrap();
        let (image, notes) = scene.open().unwrap();
        assert!(notes[0].ends_with("/data/secret: missing"), "{target}: {notes:?}");
        assert_eq!(scene.present(&image), [1], "{target}");
        fs::remove_file(scene.root().join("data")).unwrap();
    }
    // The same target inside the root is followed.
    fs::create_dir(scene.root().join("outside")).unwrap();
    write(&scene.root().join("outside/secret"), &secret);
    symlink("/outside", scene.root().join("data")).unwrap();
    let (image, _) = scene.open().unwrap();
    assert_eq!(scene.present(&image), [0, 1]);
    // A pipe of that name does not block.
    fs::remove_file(scene.root().join("outside/secret")).unwrap();
    imgdelta_testkit::make_pipe(&scene.root().join("outside/secret"));
    let (_, notes) = scene.open().unwrap();
    assert!(notes[0].ends_with("/data/secret: not a regular file"), "{notes:?}");
}

#[test]
fn an_image_of_a_root_has_no_names() {
    let scene = Scene::new(layers(|layer| layer.file("app", b"app")));
    let usual = scene.root().join("var/lib/imgdelta");
    fs::create_dir_all(&usual).unwrap();
    fs::rename(scene.frames(), usual.join("image")).unwrap();
    let store = RootfsStore::open(&scene.root(), None, &Limits::default()).unwrap();
    assert_eq!(store.place(), format!("rootfs:{}", scene.root().display()));
    let name = imgdelta_image::reference::ImageName::Tag("x".into());
    assert!(matches!(store.find(Some(&name)), Err(Error::NotFound { .. })));
    assert_eq!(store.find(None).unwrap().len(), 1);
}
