//! Delta files: opened, verified, read in parts, written.
//! Never rebuilds a layer.
//!
//! Opening reads every byte once, in small pieces, and compares all digests. Only the outline stays
//! in memory; recipes, groups and carried blobs are read from the file, also by several threads.
//! A file that changes later gives errors or wrong bytes, which the target's digests reveal.

mod recipe;
mod sections;
mod writer;

pub use imgdelta_format::{
    container::SectionKind,
    cost::{FileCost, LayerCost, Provenance, RestCost},
    outline::{Envelope, LayerBody, LayerOutline, Outline},
    recipe::{
        ArchiveKind, ArchiveSource, ArchiveTarget, BaseSource, DigestPlace, DigestSpelling,
        GroupMember, NestedArchives, PayloadOrigin, PayloadWindow, Recipe, RecipeGroup, StreamName,
    },
};
pub use recipe::StoredRecipe;
pub use sections::Section;
pub use writer::DeltaWriter;

use imgdelta_core::{
    BlobDigest, Error, LimitName, Limits, Note, Result,
    limits::{Ceiling, DeltaLimits},
    scratch::ScratchFile,
    verify::Hasher,
};
use imgdelta_format::{ReadLimitName, container, cost};
use imgdelta_image::{
    image::{ImageConfig, ImageDocuments, Platform},
    store::source::{RangeReader, ReadAt},
};
use sections::SectionList;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Display,
    io::{Read, Write as _},
    sync::Arc,
};

/// Major and minor version of the delta files that this library writes.
pub const FORMAT_VERSION: (u8, u8) = (container::MAJOR, container::MINOR);

/// An open delta file whose section digests match.
#[derive(Clone, Debug)]
pub struct Delta {
    source: Arc<dyn ReadAt>,
    place: String,
    limits: DeltaLimits,
    group_bytes: Ceiling,
    sections: SectionList,
    outline: Outline,
    digest: BlobDigest,
    documents: ImageDocuments,
    base: BaseNeeds,
    layers: Vec<TargetLayer>,
    made: MadeStreams,
}

/// The streams that a delta makes: recipes of later layers may read them.
#[derive(Clone, Debug, Default)]
struct MadeStreams {
    /// For each stream, the first layer that has it and is not kept.
    layers: HashMap<StreamName, usize>,
    /// For each recipe, the first layer that uses it.
    users: Vec<usize>,
}

/// Requirements of a delta on the base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseNeeds {
    /// Manifest of the image that the delta was made from; any image with the streams will do.
    pub manifest: Option<BlobDigest>,
    /// Required streams, each once, in the order in which layers need them.
    ///
    /// The base must also have the blobs of kept layers with [`Envelope::Base`].
    pub streams: Vec<StreamName>,
}

/// One layer of the target, with its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetLayer {
    /// Digest of its blob.
    pub blob: BlobDigest,
    /// Length of its blob.
    pub blob_bytes: u64,
    /// Media type of its blob; empty if the manifest states none.
    pub media_type: String,
    /// Its stream.
    pub stream: StreamName,
    /// Source of the stream or blob.
    pub body: LayerBody,
    /// Way from the stream to the blob.
    pub envelope: Envelope,
    /// Estimate of the time that one core needs to close the stream's archives, in milliseconds.
    pub archive_milliseconds: u64,
}

impl TargetLayer {
    /// Returns what the delta's outline states of the layer.
    pub fn outline(&self) -> LayerOutline {
        LayerOutline {
            stream_bytes: self.stream.bytes,
            body: self.body,
            envelope: self.envelope.clone(),
            archive_milliseconds: self.archive_milliseconds,
        }
    }
}

