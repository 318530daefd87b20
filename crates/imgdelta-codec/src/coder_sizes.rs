//! The bytes of a group by the coder that made them.
//! Never decodes a stream.
//!
//! Most literals are codes of their own, one for each member, with the member's base as prefix or
//! as reference. A group's pack holds them as bytes.

use crate::{error::Result, literals, stream::StreamKind, stream_coder::StreamCoder};
use imgdelta_coding::pack::{self, Coder};
use std::ops::AddAssign;

/// Bytes of groups by coder. A group's table of its streams counts for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CoderSizes([u64; StreamCoder::ALL.len()]);

impl CoderSizes {
    /// Reads the tables of a group.
    pub fn of_group(group: &[u8]) -> Result<Self> {
        let pack = pack::coded_streams(group, StreamKind::ALL.len())?;
        let mut sizes = Self::default();
        sizes.add(StreamCoder::Zstd, pack.shared.len());
        for (kind, stream) in StreamKind::ALL.into_iter().zip(&pack.streams) {
            match (stream.coder, kind) {
                (Coder::Raw, StreamKind::PackedLiterals) => {
                    literals::coders(stream.code, &mut |coder, bytes| sizes.add(coder, bytes))?;
                }
                (Coder::Raw, StreamKind::Codes) => {
                    sizes.add(StreamCoder::MixedWithBase, stream.code.len());
                }
                (Coder::Raw | Coder::Shared, _) => {
                    sizes.add(StreamCoder::Stored, stream.code.len());
                }
                (Coder::Own, _) => sizes.add(StreamCoder::Zstd, stream.code.len()),
                (Coder::Lz, _) => sizes.add(StreamCoder::Lz, stream.code.len()),
                (Coder::Mixed, _) => sizes.add(StreamCoder::Mixed, stream.code.len()),
            }
        }
        Ok(sizes)
    }

    /// Returns the coders that have bytes, with their bytes.
    pub fn used(&self) -> impl Iterator<Item = (StreamCoder, u64)> {
        StreamCoder::ALL.into_iter().zip(self.0).filter(|(_, bytes)| *bytes > 0)
    }

    fn add(&mut self, coder: StreamCoder, bytes: usize) {
        let sum = &mut self.0[coder as usize];
        *sum = sum.saturating_add(bytes as u64);
    }
}

impl AddAssign for CoderSizes {
    fn add_assign(&mut self, other: Self) {
        for (sum, bytes) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(bytes);
        }
    }
}
