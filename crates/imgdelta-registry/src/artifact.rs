//! A delta as an artifact in a registry: which parts it has, and how they are the file again.
//!
//! Each recipe is a blob of its own: it names only what it makes and from what, so that images
//! which share a layer share its recipe. Carried blobs are the target's own layers, which lie in
//! the repository anyway. What is left of the file is the front. docs/registry.md shows a manifest.
//! Sends nothing, and believes no annotation: they only help to choose.

use crate::repository::{Manifest, digest_of};
use imgdelta_apply::delta::{Body, Delta, Kind, LayerCost, LayerOutline, Outline};
use imgdelta_core::{
    Algorithm, BlobDigest, DiffId, Error, Result, limits::Ceiling, verify::Hasher,
};
use imgdelta_format::{
    ReadLimits,
    container::{DIGEST_BYTES, HEAD_BYTES, SectionHead, version},
};
use imgdelta_image::store::{
    Descriptor,
    source::{RangeReader, ReadAt},
};
use serde::Deserialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::Arc,
};

/// The type of the artifact, and of its config, as some registries show only that.
pub const ARTIFACT_TYPE: &str = "application/vnd.imgdelta.delta.v1";
/// The media type of a front.
pub const FRONT_TYPE: &str = "application/vnd.imgdelta.delta.v1.front";
/// The media type of a recipe.
pub const RECIPE_TYPE: &str = "application/vnd.imgdelta.delta.v1.recipe";
/// The annotation with the digest of the base's manifest.
pub const BASE_ANNOTATION: &str = "org.imgdelta.base";
/// The annotation with the length of the delta file.
pub const BYTES_ANNOTATION: &str = "org.imgdelta.bytes";
/// The annotation with what the target runs on.
pub const PLATFORM_ANNOTATION: &str = "org.imgdelta.platform";
/// The annotation with the version of the delta's format.
pub const FORMAT_ANNOTATION: &str = "org.imgdelta.format";
/// The annotation of a recipe with the diff id of the stream that it makes.
pub const TARGET_ANNOTATION: &str = "org.imgdelta.target";
/// The annotation of a recipe with the diff ids that it needs, a space between them.
pub const SOURCES_ANNOTATION: &str = "org.imgdelta.sources";

/// A delta file, taken apart.
#[derive(Clone, Debug)]
pub struct Split {
    /// The file without what the other parts hold.
    pub front: Vec<u8>,
    /// Recipes and carried blobs, where they lie in the file.
    pub parts: Vec<Part>,
}

/// A part of a delta file that is a blob of its own.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its blob.
    pub blob: Descriptor,
    /// Where it begins in the file.
    pub offset: u64,
    /// The stream that it makes and those it needs, if it is a recipe.
    pub recipe: Option<(DiffId, Vec<DiffId>)>,
}

impl Split {
    /// Takes a delta apart; `source` is the file it was opened from.
    pub fn of(delta: &Delta, source: &Arc<dyn ReadAt>) -> Result<Self> {
        let (mut front, mut parts) = (Vec::new(), Vec::new());
        let (mut at, mut recipes, mut carried) = (0, 0, 0);
        for section in delta.sections() {
            let recipe = match section.kind {
                Kind::Recipe => {
                    let recipe = delta.recipe(recipes)?;
                    recipes += 1;
                    let sources = recipe.sources.iter().map(|source| source.diff_id).collect();
                    Some((recipe.target.diff_id, sources))
                }
                Kind::Carried => None,
                _ => continue,
            };
            append(&mut front, source, at, section.offset, delta.place())?;
            at = section.offset + section.bytes;
            let blob = if recipe.is_some() {
                let digest = hash(source, section.offset, section.bytes, delta.place())?;
                Descriptor::new(Some(RECIPE_TYPE), digest, section.bytes)
            } else {
                let of = Body::Carried(carried);
                carried += 1;
                let layer = delta.layers().iter().find(|layer| layer.body == of);
                let layer = layer.expect("an opened delta uses all that it carries");
                let kind = Some(layer.media_type.as_str()).filter(|kind| !kind.is_empty());
                Descriptor::new(kind.or(Some(BYTES_TYPE)), layer.blob, layer.blob_bytes)
            };
            parts.push(Part { blob, offset: section.offset, recipe });
        }
        append(&mut front, source, at, delta.size_bytes(), delta.place())?;
        Ok(Self { front, parts })
    }

