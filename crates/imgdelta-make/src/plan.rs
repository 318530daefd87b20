//! The decision for each target layer.
//! Never matches bytes, so sizes are unknown until encoding.
//!
//! A layer is kept, because the base has its stream; rebuilt, with a choice of sources for each
//! entry; or made by a recipe from an earlier delta.

use crate::{
    archives::{self, ArchiveOwner, OpenedArchives},
    options::{CreateOptions, KeptEnvelopes, Preset, ReusableRecipe},
    pair::{FoundEnvelopes, ImagePair, check_target},
    sources::{self, Choice, ChoiceInput, EntryPlace, PayloadReader, PayloadSource, SketchLimit},
};
use imgdelta_apply::{
    delta::{Envelope, StoredRecipe},
    rebuild::LayerForm,
};
use imgdelta_core::{BlobDigest, Context, DiffId, Result};
use imgdelta_format::{limits::written, recipe::StreamName};
use imgdelta_image::{
    index::LayerIndex,
    survey::Survey,
    volume::{AddressSpace, Volume},
};
use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

/// The decisions for a pair of images.
#[derive(Debug)]
pub struct Plan {
    /// The image that the receiver has.
    pub base: Arc<Survey>,
    /// The image that is to be rebuilt.
    pub target: Arc<Survey>,
    /// A decision for each target layer.
    pub layers: Vec<LayerPlan>,
    /// The recipes that were offered for reuse.
    pub reusable: Vec<ReusableRecipe>,
    /// The streams of both images.
    pub(crate) volume: Arc<Volume>,
    pub(crate) context: Context,
    pub(crate) preset: Preset,
    pub(crate) form: LayerForm,
    /// Envelopes from earlier deltas, by their blobs.
    pub(crate) known_envelopes: HashMap<BlobDigest, Envelope>,
    /// True if the delta has the envelopes of layers that the base has.
    pub(crate) has_kept_envelopes: bool,
    /// True if recipes may read streams of earlier target layers: together they must fit in the
    /// memory of a receiver.
    pub(crate) has_links: bool,
    pub(crate) found_envelopes: FoundEnvelopes,
    /// Content of the archives of both images.
    pub(crate) opened: OpenedArchives,
    /// A choice for each part opened the archives of each target layer.
    pub(crate) inner: Vec<Vec<Choice>>,
}

/// The decision for one target layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerPlan {
    /// The base has its stream.
    Kept,
    /// It is rebuilt, with a choice for each entry of its index.
    Rebuilt(Vec<Choice>),
    /// It is made by the offered recipe of this number.
    Reused(usize),
    /// It has the stream of this earlier target layer, which is rebuilt.
    Repeated(u32),
}

impl ImagePair {
    /// Decides how each layer of the target is made.
    pub fn plan(&self, options: &CreateOptions) -> Result<Plan> {
        Plan::new(self.clone(), options)
    }
}

