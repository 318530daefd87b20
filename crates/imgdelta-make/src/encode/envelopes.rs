//! The search for the envelope of a target layer: a recipe that makes its blob from its stream.
//! Never returns a recipe that is not proved.
//!
//! A proved recipe was read back from its bytes and made the blob, with the code that applies
//! deltas. If no recipe does, the envelope is unknown and the delta carries the blob. The blob is
//! read in pieces; the stream is in the volume.
//!
//! Cost: the first megabytes for each likely encoder, then one compression. Encoders that can be
//! restarted take one inflation before, which marks restart points. If the first candidate fails,
//! the others are compared one by one, each until its first wrong byte.

mod zstd;

use super::blob::BlobReader;
use crate::envelopes::is_stream;
use imgdelta_apply::delta::Envelope;
use imgdelta_core::{Error, Result, parallel::Workers, progress::Progress};
use imgdelta_deflate::{
    DividedRecipe, EncoderModel, GZIP_TRAILER_BYTES, MemberScan, MemberTrailer, MemberTrial,
    ModelCandidates, Recipe, RecipeLimits, RecipeMember, RestartPoint, TrialBudget, TrialCredit,
    TrialProgress,
};
use imgdelta_image::{
    image::{Image, Layer},
    volume::{LayerStream, Volume},
};
use imgdelta_layer::remake::{DeflateRemaker, Remake};
use std::sync::Arc;

/// The search for the envelope of one layer.
pub(super) struct EnvelopeSearch<'a> {
    pub image: &'a Image,
    pub layer: &'a Layer,
    pub volume: &'a Volume,
    /// Most bytes of the envelope's recipe.
    pub most_bytes: u64,
    pub workers: &'a Workers,
    pub progress: &'a dyn Progress,
}

