//! Errors name the person's mistake: the image, the part of it, and the fix.

use imgdelta_core::{Error, progress::Silent};
use imgdelta_image::image::{Image, OpenOptions, open};
use imgdelta_testkit::{Blobs, Packing, TestImage, make_pipe, tar_of};
use std::{fs, os::unix::fs::symlink, path::Path};

fn image() -> TestImage {
    TestImage::new(vec![tar_of(&[("a", b"one")]), tar_of(&[("b", b"two")])], Packing::Gzip)
}

/// Opens an image and reads all its layers.
fn read(reference: &str) -> Result<Image, Error> {
    let image = open(&reference.parse()?, &OpenOptions::default())?;
    for layer in &image.layers {
        image.read_layer(layer, &mut Vec::new(), &Silent, &mut |_| Ok(()))?;
    }
    Ok(image)
}

fn error(reference: &str) -> String {
    read(reference).unwrap_err().to_string()
}

fn written(dir: &Path, name: &str, bytes: &[u8]) -> String {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

#[test]
fn several_images_without_a_name_are_listed_as_references() {
    let dir = tempfile::tempdir().unwrap();
    let mut blobs = image().blobs();
    let other = TestImage::new(vec![tar_of(&[("c", b"three")])], Packing::Zstd);
    let other = other.store(&mut blobs);
    blobs.tag(other.clone(), "v2");
    let layout = dir.path().join("multi");
    blobs.write_layout(&layout);
    let place = format!("oci:{}", layout.display());
    assert_eq!(error(&place), format!("{place}: holds 2 images; name one: {place}:v1, {place}:v2"));
    assert!(read(&format!("{place}:v2")).is_ok());

    // An image without a name is listed by its digest, in a form that opens it.
    let digest = other["digest"].as_str().unwrap();
    blobs.roots[1]["annotations"] = serde_json::json!({});
    blobs.write_layout(&layout);
    assert_eq!(
        error(&place),
        format!("{place}: holds 2 images; name one: {place}:v1, {place}@{digest}")
    );
    assert!(read(&format!("{place}@{digest}")).is_ok());

    let archive = written(dir.path(), "multi.tar", &blobs.archive());
    assert_eq!(
        error(&format!("oci-archive:{archive}")),
        format!(
            "oci-archive:{archive}: holds 2 images; name one: oci-archive:{archive}:v1, \
             oci-archive:{archive}@{digest}"
        )
    );
    Blobs::default().write_layout(&dir.path().join("empty"));
    let place = format!("oci:{}", dir.path().join("empty").display());
    assert_eq!(error(&place), format!("{place}: index.json lists no image"));
}

#[test]
fn the_wrong_transport_is_named_with_the_right_one() {
    let dir = tempfile::tempdir().unwrap();
    let docker = written(dir.path(), "docker.tar", &image().docker_archive());
    let oci = written(dir.path(), "oci.tar", &image().blobs().archive());
    let text = written(dir.path(), "text", b"hello");
    let other = written(dir.path(), "other.tar", &tar_of(&[("a", b"one")]));
    let layout = dir.path().join("layout");
    image().blobs().write_layout(&layout);
    let layout = layout.display();
    for (wrong, expected) in [
        (
            format!("oci:{docker}"),
            format!("an archive, not a directory; name it docker-archive:{docker}"),
        ),
        (format!("oci:{oci}"), format!("an archive, not a directory; name it oci-archive:{oci}")),
        (format!("oci:{text}"), "not a directory".to_owned()),
        (
            format!("oci-archive:{docker}"),
            format!("a docker archive, not an OCI archive; name it docker-archive:{docker}"),
        ),
        (
            format!("docker-archive:{other}"),
            "not a docker archive: manifest.json is missing".to_owned(),
        ),
        (
            format!("oci-archive:{other}"),
            "not an OCI image layout: index.json is missing".to_owned(),
        ),
        (
            format!("docker-archive:{layout}"),
            format!("a directory, not an archive; name it oci:{layout}"),
        ),
        (
            format!("oci-archive:{layout}:v1"),
            format!("a directory, not an archive; name it oci:{layout}"),
        ),
    ] {
        let text = error(&wrong);
        let place = wrong.strip_suffix(":v1").unwrap_or(&wrong);
        assert_eq!(text, format!("{place}: {expected}"));
        if let Some((_, right)) = expected.split_once("name it ") {
            assert!(read(right).is_ok(), "{right}");
        }
    }
}

#[test]
fn a_missing_or_damaged_blob_names_image_part_and_file() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let name = format!("oci:{}:v1", layout.display());
    let whole = image().blobs();
    whole.write_layout(&layout);
    let opened = read(&name).unwrap();
    let layer = opened.layers[1].descriptor.digest;
    let file = |digest: &str| layout.join("blobs").join(digest.replace(':', "/"));

    fs::remove_file(file(&layer.to_string())).unwrap();
    assert_eq!(error(&name), format!("{name} is incomplete: blob {layer} (layer 2) is not there"));

    let mut bytes = whole.by_digest[&layer.to_string()].clone();
    bytes[20] ^= 1;
    let path = file(&layer.to_string());
    fs::write(&path, &bytes).unwrap();
    let text = error(&name);
    let place = format!("{name}, layer 2, blob {layer} ({})", path.display());
    assert!(text.starts_with(&format!("{place}: digest is sha256:")), "{text}");
    assert!(text.ends_with(&format!(", should be {layer}")), "{text}");

    // In an archive no file holds exactly the blob.
    let mut damaged = whole.clone();
    damaged.by_digest.insert(layer.to_string(), bytes);
    let archive = written(dir.path(), "damaged.tar", &damaged.archive());
    let text = error(&format!("oci-archive:{archive}"));
    assert!(text.starts_with(&format!("oci-archive:{archive}, layer 2, blob {layer}: digest")));

    for (part, digest) in [("config", opened.config_digest), ("manifest", opened.digest)] {
        let mut missing = whole.clone();
        missing.by_digest.remove(&digest.to_string());
        let archive = written(dir.path(), "missing.tar", &missing.archive());
        assert_eq!(
            error(&format!("oci-archive:{archive}")),
            format!("oci-archive:{archive} is incomplete: blob {digest} ({part}) is not there")
        );
    }
}

