//! docker with the driver overlay2.

use super::{Registry, open, open_layout, read, tag, versions};
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use imgdelta_core::{Context, DiffId, Error, scratch::Scratch};
use imgdelta_image::{
    envelope::StreamCheck,
    image::{Layer, OpenOptions},
    store::Store,
    volume::Volume,
};
use imgdelta_runtimes::{
    containerd::ChainId,
    docker::{DockerOptions, DockerSink, DockerSinkOptions, DockerStore},
};
use imgdelta_testkit::{DockerProcess, Packing, TestImage, has, sha256, tar_of};
use serde_json::json;
use std::{fs, io::Write, path::Path, sync::Arc};

fn store(root: &Path) -> Arc<DockerStore> {
    Arc::new(DockerStore::open(&DockerOptions::new(root)).unwrap())
}

#[test]
fn docker_images_are_bases_and_a_pull_of_a_staged_image_asks_for_the_manifest_only() {
    if !has(&["dockerd", "docker", "containerd", "docker-registry", "skopeo", "unshare"]) {
        return;
    }
    let (registry, docker) = (Registry::start(), DockerProcess::start());
    let [old_name, new_name] = ["old", "new"].map(|tag| registry.name(tag));
    docker.docker(&format!("pull -q {old_name}"));

    // The image is that of `docker save`.
    let saved = registry.path("saved.tar");
    docker.docker(&format!("save -o {} {old_name}", saved.display()));
    let saved = format!("docker-archive:{}", saved.display()).parse().unwrap();
    let saved = imgdelta_image::image::open(&saved, &OpenOptions::default()).unwrap();
    let images = store(&docker.root());
    assert_eq!(images.names().unwrap(), [&*old_name]);
    let id = saved.config_digest.hex();
    for name in [&*old_name, &format!("sha256:{id}"), &id[..12]] {
        assert_eq!(open(&images, Some(&tag(name))).manifest, saved.manifest, "{name}");
    }
    let base = open(&images, None);
    for (ordinal, stream) in versions()[0].layers.iter().enumerate() {
        assert!(read(&base, ordinal).unwrap() == *stream, "layer {ordinal}");
    }
    let error = images.find(Some(&tag("other"))).unwrap_err().to_string();
    assert!(error.contains(&old_name), "{error}");

    // Only new layers are sent to docker, and the pull finds the image by its id.
    let scratch = registry.path("scratch");
    let options = DockerSinkOptions::new(DockerOptions::new(docker.root()), &scratch);
    let sink = DockerSink::new(options.clone().host(Some(docker.host()))).unwrap();
    registry.rebuild(base, sink);
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "nothing is left");
    let expected = open_layout(&registry.path("new"));
    let requests = registry.requests(|| drop(docker.docker(&format!("pull -q {new_name}"))));
    let manifest = format!("GET /v2/app/manifests/{}", expected.digest);
    assert_eq!(requests, ["GET /v2/", "HEAD /v2/app/manifests/new", &manifest]);
    let image = open(&store(&docker.root()), Some(&tag(&new_name)));
    assert_eq!(image.config_digest, expected.config_digest);
    for (ordinal, stream) in versions()[1].layers.iter().enumerate() {
        assert!(read(&image, ordinal).unwrap() == *stream, "layer {ordinal}");
    }

    // A daemon that does not answer is an error before any work.
    let error = DockerSink::new(options.host(Some("unix:///no/such/socket".into()))).unwrap_err();
    assert!(error.to_string().contains("docker"), "{error}");
}

/// Writes the directory of a daemon with one image, whose second layer has no tar-split.
fn write_docker_root(root: &Path, layers: &[Vec<u8>]) {
    let image = TestImage::new(layers.to_vec(), Packing::Plain);
    let images = root.join("image/overlay2");
    let configs = images.join("imagedb/content/sha256");
    fs::create_dir_all(&configs).unwrap();
    let config = image.config().to_string();
    let id = sha256(config.as_bytes());
    fs::write(configs.join(id.strip_prefix("sha256:").unwrap()), config).unwrap();
    let diff_ids: Vec<DiffId> = layers.iter().map(|layer| sha256(layer).parse().unwrap()).collect();
    for (at, (chain, layer)) in ChainId::of_layers(&diff_ids).iter().zip(layers).enumerate() {
        let chain = chain.to_string();
        let folder = images.join("layerdb/sha256").join(chain.strip_prefix("sha256:").unwrap());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("cache-id"), format!("cache{at}")).unwrap();
        fs::create_dir_all(root.join(format!("overlay2/cache{at}/diff"))).unwrap();
        if at == 1 {
            continue;
        }
        // A segment may hold all bytes of a stream.
        let record = json!({"type": 2, "payload": BASE64_STANDARD.encode(layer), "position": 0});
        let file = fs::File::create(folder.join("tar-split.json.gz")).unwrap();
        let mut gzip = GzEncoder::new(file, Compression::fast());
        writeln!(gzip, "{record}").unwrap();
        gzip.finish().unwrap();
    }
}

#[test]
fn a_layer_without_tar_split_is_not_a_base_and_the_others_are() {
    let dir = tempfile::tempdir().unwrap();
    let layers = [tar_of(&[("a", b"one")]), tar_of(&[("b", b"two")])];
    write_docker_root(dir.path(), &layers);
    let image = open(&store(dir.path()), None);
    let absent: Vec<bool> = image.layers.iter().map(Layer::is_absent).collect();
    assert_eq!(absent, [false, true]);
    assert!(read(&image, 0).unwrap() == layers[0]);
    let error = read(&image, 1).unwrap_err().to_string();
    assert!(error.contains("tar-split.json.gz: missing, so that layer"), "{error}");
    let context = Context::new(Scratch::new(dir.path())).unwrap();
    let stream = |at: usize| {
        let wanted = [image.layers[at].diff_id];
        Volume::extract_as(StreamCheck::Assume, &[&image], &wanted, &context)
            .map(|volume| volume.stream(&wanted[0]).unwrap().slice(0, 512).unwrap())
    };
    assert!(stream(0).unwrap() == layers[0][..512]);
    assert!(matches!(stream(1), Err(Error::BaseMissing { .. })));
}

#[test]
fn a_machine_without_images_of_overlay2_gets_the_name_for_the_containerd_store() {
    let dir = tempfile::tempdir().unwrap();
    let error = DockerStore::open(&DockerOptions::new(dir.path())).unwrap_err().to_string();
    assert!(error.contains("containerd:moby//NAME"), "{error}");
}
