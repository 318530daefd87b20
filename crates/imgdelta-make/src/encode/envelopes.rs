//! How a target layer's blob will be made from its stream again.
//!
//! Found by trying, and always proved: a recipe that is returned was read back from its bytes and
//! has remade the very blob, by the code that applies deltas, on all free cores. What cannot be
//! remade is told so, and the plan carries the blob. The blob is read piece by piece, whatever its
//! length; the stream lies in the volume.
//!
//! Cost: the first megabytes for each likely encoder, then one compression; before it, for
//! encoders that can be restarted, one inflation that marks where. A second candidate is tried only
//! where the first has failed.

mod zstd;

use super::blob::Blob;
use imgdelta_apply::delta::Envelope;
use imgdelta_core::{Error, Result, parallel::Workers, progress::Progress};
use imgdelta_deflate::{
    DividedRecipe, EncoderModel, GZIP_TRAILER_BYTES, MemberScan, MemberTrailer, ModelCandidates,
    Recipe, RecipeLimits, RecipeMember, RestartPoint,
};
use imgdelta_image::{
    image::{Image, Layer},
    volume::{LayerStream, Volume},
};
use imgdelta_layer::remake::{DeflateRemaker, Remake};
use std::sync::Arc;

/// A layer whose envelope is sought.
pub(super) struct Seeker<'a> {
    pub image: &'a Image,
    pub layer: &'a Layer,
    pub volume: &'a Volume,
    pub workers: &'a Workers,
    pub progress: &'a dyn Progress,
}