impl Plan {
    /// Decides for each layer of the target.
    pub(crate) fn new(pair: ImagePair, options: &CreateOptions) -> Result<Self> {
        let ImagePair { base, target, volume, context, found_envelopes } = pair;
        // The pair may be reversed, and its base may lack blobs.
        check_target(&target.image)?;
        let held: HashSet<_> = base.image.layers.iter().map(|layer| layer.diff_id).collect();
        let mut layers = vec![LayerPlan::Kept; target.image.layers.len()];
        let (mut rebuilt, mut first) = (Vec::new(), HashMap::new());
        for (ordinal, layer) in (0_u32..).zip(&target.image.layers) {
            if held.contains(&layer.diff_id) {
                continue;
            }
            layers[ordinal as usize] = match first.entry(layer.diff_id) {
                Entry::Occupied(earlier) => LayerPlan::Repeated(*earlier.get()),
                Entry::Vacant(free) => {
                    free.insert(ordinal);
                    let reused = reusable(&options.reusable, &base, layer.diff_id);
                    let Some(number) = reused else {
                        rebuilt.push(ordinal);
                        continue;
                    };
                    LayerPlan::Reused(number)
                }
            };
        }
        let entries = rebuilt.iter().map(|layer| target.layers[*layer as usize].entries.len());
        let has_links =
            entries.sum::<usize>() as u64 * LINKED_ENTRY_BYTES <= written::LINKED_MEMORY;
        let opened = archives::open(
            [&base, &target],
            &rebuilt,
            has_links,
            &volume,
            options.archives,
            &context,
        )?;
        let files = PlanInput::of(&base, &target, &opened, &volume, &rebuilt)?;
        let input = ChoiceInput {
            base: &files.base.0,
            headed: u32::try_from(base.layers.len()).expect("layers are limited"),
            target: &files.target.0,
            settled: &files.settled,
            copied: if has_links { &rebuilt } else { &[] },
        };
        let limit = SketchLimit { sketched_bytes: sketched_bytes(options.preset) };
        let chosen = sources::choose(input, &files.wanted, limit, &files, &context)?;
        let mut inner = vec![Vec::new(); layers.len()];
        for (&index, choices) in files.wanted.iter().zip(chosen) {
            match (index as usize).checked_sub(layers.len()) {
                None => layers[index as usize] = LayerPlan::Rebuilt(choices),
                Some(place) => inner[files.inner[place] as usize] = choices,
            }
        }
        // A part has no header.
        inner.iter_mut().flatten().for_each(|choice| choice.header = None);
        Ok(Self {
            base,
            target,
            layers,
            reusable: options.reusable.clone(),
            volume,
            context,
            preset: options.preset,
            form: options.layers,
            known_envelopes: options.known_envelopes.clone(),
            has_kept_envelopes: match options.kept_envelopes {
                KeptEnvelopes::ByPreset => options.preset != Preset::Fast,
                KeptEnvelopes::Included => true,
                KeptEnvelopes::Omitted => false,
            },
            has_links,
            found_envelopes,
            opened,
            inner,
        })
    }

    /// Returns the number of layers that a recipe from an earlier delta makes.
    pub fn reused_recipes(&self) -> usize {
        self.layers.iter().filter(|layer| matches!(layer, LayerPlan::Reused(_))).count()
    }

    /// Returns true if the base's manifest names a blob; its store may lack the blob.
    pub(crate) fn is_in_base(&self, blob: &BlobDigest) -> bool {
        self.base.image.layers.iter().any(|layer| layer.descriptor.digest == *blob)
    }

    /// Returns the entry of the base at a place: of a layer, or a part of an archive.
    pub(crate) fn base_entry(&self, place: EntryPlace) -> imgdelta_image::index::Entry<'_> {
        let index = match self.base.layers.get(place.layer as usize) {
            Some(index) => index,
            None => &self.opened.base.as_ref().expect("parts were chosen").index,
        };
        index.entries.at(place.entry as usize)
    }

    /// Returns true if a place is a part of one of the base's archives.
    pub(crate) fn is_part(&self, place: EntryPlace) -> bool {
        place.layer as usize >= self.base.layers.len()
    }
}

/// Returns the smallest recipe that makes a stream from what the base has.
fn reusable(offered: &[ReusableRecipe], base: &Survey, diff_id: DiffId) -> Option<usize> {
    let held = |source: &StreamName| {
        base.layers
            .iter()
            .any(|layer| (layer.diff_id, layer.stream_bytes) == (source.diff_id, source.bytes))
    };
    let fits =
        |recipe: &StoredRecipe| recipe.target.diff_id == diff_id && recipe.sources.iter().all(held);
    let fitting = offered.iter().enumerate().filter(|(_, offer)| fits(&offer.recipe));
    fitting.min_by_key(|(_, offer)| offer.recipe.size_bytes()).map(|(number, _)| number)
}

