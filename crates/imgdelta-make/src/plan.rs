//! The decision for each target layer, made before any byte is matched.
//!
//! A layer is kept, because the base has its stream; rebuilt, with a choice of sources for each
//! entry; or made by a recipe from an earlier delta. A plan holds choices and reasons. Sizes are
//! known only after encoding.

use crate::{
    draft::Draft,
    encode,
    inside::{self, Inside, Owner},
    options::{CreateOptions, Preset},
    pair::ImagePair,
    sources::{self, Choice, Content, Payloads, Place, Reach, Sides},
};
use imgdelta_apply::{
    delta::{Envelope, LayerCost, StoredRecipe},
    rebuild::LayerForm,
};
use imgdelta_core::{BlobDigest, Context, DiffId, Result};
use imgdelta_format::recipe::StreamName;
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
    /// Content of archives on both sides.
    pub(crate) inside: Inside,
    /// A choice for each part inside the archives of each target layer.
    pub(crate) inner: Vec<Vec<Choice>>,
}

/// A recipe from an earlier delta. The caller states the effort with which it was made; a plan checks
/// only that the base has its sources. Proving the new delta proves the recipe and its envelopes.
#[derive(Clone, Debug)]
pub struct ReusableRecipe {
    /// The recipe.
    pub recipe: StoredRecipe,
    /// For each blob with this stream, the envelope that makes it.
    pub envelopes: HashMap<BlobDigest, Envelope>,
    /// The cost that the earlier delta reported.
    pub cost: LayerCost,
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

impl Plan {
    /// Decides for each layer of the target.
    pub(crate) fn new(pair: ImagePair, options: &CreateOptions) -> Result<Self> {
        let ImagePair { base, target, volume, context } = pair;
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
                    match reusable(&options.reusable, &base, layer.diff_id) {
                        Some(number) => LayerPlan::Reused(number),
                        None => {
                            rebuilt.push(ordinal);
                            continue;
                        }
                    }
                }
            };
        }
        let inside = inside::look([&base, &target], &rebuilt, &volume, options.archives, &context)?;
        let files = Files::of(&base, &target, &inside, &volume, &rebuilt)?;
        let sides = Sides {
            base: &files.base.0,
            headed: u32::try_from(base.layers.len()).expect("layers are limited"),
            target: &files.target.0,
            settled: &files.settled,
        };
        let reach = Reach { sketched_bytes: sketched_bytes(options.preset) };
        let chosen = sources::choose(sides, &files.wanted, reach, &files, &context.workers)?;
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
            inside,
            inner,
        })
    }

    /// Carries the plan out: matches, packs, and finds each blob's envelope.
    pub fn encode(self) -> Result<Draft> {
        encode::encode(self)
    }

    /// Returns the number of layers that a recipe from an earlier delta makes.
    pub fn reused_recipes(&self) -> usize {
        self.layers.iter().filter(|layer| matches!(layer, LayerPlan::Reused(_))).count()
    }

    /// Returns the entry of the base at a place: of a layer, or a part of an archive.
    pub(crate) fn base_entry(&self, place: Place) -> &imgdelta_image::index::Entry {
        let index = match self.base.layers.get(place.layer as usize) {
            Some(index) => index,
            None => &self.inside.base.as_ref().expect("parts were chosen").index,
        };
        &index.entries[place.entry as usize]
    }

    /// Returns true if a place is a part of one of the base's archives.
    pub(crate) fn is_inside(&self, place: Place) -> bool {
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

/// Indexes of both sides, and the bytes that they describe.
struct Files {
    base: (Vec<Arc<LayerIndex>>, Vec<AddressSpace>),
    target: (Vec<Arc<LayerIndex>>, Vec<AddressSpace>),
    /// For each index after those of the target's layers, the layer it belongs to.
    inner: Vec<u32>,
    /// Target indexes that need choices.
    wanted: Vec<u32>,
    settled: HashMap<Place, Content>,
}

impl Files {
    fn of(
        base: &Survey,
        target: &Survey,
        inside: &Inside,
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
        if let Some(parts) = &inside.base {
            files.base.0.push(Arc::clone(&parts.index));
            files.base.1.push(parts.space.clone());
        }
        for (layer, found) in (0_u32..).zip(&inside.target) {
            let Some(parts) = &found.parts else { continue };
            let number = u32::try_from(files.target.0.len()).expect("layers are limited");
            files.target.0.push(Arc::clone(&parts.index));
            files.target.1.push(parts.space.clone());
            files.inner.push(layer);
            files.wanted.push(number);
            for archive in &found.archives {
                let place = match archive.owner {
                    Owner::Entry(entry) => Place { layer, entry },
                    Owner::Part(entry) => Place { layer: number, entry },
                };
                files.settled.insert(place, Content::Opened);
            }
            for (entry, packed) in (0..).zip(&found.packed) {
                if let Some(part) = packed {
                    let place = Place { layer: number, entry };
                    files.settled.insert(place, Content::Packed(*part));
                }
            }
        }
        Ok(files)
    }
}

/// A space for each layer: its stream, or nothing where that is not there.
fn spaces(survey: &Survey, volume: &Volume) -> Result<Vec<AddressSpace>> {
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
    place: Place,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<()> {
    let payload = &indexes[place.layer as usize].entries[place.entry as usize].payload;
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

impl Payloads for Files {
    fn base(&self, place: Place, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        read(&self.base, place, sink)
    }

    fn target(&self, place: Place, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        read(&self.target, place, sink)
    }
}

const PIECE_BYTES: usize = 64 << 10;
