//! What becomes of each target layer, decided before a byte is matched.
//!
//! Kept, because the base has its stream; rebuilt, with a choice of sources for each entry. What it
//! costs only encoding tells; what is chosen and why stands here.

use crate::{
    Error, Result,
    parallel::Workers,
    sources::{self, Choice, Payloads, Place, Reach},
    survey::Survey,
    volume::Volume,
};
use std::collections::{HashMap, HashSet, hash_map::Entry};

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
}

/// What becomes of a target layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The base has its stream.
    Kept,
    /// It is rebuilt, with a choice for each entry of its index.
    Rebuilt(Vec<Choice>),
    /// It has the stream of an earlier layer of the target, which is rebuilt.
    Again(u32),
}

impl<'a> Plan<'a> {
    /// Decides. `volume` holds the streams of all layers of both images.
    pub fn of(
        base: &'a Survey,
        target: &'a Survey,
        volume: &'a Volume,
        preset: Preset,
        workers: &Workers,
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
                    rebuilt.push(ordinal);
                }
            }
        }
        let payloads = Streams { base, target, volume };
        let reach = Reach { sketched_bytes: sketched_bytes(preset) };
        let choices = sources::choose(base, target, &rebuilt, reach, &payloads, workers)?;
        for (ordinal, choices) in rebuilt.into_iter().zip(choices) {
            layers[ordinal as usize] = Way::Rebuilt(choices);
        }
        Ok(Self { base, target, volume, preset, layers })
    }
}

/// How many base bytes are read to find files that no name leads to.
fn sketched_bytes(preset: Preset) -> u64 {
    match preset {
        Preset::Fast => 32 << 20,
        Preset::Default => 512 << 20,
        Preset::Best => 4 << 30,
    }
}

/// The payloads of both images, read from their streams.
struct Streams<'a> {
    base: &'a Survey,
    target: &'a Survey,
    volume: &'a Volume,
}

impl Streams<'_> {
    fn read(&self, survey: &Survey, place: Place, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        let index = &survey.layers[place.layer as usize];
        let payload = index.entries[place.entry as usize].payload.clone();
        let Some(stream) = self.volume.stream(&index.diff_id) else {
            return Err(Error::bad_input(
                format_args!("layer {}", index.diff_id),
                "its bytes are not here",
            ));
        };
        let mut buffer = vec![0; PIECE_BYTES];
        let mut at = payload.start;
        while at < payload.end {
            let count = usize::try_from(payload.end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            stream.read_exact_at(at, &mut buffer[..count])?;
            sink(&buffer[..count]);
            at += count as u64;
        }
        Ok(())
    }
}

impl Payloads for Streams<'_> {
    fn base(&self, place: Place, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.read(self.base, place, sink)
    }

    fn target(&self, place: Place, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.read(self.target, place, sink)
    }
}

const PIECE_BYTES: usize = 64 << 10;
