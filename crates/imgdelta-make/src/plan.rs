//! What becomes of each target layer, decided before a byte is matched.
//!
//! Kept, because the base has its stream; rebuilt, with a choice of sources for each entry; or
//! rebuilt as it was for other images, by a recipe that is at hand. What it costs only encoding
//! tells; what is chosen and why stands here.

use crate::{
    inside::{self, Inside, InsideOptions, Owner},
    sources::{self, Choice, Content, Payloads, Place, Reach, Sides},
};
use imgdelta_apply::delta::{Envelope, LayerCost, StoredRecipe};
use imgdelta_core::{
    BlobDigest, DiffId, Result, parallel::Workers, progress::Progress, scratch::Scratch,
};
use imgdelta_format::recipe::StreamName;
use imgdelta_image::{
    index::Index,
    survey::Survey,
    volume::{Space, Volume},
};
use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

/// How much time to spend on a smaller delta.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preset {
    /// For deltas that are made while somebody waits.
    Fast,
    /// For deltas that are made once and pulled a few times.
    #[default]
    Default,
    /// For deltas that are pulled very often.
    Best,
}

/// The decisions for a pair of images.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The image that the receiver has.
    pub base: &'a Survey,
    /// The image that is to be rebuilt.
    pub target: &'a Survey,
    /// The streams of both.
    pub volume: &'a Volume,
    /// How much time was and will be spent.
    pub preset: Preset,
    /// A decision for each target layer.
    pub layers: Vec<Way>,
    /// The recipes that were at hand.
    pub known: Vec<Known>,
    /// What lies inside archives.
    pub(crate) inside: Inside,
    /// A choice for each part inside the archives of each target layer.
    pub(crate) inner: Vec<Vec<Choice>>,
}

/// How a plan is made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PlanOptions {
    /// How much time to spend.
    pub preset: Preset,
    /// How far archives are seen into.
    pub inside: InsideOptions,
    /// Recipes that are at hand; those that fit are used and not made again.
    pub known: Vec<Known>,
}

/// A recipe that was made for other images. Whoever offers it says with what effort it was made;
/// here it is only seen to that the base has what it needs. Proving a delta proves it, too.
#[derive(Clone, Debug)]
pub struct Known {
    /// The recipe.
    pub recipe: StoredRecipe,
    /// How blobs were made from its stream.
    pub envelopes: HashMap<BlobDigest, Envelope>,
    /// What it was said to cost, and why.
    pub cost: LayerCost,
}

impl PlanOptions {
    /// Sets how much time to spend.
    #[must_use]
    pub fn preset(mut self, preset: Preset) -> Self {
        self.preset = preset;
        self
    }

    /// Sets how far archives are seen into.
    #[must_use]
    pub fn inside(mut self, inside: InsideOptions) -> Self {
        self.inside = inside;
        self
    }

    /// Sets which recipes are at hand.
    #[must_use]
    pub fn known(mut self, known: Vec<Known>) -> Self {
        self.known = known;
        self
    }
}

/// What becomes of a target layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The base has its stream.
    Kept,
    /// It is rebuilt, with a choice for each entry of its index.
    Rebuilt(Vec<Choice>),
    /// It is rebuilt by the recipe of this number among those at hand.
    Known(usize),
    /// It has the stream of an earlier layer of the target, which is rebuilt.
    Again(u32),
}

