//! Every transport gives the same image, and damage is reported as what it is.

use imgdelta_core::{
    Difference, Error, Limits, Result,
    progress::{Progress, Silent},
};
use imgdelta_image::{
    Reference,
    image::{Image, OpenOptions},
    store::{Store, docker_archive::DockerArchive, layout::OciLayout},
};
use imgdelta_testkit::{Blobs, Packing, TestImage, sha256, tar_of};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

fn tiny(packing: Packing) -> TestImage {
    let noise: Vec<u8> = (0..9000u32).map(|n| ((n * n) >> 7).to_le_bytes()[0]).collect();
    let layers =
        vec![tar_of(&[("etc/a", b"one"), ("bin/x", &noise)]), tar_of(&[("etc/a", b"two")])];
    TestImage::new(layers, packing)
}

fn archive(bytes: Vec<u8>) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(OciLayout::open_archive(Arc::new(bytes), "image.tar".into(), &Limits::default())?))
}

fn docker(bytes: Vec<u8>) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(DockerArchive::open(Arc::new(bytes), "image.tar".into(), &Limits::default())?))
}

fn options(platform: &str) -> OpenOptions {
    OpenOptions::default().platform(Some(platform.parse().unwrap()))
}

/// Opens the only image and reads all its layers.
fn read(store: Result<Arc<dyn Store>>) -> Result<(Image, Vec<Vec<u8>>)> {
    let image = Image::open(store?, None, &OpenOptions::default())?;
    let layers = streams(&image)?;
    Ok((image, layers))
}

fn streams(image: &Image) -> Result<Vec<Vec<u8>>> {
    let mut streams = Vec::new();
    for layer in &image.layers {
        let mut stream = Vec::new();
        image.read_layer(layer, &mut Vec::new(), &Silent, &mut |piece| {
            stream.extend_from_slice(piece);
            Ok(())
        })?;
        streams.push(stream);
    }
    Ok(streams)
}

#[test]
fn every_transport_and_compression_gives_the_same_layers() {
    for packing in Packing::ALL {
        let image = tiny(packing);
        let (opened, layers) = read(archive(image.blobs().archive())).unwrap();
        assert_eq!(layers, image.layers, "{packing:?}");
        assert_eq!(opened.config.run.env, ["A=b"]);
        assert_eq!(opened.layers[1].history, Some(1));
        assert_eq!(sha256(&opened.manifest), opened.digest.to_string());
        let (_, layers) = read(docker(image.docker_archive())).unwrap();
        assert_eq!(layers, image.layers, "{packing:?}");
        let directory = tempfile::tempdir().unwrap();
        image.blobs().write_layout(directory.path());
        let path = directory.path().display();
        for spelling in [format!("oci:{path}:v1"), format!("{path}:v1"), path.to_string()] {
            let reference: Reference = spelling.parse().unwrap();
            let opened = imgdelta_image::image::open(&reference, &OpenOptions::default()).unwrap();
            assert_eq!(streams(&opened).unwrap(), image.layers, "{spelling}");
        }
    }
}

#[test]
fn bare_archives_are_recognised_and_a_path_with_a_colon_wins() {
    let directory = tempfile::tempdir().unwrap();
    let image = tiny(Packing::Gzip);
    let file = directory.path().join("a:v1");
    std::fs::write(&file, image.docker_archive()).unwrap();
    let open =
        |text: String| imgdelta_image::image::open(&text.parse().unwrap(), &OpenOptions::default());
    let path = file.display();
    assert_eq!(open(path.to_string()).unwrap().layers.len(), 2);
    assert_eq!(open(format!("{path}:localhost:5000/x:1")).unwrap().layers.len(), 2);
    let error = open(format!("{path}:other")).unwrap_err();
    assert!(error.to_string().contains("there is localhost:5000/x:1"), "{error}");
    assert!(matches!(open("docker://a/b".into()), Err(Error::BadInput { .. })));
    let error = open("no/such:thing".into()).unwrap_err().to_string();
    assert!(error.contains("no file or directory has this name"), "{error}");
}

