//! Records a stream piece by piece, with a limit for the length of the record.
//!
//! Holds the inflater's window, the tokens of one block, and the record. Never chooses the search
//! profile on more than the sample at the start.

use super::predictor::SEARCH_PROFILES;
use super::record::{Recorder, SAMPLE_BYTES, StreamEvents, TokenRecorder};
use crate::inflate::InflateStream;

/// A recorder that stops when the record grows too long.
pub(crate) struct BoundedRecorder {
    stream: InflateStream,
    events: StreamEvents,
    recorder: TokenRecorder,
    profile: usize,
    most_bytes: usize,
}

impl BoundedRecorder {
    /// Begins a record of at most `most_bytes`. `sample` has the first bytes of the stream, and
    /// chooses the search profile unless it is given.
    pub(crate) fn new(sample: &[u8], most_bytes: usize, profile: Option<u8>) -> Self {
        let sample = &sample[..sample.len().min(SAMPLE_BYTES)];
        let profile = match profile.map(usize::from) {
            Some(profile) if profile < SEARCH_PROFILES.len() => profile,
            _ => Recorder::new().choose(sample, usize::MAX),
        };
        let (stream, events, recorder) =
            (InflateStream::new(), StreamEvents::default(), TokenRecorder::new(profile));
        Self { stream, events, recorder, profile, most_bytes }
    }

    /// Takes the next compressed bytes. Returns the number of bytes in the stream, and true at its
    /// end. `None` if the stream is damaged, has a block that is too large, or if the record grows
    /// too long.
    pub(crate) fn push(&mut self, piece: &[u8], each: impl FnMut(&[u8])) -> Option<(usize, bool)> {
        let taken = self.recorder.take(&mut self.stream, &mut self.events, piece, each)?;
        (self.recorder.len() <= self.most_bytes).then_some(taken)
    }

    /// Returns the record after the end of the stream. `None` if it is too long.
    pub(crate) fn finish(mut self) -> Option<Vec<u8>> {
        self.recorder.end_stream(&self.stream, &mut self.events)?;
        let mut bytes = vec![self.profile as u8];
        bytes.extend(self.recorder.finish());
        (bytes.len() <= self.most_bytes).then_some(bytes)
    }
}