    /// Returns the descriptor of the front.
    pub fn front_blob(&self) -> Descriptor {
        let digest = digest_of(Algorithm::Sha256, &self.front);
        Descriptor::new(Some(FRONT_TYPE), digest, self.front.len() as u64)
    }

    /// Returns the artifact's manifest. The same delta always has the same.
    pub fn manifest(&self, delta: &Delta, subject: &Descriptor) -> Manifest {
        let mut layers = vec![descriptor(&self.front_blob())];
        for part in &self.parts {
            let mut layer = descriptor(&part.blob);
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
            .expect("the front of an opened delta");
        let mut annotations = BTreeMap::from([
            (FORMAT_ANNOTATION, format!("{major}.{minor}")),
            (BYTES_ANNOTATION, delta.size_bytes().to_string()),
            (PLATFORM_ANNOTATION, delta.platform().to_string()),
        ]);
        if let Some(base) = delta.base().manifest {
            annotations.insert(BASE_ANNOTATION, base.to_string());
        }
        let document = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": ARTIFACT_TYPE,
            "config": descriptor(&config_blob()),
            "layers": layers,
            "subject": descriptor(subject),
            "annotations": annotations,
        });
        let bytes = document.to_string().into_bytes();
        let digest = digest_of(Algorithm::Sha256, &bytes);
        let size = bytes.len() as u64;
        Manifest { descriptor: Descriptor::new(Some(MANIFEST_TYPE), digest, size), bytes }
    }
}

/// The config of every delta: nothing is in it, so that it is stored once.
pub fn config_blob() -> Descriptor {
    let digest = digest_of(Algorithm::Sha256, CONFIG);
    Descriptor::new(Some(ARTIFACT_TYPE), digest, CONFIG.len() as u64)
}

/// An artifact's manifest, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Its manifest.
    pub descriptor: Descriptor,
    /// The front's blob.
    pub front: Descriptor,
    /// Recipes, in the file's order.
    pub recipes: Vec<RecipeBlob>,
    /// Carried blobs, in the file's order.
    pub carried: Vec<Descriptor>,
    /// The manifest of the base that it was made against, if it says so.
    pub base: Option<BlobDigest>,
    /// The manifest that it lies beside.
    pub subject: Option<BlobDigest>,
}

/// A recipe in a registry, and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeBlob {
    /// Its blob.
    pub blob: Descriptor,
    /// The stream that it is said to make.
    pub target: Option<DiffId>,
    /// The streams that it is said to need.
    pub sources: Vec<DiffId>,
}

impl Artifact {
    /// Reads an artifact's manifest, which was compared with its digest.
    pub fn parse(manifest: &Manifest, place: &str) -> Result<Self> {
        let place = format!("{place}, delta {}", manifest.descriptor.digest);
        let wrong = |what: &str| Error::bad_input(&place, what);
        let read: Document = serde_json::from_slice(&manifest.bytes)
            .map_err(|error| Error::bad_input_because(&place, "no manifest", error))?;
        if read.config.descriptor.media_type() != ARTIFACT_TYPE {
            return Err(wrong("its config is not that of a delta"));
        }
        let count = read.layers.len() as u64;
        Ceiling::fixed(MOST_PARTS).admit(count, "count of parts", &place)?;
        let mut parts = read.layers.into_iter();
        let front = parts.next().filter(|first| first.descriptor.media_type() == FRONT_TYPE);
        let front = front.ok_or_else(|| wrong("its first part is no front"))?.descriptor;
        let (mut recipes, mut carried) = (Vec::new(), Vec::new());
        for Told { descriptor, annotations } in parts {
            if descriptor.media_type() != RECIPE_TYPE {
                carried.push(descriptor);
                continue;
            }
            let of = |name| annotations.get(name).map_or("", String::as_str);
            // What cannot be read is not said.
            let sources = of(SOURCES_ANNOTATION).split(' ').filter_map(|one| one.parse().ok());
            recipes.push(RecipeBlob {
                blob: descriptor,
                target: of(TARGET_ANNOTATION).parse().ok(),
                sources: sources.collect(),
            });
        }
        let base = read.annotations.get(BASE_ANNOTATION).and_then(|base| base.parse().ok());
        let subject = read.subject.map(|subject| subject.digest);
        let descriptor = manifest.descriptor.clone();
        Ok(Self { descriptor, front, recipes, carried, base, subject })
    }
}