impl<'a> Plan<'a> {
    /// Decides. `volume` holds the streams of all layers of both images; what is inflated from
    /// archives goes to `scratch`.
    pub fn of(
        base: &'a Survey,
        target: &'a Survey,
        volume: &'a Volume,
        options: PlanOptions,
        scratch: &Scratch,
        workers: &Workers,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let held: HashSet<_> = base.image.layers.iter().map(|layer| layer.diff_id).collect();
        let mut layers = vec![Way::Kept; target.image.layers.len()];
        let (mut rebuilt, mut first) = (Vec::new(), HashMap::new());
        for (ordinal, layer) in (0_u32..).zip(&target.image.layers) {
            if held.contains(&layer.diff_id) {
                continue;
            }
            match first.entry(layer.diff_id) {
                Entry::Occupied(earlier) => layers[ordinal as usize] = Way::Again(*earlier.get()),
                Entry::Vacant(free) => {
                    free.insert(ordinal);
                    match known(&options.known, base, layer.diff_id) {
                        Some(number) => layers[ordinal as usize] = Way::Known(number),
                        None => rebuilt.push(ordinal),
                    }
                }
            }
        }
        let (preset, sight) = (options.preset, options.inside);
        let both = [base, target];
        let inside = inside::look(both, &rebuilt, volume, sight, scratch, workers, progress)?;
        let files = Files::of(base, target, &inside, volume, &rebuilt)?;
        let sides = Sides {
            base: &files.base.0,
            headed: u32::try_from(base.layers.len()).expect("layers are limited"),
            target: &files.target.0,
            settled: &files.settled,
        };
        let reach = Reach { sketched_bytes: sketched_bytes(preset) };
        let chosen = sources::choose(sides, &files.wanted, reach, &files, workers)?;
        let mut inner = vec![Vec::new(); layers.len()];
        for (&index, choices) in files.wanted.iter().zip(chosen) {
            match (index as usize).checked_sub(layers.len()) {
                None => layers[index as usize] = Way::Rebuilt(choices),
                Some(place) => inner[files.inner[place] as usize] = choices,
            }
        }
        // A part has no header.
        inner.iter_mut().flatten().for_each(|choice| choice.header = None);
        let known = options.known;
        Ok(Self { base, target, volume, preset, layers, known, inside, inner })
    }

    /// Returns the entry of the base at a place: of a layer, or a part of an archive.
    pub(crate) fn base_entry(&self, place: Place) -> &imgdelta_image::index::Entry {
        let index = match self.base.layers.get(place.layer as usize) {
            Some(index) => index,
            None => &self.inside.base.as_ref().expect("parts were chosen").index,
        };
        &index.entries[place.entry as usize]
    }

    /// Whether a place is a part of one of the base's archives.
    pub(crate) fn is_inside(&self, place: Place) -> bool {
        place.layer as usize >= self.base.layers.len()
    }
}

/// Returns the smallest recipe that makes a stream from what the base has.
fn known(known: &[Known], base: &Survey, diff_id: DiffId) -> Option<usize> {
    let held = |source: &StreamName| {
        base.layers
            .iter()
            .any(|layer| (layer.diff_id, layer.stream_bytes) == (source.diff_id, source.bytes))
    };
    let fits =
        |recipe: &StoredRecipe| recipe.target.diff_id == diff_id && recipe.sources.iter().all(held);
    let fitting = known.iter().enumerate().filter(|(_, known)| fits(&known.recipe));
    fitting.min_by_key(|(_, known)| known.recipe.size_bytes()).map(|(number, _)| number)
}

/// How many base bytes are read to find files that no name leads to.
fn sketched_bytes(preset: Preset) -> u64 {
    match preset {
        Preset::Fast => 32 << 20,
        Preset::Default => 512 << 20,
        Preset::Best => 4 << 30,
    }
}

/// All that sources are chosen among and for: indexes, and the bytes behind them.
struct Files {
    base: (Vec<Arc<Index>>, Vec<Space>),
    target: (Vec<Arc<Index>>, Vec<Space>),
    /// Of which layer each index behind those of the target's layers is.
    inner: Vec<u32>,
    /// The indexes that are chosen for.
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
fn spaces(survey: &Survey, volume: &Volume) -> Result<Vec<Space>> {
    let of_layer = |index: &Arc<Index>| {
        if volume.stream(&index.diff_id).is_none() {
            return Ok(Space::default());
        }
        let name = StreamName { diff_id: index.diff_id, bytes: index.stream_bytes };
        Space::new(volume, &[name])
    };
    survey.layers.iter().map(of_layer).collect()
}

fn read(
    (indexes, spaces): &(Vec<Arc<Index>>, Vec<Space>),
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
