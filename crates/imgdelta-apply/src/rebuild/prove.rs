//! A new delta applied without output, and every byte compared with the target image.
//! Never writes.
//!
//! The streams of both images are still in scratch files, so nothing is inflated or hashed again:
//! the proof costs little more than decoding. An envelope that was found for this delta was proved
//! then, by making the blob from its recipe. Only envelopes from an earlier delta are remade here,
//! and the blob's digest is compared. The test
//! `a_reused_recipe_with_a_damaged_envelope_is_not_proved` holds this.

use super::{
    assemble::{self, LayerMaker},
    bill, groups,
    output::{ByteSink, ReadAtOffset},
    plan::BlobJob,
    waves::RecipeWaves,
    work_meter,
};
use crate::{
    delta::{Delta, LayerBody},
    sink::NullSink,
};
use imgdelta_core::{
    Context, Difference, Error, Result,
    progress::{Progress, Stage},
    verify::BlobCheck,
};
use imgdelta_image::{
    envelope::{StreamCheck, read_layer},
    volume::{LayerStream, Volume},
};
use std::{collections::BTreeSet, mem};

/// Applies `delta` to the base streams in `volume`, and compares with the target streams in it.
///
/// For the target layers in `reused_envelopes`, counted from 0, the blob is made as well.
pub fn prove(
    delta: &Delta,
    volume: &Volume,
    reused_envelopes: &BTreeSet<usize>,
    context: &Context,
) -> Result<()> {
    let Context { workers, limits, .. } = context;
    let progress = &*context.progress;
    let mut ordinals = BTreeSet::new();
    let mut carried = BTreeSet::new();
    for (layer, head) in delta.layers().iter().enumerate() {
        match head.body {
            LayerBody::Kept => {}
            LayerBody::Recipe(ordinal) => drop(ordinals.insert(ordinal)),
            LayerBody::Carried(ordinal) => drop(carried.insert((ordinal, layer))),
        }
    }
    let mut remade: Vec<BlobJob> = BlobJob::exact(delta);
    // A reader refuses a delta that asks for too much work, so it must not be published.
    // Layers whose blobs cannot be made count as well: readers make their streams.
    let meter = work_meter(delta, delta.layers().iter().map(|layer| layer.stream.bytes), context);
    for job in &remade {
        bill::charge_blob(delta, job, &meter)?;
    }
    remade.retain(|job| reused_envelopes.contains(&job.ordinal));
    let waves = RecipeWaves::charge(delta, &ordinals, &meter, context)?;
    waves.run(delta, volume, &meter, context, &mut |recipes| {
        groups::decode_all(&recipes.tables, &meter, context)?;
        let total = recipes.tables.values().map(|table| table.recipe.target.bytes).sum();
        progress.begin(Stage::Proving, total);
        workers.map(recipes.tables.values().collect(), |table| {
            let name = table.recipe.target;
            let expected = volume.stream(&name.diff_id).ok_or_else(|| Error::NotFound {
                place: table.place.clone(),
                what: format!("stream {} to compare with", name.diff_id),
                present: Vec::new(),
            })?;
            let mut comparison = StreamComparison {
                expected,
                compared_bytes: 0,
                rebuilt: Vec::new(),
                wanted: Vec::new(),
                progress,
            };
            assemble::assemble(table, limits, &mut comparison)?;
            comparison.finish()
        })?;
        let (now, later) =
            mem::take(&mut remade).into_iter().partition(|job| recipes.can_make(job));
        remade = later;
        let meter = &meter;
        let maker = LayerMaker { delta, base: &[], recipes, limits, workers, meter, progress };
        workers.map(now, |job: BlobJob| maker.make(&job, &NullSink, &mut Vec::new()))?;
        Ok(())
    })?;
    workers.map(carried.into_iter().collect(), |(ordinal, layer)| {
        let head = &delta.layers()[layer];
        let check = BlobCheck::new(head.blob, head.blob_bytes);
        let digest = StreamCheck::Compare(head.stream.diff_id);
        let blob = delta.carried(ordinal)?;
        read_layer(blob, check, digest, limits, progress, &mut |_| Ok(()))
    })?;
    Ok(())
}

/// A receiver that compares rebuilt bytes with the expected stream.
struct StreamComparison<'a> {
    expected: &'a LayerStream,
    compared_bytes: u64,
    rebuilt: Vec<u8>,
    wanted: Vec<u8>,
    progress: &'a dyn Progress,
}

impl StreamComparison<'_> {
    fn compare(&mut self) -> Result<()> {
        self.progress.check()?;
        let rebuilt = self.rebuilt.as_slice();
        self.wanted.resize(rebuilt.len(), 0);
        self.expected.read_exact_at(self.compared_bytes, &mut self.wanted)?;
        if rebuilt != self.wanted {
            let differs =
                rebuilt.iter().zip(&self.wanted).position(|(found, wanted)| found != wanted);
            let at = differs.expect("they differ");
            return Err(Error::Mismatch {
                place: format!(
                    "proof of stream {}, offset {}",
                    self.expected.diff_id(),
                    self.compared_bytes + at as u64
                ),
                difference: Difference::Byte { expected: self.wanted[at], found: rebuilt[at] },
            });
        }
        self.compared_bytes += rebuilt.len() as u64;
        self.progress.advance(rebuilt.len() as u64);
        self.rebuilt.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.compare()?;
        if self.compared_bytes != self.expected.bytes() {
            return Err(Error::Mismatch {
                place: format!("proof of stream {}", self.expected.diff_id()),
                difference: Difference::Size {
                    expected: self.expected.bytes(),
                    found: self.compared_bytes,
                },
            });
        }
        Ok(())
    }
}

impl ByteSink for StreamComparison<'_> {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.rebuilt.extend_from_slice(bytes);
        if self.rebuilt.len() >= PIECE_BYTES { self.compare() } else { Ok(()) }
    }

    fn fill(&mut self, bytes: u64, read: &mut ReadAtOffset<'_>) -> Result<()> {
        let mut done = 0;
        while done < bytes {
            let count = usize::try_from(bytes - done).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let start = self.rebuilt.len();
            self.rebuilt.resize(start + count, 0);
            read(done, &mut self.rebuilt[start..])?;
            done += count as u64;
            if self.rebuilt.len() >= PIECE_BYTES {
                self.compare()?;
            }
        }
        Ok(())
    }
}

const PIECE_BYTES: usize = 128 << 10;
