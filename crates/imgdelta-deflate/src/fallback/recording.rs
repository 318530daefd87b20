//! A stream recorded as its bytes come, within a ceiling for the record.
//!
//! Holds the inflater's window, the tokens of one block, and the record, which is given up where
//! it grows past what the caller would carry. Never chooses profile on more than the sample it is
//! given first.

use super::SEARCH_PROFILES;
use super::record::{SAMPLE_BYTES, StreamEvents, TokenRecorder, run};
use crate::inflate::Stream;

/// A recording under way.
pub(crate) struct BoundedRecorder {
    stream: Stream,
    events: StreamEvents,
    recorder: TokenRecorder,
    profile: usize,
    most_bytes: usize,
}

impl BoundedRecorder {
    /// Begins the record of a stream that begins with `sample`; it may have `most_bytes`.
    pub(crate) fn new(sample: &[u8], most_bytes: usize) -> Option<Self> {
        let sample = &sample[..sample.len().min(SAMPLE_BYTES)];
        let profile = (0..SEARCH_PROFILES.len()).min_by_key(|&profile| {
            run(sample, profile, |_| {}).map_or(usize::MAX, |run| run.0.len())
        })?;
        let (stream, events, recorder) =
            (Stream::new(), StreamEvents::default(), TokenRecorder::new(profile));
        Some(Self { stream, events, recorder, profile, most_bytes })
    }

    /// Takes compressed bytes; returns how many belong to the stream and whether it ended. `None`
    /// if it is no deflate stream, has a block too large, or the record grows too long.
    pub(crate) fn push(&mut self, piece: &[u8], each: impl FnMut(&[u8])) -> Option<(usize, bool)> {
        let taken = self.recorder.take(&mut self.stream, &mut self.events, piece, each)?;
        (self.recorder.len() <= self.most_bytes).then_some(taken)
    }

    /// Ends: the record's bytes. The stream must have ended.
    pub(crate) fn finish(mut self) -> Option<Vec<u8>> {
        self.recorder.end_stream(&self.stream, &mut self.events)?;
        let mut bytes = vec![self.profile as u8];
        bytes.extend(self.recorder.finish());
        (bytes.len() <= self.most_bytes).then_some(bytes)
    }
}
