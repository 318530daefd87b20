//! What `docker save` writes: `manifest.json`, configs and layers as members of a tar file.
//!
//! The classic kind has no manifests, so one is made up for each image: the same bytes for the
//! same archive, but a digest that no registry knows. The newer kind (Docker 25 and later) holds an
//! OCI layout as well; then that is read, and the digests are the image's own.

use super::{
    Descriptor, Store,
    layout::{INDEX_FILE, LAYOUT_FILE, Layout},
    members::{Members, Range},
    read_small,
    source::ReadAt,
};
use crate::{
    envelope::Compression,
    reference::{Name, full_docker_name},
};
use imgdelta_core::{
    Algorithm, BlobDigest, DiffId, Error, Limits, Result, path::escaped, verify::Hasher,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    io::{Cursor, Read},
    sync::Arc,
};

/// An archive as `docker save`, `podman save` and `skopeo copy` write it.
#[derive(Debug)]
pub struct DockerArchive {
    place: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Oci(Layout),
    Classic(Classic),
}

#[derive(Debug)]
struct Classic {
    members: Members,
    images: Vec<Saved>,
    blobs: HashMap<BlobDigest, Stored>,
}

#[derive(Debug)]
struct Saved {
    tags: Vec<String>,
    manifest: Descriptor,
}

#[derive(Debug)]
enum Stored {
    Made(Arc<[u8]>),
    Member(Range),
}

impl DockerArchive {
    /// Opens an archive; `place` is how errors name it.
    ///
    /// Layers that are stored compressed are hashed here once, since nothing in a classic archive
    /// says their digest.
    pub fn open(source: Arc<dyn ReadAt>, place: String, limits: &Limits) -> Result<Self> {
        let members = Members::read(source, &place, limits)?;
        Self::from_members(members, place, limits)
    }

    pub(super) fn from_members(members: Members, place: String, limits: &Limits) -> Result<Self> {
        let kind = if members.contains(INDEX_FILE) && members.contains(LAYOUT_FILE) {
            Kind::Oci(Layout::from_members(members, place.clone(), limits)?)
        } else {
            Kind::Classic(Classic::read(members, &place, limits)?)
        };
        Ok(Self { place, kind })
    }
}

impl Store for DockerArchive {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn names(&self) -> Result<Vec<String>> {
        match &self.kind {
            Kind::Oci(layout) => layout.names(),
            Kind::Classic(classic) => Ok(classic.names()),
        }
    }