impl Delta {
    /// Opens a delta, which compares all digests. `place` names it in errors.
    pub fn open(source: Arc<dyn ReadAt>, place: impl Display, limits: &Limits) -> Result<Self> {
        let place = format!("delta {place}");
        let delta_limits = limits.of_deltas();
        let sections = SectionList::check(
            &*source,
            &place,
            limits.ceiling(LimitName::DeltaBytes),
            &delta_limits,
        )?;
        let place_of = |section: &Section| section_place(&place, section);
        let first = sections.list.first().filter(|first| first.kind == SectionKind::Outline);
        let Some(first) = first else {
            return Err(Error::bad_input(&place, "the first section is not an outline"));
        };
        for kind in [SectionKind::Outline, SectionKind::Cost] {
            let count = sections.of(kind).count();
            if count > 1 {
                let what = format!("{count} sections {}, should be 1", kind.name());
                return Err(Error::bad_input(&place, what));
            }
        }
        let ceiling = delta_limits.ceiling(ReadLimitName::OutlineBytes);
        let bytes = read(&*source, first, ceiling, &place_of(first))?;
        let outline = Outline::from_bytes(&bytes, delta_limits.read())
            .map_err(|error| delta_limits.error(place_of(first), &error))?;
        let mut hasher = Hasher::new(outline.algorithm);
        hasher.update(&outline.manifest);
        let digest = hasher.finish_blob();
        let documents = ImageDocuments::parse(digest, &outline.manifest, &outline.config, limits)?;
        let layers = target_layers(&outline, &documents, &place_of(first))?;
        for layer in &layers {
            let (what, bytes) = ("uncompressed size of a layer", layer.stream.bytes);
            limits.admit(LimitName::LayerBytes, bytes, what, place_of(first))?;
        }
        let mut delta = Self {
            source,
            place,
            limits: delta_limits,
            group_bytes: limits.ceiling(LimitName::GroupBytes),
            sections,
            outline,
            digest,
            documents,
            base: BaseNeeds::default(),
            layers,
            made: MadeStreams::default(),
        };
        (delta.base, delta.made) = delta.check_bodies()?;
        Ok(delta)
    }

    /// Copies a delta from a pipe to a scratch file, and opens it there.
    pub fn spool(
        reader: &mut dyn Read,
        scratch: impl Into<ScratchFile>,
        place: impl Display,
        limits: &Limits,
    ) -> Result<Self> {
        let limit = limits.delta_bytes;
        let named = format!("delta {place}");
        let mut scratch = scratch.into();
        let count = std::io::copy(&mut reader.take(limit.saturating_add(1)), &mut scratch)
            .map_err(Error::io(&named))?;
        limits.admit(LimitName::DeltaBytes, count, "number of bytes", &named)?;
        scratch.flush().map_err(Error::io(&named))?;
        Self::open(Arc::new(scratch), place, limits)
    }

    /// Returns the bytes of the delta file.
    pub fn source(&self) -> Arc<dyn ReadAt> {
        Arc::clone(&self.source)
    }

    /// Returns the name of the file in errors.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the digest of the target's manifest.
    pub fn digest(&self) -> BlobDigest {
        self.digest
    }

    /// Returns the target's manifest, byte for byte.
    pub fn manifest(&self) -> &[u8] {
        &self.outline.manifest
    }

    /// Returns the manifest's media type; empty if it is unknown.
    pub fn media_type(&self) -> &str {
        &self.outline.media_type
    }

    /// Returns the digest of the target's config.
    pub fn config_digest(&self) -> BlobDigest {
        self.documents.config_digest
    }

    /// Returns the target's config, byte for byte.
    pub fn config_bytes(&self) -> &[u8] {
        &self.outline.config
    }

    /// Returns the target's parsed config.
    pub fn config(&self) -> &ImageConfig {
        &self.documents.config
    }

    /// Returns the target's platform.
    pub fn platform(&self) -> &Platform {
        &self.documents.platform
    }

    /// Returns remarks about manifest and config.
    pub fn notes(&self) -> &[Note] {
        &self.documents.notes
    }

    /// Returns the requirements on the base.
    pub fn base(&self) -> &BaseNeeds {
        &self.base
    }

    /// Returns the target's layers, lowest first.
    pub fn layers(&self) -> &[TargetLayer] {
        &self.layers
    }

    /// Returns the outline, from which the layers come.
    #[doc(hidden)]
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// Returns all sections except the end.
    pub fn sections(&self) -> &[Section] {
        &self.sections.list
    }

    /// Returns the length of the file.
    pub fn size_bytes(&self) -> u64 {
        self.sections.size_bytes
    }

    /// Returns the number of recipes.
    pub fn recipe_count(&self) -> usize {
        self.sections.of(SectionKind::Recipe).count()
    }