impl EnvelopeSearch<'_> {
    /// Returns the envelope of the blob; [`Envelope::Unmade`] if it is not found.
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
            Error::bad_input(
                format_args!("layer {}", self.layer.diff_id),
                "its stream was not read",
            )
        })?;
        let mut failed = FailedTrials::default();
        for _ in 0..MOST_ROUNDS {
            let Some(trial) = self.describe(stream, &mut failed)? else { return Ok(None) };
            let bytes = trial.divided.to_bytes();
            // A record of an unknown encoder's choices may be as large as the blob.
            if bytes.len() as u64 > self.most_bytes {
                return Ok(None);
            }
            let Ok(read) = DividedRecipe::from_bytes(&bytes, RecipeLimits::default()) else {
                return Ok(None);
            };
            if read == trial.divided && trial.is_proved {
                return Ok(Some(bytes));
            }
            match self.prove(read, stream)? {
                TrialResult::Equal(tail) if tail.is_empty() => return Ok(Some(bytes)),
                TrialResult::Equal(tail) => {
                    let mut recipe = trial.divided.recipe().clone();
                    recipe.tail.extend(tail);
                    let bytes = recipe.to_bytes();
                    return Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= self.most_bytes));
                }
                TrialResult::Different { blob_bytes } => failed.add(&trial, blob_bytes),
            }
        }
        Ok(None)
    }

    /// Returns the next recipe to try; `None` if the blob is not gzip or all recipes have failed.
    fn describe(&self, stream: &LayerStream, failed: &mut FailedTrials) -> Result<Option<Trial>> {
        let mut blob = BlobReader::open(self.image, &self.layer.descriptor)?;
        let mut recipe = Recipe::default();
        let (mut points, mut starts) = (Vec::<RestartPoint>::new(), Vec::new());
        let mut is_proved = true;
        let mut credit = TrialCredit::new();
        while recipe.members.len() < failed.most_members {
            self.progress.check()?;
            blob.fill(START_BYTES)?;
            let ordinal = recipe.members.len();
            let before = recipe.members.last().map(|member| &member.model);
            let candidates = ModelCandidates::of(blob.ahead(), blob.is_all(), before, &credit);
            let Some(mut candidates) = candidates else { break };
            let header_bytes = candidates.header_bytes();
            let header = blob.ahead()[..header_bytes].to_vec();
            let is_whole = candidates.is_whole();
            let model = if failed.refuted(ordinal).is_empty() {
                let model = candidates.next();
                let (plain_bytes, work) = (candidates.plain_bytes(), candidates.work_bytes());
                credit.settle(plain_bytes, work, model.is_some());
                model
            } else {
                let body = blob.position() + header_bytes as u64;
                self.settle(ordinal, candidates, body, failed)?
            };
            let is_whole = is_whole && model.is_some();
            is_proved &= is_whole;
            if let Some(model) = &model
                && failed.is_simple
                && ordinal == 0
                && !is_whole
                && (!model.can_restart() || stream.bytes() < 2 * SPAN_BYTES)
            {
                // Nearly every blob is one member, whose length is that of the stream.
                let (plain_bytes, trailer) = (stream.bytes(), MemberTrailer::Gzip);
                let members =
                    vec![RecipeMember { header, model: model.clone(), trailer, plain_bytes }];
                let divided = Recipe { members, tail: Vec::new() }.into();
                return Ok(Some(Trial { divided, starts: vec![0], is_proved: false }));
            }
            starts.push(blob.position());
            blob.consume(header_bytes);
            let scan = match &model {
                Some(model) if failed.has_points => {
                    MemberScan::with_points(model, span_bytes(stream.bytes()))
                }
                Some(model) => MemberScan::with_points(model, u64::MAX),
                None => {
                    let most = usize::try_from(self.most_bytes).unwrap_or(usize::MAX);
                    MemberScan::recording(blob.ahead(), most, before)
                }
            };
            let scanned = self.scan(scan, &mut blob)?;
            let model = scanned.as_ref().and_then(|scanned| model.or(scanned.record.clone()));
            let (Some(scanned), Some(model)) = (scanned, model) else {
                // Bytes that only look like another member become the tail.
                if ordinal == 0 {
                    return Ok(None);
                }
                failed.most_members = ordinal;
                return self.describe(stream, failed);
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
        let Some(tail) = blob.rest(self.most_bytes)? else { return Ok(None) };
        recipe.tail = tail;
        // Invalid points are left out; the recipe is valid without them.
        let divided = DividedRecipe::new(recipe.clone(), points).unwrap_or_else(|_| recipe.into());
        Ok(Some(Trial { divided, starts, is_proved }))
    }

    /// Returns the model of a member for which a candidate has failed; `None` if there is none.
    ///
    /// Streams that begin with incompressible bytes look alike for many encoders, so all of them are
    /// compared with the stream behind `body`. The result is kept for later recipes.
    fn settle(
        &self,
        ordinal: usize,
        candidates: ModelCandidates<'_>,
        body: u64,
        failed: &mut FailedTrials,
    ) -> Result<Option<EncoderModel>> {
        if let Some((_, settled)) = failed.settled.iter().find(|(of, _)| *of == ordinal) {
            let settled = settled.clone();
            return Ok(settled.filter(|model| !failed.refuted(ordinal).contains(&model)));
        }
        let mut budget = TrialBudget::of(self.layer.descriptor.size_bytes);
        let mut found = None;
        for model in candidates {
            if budget.is_spent() {
                break;
            }
            if failed.refuted(ordinal).contains(&&model) {
                continue;
            }
            let Some(mut trial) = MemberTrial::new(&model) else { continue };
            if self.is_remade(&mut trial, body)? {
                found = Some(model);
                break;
            }
            budget.charge(&model, trial.plain_bytes());
        }
        failed.settled.push((ordinal, found.clone()));
        Ok(found)
    }

    /// True if the model of `trial` makes the deflate stream at `body` in the blob.
    fn is_remade(&self, trial: &mut MemberTrial, body: u64) -> Result<bool> {
        let mut blob = BlobReader::open(self.image, &self.layer.descriptor)?;
        loop {
            self.progress.check()?;
            blob.fill(PIECE_BYTES)?;
            let ahead = blob.ahead().len().min(PIECE_BYTES);
            if ahead == 0 {
                return Ok(false);
            }
            let before = usize::try_from(body - blob.position().min(body)).unwrap_or(usize::MAX);
            if before > 0 {
                blob.consume(ahead.min(before));
                continue;
            }
            match trial.push(&blob.ahead()[..ahead]) {
                TrialProgress::Equal => blob.consume(ahead),
                TrialProgress::Remade => return Ok(true),
                TrialProgress::Different => return Ok(false),
            }
        }
    }

    /// Scans a member's stream; `None` if it is not deflate or cannot be recorded.
    fn scan(
        &self,
        mut scan: MemberScan,
        blob: &mut BlobReader,
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

    /// Makes the blob and compares it with the original.
    fn prove(&self, divided: DividedRecipe, stream: &LayerStream) -> Result<TrialResult> {
        let divided = Arc::new(divided);
        let mut blob = BlobReader::open(self.image, &self.layer.descriptor)?;
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
                return Ok(TrialResult::Different { blob_bytes: blob.position() });
            }
            out.clear();
            if is_last {
                let position = blob.position();
                let rest = blob.rest(self.most_bytes)?;
                return Ok(rest
                    .map_or(TrialResult::Different { blob_bytes: position }, TrialResult::Equal));
            }
        }
    }
}

