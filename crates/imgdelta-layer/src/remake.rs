//! Compresses a stream again as its blob was, on all cores that are idle.
//! Never hashes: the caller compares the blob with its digest.
//!
//! The stream comes in order, and the blob leaves in order. Between are the spans that workers are
//! compressing, a few for each worker. The side that makes a delta proves each recipe with the same
//! code.

mod zstd;

pub use zstd::ZstdRemaker;

use imgdelta_core::{
    error::Cause,
    parallel::{Line, Workers},
};
use imgdelta_deflate::{
    DividedRecipe, RemakeError, RemakeStep, RemakeSteps, Span, SpanJoiner, SpanOutput,
};
use std::sync::Arc;

/// A compressor that reproduces the output of another one.
pub trait Remake {
    /// Adds the next bytes of the stream, and appends the finished part of the blob to `out`.
    fn push(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Cause>;

    /// Ends the stream, and appends the rest of the blob to `out`.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Cause>;
}

/// A compressor of deflate streams, by a recipe of `imgdelta-deflate`.
pub struct DeflateRemaker<'a> {
    divided: &'a Arc<DividedRecipe>,
    steps: RemakeSteps<'a>,
    step: Option<RemakeStep>,
    joiner: Option<SpanJoiner<'a>>,
    line: Line<'a, (Span, Result<SpanOutput, RemakeError>)>,
    /// Bytes of the stream that this step or a later one reads.
    held: Vec<u8>,
    /// Offset of `held` in the stream.
    start: u64,
    /// Offset at which the finished steps end.
    done: u64,
}

impl<'a> DeflateRemaker<'a> {
    /// Starts a blob. Call it inside of [`Workers::map`], so that idle workers help.
    pub fn new(divided: &'a Arc<DividedRecipe>, workers: &'a Workers) -> Self {
        let mut steps = divided.steps();
        let step = steps.next();
        Self {
            divided,
            steps,
            step,
            joiner: Some(SpanJoiner::new(divided)),
            line: workers.line(),
            held: Vec::new(),
            start: 0,
            done: 0,
        }
    }

    /// Runs all steps whose bytes are held.
    fn advance(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let end = self.start + self.held.len() as u64;
        loop {
            match &self.step {
                Some(RemakeStep::Span(span)) => {
                    if end < span.reads.end {
                        return Ok(());
                    }
                    let span = span.clone();
                    self.put(span, out)?;
                }
                Some(RemakeStep::Serial { plain }) => {
                    let range = self.done..end.min(plain.end);
                    let is_last = end >= plain.end;
                    self.join_all(out)?;
                    let held = &self.held[self.index(range.start)..self.index(range.end)];
                    let joiner = self.joiner.as_mut().ok_or(RemakeError::Finished)?;
                    joiner.serial(held, is_last, out)?;
                    self.done = range.end;
                    if !is_last {
                        self.held.clear();
                        self.start = range.end;
                        return Ok(());
                    }
                    self.next_step();
                }
                None if end > self.done => {
                    let (expected_bytes, found_bytes) = (self.done, end);
                    return Err(RemakeError::TooLong { expected_bytes, found_bytes });
                }
                None => return Ok(()),
            }
        }
    }

    fn put(&mut self, span: Span, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while !self.line.has_room() {
            self.join_first(out)?;
        }
        let reads = self.index(span.reads.start)..self.index(span.reads.end);
        let plain = self.held[reads].to_vec();
        let divided = Arc::clone(self.divided);
        self.done = span.plain.end;
        self.line.put(move || {
            let made = span.remake(&divided, &plain);
            (span, made)
        });
        self.next_step();
        Ok(())
    }

    fn next_step(&mut self) {
        self.step = self.steps.next();
        let from = match &self.step {
            Some(RemakeStep::Span(span)) => span.reads.start,
            Some(RemakeStep::Serial { plain }) => plain.start,
            None => self.done,
        };
        let index = self.index(from).min(self.held.len());
        self.held.drain(..index);
        self.start += index as u64;
    }

    fn join_first(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let Some((span, made)) = self.line.take() else { return Ok(()) };
        self.joiner.as_mut().ok_or(RemakeError::Finished)?.push(&span, made?, out)
    }

    fn join_all(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while !self.line.is_empty() {
            self.join_first(out)?;
        }
        Ok(())
    }

    /// Returns the index of a stream position in `held`; steps read nothing before it.
    fn index(&self, position: u64) -> usize {
        usize::try_from(position - self.start).expect("held bytes are in memory")
    }
}

