//! Stores read written images back, and unfinished images are never visible.

mod contracts;

use super::*;
use imgdelta_core::{
    Limits,
    progress::Silent,
    scratch::Scratch,
    unfinished::{UnfinishedFile, UnfinishedKind},
    verify::BlobCheck,
};
use imgdelta_image::{
    image::{Image, OpenOptions},
    store,
};
use imgdelta_testkit::{Blobs, Packing, TestImage, make_pipe, tar_of};
use std::{
    fs,
    os::unix::fs::{FileTypeExt, symlink},
    path::{Path, PathBuf},
    thread,
};

fn test_image(text: &[u8]) -> TestImage {
    let layer = tar_of(&[("a", text)]);
    // One layer occurs twice; its blob is written once.
    TestImage::new(vec![layer.clone(), tar_of(&[("b", b"two")]), layer], Packing::Plain)
}

fn outgoing(image: &TestImage) -> (OutgoingImage, Blobs) {
    let blobs = image.blobs();
    let dir = tempfile::tempdir().unwrap();
    blobs.write_layout(dir.path());
    let opened = open(&format!("oci:{}", dir.path().display()));
    let descriptor = |media_type: &str, digest, bytes: &[u8]| {
        Descriptor::new(Some(media_type), digest, bytes.len() as u64)
    };
    let outgoing = OutgoingImage {
        manifest: descriptor(
            "application/vnd.oci.image.manifest.v1+json",
            opened.digest,
            &opened.manifest,
        ),
        config: descriptor("c", opened.config_digest, &opened.config_bytes),
        manifest_bytes: opened.manifest,
        config_bytes: opened.config_bytes,
        layers: opened.layers.into_iter().map(|layer| layer.descriptor).collect(),
    };
    (outgoing, blobs)
}

fn context() -> Context {
    Context::new(Scratch::new(std::env::temp_dir())).unwrap()
}

fn open(reference: &str) -> Image {
    imgdelta_image::image::open(&reference.parse().unwrap(), &OpenOptions::default()).unwrap()
}

/// Writes the image, and returns the number of blobs that were not there already.
fn write(reference: &str, image: &TestImage) -> Result<usize> {
    let (outgoing, blobs) = outgoing(image);
    let mut sink = create(&reference.parse().unwrap(), &context())?;
    let mut layers = outgoing.layers.clone();
    sink.begin(outgoing)?;
    layers.sort_by_key(|layer| layer.digest);
    layers.dedup();
    let mut written = 0;
    for layer in layers {
        if sink.has(&layer, &Silent)? {
            continue;
        }
        let mut writer = sink.blob(&layer)?;
        let bytes = &blobs.by_digest[&layer.digest.to_string()];
        let mut check = BlobCheck::new(layer.digest, layer.size_bytes);
        for piece in bytes.chunks(700) {
            check.update(piece)?;
            writer.write(piece)?;
        }
        writer.finish(check.finish()?)?;
        written += 1;
    }
    sink.finish()?;
    Ok(written)
}

fn streams(image: &Image) -> Vec<Vec<u8>> {
    let streams = image.layers.iter().map(|layer| {
        let mut stream = Vec::new();
        let mut take = |piece: &[u8]| {
            stream.extend_from_slice(piece);
            Ok(())
        };
        image.read_layer(layer, &mut Vec::new(), &Silent, &mut take).unwrap();
        stream
    });
    streams.collect()
}

fn temporaries(dir: &Path) -> usize {
    let Ok(items) = fs::read_dir(dir) else { return 0 };
    items
        .flatten()
        .map(|item| {
            if item.path().is_dir() {
                return temporaries(&item.path());
            }
            usize::from(item.file_name().to_str().unwrap().starts_with(".imgdelta-"))
        })
        .sum()
}

#[test]
fn every_sink_gives_back_the_written_image() {
    let dir = tempfile::tempdir().unwrap();
    let image = test_image(b"one");
    for (place, tag) in [
        ("oci:DIR/layout:v1", ":v1"),
        ("oci:DIR/unnamed", ""),
        ("oci-archive:DIR/a.tar:v1", ":v1"),
        ("docker-archive:DIR/d.tar:me/x:1", ":docker.io/me/x:1"),
        ("docker-archive:DIR/e.tar", ""),
    ] {
        let place = place.replace("DIR", &dir.path().display().to_string());
        assert_eq!(write(&place, &image).unwrap(), 2, "{place}");
        let bare = place.splitn(3, ':').take(2).collect::<Vec<_>>().join(":");
        let opened = open(&format!("{bare}{tag}"));
        assert_eq!(streams(&opened), image.layers, "{place}");
        assert_eq!(opened.config_bytes, outgoing(&image).0.config_bytes, "{place}");
        if !place.starts_with("docker") {
            assert_eq!(opened.digest, outgoing(&image).0.manifest.digest, "{place}");
        }
    }
    assert_eq!(temporaries(dir.path()), 0);
}

