//! A fresh delta applied into nothing, and every byte compared with what it should make.
//!
//! Who made it still has the streams of both images: nothing is inflated or hashed again, so that
//! the proof costs little more than decoding. Nothing is compressed either: an envelope was found by
//! reading its recipe back from the bytes that the delta holds, remaking the blob with it from this
//! very stream, and comparing it with the blob, whose digest was checked on the way. What is left
//! to prove is that the delta makes this stream, and that carried blobs are what their digests say.

use super::{
    ApplyOptions, assemble,
    output::{Read, Taker},
    prepare, rebuild, stored,
};
use crate::delta::{Body, Delta};
use imgdelta_core::{
    Error, Result,
    parallel::Workers,
    progress::{Progress, Stage},
    verify::BlobCheck,
};
use imgdelta_image::{
    envelope::{StreamDigest, read_layer},
    volume::{Stream, Volume},
};
use std::collections::BTreeSet;

/// Compares all that `delta` makes from the base streams in `volume` with the target streams there.
pub fn prove(
    delta: &Delta,
    volume: &Volume,
    options: &ApplyOptions,
    workers: &Workers,
    progress: &dyn Progress,
) -> Result<()> {
    let mut ordinals = BTreeSet::new();
    let mut carried = BTreeSet::new();
    for (layer, head) in delta.layers().iter().enumerate() {
        match head.body {
            Body::Kept => {}
            Body::Recipe(ordinal) => drop(ordinals.insert(ordinal)),
            Body::Carried(ordinal) => drop(carried.insert((ordinal, layer))),
        }
    }
    let recipes =
        prepare(delta, stored(delta, ordinals, progress)?, volume, options, workers, progress)?;
    rebuild::all(&recipes.prepared, options, workers, progress)?;
    let total = recipes.prepared.values().map(|prepared| prepared.recipe.target.bytes).sum();
    progress.begin(Stage::Proving, total);
    workers.map(recipes.prepared.values().collect(), |prepared| {
        let name = prepared.recipe.target;
        let expected = volume.stream(&name.diff_id).ok_or_else(|| Error::NotFound {
            place: prepared.place.clone(),
            what: format!("stream {} to compare with", name.diff_id),
            present: Vec::new(),
        })?;
        let mut comparison =
            Comparison { expected, at: 0, made: Vec::new(), wanted: Vec::new(), progress };
        assemble::assemble(prepared, &options.limits, &mut comparison)?;
        comparison.finish()
    })?;
    workers.map(carried.into_iter().collect(), |(ordinal, layer)| {
        let head = &delta.layers()[layer];
        let check = BlobCheck::new(head.blob, head.blob_bytes);
        let digest = StreamDigest::Compared(head.stream.diff_id);
        let blob = delta.carried(ordinal)?;
        read_layer(blob, check, digest, &options.limits, progress, &mut |_| Ok(()))
    })?;
    Ok(())
}

/// Holds what is made against a stream that is there.
struct Comparison<'a> {
    expected: &'a Stream,
    at: u64,
    made: Vec<u8>,
    wanted: Vec<u8>,
    progress: &'a dyn Progress,
}

impl Comparison<'_> {
    fn compare(&mut self) -> Result<()> {
        self.progress.check()?;
        let made = self.made.as_slice();
        self.wanted.resize(made.len(), 0);
        self.expected.read_exact_at(self.at, &mut self.wanted)?;
        if made != self.wanted {
            let differs = made.iter().zip(&self.wanted).position(|(made, wanted)| made != wanted);
            let at = differs.expect("they differ");
            return Err(Error::Mismatch {
                place: format!(
                    "proof of stream {}, offset {}",
                    self.expected.diff_id(),
                    self.at + at as u64
                ),
                what: "byte",
                expected: self.wanted[at].to_string(),
                found: made[at].to_string(),
            });
        }
        self.at += made.len() as u64;
        self.progress.advance(made.len() as u64);
        self.made.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.compare()?;
        if self.at != self.expected.bytes() {
            return Err(Error::Mismatch {
                place: format!("proof of stream {}", self.expected.diff_id()),
                what: "size",
                expected: format!("{} bytes", self.expected.bytes()),
                found: format!("{} bytes", self.at),
            });
        }
        Ok(())
    }
}

impl Taker for Comparison<'_> {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.made.extend_from_slice(bytes);
        if self.made.len() >= PIECE_BYTES { self.compare() } else { Ok(()) }
    }

    fn fill(&mut self, bytes: u64, read: &mut Read<'_>) -> Result<()> {
        let mut done = 0;
        while done < bytes {
            let count = usize::try_from(bytes - done).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let start = self.made.len();
            self.made.resize(start + count, 0);
            read(done, &mut self.made[start..])?;
            done += count as u64;
            if self.made.len() >= PIECE_BYTES {
                self.compare()?;
            }
        }
        Ok(())
    }
}

const PIECE_BYTES: usize = 128 << 10;