/// Returns the number of base bytes that are read to find files without a related name.
fn sketched_bytes(preset: Preset) -> u64 {
    match preset {
        Preset::Fast => 32 << 20,
        Preset::Default => 512 << 20,
        Preset::Best => 4 << 30,
    }
}

/// Indexes of both images, with the bytes that they describe.
struct PlanInput {
    base: (Vec<Arc<LayerIndex>>, Vec<AddressSpace>),
    target: (Vec<Arc<LayerIndex>>, Vec<AddressSpace>),
    /// For each index of parts, which follow the target's layers, the layer that contains them.
    inner: Vec<u32>,
    /// Target indexes that need choices.
    wanted: Vec<u32>,
    settled: HashMap<EntryPlace, PayloadSource>,
}

impl PlanInput {
    fn of(
        base: &Survey,
        target: &Survey,
        opened: &OpenedArchives,
        volume: &Volume,
        rebuilt: &[u32],
    ) -> Result<Self> {
        let mut files = Self {
            base: (base.layers.clone(), spaces(base, volume)?),
            target: (target.layers.clone(), spaces(target, volume)?),
            inner: Vec::new(),
            wanted: rebuilt.to_vec(),
            settled: HashMap::new(),
        };
        if let Some(parts) = &opened.base {
            files.base.0.push(Arc::clone(&parts.index));
            files.base.1.push(parts.space.clone());
        }
        for (layer, found) in (0_u32..).zip(&opened.target) {
            let Some(parts) = &found.parts else { continue };
            let number = u32::try_from(files.target.0.len()).expect("layers are limited");
            files.target.0.push(Arc::clone(&parts.index));
            files.target.1.push(parts.space.clone());
            files.inner.push(layer);
            files.wanted.push(number);
            for archive in &found.archives {
                let place = match archive.owner {
                    ArchiveOwner::Entry(entry) => EntryPlace { layer, entry },
                    ArchiveOwner::Part(entry) => EntryPlace { layer: number, entry },
                };
                files.settled.insert(place, PayloadSource::Opened);
            }
            for (entry, packed) in (0..).zip(&found.packed) {
                if let Some(part) = packed {
                    let place = EntryPlace { layer: number, entry };
                    files.settled.insert(place, PayloadSource::Packed(*part));
                }
            }
        }
        Ok(files)
    }
}

/// Returns an address space for each layer of an image, empty for a stream that was not read.
pub(crate) fn spaces(survey: &Survey, volume: &Volume) -> Result<Vec<AddressSpace>> {
    let of_layer = |index: &Arc<LayerIndex>| {
        if volume.stream(&index.diff_id).is_none() {
            return Ok(AddressSpace::default());
        }
        let name = StreamName { diff_id: index.diff_id, bytes: index.stream_bytes };
        AddressSpace::new(volume, &[name])
    };
    survey.layers.iter().map(of_layer).collect()
}

fn read(
    (indexes, spaces): &(Vec<Arc<LayerIndex>>, Vec<AddressSpace>),
    place: EntryPlace,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<()> {
    let payload = indexes[place.layer as usize].entries.payload(place.entry as usize);
    let space = &spaces[place.layer as usize];
    let mut buffer = vec![0; PIECE_BYTES];
    let mut at = payload.start;
    while at < payload.end {
        let count = usize::try_from(payload.end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        space.read_exact_at(at, &mut buffer[..count])?;
        sink(&buffer[..count]);
        at += count as u64;
    }
    Ok(())
}

impl PayloadReader for PlanInput {
    fn base(&self, place: EntryPlace, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        read(&self.base, place, sink)
    }

    fn target(&self, place: EntryPlace, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        read(&self.target, place, sink)
    }
}

const PIECE_BYTES: usize = 64 << 10;
/// Memory of a receiver for an entry of a layer whose stream is read: tables, members and headers.
const LINKED_ENTRY_BYTES: u64 = 256;