impl Remake for DeflateRemaker<'_> {
    fn push(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Cause> {
        self.held.extend_from_slice(plain);
        self.advance(out)?;
        while let Some((span, made)) = self.line.take_done() {
            self.joiner.as_mut().ok_or(RemakeError::Finished)?.push(&span, made?, out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Cause> {
        self.advance(out)?;
        if self.step.is_some() {
            let expected_bytes = self.divided.recipe().plain_bytes();
            let found_bytes = self.start + self.held.len() as u64;
            return Err(RemakeError::TooShort { expected_bytes, found_bytes }.into());
        }
        self.join_all(out)?;
        let joiner = self.joiner.take().ok_or(RemakeError::Finished)?;
        Ok(joiner.finish(out)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_deflate::{
        EncoderModel, KlauspostVersion, MemberScan, MemberTrailer, Recipe, RecipeMember, Remaker,
        RestartPoint,
    };

    fn plain() -> Vec<u8> {
        let mut state = 7_u32;
        let mut plain = Vec::new();
        while plain.len() < 5 << 20 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let from = plain.len().saturating_sub(1 + (state >> 12) as usize % 30_000);
            let until = plain.len().min(from + (state >> 27) as usize);
            plain.extend_from_within(from..until);
            plain.extend_from_slice(&state.to_le_bytes()[2..]);
        }
        plain
    }

    fn member(model: EncoderModel, plain: &[u8]) -> RecipeMember {
        let plain_bytes = plain.len() as u64;
        RecipeMember {
            header: b"header".to_vec(),
            model,
            trailer: MemberTrailer::Gzip,
            plain_bytes,
        }
    }

    fn serially(recipe: &Recipe, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut remaker = Remaker::new(recipe);
        remaker.write(plain, &mut out).unwrap();
        remaker.finish(&mut out).unwrap();
        out
    }

    /// Compresses `plain` on a number of workers, in pieces of a number of bytes.
    fn remade(
        divided: &Arc<DividedRecipe>,
        plain: &[u8],
        threads: usize,
        piece_bytes: usize,
    ) -> Result<Vec<u8>, String> {
        let workers = Workers::new(threads).unwrap();
        let made = workers.map(vec![()], |()| {
            let mut out = Vec::new();
            let mut remake = DeflateRemaker::new(divided, &workers);
            let mut all = || {
                for piece in plain.chunks(piece_bytes) {
                    remake.push(piece, &mut out)?;
                }
                remake.finish(&mut out)
            };
            Ok(all().map_err(|error| error.to_string()).map(|()| out))
        });
        made.unwrap().remove(0)
    }

    fn recipes() -> Vec<(DividedRecipe, Vec<u8>)> {
        let plain = plain();
        let pgzip = |segment_bytes| EncoderModel::Pgzip {
            version: KlauspostVersion::V1_20,
            level: 5,
            segment_bytes,
        };
        let mut made = Vec::new();
        for models in [
            vec![pgzip(1 << 20)],
            vec![pgzip(5 << 20)],
            vec![
                EncoderModel::Golang { level: 1 },
                pgzip(100_000),
                EncoderModel::Golang { level: 1 },
            ],
        ] {
            let members = models.into_iter().map(|model| member(model, &plain)).collect::<Vec<_>>();
            let all = plain.repeat(members.len());
            made.push((DividedRecipe::from(Recipe { members, tail: b"tail".to_vec() }), all));
        }
        let recipe = Recipe {
            members: vec![member(EncoderModel::Golang { level: 4 }, &plain)],
            tail: Vec::new(),
        };
        let mut walk = MemberScan::with_points(&recipe.members[0].model, 1 << 19);
        let stream = serially(&recipe, &plain);
        walk.push(&stream[b"header".len()..]).unwrap();
        let points: Vec<RestartPoint> = walk.finish().points;
        assert!(points.len() > 4);
        made.push((DividedRecipe::new(recipe, points).unwrap(), plain));
        made
    }

    #[test]
    fn blob_does_not_depend_on_workers_or_pieces() {
        for (divided, plain) in recipes() {
            let wanted = serially(divided.recipe(), &plain);
            let divided = Arc::new(divided);
            for (threads, piece_bytes) in [(1, 77_777), (2, 256 << 10), (4, plain.len())] {
                let made = remade(&divided, &plain, threads, piece_bytes).unwrap();
                assert!(made == wanted, "{threads} threads");
            }
        }
    }

    #[test]
    fn streams_of_a_wrong_length_are_refused() {
        for (divided, mut plain) in recipes() {
            let divided = Arc::new(divided);
            let last = plain.pop().unwrap();
            let short = remade(&divided, &plain, 2, 1 << 20).unwrap_err();
            assert!(short.contains("fewer plain bytes"), "{short}");
            plain.extend([last, last]);
            let long = remade(&divided, &plain, 2, 1 << 20).unwrap_err();
            assert!(long.contains("more plain bytes"), "{long}");
        }
    }
}