#[test]
fn archives_are_the_same_bytes_every_time_and_other_readers_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar");
    let place = format!("oci-archive:{}:v1", path.display());
    write(&place, &test_image(b"one")).unwrap();
    let first = fs::read(&path).unwrap();
    write(&place, &test_image(b"one")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), first);
    let mut archive = ::tar::Archive::new(first.as_slice());
    let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned());
    let names: Vec<PathBuf> = names.collect();
    assert_eq!(names.len(), 2 + 4 + 2);
    assert_eq!(
        names[..4],
        ["blobs/", "blobs/sha256/", "oci-layout", "index.json"].map(PathBuf::from)
    );
    // Behind the last layer, which is whole blocks, there are two blocks of zeros and nothing else.
    let mut archive = ::tar::Archive::new(first.as_slice());
    let ends = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        entry.raw_file_position() + tar::padded(entry.size())
    });
    assert_eq!(first.len() as u64, ends.max().unwrap() + 1024);
    assert!(first.ends_with(&[0; 1024]));
}

#[test]
fn other_tags_stay_the_same_tag_is_replaced_and_blobs_are_reused() {
    let dir = tempfile::tempdir().unwrap();
    let place = format!("oci:{}", dir.path().join("x").display());
    let (one, other) = (test_image(b"one"), test_image(b"other"));
    assert_eq!(write(&format!("{place}:v1"), &one).unwrap(), 2);
    assert_eq!(write(&format!("{place}:v2"), &other).unwrap(), 1);
    assert_eq!(streams(&open(&format!("{place}:v1"))), one.layers);
    assert_eq!(streams(&open(&format!("{place}:v2"))), other.layers);
    assert_eq!(write(&format!("{place}:v1"), &other).unwrap(), 0);
    assert_eq!(streams(&open(&format!("{place}:v1"))), other.layers);
    let (store, _) = store::open(&place.parse().unwrap(), &Limits::default()).unwrap();
    assert_eq!(store.names().unwrap(), ["v2", "v1"]);
}

#[test]
fn a_damaged_blob_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = format!("oci:{}", dir.path().join("x").display());
    let image = test_image(b"one");
    write(&place, &image).unwrap();
    let blob = dir.path().join("x").join(blob_path(&outgoing(&image).0.layers[0]));
    let mut bytes = fs::read(&blob).unwrap();
    bytes[700] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    assert_eq!(write(&place, &image).unwrap(), 1);
    assert_eq!(streams(&open(&place)), image.layers);
}

#[test]
fn abandoned_files_are_removed_and_locked_files_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("x");
    let place = format!("oci:{}", layout.display());
    write(&place, &test_image(b"one")).unwrap();
    let blobs = layout.join("blobs/sha256");
    fs::write(blobs.join(STALE), b"half").unwrap();
    fs::write(layout.join(STALE), b"half").unwrap();
    let held = UnfinishedFile::in_directory(&blobs, UnfinishedKind::Layout).unwrap();
    assert_eq!(temporaries(&layout), 3);
    write(&place, &test_image(b"two")).unwrap();
    assert_eq!(temporaries(&layout), 1);
    drop(held);
    assert_eq!(temporaries(&layout), 0);
}

#[test]
fn an_archive_sweeps_no_delta_on_its_way_and_no_file_of_the_user() {
    let dir = tempfile::tempdir().unwrap();
    let delta = UnfinishedFile::in_directory(dir.path(), UnfinishedKind::Delta).unwrap();
    let abandoned = dir.path().join(".imgdelta-delta-abcDEF012345");
    let config = dir.path().join(".imgdelta-config.toml");
    fs::write(&abandoned, b"half").unwrap();
    fs::write(&config, b"precious").unwrap();
    let stale = dir.path().join(".imgdelta-archive-abcDEF012345");
    fs::write(&stale, b"half").unwrap();
    write(&format!("oci-archive:{}/a.tar", dir.path().display()), &test_image(b"one")).unwrap();
    assert!(abandoned.exists() && !stale.exists());
    assert_eq!(fs::read(&config).unwrap(), b"precious");
    delta.publish(&dir.path().join("up.imgdelta")).unwrap();
}