impl Seeker<'_> {
    /// Returns how the blob is made from its stream; [`Envelope::Unmade`] if it cannot be.
    pub(super) fn find(&self) -> Result<Envelope> {
        if is_stream(self.layer) {
            return Ok(Envelope::Stored);
        }
        if let Some(envelope) = self.zstd()? {
            return Ok(envelope);
        }
        let found = self.deflate()?;
        Ok(found.map_or(Envelope::Unmade, Envelope::Deflate))
    }

    fn deflate(&self) -> Result<Option<Vec<u8>>> {
        let stream = self.volume.stream(&self.layer.diff_id).ok_or_else(|| {
            Error::bad_input(format_args!("layer {}", self.layer.diff_id), "its bytes are not here")
        })?;
        let mut doubts = Doubts::default();
        for _ in 0..MOST_ROUNDS {
            let Some(draft) = self.describe(stream, &mut doubts)? else { return Ok(None) };
            let bytes = draft.divided.to_bytes();
            // A record of another encoder's choices may be as large as what it saves.
            if bytes.len() as u64 > self.most_bytes() {
                return Ok(None);
            }
            let Ok(read) = DividedRecipe::from_bytes(&bytes, RecipeLimits::default()) else {
                return Ok(None);
            };
            if read == draft.divided && draft.is_proved {
                return Ok(Some(bytes));
            }
            match self.prove(read, stream)? {
                Proof::Right(tail) if tail.is_empty() => return Ok(Some(bytes)),
                Proof::Right(tail) => {
                    let mut recipe = draft.divided.recipe().clone();
                    recipe.tail.extend(tail);
                    let bytes = recipe.to_bytes();
                    return Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= self.most_bytes()));
                }
                Proof::Wrong { blob_bytes } => doubts.add(&draft, blob_bytes),
            }
        }
        Ok(None)
    }

    /// Returns a recipe that may be right. `None` if the blob is no gzip, or nothing is left to try.
    fn describe(&self, stream: &LayerStream, doubts: &mut Doubts) -> Result<Option<Draft>> {
        let mut blob = Blob::open(self.image, &self.layer.descriptor)?;
        let mut recipe = Recipe::default();
        let (mut points, mut starts) = (Vec::<RestartPoint>::new(), Vec::new());
        let mut is_proved = true;
        while recipe.members.len() < doubts.most_members {
            self.progress.check()?;
            blob.fill(START_BYTES)?;
            let ordinal = recipe.members.len();
            let before = recipe.members.last().map(|member| &member.model);
            let Some(mut candidates) = ModelCandidates::of(blob.ahead(), blob.is_all(), before)
            else {
                break;
            };
            let header_bytes = candidates.header_bytes();
            let header = blob.ahead()[..header_bytes].to_vec();
            let refuted = doubts.refuted(ordinal);
            let model = match refuted.len() {
                MOST_TRIALS.. => None,
                _ => candidates.find(|model| !refuted.contains(&model)),
            };
            let is_whole = model.is_some() && candidates.is_whole();
            is_proved &= is_whole;
            if let Some(model) = &model
                && doubts.is_simple
                && ordinal == 0
                && !is_whole
                && (!model.can_restart() || stream.bytes() < 2 * SPAN_BYTES)
            {
                // Nearly every blob is one member, and need not be inflated to know its length.
                let (plain_bytes, trailer) = (stream.bytes(), MemberTrailer::Gzip);
                let members =
                    vec![RecipeMember { header, model: model.clone(), trailer, plain_bytes }];
                let divided = Recipe { members, tail: Vec::new() }.into();
                return Ok(Some(Draft { divided, starts: vec![0], is_proved: false }));
            }
            starts.push(blob.position());
            blob.consume(header_bytes);
            let scan = match &model {
                Some(model) if doubts.has_points => {
                    Some(MemberScan::with_points(model, span_bytes(stream.bytes())))
                }
                Some(model) => Some(MemberScan::with_points(model, u64::MAX)),
                None => {
                    let most = usize::try_from(self.most_bytes()).unwrap_or(usize::MAX);
                    MemberScan::recording(blob.ahead(), most)
                }
            };
            let scanned = match scan {
                Some(scan) => self.scan(scan, &mut blob)?,
                None => None,
            };
            let model = scanned.as_ref().and_then(|scanned| model.or(scanned.record.clone()));
            let (Some(scanned), Some(model)) = (scanned, model) else {
                // What looks like another member and is none is kept as it is.
                if ordinal == 0 {
                    return Ok(None);
                }
                doubts.most_members = ordinal;
                return self.describe(stream, doubts);
            };
            blob.fill(GZIP_TRAILER_BYTES)?;
            let found = &blob.ahead()[..blob.ahead().len().min(GZIP_TRAILER_BYTES)];
            let is_right = found == scanned.trailer;
            let trailer =
                if is_right { MemberTrailer::Gzip } else { MemberTrailer::Literal(found.to_vec()) };
            let trailer_bytes = found.len();
            blob.consume(trailer_bytes);
            let member = u32::try_from(ordinal).expect("members are limited");
            points.extend(scanned.points.into_iter().map(|point| RestartPoint { member, ..point }));
            let plain_bytes = scanned.plain_bytes;
            recipe.members.push(RecipeMember { header, model, trailer, plain_bytes });
        }
        if recipe.members.is_empty() {
            return Ok(None);
        }
        let Some(tail) = blob.rest(self.most_bytes())? else { return Ok(None) };
        recipe.tail = tail;
        // Points that cannot be are left out rather than the recipe with them.
        let divided = DividedRecipe::new(recipe.clone(), points).unwrap_or_else(|_| recipe.into());
        Ok(Some(Draft { divided, starts, is_proved }))
    }

    /// Goes through a member's stream; `None` if it is not deflate or cannot be recorded.
    fn scan(
        &self,
        mut scan: MemberScan,
        blob: &mut Blob,
    ) -> Result<Option<imgdelta_deflate::MemberScanResult>> {
        loop {
            self.progress.check()?;
            blob.fill(PIECE_BYTES)?;
            let piece = &blob.ahead()[..blob.ahead().len().min(PIECE_BYTES)];
            if piece.is_empty() {
                return Ok(None);
            }
            let Some((taken, is_done)) = scan.push(piece) else { return Ok(None) };
            blob.consume(taken);
            if is_done {
                return Ok(Some(scan.finish()));
            }
        }
    }

    /// Remakes the blob and compares it with what is there.
    fn prove(&self, divided: DividedRecipe, stream: &LayerStream) -> Result<Proof> {
        let divided = Arc::new(divided);
        let mut blob = Blob::open(self.image, &self.layer.descriptor)?;
        let mut remake = DeflateRemaker::new(&divided, self.workers);
        let (mut piece, mut out) = (vec![0; PIECE_BYTES], Vec::new());
        let mut at = 0;
        loop {
            self.progress.check()?;
            let is_last = at == stream.bytes();
            let outcome = if is_last {
                remake.finish(&mut out)
            } else {
                let bytes = (stream.bytes() - at).min(PIECE_BYTES as u64);
                piece.truncate(usize::try_from(bytes).expect("a piece is in memory"));
                stream.read_exact_at(at, &mut piece)?;
                at += bytes;
                remake.push(&piece, &mut out)
            };
            if outcome.is_err() || !blob.starts_with(&out)? {
                return Ok(Proof::Wrong { blob_bytes: blob.position() });
            }
            out.clear();
            if is_last {
                let position = blob.position();
                let rest = blob.rest(self.most_bytes())?;
                return Ok(rest.map_or(Proof::Wrong { blob_bytes: position }, Proof::Right));
            }
        }
    }

    /// Bytes a recipe may have.
    fn most_bytes(&self) -> u64 {
        (self.layer.descriptor.size_bytes / 2).min(RECORD_BYTES)
    }
}