/// A recipe to be proved.
struct Trial {
    divided: DividedRecipe,
    /// Offset of each member in the blob.
    starts: Vec<u64>,
    /// True if every member was compared already.
    is_proved: bool,
}

enum TrialResult {
    /// The recipe makes the blob except for these last bytes.
    Equal(Vec<u8>),
    /// The recipe makes another blob after this many equal bytes.
    Different { blob_bytes: u64 },
}

/// Assumptions and models that have failed.
struct FailedTrials {
    /// True as long as one member is assumed.
    is_simple: bool,
    has_points: bool,
    refuted: Vec<(usize, EncoderModel)>,
    /// Members whose candidates were all compared, and the model that was right.
    settled: Vec<(usize, Option<EncoderModel>)>,
    most_members: usize,
}

impl Default for FailedTrials {
    fn default() -> Self {
        let most_members = usize::try_from(RecipeLimits::default().members).unwrap_or(usize::MAX);
        Self {
            is_simple: true,
            has_points: true,
            refuted: Vec::new(),
            settled: Vec::new(),
            most_members,
        }
    }
}

impl FailedTrials {
    fn refuted(&self, member: usize) -> Vec<&EncoderModel> {
        let of_member = self.refuted.iter().filter(|(of, _)| *of == member);
        of_member.map(|(_, model)| model).collect()
    }

    fn add(&mut self, trial: &Trial, blob_bytes: u64) {
        let member = trial.starts.partition_point(|start| *start <= blob_bytes).saturating_sub(1);
        let model = trial.divided.recipe().members[member].model.clone();
        // If a model fails after the first member, the assumption of one member was wrong.
        let is_one = trial.divided.recipe().members.len() == 1;
        if std::mem::take(&mut self.is_simple) && is_one && trial.divided.points().is_empty() {
            return;
        }
        if !trial.divided.points().is_empty() && std::mem::take(&mut self.has_points) {
            return;
        }
        self.refuted.push((member, model));
    }
}

fn span_bytes(stream_bytes: u64) -> u64 {
    (stream_bytes / MANY_POINTS).clamp(SPAN_BYTES, LONG_SPAN_BYTES)
}

/// Returns the memory that the search takes.
pub(super) fn memory(layer: &Layer) -> u64 {
    match &layer.descriptor.media_type {
        _ if is_stream(layer) => 0,
        Some(media_type) if media_type.ends_with("zstd") => zstd::SEARCH_BYTES,
        _ => SEARCH_BYTES,
    }
}

/// First bytes by which candidates are found: eight segments of pgzip's usual size, even of bytes
/// that cannot be compressed.
const START_BYTES: usize = 8 << 20;
const PIECE_BYTES: usize = 128 << 10;
/// Plain bytes between two restart points: large compared with the 64 KiB indexed for each.
const SPAN_BYTES: u64 = 4 << 20;
/// The same in long streams, for shorter recipes; small compared with the workers' memory.
const LONG_SPAN_BYTES: u64 = 8 << 20;
/// Restart points of a long stream, unless its spans would become too long.
const MANY_POINTS: u64 = 20;
/// Twice the recipes of one member: with and without restart points, for the first candidate and
/// for the settled model, and a record.
const MOST_ROUNDS: usize = 12;
/// Memory for the blob's start and its plain bytes, an encoder, and two waiting spans.
const SEARCH_BYTES: u64 = 48 << 20;

#[cfg(test)]
mod tests;