/// A front, read.
#[derive(Clone, Debug)]
pub struct Front {
    /// What the delta makes, and how.
    pub outline: Outline,
    /// What each layer is said to cost; nothing if that is not said, or cannot be read.
    pub costs: Vec<LayerCost>,
    bytes: Vec<u8>,
    /// Where parts go into the bytes: the place, the kind and the part's length.
    gaps: Vec<(usize, Kind, u64)>,
}

impl Front {
    /// Reads a front whose digest was compared.
    pub fn parse(bytes: Vec<u8>, place: &str) -> Result<Self> {
        let wrong = |what: &str| Error::bad_input(place, what);
        let cut = || wrong("the front of the delta is cut");
        let limits = ReadLimits::default();
        let head = bytes.first_chunk::<HEAD_BYTES>().ok_or_else(cut)?;
        if version(head).is_none_or(|(major, _)| major != imgdelta_format::container::MAJOR) {
            return Err(wrong("no front of a delta that this program reads"));
        }
        let (mut at, mut gaps, mut outline) = (HEAD_BYTES, Vec::new(), None);
        let mut costs = Vec::new();
        loop {
            let rest = &bytes[at..];
            let (head, head_bytes) =
                SectionHead::read(rest).map_err(|error| wrong(&error.to_string()))?;
            at += head_bytes;
            let inside = match head.kind {
                Kind::End => break,
                Kind::Recipe | Kind::Carried => {
                    gaps.push((at, head.kind, head.bytes));
                    Ceiling::fixed(MOST_PARTS).admit(gaps.len() as u64, "count of parts", place)?;
                    0
                }
                _ => usize::try_from(head.bytes).map_err(|_| cut())?,
            };
            let end = at.checked_add(inside).ok_or_else(cut)?;
            let payload = bytes.get(at..end).ok_or_else(cut)?;
            if head.kind == Kind::Outline && outline.is_none() {
                let read = Outline::from_bytes(payload, &limits);
                outline = Some(read.map_err(|error| wrong(&error.to_string()))?);
            }
            if head.kind == Kind::Cost {
                costs = imgdelta_format::cost::from_bytes(payload, &limits).unwrap_or_default();
            }
            at = end.checked_add(DIGEST_BYTES).filter(|at| *at < bytes.len()).ok_or_else(cut)?;
        }
        let outline = outline.ok_or_else(|| wrong("the front of the delta has no outline"))?;
        Ok(Self { outline, costs, bytes, gaps })
    }

    /// Returns the lengths of the recipes, in the file's order.
    pub fn recipe_bytes(&self) -> Vec<u64> {
        let recipes = self.gaps.iter().filter(|(_, kind, _)| *kind == Kind::Recipe);
        recipes.map(|(_, _, bytes)| *bytes).collect()
    }

    /// Compares it with what the artifact's manifest says of recipes.
    pub fn check(&self, artifact: &Artifact, place: &str) -> Result<()> {
        let recipes = &artifact.recipes;
        let sizes: Vec<u64> = recipes.iter().map(|recipe| recipe.blob.size_bytes).collect();
        if self.recipe_bytes() != sizes {
            let what = "its front speaks of other recipes than its manifest";
            return Err(Error::bad_input(place, what));
        }
        let is_known = |layer: &LayerOutline| match layer.body {
            Body::Recipe(ordinal) => (ordinal as usize) < recipes.len(),
            Body::Kept | Body::Carried(_) => true,
        };
        if !self.outline.layers.iter().all(is_known) {
            return Err(Error::bad_input(place, "its layers use recipes that it has not"));
        }
        Ok(())
    }