    /// Reads a recipe by its ordinal in [`LayerBody::Recipe`].
    pub fn recipe(&self, ordinal: u32) -> Result<StoredRecipe> {
        let (section, place) = self.section(SectionKind::Recipe, ordinal)?;
        StoredRecipe::open(&self.source, section.range(), place, &self.limits, self.group_bytes)
    }

    /// Reads only the sources of a recipe.
    pub(crate) fn recipe_sources(&self, ordinal: u32) -> Result<Vec<StreamName>> {
        let (section, place) = self.section(SectionKind::Recipe, ordinal)?;
        let front = recipe::front(&*self.source, &section.range(), &place, &self.limits)?;
        Ok(front.sources)
    }

    /// Returns the source of a stream that a recipe reads, if an earlier layer of the target has it:
    /// a recipe or a carried blob. Otherwise the stream is one of the base's.
    pub(crate) fn target_source(&self, recipe: u32, source: &StreamName) -> Option<LayerBody> {
        let layer = *self.made.layers.get(source)?;
        let user = *self.made.users.get(recipe as usize)?;
        (layer < user).then(|| self.layers[layer].body)
    }

    /// Returns recipes together with those that make streams which they read, at any distance.
    pub(crate) fn with_target_sources(&self, recipes: BTreeSet<u32>) -> Result<BTreeSet<u32>> {
        let mut all = recipes.clone();
        // Sources are made by recipes of lower ordinals.
        let mut left = recipes;
        while let Some(recipe) = left.pop_last() {
            for source in self.recipe_sources(recipe)? {
                if let Some(LayerBody::Recipe(earlier)) = self.target_source(recipe, &source)
                    && all.insert(earlier)
                {
                    left.insert(earlier);
                }
            }
        }
        Ok(all)
    }

    /// Returns the stream that a recipe makes.
    pub(crate) fn recipe_target(&self, ordinal: u32) -> Result<StreamName> {
        let (section, place) = self.section(SectionKind::Recipe, ordinal)?;
        let front = recipe::front(&*self.source, &section.range(), &place, &self.limits)?;
        Ok(front.target)
    }

    /// Opens a carried blob by its ordinal in [`LayerBody::Carried`].
    pub fn carried(&self, ordinal: u32) -> Result<Box<dyn Read + Send>> {
        let (section, _) = self.section(SectionKind::Carried, ordinal)?;
        let source = Arc::clone(&self.source);
        Ok(Box::new(RangeReader::new(source, section.offset, section.bytes)))
    }

    /// Reads the costs that the delta reports, one for each layer.
    pub fn cost(&self) -> Result<Option<Vec<LayerCost>>> {
        let Some(section) = self.sections.of(SectionKind::Cost).next() else { return Ok(None) };
        let place = section_place(&self.place, section);
        let ceiling = self.limits.ceiling(ReadLimitName::CostBytes);
        let bytes = read(&*self.source, section, ceiling, &place)?;
        let costs = cost::from_bytes(&bytes, self.limits.read())
            .map_err(|error| self.limits.error(&place, &error))?;
        if costs.len() != self.layers.len() {
            let (found, expected) = (costs.len(), self.layers.len());
            let what = format!("costs of {found} layers, should be of {expected}");
            return Err(Error::bad_input(place, what));
        }
        Ok(Some(costs))
    }

    fn section(&self, kind: SectionKind, ordinal: u32) -> Result<(&Section, String)> {
        let found = self.sections.of(kind).nth(ordinal as usize);
        let section = found.ok_or_else(|| Error::NotFound {
            place: self.place.clone(),
            what: format!("{} {ordinal}", kind.name()),
            present: Vec::new(),
        })?;
        Ok((section, section_place(&self.place, section)))
    }