#[test]
fn every_step_of_a_first_run_leaves_a_directory_that_the_next_run_completes() {
    let image = test_image(b"one");
    let steps: [&[&str]; 7] = [
        &[],
        &[STALE],
        &["oci-layout"],
        &["blobs/"],
        &["blobs/sha256/", STALE],
        &["oci-layout", "blobs/"],
        &["oci-layout", "blobs/sha256/", "blobs/sha256/.imgdelta-layout-abcDEF012345"],
    ];
    for files in steps {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if file.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
            } else {
                let is_version = *file == "oci-layout";
                fs::write(&path, if is_version { LAYOUT_VERSION } else { b"half" }).unwrap();
            }
        }
        let place = format!("oci:{}:v1", dir.path().display());
        assert_eq!(write(&place, &image).unwrap(), 2, "{files:?}");
        assert_eq!(streams(&open(&place)), image.layers, "{files:?}");
        assert_eq!(temporaries(dir.path()), 0, "{files:?}");
    }
}

#[test]
fn writers_of_one_new_layout_at_once_keep_the_images_of_each_other() {
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let place = format!("oci:{}", dir.path().join("new").display());
        thread::scope(|scope| {
            for writer in 0..4 {
                let place = format!("{place}:v{writer}");
                scope.spawn(move || write(&place, &test_image(&[writer])).unwrap());
            }
        });
        let (store, _) = store::open(&place.parse().unwrap(), &Limits::default()).unwrap();
        let mut names = store.names().unwrap();
        names.sort();
        assert_eq!(names, ["v0", "v1", "v2", "v3"]);
        for writer in 0..4 {
            let opened = open(&format!("{place}:v{writer}"));
            assert_eq!(streams(&opened), test_image(&[writer]).layers);
        }
        assert_eq!(temporaries(dir.path()), 0);
    }
}

#[test]
fn a_pipe_where_a_blob_will_be_is_refused_before_it_is_opened() {
    let image = test_image(b"one");
    let (outgoing, _) = outgoing(&image);
    for blob in [&outgoing.layers[0], &outgoing.config, &outgoing.manifest] {
        let dir = tempfile::tempdir().unwrap();
        let place = format!("oci:{}", dir.path().display());
        let path = dir.path().join(blob_path(blob));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        make_pipe(&path);
        let error = write(&place, &image).unwrap_err().to_string();
        assert!(error.ends_with("a pipe, not a regular file"), "{error}");
        let sink = create(&place.parse().unwrap(), &context()).unwrap();
        assert_eq!(sink.has(blob, &Silent).unwrap_err().to_string(), error);
        assert!(path.symlink_metadata().unwrap().file_type().is_fifo());
    }
}

#[test]
fn a_pipe_as_a_document_of_the_layout_is_refused_before_it_is_opened() {
    for name in ["oci-layout", "index.json"] {
        let dir = tempfile::tempdir().unwrap();
        make_pipe(&dir.path().join(name));
        let error = write(&format!("oci:{}", dir.path().display()), &test_image(b"one"));
        let error = error.unwrap_err().to_string();
        assert!(error.ends_with(&format!("{name}: a pipe, not a regular file")), "{error}");
    }
}

#[test]
fn nothing_is_written_or_read_through_a_link_out_of_the_layout() {
    let image = test_image(b"one");
    let blob = blob_path(&outgoing(&image).0.layers[0]);
    for name in ["oci-layout", "index.json", "blobs", "blobs/sha256", &blob] {
        let dir = tempfile::tempdir().unwrap();
        let (outside, layout) = (dir.path().join("outside"), dir.path().join("layout"));
        fs::create_dir_all(layout.join(name).parent().unwrap()).unwrap();
        if name.starts_with("blobs") && name != blob {
            fs::create_dir_all(&outside).unwrap();
        } else {
            fs::write(&outside, b"{}").unwrap();
        }
        symlink(&outside, layout.join(name)).unwrap();
        let error = write(&format!("oci:{}", layout.display()), &image).unwrap_err().to_string();
        assert!(error.contains("a link out of"), "{name}: {error}");
        if outside.is_dir() {
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{name}");
        } else {
            assert_eq!(fs::read(&outside).unwrap(), b"{}", "{name}");
        }
    }
}