    /// Writes the delta file: `part` opens the next part of a kind, by its ordinal among those.
    pub fn join(
        &self,
        part: &mut dyn FnMut(Kind, usize) -> Result<Box<dyn Read>>,
        out: &mut dyn Write,
    ) -> Result<()> {
        let place = "delta put together";
        let (mut at, mut recipes, mut carried) = (0, 0, 0);
        for (gap, kind, bytes) in &self.gaps {
            out.write_all(&self.bytes[at..*gap]).map_err(Error::io(place))?;
            at = *gap;
            let ordinal = if *kind == Kind::Recipe { &mut recipes } else { &mut carried };
            let mut reader = part(*kind, *ordinal)?.take(*bytes);
            *ordinal += 1;
            let found = std::io::copy(&mut reader, out).map_err(Error::io(place))?;
            if found != *bytes {
                let what = format!("a part has {found} bytes, should be {bytes}");
                return Err(Error::bad_input(place, what));
            }
        }
        out.write_all(&self.bytes[at..]).map_err(Error::io(place))
    }
}

#[derive(Deserialize)]
struct Document {
    config: Told,
    layers: Vec<Told>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn descriptor(blob: &Descriptor) -> serde_json::Value {
    json!({
        "mediaType": blob.media_type(),
        "digest": blob.digest.to_string(),
        "size": blob.size_bytes,
    })
}

/// Appends the bytes between two places of a file.
fn append(
    out: &mut Vec<u8>,
    source: &Arc<dyn ReadAt>,
    from: u64,
    to: u64,
    place: &str,
) -> Result<()> {
    let count = to - from;
    Ceiling::fixed(MOST_FRONT_BYTES).admit(
        out.len() as u64 + count,
        "bytes of the front",
        place,
    )?;
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

/// The empty document of the image specification.
pub(crate) const CONFIG: &[u8] = b"{}";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const BYTES_TYPE: &str = "application/octet-stream";
/// Two documents of the target, compressed, and a table; megabytes at the very most.
pub(crate) const MOST_FRONT_BYTES: u64 = 64 << 20;
/// As many as layers, and no more.
const MOST_PARTS: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn split() -> (Delta, Split) {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/small/small.imgdelta");
        let source: Arc<dyn ReadAt> = Arc::new(std::fs::read(path).unwrap());
        let delta = Delta::open(Arc::clone(&source), "small", &Limits::default()).unwrap();
        let split = Split::of(&delta, &source).unwrap();
        (delta, split)
    }

    #[test]
    fn a_damaged_front_is_refused_or_read_and_never_panics() {
        let (_, split) = split();
        for end in 0..split.front.len() {
            let cut = Front::parse(split.front[..end].to_vec(), "cut");
            // The trailer is nothing to find parts by.
            assert!(cut.is_err() || end + 60 > split.front.len(), "{end}");
        }
        for at in 0..split.front.len() {
            for bit in [0, 3, 7] {
                let mut front = split.front.clone();
                front[at] ^= 1 << bit;
                let _ = Front::parse(front, "damaged");
            }
        }
        assert!(Front::parse(b"something else".to_vec(), "x").is_err());
    }

    #[test]
    fn manifests_of_other_things_are_refused() {
        let (delta, split) = split();
        let subject = Descriptor::new(None, delta.digest(), 1);
        let manifest = split.manifest(&delta, &subject);
        assert_eq!(Artifact::parse(&manifest, "x").unwrap().recipes.len(), 2);
        let good: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
        let parse = |document: &serde_json::Value| {
            let bytes = document.to_string().into_bytes();
            Artifact::parse(&Manifest { descriptor: manifest.descriptor.clone(), bytes }, "x")
        };
        for (path, value) in [
            ("/config/mediaType", json!("application/x")),
            ("/layers/0/mediaType", json!(RECIPE_TYPE)),
            ("/layers/0/digest", json!("sha256:00")),
            ("/layers/1/size", json!(-1)),
            ("/layers", json!([])),
            ("/layers", json!(null)),
        ] {
            let mut document = good.clone();
            *document.pointer_mut(path).unwrap() = value;
            assert!(parse(&document).is_err(), "{path}");
        }
        let mut document = good.clone();
        document["layers"][1]["annotations"] = json!({TARGET_ANNOTATION: "no digest"});
        assert_eq!(parse(&document).unwrap().recipes[0].target, None);
        let many = vec![good["layers"][0].clone(); 5000];
        document["layers"] = json!(many);
        assert!(matches!(parse(&document), Err(Error::OverLimit { .. })));
    }
}
