//! A delta file, split into the blobs of its artifact.
//!
//! Reads the delta file and sends nothing.

use super::{
    front::MAX_FRONT_BYTES,
    layer_set::LayerSet,
    media::{
        ARTIFACT_TYPE, BASE_ANNOTATION, BYTES_ANNOTATION, BYTES_TYPE, COMPRESSES_ANNOTATION,
        CREATOR_ANNOTATION, FORMAT_ANNOTATION, FRONT_TYPE, MANIFEST_TYPE, PLATFORM_ANNOTATION,
        RECIPE_TYPE, SOURCES_ANNOTATION, TARGET_ANNOTATION, config_blob,
    },
};
use crate::repository::{Manifest, digest_of};
use imgdelta_apply::delta::{Delta, LayerBody, SectionKind};
use imgdelta_core::{
    Algorithm, BlobDigest, DiffId, Error, Result, limits::Ceiling, verify::Hasher,
};
use imgdelta_format::container::{HEAD_BYTES, version};
use imgdelta_image::store::{
    Descriptor,
    source::{RangeReader, ReadAt},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::Read, sync::Arc};

/// A delta file, split into front and parts.
#[derive(Clone, Debug)]
pub struct SplitDelta {
    /// The file without the payloads of its parts.
    pub front: Vec<u8>,
    /// Recipes and carried blobs, in the file's order.
    pub parts: Vec<DeltaPart>,
}

/// A part of a delta file that is a blob of its own.
#[derive(Clone, Debug)]
pub struct DeltaPart {
    /// The blob.
    pub blob: Descriptor,
    /// The part's offset in the file.
    pub offset: u64,
    /// The stream that a recipe makes and the streams that it needs; none for a carried blob.
    pub recipe: Option<(DiffId, Vec<DiffId>)>,
}

impl SplitDelta {
    /// Splits a delta.
    pub fn of(delta: &Delta) -> Result<Self> {
        let source = delta.source();
        let (mut front, mut parts) = (Vec::new(), Vec::new());
        let (mut at, mut recipes, mut carried) = (0, 0, 0);
        for section in delta.sections() {
            let recipe = match section.kind {
                SectionKind::Recipe => {
                    let recipe = delta.recipe(recipes)?;
                    recipes += 1;
                    let sources = recipe.sources.iter().map(|source| source.diff_id).collect();
                    Some((recipe.target.diff_id, sources))
                }
                SectionKind::Carried => None,
                _ => continue,
            };
            append(&mut front, &source, at, section.offset, delta.place())?;
            at = section.offset + section.bytes;
            let blob = if recipe.is_some() {
                let digest = hash(&source, section.offset, section.bytes, delta.place())?;
                Descriptor::new(Some(RECIPE_TYPE), digest, section.bytes)
            } else {
                let body = LayerBody::Carried(carried);
                carried += 1;
                let layer = delta.layers().iter().find(|layer| layer.body == body);
                let layer = layer.expect("each carried blob of an opened delta has a layer");
                let kind = Some(layer.media_type.as_str()).filter(|kind| !kind.is_empty());
                Descriptor::new(kind.or(Some(BYTES_TYPE)), layer.blob, layer.blob_bytes)
            };
            parts.push(DeltaPart { blob, offset: section.offset, recipe });
        }
        append(&mut front, &source, at, delta.size_bytes(), delta.place())?;
        Ok(Self { front, parts })
    }

    /// Returns the descriptor of the front.
    pub fn front_blob(&self) -> Descriptor {
        let digest = digest_of(Algorithm::Sha256, &self.front);
        Descriptor::new(Some(FRONT_TYPE), digest, self.front.len() as u64)
    }

    /// Returns the artifact's manifest. The same delta and creator always have the same manifest.
    pub fn manifest(&self, delta: &Delta, subject: &Descriptor, creator: Option<&str>) -> Manifest {
        let mut layers = vec![json_of(&self.front_blob())];
        for part in &self.parts {
            let mut layer = json_of(&part.blob);
            if let Some((target, sources)) = &part.recipe {
                let sources: Vec<String> = sources.iter().map(DiffId::to_string).collect();
                layer["annotations"] = json!({
                    TARGET_ANNOTATION: target.to_string(),
                    SOURCES_ANNOTATION: sources.join(" "),
                });
            }
            layers.push(layer);
        }
        let (major, minor) = self
            .front
            .first_chunk::<HEAD_BYTES>()
            .and_then(version)
            .expect("the front of an opened delta has a version");
        let mut annotations = BTreeMap::from([
            (FORMAT_ANNOTATION, format!("{major}.{minor}")),
            (BYTES_ANNOTATION, delta.size_bytes().to_string()),
            (PLATFORM_ANNOTATION, delta.platform().to_string()),
        ]);
        if let Some(base) = delta.base().manifest {
            annotations.insert(BASE_ANNOTATION, base.to_string());
        }
        if let Some(creator) = creator {
            annotations.insert(CREATOR_ANNOTATION, creator.to_owned());
        }
        let compressed = delta.layers().iter().map(|layer| layer.envelope.makes_blob());
        let compressed = LayerSet::of(compressed);
        if !compressed.is_empty() {
            annotations.insert(COMPRESSES_ANNOTATION, compressed.to_string());
        }
        let document = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": ARTIFACT_TYPE,
            "config": json_of(&config_blob()),
            "layers": layers,
            "subject": json_of(subject),
            "annotations": annotations,
        });
        let bytes = document.to_string().into_bytes();
        let digest = digest_of(Algorithm::Sha256, &bytes);
        let size = bytes.len() as u64;
        Manifest { descriptor: Descriptor::new(Some(MANIFEST_TYPE), digest, size), bytes }
    }
}

fn json_of(blob: &Descriptor) -> Value {
    json!({
        "mediaType": blob.media_type(),
        "digest": blob.digest.to_string(),
        "size": blob.size_bytes,
    })
}

/// Appends the bytes between two offsets of a file.
fn append(
    out: &mut Vec<u8>,
    source: &Arc<dyn ReadAt>,
    from: u64,
    to: u64,
    place: &str,
) -> Result<()> {
    let count = to - from;
    let length = out.len() as u64 + count;
    Ceiling::fixed(MAX_FRONT_BYTES).admit(length, "bytes of the front", place)?;
    let mut reader = RangeReader::new(Arc::clone(source), from, count);
    let found = reader.read_to_end(out).map_err(Error::io(place))?;
    if found as u64 != count {
        return Err(Error::io(place)(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

fn hash(source: &Arc<dyn ReadAt>, offset: u64, bytes: u64, place: &str) -> Result<BlobDigest> {
    let mut reader = RangeReader::new(Arc::clone(source), offset, bytes);
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 128 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish_blob()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(place)(error)),
        }
    }
}
