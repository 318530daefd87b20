//! Builds tiny images in code, so that tests need no files except their own source.
//!
//! Start from [`TestImage::new`], turn it into [`Blobs`], damage those if the test is about damage,
//! and write them as a layout or an archive. Panics on every failure: it runs in tests only.

mod accept_loop;
mod authority;
mod chromium;
pub mod chunked_layer;
mod containerd;
mod cri;
mod crowd;
mod docker_registry;
mod dockerd;
mod elf;
pub mod http_client;
mod link;
mod noise;
pub mod pages;
pub mod postgres;
pub mod registry;
mod schema;
mod small_disk;
mod small_images;
pub mod tar_stream;
mod wait;
mod zip;

pub use authority::{Authority, Identity};
pub use chromium::Chromium;
pub use containerd::{ContainerdProcess, ContainerdSettings};
pub use crowd::Crowd;
pub use docker_registry::{DockerRegistry, LoggedRequest};
pub use dockerd::DockerProcess;
pub use elf::{ElfSection, GpuProgram, SectionPacking, elf_of, gpu_container};
pub use link::{Link, LinkState};
pub use noise::noise;
pub use schema::assert_valid;
pub use small_disk::SmallDisk;
pub use small_images::{small_image, small_registry};
pub use wait::{WAIT_LIMIT, eventually, free_port, wait_until};
pub use zip::{ZipMember, ZipStyle, zip_of};

use imgdelta_format::{Algorithm, BlobDigest};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, io::Write, path::Path, process::Command};

/// Returns true if all tools are installed. Without them a test reports that it is skipped and
/// passes; with `CI=true` it fails.
pub fn has(tools: &[&str]) -> bool {
    let missing: Vec<&&str> =
        tools.iter().filter(|tool| Command::new(tool).arg("--version").output().is_err()).collect();
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(missing.is_empty() || !is_ci, "CI needs {missing:?}");
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} not installed");
    }
    missing.is_empty()
}

/// Compression and framing of a layer's blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// The stream itself.
    Plain,
    /// One gzip member.
    Gzip,
    /// A gzip member for every 700 bytes, and zeros after the last.
    GzipMembers,
    /// One zstd frame.
    Zstd,
    /// A skippable frame, then a zstd frame for every 700 bytes.
    ZstdFrames,
    /// One zstd frame of raw blocks of 1000 bytes, which no encoder writes.
    ZstdRaw,
}

impl Packing {
    /// Every packing.
    pub const ALL: [Self; 6] =
        [Self::Plain, Self::Gzip, Self::GzipMembers, Self::Zstd, Self::ZstdFrames, Self::ZstdRaw];

    /// Returns the blob of a stream.
    pub fn pack(self, stream: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => stream.to_vec(),
            Self::Gzip => gzip(stream),
            Self::GzipMembers => {
                [stream.chunks(700).flat_map(gzip).collect(), vec![0; 20]].concat()
            }
            Self::Zstd => zstd::encode_all(stream, 3).expect("memory"),
            Self::ZstdFrames => {
                let mut blob = b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec();
                for piece in stream.chunks(700) {
                    blob.extend(zstd::encode_all(piece, 3).expect("memory"));
                }
                blob
            }
            Self::ZstdRaw => {
                let mut blob = b"\x28\xb5\x2f\xfd\0\x58".to_vec();
                for piece in stream.chunks(1000) {
                    let bytes = u32::try_from(piece.len()).expect("a thousand at most");
                    blob.extend_from_slice(&(bytes << 3).to_le_bytes()[..3]);
                    blob.extend_from_slice(piece);
                }
                blob.extend([1, 0, 0]);
                blob
            }
        }
    }

    /// Returns the media type of such a layer.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip | Self::GzipMembers => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd | Self::ZstdFrames | Self::ZstdRaw => {
                "application/vnd.oci.image.layer.v1.tar+zstd"
            }
        }
    }
}

/// Makes a named pipe.
pub fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo is installed");
    assert!(made.success(), "mkfifo {}", path.display());
}

/// Returns bytes compressed to one gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// Returns a tar archive of regular files.
pub fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *content).expect("memory");
    }
    builder.into_inner().expect("memory")
}

/// Returns the digest of bytes as text.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = BlobDigest::new(Algorithm::Sha256, &Sha256::digest(bytes));
    digest.expect("its own length").to_string()
}

/// An image under construction: the streams of its layers, and their packing.
#[derive(Clone, Debug)]
pub struct TestImage {
    /// The layers' streams, the lowest first.
    pub layers: Vec<Vec<u8>>,
    /// Packing of every layer.
    pub packing: Packing,
    /// Operating system and processor.
    pub platform: (String, String),
}

impl TestImage {
    /// Starts an image of these layers for linux/amd64.
    pub fn new(layers: Vec<Vec<u8>>, packing: Packing) -> Self {
        Self { layers, packing, platform: ("linux".into(), "amd64".into()) }
    }