#[test]
fn any_flipped_or_cut_byte_of_a_blob_fails_its_digest_or_size() {
    for packing in Packing::ALL {
        let whole = tiny(packing).blobs();
        for digest in whole.by_digest.keys() {
            let length = whole.by_digest[digest].len();
            for at in (0..length).step_by(1 + length / 40).chain([length - 1]) {
                let mut flipped = whole.clone();
                flipped.by_digest.get_mut(digest).unwrap()[at] ^= 1 << (at % 8);
                let mut cut = whole.clone();
                cut.by_digest.get_mut(digest).unwrap().truncate(at);
                for (damaged, what) in [(flipped, "digest"), (cut, "size")] {
                    let error = read(archive(damaged.archive())).unwrap_err();
                    let text = error.to_string();
                    let found = match error {
                        Error::Mismatch { difference: Difference::Digest { .. }, .. } => "digest",
                        Error::Mismatch { difference: Difference::Size { .. }, .. } => "size",
                        _ => "another error",
                    };
                    assert_eq!(found, what, "{packing:?} {at}: {text}");
                    assert!(text.contains(digest), "{text}");
                }
            }
        }
        let digest = whole.by_digest.keys().next().unwrap();
        let mut missing = whole.clone();
        missing.by_digest.remove(digest);
        let error = read(archive(missing.archive())).unwrap_err();
        assert!(matches!(&error, Error::NotFound { what, .. } if what.contains(digest)));
    }
}

/// An image whose only layer is these stored bytes, under a right digest.
fn with_layer(blob: Vec<u8>, diff_id: &str) -> Blobs {
    let mut blobs = Blobs::default();
    let layer = blobs.add("application/vnd.oci.image.layer.v1.tar", blob);
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [diff_id]}});
    let config = blobs.add_json("application/vnd.oci.image.config.v1+json", &config);
    let manifest = blobs.add_manifest(&config, &[layer]);
    blobs.tag(manifest, "v1");
    blobs
}

#[test]
fn damage_below_a_right_digest_is_bad_input_with_the_place() {
    let stream = tar_of(&[("a", &[7; 3000])]);
    let diff_id = sha256(&stream);
    let changed = |packing: Packing, change: &dyn Fn(&mut Vec<u8>)| {
        let mut blob = packing.pack(&stream);
        change(&mut blob);
        let digest = sha256(&blob);
        let error = read(archive(with_layer(blob, &diff_id).archive())).unwrap_err();
        assert!(matches!(error, Error::BadInput { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&digest) && text.contains(" at byte "), "{text}");
        text
    };
    let gzip = |change: &dyn Fn(&mut Vec<u8>)| changed(Packing::Gzip, change);
    assert!(gzip(&|blob| blob[3] = 0xe0).contains("unknown flags"));
    assert!(gzip(&|blob| blob[3] = 2).contains("own checksum"));
    assert!(gzip(&|blob| blob[10] = 0xff).contains("deflate stream is damaged"));
    assert!(gzip(&|blob| blob.truncate(20)).contains("deflate stream ends early"));
    assert!(gzip(&|blob| blob.truncate(5)).contains("header ends early"));
    assert!(gzip(&|blob| blob.truncate(blob.len() - 3)).contains("trailer ends early"));
    assert!(gzip(&|blob| *blob.iter_mut().nth_back(7).unwrap() ^= 1).contains("checksum is"));
    assert!(gzip(&|blob| *blob.iter_mut().nth_back(3).unwrap() ^= 1).contains("member is"));
    let zstd = |change: &dyn Fn(&mut Vec<u8>)| changed(Packing::Zstd, change);
    assert!(zstd(&|blob| blob.truncate(blob.len() - 2)).contains("frame ends early"));
    assert!(zstd(&|blob| blob.extend(b"rubbish")).contains("frame is damaged"));
    assert!(
        changed(Packing::Plain, &|blob| blob[..6].copy_from_slice(b"\xfd7zXZ\0"))
            .contains("xz compression is not supported")
    );
}

#[test]
fn a_wrong_stream_is_a_mismatch_of_the_diff_id() {
    for packing in Packing::ALL {
        let blob = packing.pack(&tar_of(&[("a", &[7; 3000])]));
        let error = read(archive(with_layer(blob, &sha256(b"x")).archive())).unwrap_err();
        assert!(
            matches!(error, Error::Mismatch { difference: Difference::DiffId { .. }, .. }),
            "{error}"
        );
    }
}

#[test]
fn rubbish_after_gzip_and_a_wrong_media_type_are_noted() {
    let stream = tar_of(&[("a", &[7; 3000])]);
    let blob = [Packing::Gzip.pack(&stream), b"rubbish".to_vec()].concat();
    let store = archive(with_layer(blob, &sha256(&stream)).archive()).unwrap();
    let image = Image::open(store, None, &OpenOptions::default()).unwrap();
    let mut notes = Vec::new();
    image.read_layer(&image.layers[0], &mut notes, &Silent, &mut |_| Ok(())).unwrap();
    let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
    assert!(notes[0].contains("media type says uncompressed, content is gzip"));
    assert!(notes[1].contains("7 bytes after"));
}

#[test]
fn bombs_end_at_the_limit() {
    let zeros = vec![0; 4 << 20];
    for packing in [Packing::Gzip, Packing::Zstd] {
        let store = archive(with_layer(packing.pack(&zeros), &sha256(&zeros)).archive()).unwrap();
        let mut limits = Limits::default();
        limits.layer_bytes = 1 << 20;
        let open = |limits| {
            let options = OpenOptions::default().limits(limits);
            streams(&Image::open(Arc::clone(&store), None, &options).unwrap())
        };
        let error = open(limits).unwrap_err();
        assert!(matches!(error, Error::OverLimit { what: "uncompressed size", .. }), "{error}");
        let mut limits = Limits::default();
        (limits.expansion, limits.expansion_free_bytes) = (100, 1 << 20);
        let error = open(limits).unwrap_err();
        assert!(matches!(error, Error::OverLimit { what: "expansion factor", .. }), "{error}");
        assert_eq!(open(Limits::default()).unwrap(), std::slice::from_ref(&zeros));
    }
    // A window of 2 GiB, asked for in six bytes.
    let blob = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0, 0, 0];
    let error = read(archive(with_layer(blob, &sha256(b"")).archive())).unwrap_err();
    assert!(matches!(error, Error::OverLimit { what: "zstd window", .. }), "{error}");
}