    fn find(&self, name: Option<&Name>) -> Result<Vec<Descriptor>> {
        match &self.kind {
            Kind::Oci(layout) => layout.find(name),
            Kind::Classic(classic) => classic.find(name, &self.place).map(|found| vec![found]),
        }
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        match &self.kind {
            Kind::Oci(layout) => layout.open(blob),
            Kind::Classic(classic) => match classic.blobs.get(&blob.digest) {
                Some(Stored::Made(bytes)) => Ok(Box::new(Cursor::new(Arc::clone(bytes)))),
                Some(Stored::Member(range)) => Ok(Box::new(classic.members.open(*range))),
                None => Err(Error::NotFound {
                    place: self.place.clone(),
                    what: format!("blob {}", blob.digest),
                    present: Vec::new(),
                }),
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ManifestEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ConfigDiffIds {
    rootfs: DiffIds,
}

#[derive(Deserialize)]
struct DiffIds {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

impl Classic {
    fn read(members: Members, place: &str, limits: &Limits) -> Result<Self> {
        let Some(range) = members.find(MANIFEST_FILE, place)? else {
            return Err(Error::bad_input(place, "not a docker archive: manifest.json is missing"));
        };
        let json =
            read_small(members.open(range), place, limits.manifest_bytes, "size of manifest.json")?;
        let entries: Vec<ManifestEntry> = serde_json::from_slice(&json).map_err(|error| {
            Error::bad_input_because(place, "manifest.json cannot be parsed", error)
        })?;
        Limits::admit(limits.descriptors, entries.len() as u64, "count of images", place)?;
        let mut archive = Self { members, images: Vec::new(), blobs: HashMap::new() };
        let mut hashed = HashMap::new();
        for entry in entries {
            let image = archive.image(entry, &mut hashed, place, limits)?;
            archive.images.push(image);
        }
        Ok(archive)
    }

    fn image(
        &mut self,
        entry: ManifestEntry,
        hashed: &mut HashMap<Range, BlobDigest>,
        place: &str,
        limits: &Limits,
    ) -> Result<Saved> {
        let config_range = self.member(&entry.config, place)?;
        let config = read_small(
            self.members.open(config_range),
            place,
            limits.config_bytes,
            "size of an image config",
        )?;
        let parsed: ConfigDiffIds = serde_json::from_slice(&config).map_err(|error| {
            let name = escaped(entry.config.as_bytes()).into_owned();
            Error::bad_input_because(place, format_args!("config {name:?} cannot be parsed"), error)
        })?;
        let diff_ids = parsed.rootfs.diff_ids.unwrap_or_default();
        let layers = entry.layers.unwrap_or_default();
        Limits::admit(limits.layers, layers.len() as u64, "count of layers", place)?;
        if layers.len() != diff_ids.len() {
            return Err(Error::bad_input(
                place,
                format_args!("{} layers, but {} diff ids", layers.len(), diff_ids.len()),
            ));
        }
        let mut made = MadeManifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE,
            config: MadeDescriptor::new(CONFIG_TYPE, hash(&config), config.len() as u64),
            layers: Vec::new(),
        };
        self.blobs.insert(made.config.digest, Stored::Made(config.into()));
        for (name, diff_id) in layers.iter().zip(&diff_ids) {
            made.layers.push(self.layer(name, diff_id, hashed, place)?);
        }
        let json = serde_json::to_vec(&made).expect("a manifest of our own");
        let digest = hash(&json);
        let manifest = Descriptor::new(Some(MANIFEST_TYPE), digest, json.len() as u64);
        self.blobs.insert(digest, Stored::Made(json.into()));
        Ok(Saved { tags: entry.repo_tags.unwrap_or_default(), manifest })
    }

    fn layer(
        &mut self,
        name: &str,
        diff_id: &str,
        hashed: &mut HashMap<Range, BlobDigest>,
        place: &str,
    ) -> Result<MadeDescriptor> {
        let range = self.member(name, place)?;
        let mut start = Vec::new();
        self.members.open(range).take(16).read_to_end(&mut start).map_err(Error::io(place))?;
        let compression = Compression::of(&start);
        let digest = match (compression, hashed.get(&range)) {
            (Compression::None, _) => {
                let diff_id: DiffId = diff_id.parse().map_err(|error| {
                    Error::bad_input_because(place, "the config has a diff id that is none", error)
                })?;
                BlobDigest::new(diff_id.algorithm(), diff_id.as_bytes()).expect("as long as it was")
            }
            (_, Some(digest)) => *digest,
            (_, None) => {
                let digest = hash_range(self.members.open(range), place)?;
                hashed.insert(range, digest);
                digest
            }
        };
        self.blobs.insert(digest, Stored::Member(range));
        let media_type = match compression {
            Compression::None => "application/vnd.oci.image.layer.v1.tar",
            Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        };
        Ok(MadeDescriptor::new(media_type, digest, range.1))
    }

    fn member(&self, name: &str, place: &str) -> Result<Range> {
        self.members.find(name, place)?.ok_or_else(|| Error::NotFound {
            place: place.to_owned(),
            what: format!("member {:?}, which manifest.json names,", escaped(name.as_bytes())),
            present: Vec::new(),
        })
    }

    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (ordinal, image) in self.images.iter().enumerate() {
            names.extend(image.tags.iter().map(|tag| escaped(tag.as_bytes()).into_owned()));
            if image.tags.is_empty() {
                names.push(format!("@{ordinal}"));
            }
        }
        names
    }

    fn find(&self, name: Option<&Name>, place: &str) -> Result<Descriptor> {
        let image = match name {
            None => match &self.images[..] {
                [only] => Some(only),
                _ => None,
            },
            Some(Name::Tag(tag)) => {
                let full = full_docker_name(tag);
                self.images.iter().find(|image| {
                    image.tags.iter().any(|other| other == tag || full_docker_name(other) == full)
                })
            }
            Some(Name::Digest(digest)) => {
                self.images.iter().find(|image| image.manifest.digest == *digest)
            }
            Some(Name::Ordinal(ordinal)) => self.images.get(*ordinal),
        };
        image.map(|image| image.manifest.clone()).ok_or_else(|| Error::NotFound {
            place: place.to_owned(),
            what: name.map_or_else(
                || "a single image, to be taken without a name,".to_owned(),
                Name::to_string,
            ),
            present: self.names(),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MadeManifest {
    schema_version: u32,
    media_type: &'static str,
    config: MadeDescriptor,
    layers: Vec<MadeDescriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MadeDescriptor {
    media_type: &'static str,
    #[serde(serialize_with = "as_text")]
    digest: BlobDigest,
    size: u64,
}

impl MadeDescriptor {
    fn new(media_type: &'static str, digest: BlobDigest, size: u64) -> Self {
        Self { media_type, digest, size }
    }
}

fn as_text<S: serde::Serializer>(
    digest: &BlobDigest,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

fn hash(bytes: &[u8]) -> BlobDigest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(bytes);
    hasher.finish_blob()
}

fn hash_range(mut reader: impl Read, place: &str) -> Result<BlobDigest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 128 << 10];
    loop {
        match reader.read(&mut buffer).map_err(Error::io(place))? {
            0 => return Ok(hasher.finish_blob()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

pub(super) const MANIFEST_FILE: &str = "manifest.json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
