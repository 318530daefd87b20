//! Archives of `docker save`: `manifest.json`, configs and layers as members of a tar file.
//!
//! The classic kind has no manifests, so one is generated for each image. It has the same bytes for
//! the same archive, and a digest that no registry knows. Archives of Docker 25 and later also hold
//! an OCI layout; that layout is read, and the digests are the image's own.

use super::{
    Descriptor, Store,
    files::{INDEX_FILE, LAYOUT_FILE, MANIFEST_FILE, read_small, uncompressed},
    generated::GeneratedManifest,
    layout::OciLayout,
    members::{MemberRange, Members},
    roots::ambiguous,
    source::ReadAt,
};
use crate::{
    envelope::Compression,
    reference::{ImageName, full_docker_name},
};
use imgdelta_core::{
    Algorithm, BlobDigest, Context, DiffId, Error, LimitName, Limits, Result, path::escaped,
    verify::Hasher,
};
use serde::Deserialize;
use std::{
    collections::HashMap,
    io::{Cursor, Read},
    sync::Arc,
};

/// An archive as `docker save`, `podman save` and `skopeo copy` write it.
#[derive(Debug)]
pub struct DockerArchive {
    place: String,
    content: ArchiveContent,
}

#[derive(Debug)]
enum ArchiveContent {
    Oci(OciLayout),
    Classic(ClassicArchive),
}

#[derive(Debug)]
struct ClassicArchive {
    members: Members,
    images: Vec<ArchiveImage>,
    blobs: HashMap<BlobDigest, BlobLocation>,
}

#[derive(Debug)]
struct ArchiveImage {
    tags: Vec<String>,
    manifest: Descriptor,
}

#[derive(Debug)]
enum BlobLocation {
    Memory(Arc<[u8]>),
    Member(MemberRange),
}

impl DockerArchive {
    /// Opens an archive; errors name it by `place`.
    ///
    /// Hashes compressed layers once, since a classic archive does not state their digests.
    pub fn open(source: Arc<dyn ReadAt>, place: String, limits: &Limits) -> Result<Self> {
        let members = Members::read(source, &place, limits)?;
        Self::from_members(members, place, limits)
    }

    pub(super) fn from_members(members: Members, place: String, limits: &Limits) -> Result<Self> {
        let content = if members.contains(INDEX_FILE) && members.contains(LAYOUT_FILE) {
            ArchiveContent::Oci(OciLayout::from_members(members, place.clone(), limits)?)
        } else {
            ArchiveContent::Classic(ClassicArchive::read(members, &place, limits)?)
        };
        Ok(Self { place, content })
    }
}

impl Store for DockerArchive {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn names(&self) -> Result<Vec<String>> {
        match &self.content {
            ArchiveContent::Oci(layout) => layout.names(),
            ArchiveContent::Classic(classic) => Ok(classic.names()),
        }
    }

    fn find(&self, name: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        match &self.content {
            ArchiveContent::Oci(layout) => layout.find(name),
            ArchiveContent::Classic(classic) => Ok(vec![classic.find(name, &self.place)?]),
        }
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        match &self.content {
            ArchiveContent::Oci(layout) => layout.open(blob),
            ArchiveContent::Classic(classic) => match classic.blobs.get(&blob.digest) {
                Some(BlobLocation::Memory(bytes)) => Ok(Box::new(Cursor::new(Arc::clone(bytes)))),
                Some(BlobLocation::Member(range)) => Ok(Box::new(classic.members.open(*range))),
                None => Err(Error::NotFound {
                    place: self.place.clone(),
                    what: format!("blob {}", blob.digest),
                    present: Vec::new(),
                }),
            },
        }
    }