#[test]
fn a_layer_of_zeros_stops_in_the_middle_of_its_first_piece() {
    struct CancelAfter(AtomicU32);
    impl Progress for CancelAfter {
        fn is_cancelled(&self) -> bool {
            self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err()
        }
    }
    for packing in [Packing::Gzip, Packing::Zstd] {
        let blobs = TestImage::new(vec![vec![0; 16 << 20]], packing).blobs();
        let (image, _) = read(archive(blobs.archive())).unwrap();
        let mut bytes = 0;
        let outcome = image.read_layer(
            &image.layers[0],
            &mut Vec::new(),
            &CancelAfter(AtomicU32::new(4)),
            &mut |piece| {
                bytes += piece.len();
                Ok(())
            },
        );
        assert!(matches!(outcome, Err(Error::Cancelled)), "{packing:?}");
        assert!(bytes < 2 << 20, "{packing:?}: {bytes} bytes after the stop");
    }
}

#[test]
fn too_many_layers_and_a_huge_manifest_are_refused() {
    let mut blobs = Blobs::default();
    let config = blobs.add_json("", &json!({"rootfs": {"diff_ids": []}}));
    let layer = json!({"digest": sha256(b""), "size": 0});
    let manifest = blobs.add_manifest(
        &json!({"digest": config["digest"], "size": config["size"]}),
        &vec![layer; 100_000],
    );
    blobs.tag(manifest, "v1");
    let error = read(archive(blobs.archive())).unwrap_err();
    assert!(
        matches!(error, Error::OverLimit { what: "count of layers", found: 100_000, .. }),
        "{error}"
    );
    let mut blobs = Blobs::default();
    blobs.tag(json!({"digest": sha256(b"x"), "size": 100 << 20}), "v1");
    let error = read(archive(blobs.archive())).unwrap_err();
    assert!(matches!(error, Error::OverLimit { what: "size of a manifest", .. }), "{error}");
}

fn for_platform(mut descriptor: Value, os: &str, architecture: &str) -> Value {
    descriptor["platform"] = json!({"os": os, "architecture": architecture});
    descriptor
}