#[test]
fn a_docker_archive_that_lacks_a_listed_file_is_incomplete() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = br#"[{"Config": "c.json", "Layers": ["0/layer.tar"]}]"#;
    let config = br#"{"rootfs": {"diff_ids": ["sha256:00"]}}"#;
    let archive = tar_of(&[("manifest.json", manifest), ("c.json", config)]);
    let archive = written(dir.path(), "cut.tar", &archive);
    assert_eq!(
        error(&format!("docker-archive:{archive}")),
        format!(
            "docker-archive:{archive}: incomplete: manifest.json lists \"0/layer.tar\", which is \
             missing"
        )
    );
}

#[test]
fn a_pipe_in_a_layout_or_as_an_archive_is_refused_before_it_is_opened() {
    let blobs = image().blobs();
    let blob = blobs.files().into_iter().find(|(path, _)| path.starts_with("blobs/")).unwrap().0;
    for name in ["oci-layout", "index.json", &blob] {
        let dir = tempfile::tempdir().unwrap();
        blobs.write_layout(dir.path());
        fs::remove_file(dir.path().join(name)).unwrap();
        make_pipe(&dir.path().join(name));
        let text = error(&format!("oci:{}", dir.path().display()));
        assert!(text.ends_with(&format!("{name}: a pipe, not a regular file")), "{text}");
    }
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe.tar");
    make_pipe(&pipe);
    for transport in ["", "oci-archive:", "docker-archive:", "oci:"] {
        let text = error(&format!("{transport}{}", pipe.display()));
        let is_refused = ["a pipe, not a regular file", "not a directory"];
        assert!(is_refused.iter().any(|what| text.ends_with(what)), "{text}");
    }
}

#[test]
fn links_inside_a_layout_are_followed_and_links_out_of_it_are_refused() {
    let blobs = image().blobs();
    for (name, _) in blobs.files() {
        let dir = tempfile::tempdir().unwrap();
        let (layout, outside) = (dir.path().join("layout"), dir.path().join("outside"));
        blobs.write_layout(&layout);
        let path = layout.join(&name);
        fs::rename(&path, layout.join("moved")).unwrap();
        symlink(layout.join("moved"), &path).unwrap();
        assert!(read(&format!("oci:{}", layout.display())).is_ok(), "{name}");
        // The same bytes, and still not a part of the layout.
        fs::rename(layout.join("moved"), &outside).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&outside, &path).unwrap();
        let text = error(&format!("oci:{}", layout.display()));
        let expected = format!("{name}: a link out of {}; copy", layout.display());
        assert!(text.contains(&expected), "{text}");
    }
}
