//! The bytes of a target layer: its stream, and the parts inside its archives.
//! Never knows what they are made from.

use super::mapped::MappedBytes;
use crate::archives::PartIndex;
use imgdelta_core::Result;
use imgdelta_image::volume::LayerStream;
use std::ops::Range;

/// The bytes of a target layer: its stream, and the parts inside its archives.
#[derive(Clone, Copy, Debug)]
pub(super) struct TargetBytes<'a> {
    pub(super) stream: &'a LayerStream,
    pub(super) parts: Option<&'a PartIndex>,
}

impl TargetBytes<'_> {
    /// Fills `buffer` with bytes of the stream or of the parts.
    pub(super) fn read_exact_at(&self, is_part: bool, at: u64, buffer: &mut [u8]) -> Result<()> {
        match self.parts.filter(|_| is_part) {
            Some(parts) => parts.space.read_exact_at(at, buffer),
            None => self.stream.read_exact_at(at, buffer),
        }
    }

    /// Returns true if a range of the stream or of the parts starts with these bytes.
    pub(super) fn starts_with(
        &self,
        is_part: bool,
        range: &Range<u64>,
        start: &[u8],
    ) -> Result<bool> {
        if range.end - range.start < start.len() as u64 {
            return Ok(false);
        }
        let mut found = vec![0; start.len()];
        self.read_exact_at(is_part, range.start, &mut found)?;
        Ok(found == start)
    }

    /// Returns a range of the stream or of the parts as a map.
    pub(super) fn map(&self, is_part: bool, range: &Range<u64>) -> Result<MappedBytes> {
        match self.parts.filter(|_| is_part) {
            Some(parts) => MappedBytes::of_space(&parts.space, std::slice::from_ref(range)),
            None => MappedBytes::of_stream(self.stream, range),
        }
    }
}