#[test]
fn platforms_choose_through_nested_indexes_and_attestations_are_skipped() {
    let mut blobs = Blobs::default();
    let arm = tiny(Packing::Gzip).platform("linux", "arm64").store(&mut blobs);
    let s390 = tiny(Packing::Gzip).platform("linux", "s390x").store(&mut blobs);
    let mut attestation = for_platform(s390.clone(), "unknown", "unknown");
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let inner = blobs.add_index(&[for_platform(arm, "linux", "arm64"), attestation]);
    let outer = blobs.add_index(&[inner, for_platform(s390, "linux", "s390x")]);
    blobs.tag(outer, "v1");
    let store = archive(blobs.archive()).unwrap();
    let open = |platform: &str| Image::open(Arc::clone(&store), None, &options(platform));
    let image = open("linux/arm64/v8").unwrap();
    assert_eq!(image.platform.to_string(), "linux/arm64");
    assert!(image.notes[0].to_string().contains("1 attestation manifest skipped"));
    assert_eq!(open("linux/s390x").unwrap().platform.architecture, "s390x");
    let error = open("linux/riscv64").unwrap_err();
    let Error::NotFound { present, .. } = error else { panic!("{error}") };
    assert_eq!(present, ["linux/arm64", "linux/s390x"]);
}

#[test]
fn an_artifact_that_is_not_an_image_is_named() {
    let refused = |media_type: &str| {
        let mut blobs = Blobs::default();
        let config = blobs.add_json(media_type, &json!({}));
        let manifest = blobs.add_manifest(&config, &[]);
        blobs.tag(manifest, "v1");
        read(archive(blobs.archive())).unwrap_err().to_string()
    };
    assert!(refused("application/vnd.cncf.helm.config.v1+json").contains("a Helm chart"));
    assert!(refused("application/vnd.wasm.config.v0+json").contains("a WebAssembly module"));
    assert!(refused("application/x\x1b").contains(r"an artifact of type"));
    let document = |document: Value| {
        let mut blobs = Blobs::default();
        let root = blobs.add_json("", &document);
        blobs.tag(root, "v1");
        read(archive(blobs.archive())).unwrap_err().to_string()
    };
    assert!(document(json!({"schemaVersion": 1, "fsLayers": []})).contains("schema 1"));
    assert!(document(json!({"manifests": [], "layers": []})).contains("at once"));
    assert!(document(json!({"x": 1})).contains("neither manifest nor index"));
    assert!(document(json!([])).contains("not a manifest or index"));
}

#[test]
fn a_missing_tag_lists_the_present_ones() {
    let mut blobs = tiny(Packing::Gzip).blobs();
    let other = tiny(Packing::Zstd).store(&mut blobs);
    blobs.tag(other, "v2\x1b");
    let store = archive(blobs.archive()).unwrap();
    let error =
        store.find(Some(&imgdelta_image::reference::ImageName::Tag("v9".into()))).unwrap_err();
    assert_eq!(error.to_string(), r#"image.tar: tag "v9" is not there; there is v1, v2\x1b"#);
    let error = store.find(None).unwrap_err();
    assert_eq!(
        error.to_string(),
        r"image.tar: holds 2 images; name one: image.tar:v1, image.tar:v2\x1b"
    );
}

#[test]
fn hostile_archives_are_errors() {
    let whole = tiny(Packing::Plain).docker_archive();
    for length in (0..whole.len()).step_by(97) {
        // A cut between members may only lose the end; everything else is noticed.
        let _ = read(docker(whole[..length].to_vec()));
    }
    for at in 0..2048 {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        let _ = read(docker(flipped));
    }
    let text = |bytes: Vec<u8>| read(docker(bytes)).unwrap_err().to_string();
    assert!(text(Packing::Gzip.pack(&whole)).contains("compressed with gzip"));
    // A checksum field in base 256.
    let mut marked = whole.clone();
    marked[148] = 0x80;
    assert!(text(marked).contains("not a tar file"));
    assert!(text(b"hello".to_vec()).contains("not a tar file"));
    assert!(text(vec![b'x'; 600]).contains("not a tar file"));
    assert!(text(whole[..600].to_vec()).contains("ends within a member"));
    let twice = tar_of(&[("manifest.json", b"[]"), ("manifest.json", b"[]")]);
    assert!(text(twice).contains("occurs more than once"));
    let link = |to: &str| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "manifest.json", to).unwrap();
        text(builder.into_inner().unwrap())
    };
    assert!(link("../../etc/passwd").contains("link out of the archive"));
    assert!(link("manifest.json").contains("chain of too many links"));
    assert!(link("nothing").contains("link to nothing"));
}