/// A recipe that is to be proved.
struct Draft {
    divided: DividedRecipe,
    /// Where each member starts in the blob.
    starts: Vec<u64>,
    /// Whether every member was compared already.
    is_proved: bool,
}

enum Proof {
    /// It makes the blob, up to these bytes.
    Right(Vec<u8>),
    /// It makes something else behind this many bytes.
    Wrong { blob_bytes: u64 },
}

/// What turned out wrong.
struct Doubts {
    /// Whether one member is taken for granted.
    is_simple: bool,
    has_points: bool,
    refuted: Vec<(usize, EncoderModel)>,
    most_members: usize,
}

impl Default for Doubts {
    fn default() -> Self {
        let most_members = usize::try_from(RecipeLimits::default().members).unwrap_or(usize::MAX);
        Self { is_simple: true, has_points: true, refuted: Vec::new(), most_members }
    }
}

impl Doubts {
    fn refuted(&self, member: usize) -> Vec<&EncoderModel> {
        let of_member = self.refuted.iter().filter(|(of, _)| *of == member);
        of_member.map(|(_, model)| model).collect()
    }

    fn add(&mut self, draft: &Draft, blob_bytes: u64) {
        let member = draft.starts.partition_point(|start| *start <= blob_bytes).saturating_sub(1);
        let model = draft.divided.recipe().members[member].model.clone();
        // Where a model differs from the start of a second member on, it is the members.
        let is_one = draft.divided.recipe().members.len() == 1;
        if std::mem::take(&mut self.is_simple) && is_one && draft.divided.points().is_empty() {
            return;
        }
        if !draft.divided.points().is_empty() && std::mem::take(&mut self.has_points) {
            return;
        }
        self.refuted.push((member, model));
    }
}

fn span_bytes(stream_bytes: u64) -> u64 {
    (stream_bytes / MANY_POINTS).clamp(SPAN_BYTES, LONG_SPAN_BYTES)
}

/// Returns how much memory finding takes, beside the parts that others have in hand.
pub(super) fn memory(layer: &Layer) -> u64 {
    match &layer.descriptor.media_type {
        _ if is_stream(layer) => 0,
        Some(media_type) if media_type.ends_with("zstd") => zstd::SEARCH_BYTES,
        _ => SEARCH_BYTES,
    }
}

/// Whether the blob is the stream: both have one digest.
fn is_stream(layer: &Layer) -> bool {
    let blob = layer.descriptor.digest;
    blob.algorithm() == layer.diff_id.algorithm() && blob.as_bytes() == layer.diff_id.as_bytes()
}

/// What is looked at to find candidates: eight segments of pgzip as everybody sets it, even of
/// bytes that cannot be compressed.
const START_BYTES: usize = 8 << 20;
const PIECE_BYTES: usize = 128 << 10;
/// Plain bytes between two restart points: large beside the 64 KiB that are indexed for each.
const SPAN_BYTES: u64 = 4 << 20;
/// In long streams, for shorter recipes: small beside what workers may hold.
const LONG_SPAN_BYTES: u64 = 8 << 20;
/// Restart points that a stream needs at most, unless its spans would become too long.
const MANY_POINTS: u64 = 20;
/// Bytes that recipes may have: they are read whole.
const RECORD_BYTES: u64 = 64 << 20;
/// Models of one member that are tried: levels that agree over two megabytes and part later are
/// rare, three of them unheard of.
const MOST_TRIALS: usize = 2;
/// One member, its restart points, two models with and without, a record, and as much again.
const MOST_ROUNDS: usize = 12;
/// The blob's start and its plain bytes, an encoder, two spans that wait; records take less.
const SEARCH_BYTES: u64 = 48 << 20;

#[cfg(test)]
mod tests;
