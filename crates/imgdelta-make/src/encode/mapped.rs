//! Base and target of a large piece: mapped, so that the kernel can take their memory back.
//!
//! Never maps a short piece: reading it costs less.

use imgdelta_codec::Host;
use imgdelta_core::map::MapRange;
use imgdelta_core::{Result, parallel::Workers};
use imgdelta_image::volume::{AddressSpace, LayerStream};
use std::ops::{Deref, Range};

/// The bytes of one side of a piece.
#[derive(Debug)]
pub(super) enum MappedBytes {
    /// A map of their file.
    Mapped(MapRange),
    /// A copy, since no single file has them.
    Copied(Vec<u8>),
}

impl MappedBytes {
    /// Returns the bytes of ranges of a space in sequence.
    pub(super) fn of_space(space: &AddressSpace, ranges: &[Range<u64>]) -> Result<Self> {
        let bytes = |range: &Range<u64>| range.end - range.start;
        if let [range] = ranges
            && let Some((extent, offset)) = space.file_of(range.start, bytes(range))
            && let Some(map) = extent.map_range(offset, bytes(range))?
        {
            return Ok(Self::Mapped(map));
        }
        let mut copy = Vec::new();
        for range in ranges {
            copy.extend_from_slice(&space.slice(range.start, bytes(range))?);
        }
        Ok(Self::Copied(copy))
    }

    /// Returns a range of a layer's stream.
    pub(super) fn of_stream(stream: &LayerStream, range: &Range<u64>) -> Result<Self> {
        let (start, bytes) = (range.start, range.end - range.start);
        if let Some(map) = stream.extent().map_range(start, bytes)? {
            return Ok(Self::Mapped(map));
        }
        Ok(Self::Copied(stream.slice(start, bytes)?))
    }

    fn release(&self) {
        if let Self::Mapped(map) = self {
            map.release();
        }
    }
}

impl Deref for MappedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

/// Base and target of a large piece, with idle workers to match it.
pub(super) struct MappedPiece<'a> {
    pub(super) base: MappedBytes,
    pub(super) target: MappedBytes,
    pub(super) workers: &'a Workers,
}

impl Host for MappedPiece<'_> {
    fn each(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        self.workers.share(count, HOSTED_THREADS, work);
    }

    fn release(&self) {
        self.base.release();
        self.target.release();
    }
}

/// Most threads that match one piece: each takes memory for a window of it.
pub(super) const HOSTED_THREADS: usize = 4;