    fn in_place(&self, stream: &Descriptor, context: &Context) -> Result<Option<Arc<dyn ReadAt>>> {
        match &self.content {
            ArchiveContent::Oci(layout) => layout.in_place(stream, context),
            ArchiveContent::Classic(classic) => match classic.blobs.get(&stream.digest) {
                Some(BlobLocation::Member(range)) => {
                    uncompressed(classic.members.in_place(*range), &self.place)
                }
                _ => Ok(None),
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

/// The part of a config that decides about layers.
#[derive(Deserialize)]
struct ConfigLayers {
    rootfs: ConfigRootfs,
}

#[derive(Deserialize)]
struct ConfigRootfs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

impl ClassicArchive {
    fn read(members: Members, place: &str, limits: &Limits) -> Result<Self> {
        let Some(range) = members.find(MANIFEST_FILE, place)? else {
            return Err(Error::bad_input(place, "not a docker archive: manifest.json is missing"));
        };
        let json = read_small(
            members.open(range),
            place,
            limits.ceiling(LimitName::ManifestBytes),
            "size of manifest.json",
        )?;
        let entries: Vec<ManifestEntry> = serde_json::from_slice(&json).map_err(|error| {
            Error::bad_input_because(place, "manifest.json cannot be parsed", error)
        })?;
        limits.admit(LimitName::Descriptors, entries.len() as u64, "count of images", place)?;
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
        hashed: &mut HashMap<MemberRange, BlobDigest>,
        place: &str,
        limits: &Limits,
    ) -> Result<ArchiveImage> {
        let config_range = self.member(&entry.config, place)?;
        let config = read_small(
            self.members.open(config_range),
            place,
            limits.ceiling(LimitName::ConfigBytes),
            "size of an image config",
        )?;
        let parsed: ConfigLayers = serde_json::from_slice(&config).map_err(|error| {
            let name = escaped(entry.config.as_bytes()).into_owned();
            Error::bad_input_because(place, format_args!("config {name:?} cannot be parsed"), error)
        })?;
        let diff_ids = parsed.rootfs.diff_ids.unwrap_or_default();
        let layers = entry.layers.unwrap_or_default();
        limits.admit(LimitName::Layers, layers.len() as u64, "count of layers", place)?;
        if layers.len() != diff_ids.len() {
            return Err(Error::bad_input(
                place,
                format_args!(
                    "manifest.json lists {} layers, the config {} diff ids",
                    layers.len(),
                    diff_ids.len()
                ),
            ));
        }
        let mut described = Vec::new();
        for (name, diff_id) in layers.iter().zip(&diff_ids) {
            described.push(self.layer(name, diff_id, hashed, place)?);
        }
        let generated = GeneratedManifest::new(&config, &described);
        self.blobs.insert(generated.config.digest, BlobLocation::Memory(config.into()));
        let manifest = generated.descriptor;
        self.blobs.insert(manifest.digest, BlobLocation::Memory(generated.bytes.into()));
        Ok(ArchiveImage { tags: entry.repo_tags.unwrap_or_default(), manifest })
    }

    fn layer(
        &mut self,
        name: &str,
        diff_id: &str,
        hashed: &mut HashMap<MemberRange, BlobDigest>,
        place: &str,
    ) -> Result<Descriptor> {
        let range = self.member(name, place)?;
        let mut start = Vec::new();
        self.members.open(range).take(16).read_to_end(&mut start).map_err(Error::io(place))?;
        let compression = Compression::of(&start);
        let digest = match (compression, hashed.get(&range)) {
            (Compression::None, _) => {
                let diff_id: DiffId = diff_id.parse().map_err(|error| {
                    Error::bad_input_because(place, "a diff id in the config is invalid", error)
                })?;
                BlobDigest::new(diff_id.algorithm(), diff_id.as_bytes()).expect("the same length")
            }
            (_, Some(digest)) => *digest,
            (_, None) => {
                let digest = hash_range(self.members.open(range), place)?;
                hashed.insert(range, digest);
                digest
            }
        };
        self.blobs.insert(digest, BlobLocation::Member(range));
        let media_type = match compression {
            Compression::None => "application/vnd.oci.image.layer.v1.tar",
            Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        };
        Ok(Descriptor::new(Some(media_type), digest, range.1))
    }

    fn member(&self, name: &str, place: &str) -> Result<MemberRange> {
        self.members.find(name, place)?.ok_or_else(|| {
            let name = escaped(name.as_bytes());
            let what = format!("incomplete: manifest.json lists {name:?}, which is missing");
            Error::bad_input(place, what)
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

    fn find(&self, name: Option<&ImageName>, place: &str) -> Result<Descriptor> {
        let Some(name) = name else {
            return match &self.images[..] {
                [] => Err(Error::bad_input(place, "manifest.json lists no image")),
                [only] => Ok(only.manifest.clone()),
                _ => Err(ambiguous(place, &self.names())),
            };
        };
        let image = match name {
            ImageName::Tag(tag) => {
                let full = full_docker_name(tag);
                self.images.iter().find(|image| {
                    image.tags.iter().any(|other| other == tag || full_docker_name(other) == full)
                })
            }
            ImageName::Digest(digest) => {
                self.images.iter().find(|image| image.manifest.digest == *digest)
            }
            ImageName::Ordinal(ordinal) => self.images.get(*ordinal),
        };
        image.map(|image| image.manifest.clone()).ok_or_else(|| Error::NotFound {
            place: place.to_owned(),
            what: name.to_string(),
            present: self.names(),
        })
    }
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