#[test]
fn an_archive_follows_a_link_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("far")).unwrap();
    let link = dir.path().join("link.tar");
    symlink("far/a.tar", &link).unwrap();
    let image = test_image(b"one");
    // The first run creates the target of a dangling link, the second replaces it.
    for _ in 0..2 {
        write(&format!("oci-archive:{}:v1", link.display()), &image).unwrap();
        assert!(link.is_symlink());
        let target = format!("oci-archive:{}/far/a.tar:v1", dir.path().display());
        assert_eq!(streams(&open(&target)), image.layers);
    }
}

#[test]
fn an_archive_goes_into_a_pipe_that_stays() {
    let dir = tempfile::tempdir().unwrap();
    let image = test_image(b"one");
    for transport in ["oci-archive", "docker-archive"] {
        let (file, pipe) = (dir.path().join("file.tar"), dir.path().join(transport));
        write(&format!("{transport}:{}", file.display()), &image).unwrap();
        make_pipe(&pipe);
        let reader = pipe.clone();
        let reader = thread::spawn(move || fs::read(reader).unwrap());
        write(&format!("{transport}:{}", pipe.display()), &image).unwrap();
        assert_eq!(reader.join().unwrap(), fs::read(&file).unwrap());
        assert!(pipe.symlink_metadata().unwrap().file_type().is_fifo());
    }
}

#[test]
fn an_unfinished_image_leaves_nothing_visible() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("a.tar");
    for place in [
        format!("oci:{}", dir.path().join("x").display()),
        format!("oci-archive:{}", archive.display()),
    ] {
        let (outgoing, blobs) = outgoing(&test_image(b"one"));
        let mut sink = create(&place.parse().unwrap(), &context()).unwrap();
        let layer = outgoing.layers[0].clone();
        sink.begin(outgoing).unwrap();
        let mut writer = sink.blob(&layer).unwrap();
        writer.write(&blobs.by_digest[&layer.digest.to_string()][..100]).unwrap();
    }
    assert_eq!(temporaries(dir.path()), 0);
    assert!(!archive.exists());
    assert!(!dir.path().join("x/index.json").exists());
    assert_eq!(fs::read_dir(dir.path().join("x/blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn unwritable_destinations_are_refused_before_any_work() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter"), b"text").unwrap();
    let refused = |place: &str| {
        let place = place.replace("DIR", &dir.path().display().to_string());
        let created = create(&place.parse().unwrap(), &context());
        let outcome = created.and_then(|mut sink| sink.begin(outgoing(&test_image(b"one")).0));
        outcome.unwrap_err().to_string()
    };
    assert!(refused("oci:DIR").contains("not an OCI layout"));
    assert!(refused("oci:DIR/letter").contains("a file, not a directory"));
    symlink("loop", dir.path().join("loop")).unwrap();
    assert!(!refused("oci:DIR/loop").contains("a file"));
    assert!(refused("oci:DIR/letter/x").contains("letter"));
    assert!(refused("oci-archive:DIR").contains("a directory"));
    assert!(refused("oci-archive:DIR/none/a.tar").contains("none"));
    assert!(refused("docker-archive:DIR/a.tar:UPPER CASE").contains("not a repository name"));
    assert!(refused("oci:DIR/x:@1").contains("under a tag"));
    assert!(refused("dir:DIR/x").contains("oci:DIR[:TAG]"));
    assert!(refused("rootfs:DIR").contains("cannot be written"));
    assert!(refused("docker://x/y").contains("registry"));
    assert!(refused("containerd:x").contains("`ctr images import FILE`"));
    assert!(refused("containers-storage:x").contains("`podman load -i FILE`"));
    assert!(refused("docker-daemon:x").contains("`docker load -i FILE`"));
    assert!(refused("DIR/x").contains("oci:DIR[:TAG]"));
    fs::create_dir(dir.path().join("broken")).unwrap();
    fs::write(dir.path().join("broken/index.json"), b"[]").unwrap();
    assert!(refused("oci:DIR/broken").contains("no list of manifests"));
    assert_eq!(fs::read(dir.path().join("letter")).unwrap(), b"text");
}

const STALE: &str = ".imgdelta-layout-abcDEF012345";