    /// Sets its platform.
    pub fn platform(mut self, os: &str, architecture: &str) -> Self {
        self.platform = (os.into(), architecture.into());
        self
    }

    /// Returns the config.
    pub fn config(&self) -> Value {
        let (os, architecture) = &self.platform;
        let history: Vec<Value> =
            (0..self.layers.len()).map(|n| json!({"created_by": format!("step {n}")})).collect();
        let diff_ids: Vec<String> = self.layers.iter().map(|layer| sha256(layer)).collect();
        json!({"os": os, "architecture": architecture, "history": history,
            "config": {"Env": ["A=b"], "Cmd": ["/bin/x"], "Volumes": null, "Unknown": 1},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    }

    /// Adds it to `blobs` without an entry in `index.json`; returns its manifest's descriptor.
    pub fn store(&self, blobs: &mut Blobs) -> Value {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| blobs.add(self.packing.media_type(), self.packing.pack(layer)))
            .collect();
        let config = blobs.add_json("application/vnd.oci.image.config.v1+json", &self.config());
        blobs.add_manifest(&json!(config), &layers)
    }

    /// Returns the blobs of this image alone, tagged `v1`.
    pub fn blobs(&self) -> Blobs {
        let mut blobs = Blobs::default();
        let manifest = self.store(&mut blobs);
        blobs.tag(manifest, "v1");
        blobs
    }

    /// Returns the blobs of this image alone, with streams in place of the layers' blobs.
    ///
    /// A store in memory reads such an image; a layout does not.
    pub fn stream_blobs(&self) -> Blobs {
        let mut blobs = self.blobs();
        for layer in &self.layers {
            blobs.by_digest.remove(&sha256(&self.packing.pack(layer)));
            blobs.by_digest.insert(sha256(layer), layer.clone());
        }
        blobs
    }

    /// Returns a classic docker archive of it, with the name `localhost:5000/x:1`.
    pub fn docker_archive(&self) -> Vec<u8> {
        let layers: Vec<(String, Vec<u8>)> = self
            .layers
            .iter()
            .enumerate()
            .map(|(n, layer)| (format!("{n}/layer.tar"), self.packing.pack(layer)))
            .collect();
        let names: Vec<&str> = layers.iter().map(|(name, _)| name.as_str()).collect();
        let manifest =
            json!([{"Config": "c.json", "RepoTags": ["localhost:5000/x:1"], "Layers": names}]);
        let (manifest, config) = (manifest.to_string(), self.config().to_string());
        let mut files: Vec<(&str, &[u8])> =
            vec![("manifest.json", manifest.as_bytes()), ("c.json", config.as_bytes())];
        files.extend(layers.iter().map(|(name, blob)| (name.as_str(), blob.as_slice())));
        tar_of(&files)
    }
}

/// Blobs and `index.json` of an OCI layout.
#[derive(Clone, Debug, Default)]
pub struct Blobs {
    /// Blobs by digest; a test that damages one changes it here.
    pub by_digest: BTreeMap<String, Vec<u8>>,
    /// Descriptors listed in `index.json`.
    pub roots: Vec<Value>,
}

impl Blobs {
    /// Adds a blob and returns its descriptor.
    pub fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = sha256(&bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        self.by_digest.insert(digest, bytes);
        descriptor
    }

    /// Adds a document and returns its descriptor.
    pub fn add_json(&mut self, media_type: &str, document: &Value) -> Value {
        self.add(media_type, document.to_string().into_bytes())
    }

    /// Adds an OCI manifest and returns its descriptor.
    pub fn add_manifest(&mut self, config: &Value, layers: &[Value]) -> Value {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let document = json!({"schemaVersion": 2, "mediaType": media_type,
            "config": config, "layers": layers});
        self.add_json(media_type, &document)
    }

    /// Adds an OCI index and returns its descriptor.
    pub fn add_index(&mut self, manifests: &[Value]) -> Value {
        let document = json!({"schemaVersion": 2, "manifests": manifests});
        self.add_json("application/vnd.oci.image.index.v1+json", &document)
    }

    /// Lists a descriptor in `index.json` under a tag.
    pub fn tag(&mut self, mut descriptor: Value, tag: &str) {
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        self.roots.push(descriptor);
    }

    /// Returns the layout's files with their paths.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let index = json!({"schemaVersion": 2, "manifests": self.roots}).to_string();
        let mut files = vec![
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            ("index.json".to_owned(), index.into_bytes()),
        ];
        for (digest, bytes) in &self.by_digest {
            files.push((format!("blobs/{}", digest.replace(':', "/")), bytes.clone()));
        }
        files
    }

    /// Writes a layout into a directory.
    pub fn write_layout(&self, directory: &Path) {
        for (name, bytes) in self.files() {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().expect("below the directory")).expect("disk");
            std::fs::write(path, bytes).expect("disk");
        }
    }

    /// Returns a layout as a tar file.
    pub fn archive(&self) -> Vec<u8> {
        let files = self.files();
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        tar_of(&files)
    }
}
