//! A layer's entry table: where each member of its stream lies, what it makes, what it holds.
//!
//! It never keeps payload. One pass over the uncompressed stream makes it; from then on questions
//! about the layer are answered without reading it, and [`cache`] keeps it from run to run. It
//! costs a few hundred bytes of memory an entry, and some 35 on disk (Debian, Python and Node layers).

mod builder;
pub mod cache;
pub mod entry;
mod file;

pub use builder::{FileReader, IndexBuilder};
pub use entry::{Attribute, Entry, Kind, Owner};

use crate::tarscan::Damage;
use bytes::Bytes;
use imgdelta_core::DiffId;
use std::ops::Range;

/// The entries of one layer, in the order of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The stream's name.
    pub diff_id: DiffId,
    /// The stream's length.
    pub stream_bytes: u64,
    /// Its members. Each reaches from its `start` to the next one's, the last to `tail_start`.
    pub entries: Vec<Entry>,
    /// Where what belongs to no member begins: end blocks, and all from a damage on.
    pub tail_start: u64,
    /// Where the stream stopped being a tar stream before its end mark. Runtimes refuse such a
    /// layer; whether that is an error is for the caller to say.
    pub damage: Option<Damage>,
    /// What the caller found in payloads it caught, already in bytes. Set it before the index is
    /// saved; here it means nothing.
    pub findings: Bytes,
}

/// A stretch of the stream; all of them in order are the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// The header blocks of an entry, extensions included.
    Header(usize, Range<u64>),
    /// The payload of an entry; never empty.
    Payload(usize, Range<u64>),
    /// What stands between a payload and the next entry; never empty.
    Padding(usize, Range<u64>),
    /// What stands behind the last entry; never empty.
    Tail(Range<u64>),
}

impl Segment {
    /// Returns where it lies.
    pub fn range(&self) -> Range<u64> {
        match self {
            Self::Header(_, range)
            | Self::Payload(_, range)
            | Self::Padding(_, range)
            | Self::Tail(range) => range.clone(),
        }
    }
}

impl Index {
    /// Makes the index of a layer whose stream cannot be had: nothing in it is seen.
    pub fn unseen(diff_id: DiffId) -> Self {
        Self {
            diff_id,
            stream_bytes: 0,
            entries: Vec::new(),
            tail_start: 0,
            damage: None,
            findings: Bytes::new(),
        }
    }

    /// Returns the header blocks of entry `i`, its extensions included.
    pub fn header_range(&self, i: usize) -> Range<u64> {
        self.entries[i].start..self.entries[i].payload.start
    }

    /// Returns all that is entry `i`'s: headers, payload, padding.
    pub fn member_range(&self, i: usize) -> Range<u64> {
        let end = self.entries.get(i + 1).map_or(self.tail_start, |next| next.start);
        self.entries[i].start..end
    }

    /// Returns what stands between the payload of entry `i` and the next entry. Mostly zeros up to
    /// a full block; between concatenated archives end blocks too.
    pub fn padding_range(&self, i: usize) -> Range<u64> {
        self.entries[i].payload.end..self.member_range(i).end
    }

    /// Returns the end blocks and whatever else stands behind the last entry.
    pub fn tail_range(&self) -> Range<u64> {
        self.tail_start..self.stream_bytes
    }

    /// Returns the whole stream in stretches, in order and without a gap.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        // Bytes in front of the first entry are only there when it is the end mark of an empty
        // archive; they have no entry before them, so they count as a tail that comes early.
        let lead = 0..self.entries.first().map_or(self.tail_start, |first| first.start);
        let of_entry = |i: usize| {
            [
                Segment::Header(i, self.header_range(i)),
                Segment::Payload(i, self.entries[i].payload.clone()),
                Segment::Padding(i, self.padding_range(i)),
            ]
        };
        std::iter::once(Segment::Tail(lead))
            .chain((0..self.entries.len()).flat_map(of_entry))
            .chain(std::iter::once(Segment::Tail(self.tail_range())))
            .filter(|segment| !segment.range().is_empty())
    }
}

#[cfg(test)]
pub mod tests;