    /// Compares layers with their recipes and carried blobs, and collects the requirements.
    fn check_bodies(&self) -> Result<(BaseNeeds, MadeStreams)> {
        let (mut recipes, mut carried) = (Vec::new(), 0);
        let mut base = BaseNeeds { manifest: self.outline.base, streams: Vec::new() };
        let (mut seen, mut made) = (HashSet::new(), MadeStreams::default());
        let mut need = |stream: &StreamName| {
            if seen.insert(*stream) {
                base.streams.push(*stream);
            }
            // The limit for one recipe also holds for all of them together.
            let count = base.streams.len() as u64;
            let ceiling = self.limits.ceiling(ReadLimitName::Sources);
            ceiling.admit(count, "count of base streams", &self.place)
        };
        for (ordinal, layer) in self.layers.iter().enumerate() {
            match layer.body {
                LayerBody::Kept => {
                    need(&layer.stream)?;
                }
                LayerBody::Recipe(recipe) => {
                    let (section, place) = self.section(SectionKind::Recipe, recipe)?;
                    if recipe as usize == recipes.len() {
                        let front =
                            recipe::front(&*self.source, &section.range(), &place, &self.limits)?;
                        for source in &front.sources {
                            if !made.layers.contains_key(source) {
                                need(source)?;
                            }
                        }
                        made.users.push(ordinal);
                        recipes.push(front.target);
                    }
                    if recipes[recipe as usize] != layer.stream {
                        let what = format!("it makes another stream than that of layer {ordinal}");
                        return Err(Error::bad_input(place, what));
                    }
                }
                LayerBody::Carried(blob) => {
                    let (section, place) = self.section(SectionKind::Carried, blob)?;
                    if section.bytes != layer.blob_bytes {
                        let (found, expected) = (section.bytes, layer.blob_bytes);
                        let what =
                            format!("{found} bytes, should be {expected} of layer {ordinal}");
                        return Err(Error::bad_input(place, what));
                    }
                    carried = carried.max(blob as usize + 1);
                }
            }
            if layer.body != LayerBody::Kept {
                made.layers.entry(layer.stream).or_insert(ordinal);
            }
        }
        for (kind, used) in [(SectionKind::Recipe, recipes.len()), (SectionKind::Carried, carried)]
        {
            let found = self.sections.of(kind).count();
            if found != used {
                let what = format!("{found} sections {}, but layers use {used}", kind.name());
                return Err(Error::bad_input(&self.place, what));
            }
        }
        Ok((base, made))
    }
}

/// Joins outline and documents layer by layer.
fn target_layers(
    outline: &Outline,
    documents: &ImageDocuments,
    place: &str,
) -> Result<Vec<TargetLayer>> {
    let (found, expected) = (outline.layers.len(), documents.layers.len());
    if found != expected {
        let what = format!("{found} layers, but the manifest has {expected}");
        return Err(Error::bad_input(place, what));
    }
    let pairs = outline.layers.iter().zip(&documents.layers);
    pairs
        .map(|(outlined, layer)| {
            let blob = &layer.descriptor;
            let stream = StreamName { diff_id: layer.diff_id, bytes: outlined.stream_bytes };
            if outlined.envelope == Envelope::Stored && blob.size_bytes != stream.bytes {
                let (ordinal, found) = (layer.ordinal, stream.bytes);
                let what = format!(
                    "layer {ordinal}: a stored stream of {found} bytes, should be {}",
                    blob.size_bytes
                );
                return Err(Error::bad_input(place, what));
            }
            Ok(TargetLayer {
                blob: blob.digest,
                blob_bytes: blob.size_bytes,
                media_type: blob.media_type().to_owned(),
                stream,
                body: outlined.body,
                envelope: outlined.envelope.clone(),
                archive_milliseconds: outlined.archive_milliseconds,
            })
        })
        .collect()
}

fn section_place(place: &str, section: &Section) -> String {
    format!("{place}, section {} at {}", section.kind.name(), section.offset)
}

/// Reads a whole section that must fit in memory.
fn read(source: &dyn ReadAt, section: &Section, ceiling: Ceiling, place: &str) -> Result<Vec<u8>> {
    ceiling.admit(section.bytes, "number of bytes", place)?;
    read_range(source, section.offset, section.bytes, place)
}

/// Reads a range; the caller has checked that it lies in the file.
fn read_range(source: &dyn ReadAt, offset: u64, count: u64, place: &str) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(count).unwrap_or(usize::MAX)];
    source.fill_at(&mut bytes, offset).map_err(Error::io(place))?;
    Ok(bytes)
}
