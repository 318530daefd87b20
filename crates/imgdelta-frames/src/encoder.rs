//! Taking the frames of a stream that passes.
//! Never keeps the content of a file.
//!
//! Memory is bounded: headers become columns, and the columns of a part are written before the next
//! part begins.

use crate::{
    MAGIC, PART_BYTES,
    members::{MemberCollector, PlacedMember},
    part_limits,
};
use imgdelta_core::{Error, Limits, Result};
use imgdelta_image::tarscan::TarScanner;
use imgdelta_layer::headers::{HeaderReader, HeaderWriter};
use std::{fmt, io::Write, mem};

/// Takes the frames of one stream, and writes them to an output.
///
/// Frames that are unfinished, or whose stream did not have its digest, are of no use.
pub struct FrameEncoder<W> {
    output: W,
    /// Name of the output in errors.
    place: String,
    scanner: TarScanner,
    collector: MemberCollector,
    /// Bytes whose kind is not decided: the scanner looks ahead.
    held: Vec<u8>,
    /// Offset of the held bytes in the stream.
    held_start: u64,
    /// Bytes since the last payload: padding, then headers.
    gap: Vec<u8>,
    /// Offset of the end of the latest payload.
    payload_end: u64,
    /// The entry whose padding is not complete.
    pending: Option<PendingEntry>,
    columns: HeaderWriter,
    /// Bytes of gaps in this part.
    part_bytes: usize,
    level: i32,
    most_part_bytes: usize,
    /// True if a reader would refuse a part.
    is_unreadable: bool,
}

/// An entry that waits for its padding.
struct PendingEntry {
    header: Vec<u8>,
    payload_bytes: u64,
}

impl<W: Write> FrameEncoder<W> {
    /// Starts a stream. Errors of the output name `place`.
    pub fn new(output: W, place: impl Into<String>) -> Result<Self> {
        Self::tuned(output, place, LEVEL, PART_BYTES)
    }

    /// Starts a stream whose columns are packed at a level of zstd, in parts of so many header bytes.
    #[doc(hidden)]
    pub fn tuned(
        output: W,
        place: impl Into<String>,
        level: i32,
        most_part_bytes: usize,
    ) -> Result<Self> {
        let mut encoder = Self {
            output,
            place: place.into(),
            scanner: TarScanner::new(&Limits::default()),
            collector: MemberCollector::default(),
            held: Vec::new(),
            held_start: 0,
            gap: Vec::new(),
            payload_end: 0,
            pending: None,
            columns: HeaderWriter::new(level),
            part_bytes: 0,
            level,
            most_part_bytes,
            is_unreadable: false,
        };
        encoder.write(MAGIC)?;
        Ok(encoder)
    }

    /// Returns the output, with the parts that are complete.
    pub fn output(&self) -> &W {
        &self.output
    }

    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.scanner.feed(bytes, &mut self.collector)?;
        self.held.extend_from_slice(bytes);
        let decided = self.held.len().saturating_sub(LOOK_AHEAD_BYTES);
        self.decide(decided)
    }

    /// Ends the stream. Returns the output and the length of the stream; `None` if the stream cannot
    /// be put together from files.
    pub fn finish(mut self) -> Result<Option<(W, u64)>> {
        let scanner = mem::replace(&mut self.scanner, TarScanner::new(&Limits::default()));
        let summary = scanner.finish(&mut self.collector);
        if summary.damage.is_some() {
            return Ok(None);
        }
        self.decide(self.held.len())?;
        while let Some(member) = self.collector.members.pop_front() {
            self.put_member(&member, self.held_start)?;
        }
        self.put_gap()?;
        self.put_part()?;
        let is_whole = self.held_start == summary.stream_bytes;
        if self.collector.is_replaced || self.is_unreadable || !is_whole {
            return Ok(None);
        }
        self.write(&0_u32.to_le_bytes())?;
        self.write(&summary.stream_bytes.to_le_bytes())?;
        Ok(Some((self.output, summary.stream_bytes)))
    }

    /// Takes the first `bytes` held bytes apart.
    fn decide(&mut self, bytes: usize) -> Result<()> {
        let held = mem::take(&mut self.held);
        let (start, end) = (self.held_start, self.held_start + bytes as u64);
        let part = |from: u64, to: u64| {
            let offset = |at: u64| usize::try_from(at - start).expect("within the held bytes");
            &held[offset(from)..offset(to)]
        };
        let mut at = start;
        while at < end {
            if at < self.payload_end {
                at = self.payload_end.min(end);
                continue;
            }
            let next = self.collector.members.front().map(|member| member.payload.start);
            let gap_end = next.map_or(end, |next| next.min(end).max(at));
            self.gap.extend_from_slice(part(at, gap_end));
            at = gap_end;
            if next.is_some_and(|next| next <= at) {
                let member = self.collector.members.pop_front().expect("looked at above");
                self.put_member(&member, at)?;
            }
        }
        if self.gap.len() >= MOST_GAP_BYTES {
            self.put_gap()?;
        }
        self.held = held;
        self.held.drain(..bytes);
        self.held_start = end;
        Ok(())
    }

    /// Writes the gap that ends with the header of a member; `at` is the gap's end.
    fn put_member(&mut self, member: &PlacedMember, at: u64) -> Result<()> {
        let payload_bytes = member.payload.end - member.payload.start;
        let gap_start = at - self.gap.len() as u64;
        if let Some(padding) = member.start.checked_sub(gap_start) {
            let padding = usize::try_from(padding).expect("within the gap");
            let header = self.gap.split_off(padding.min(self.gap.len()));
            self.put_gap()?;
            self.pending = Some(PendingEntry { header, payload_bytes });
        } else {
            // The front of the header was written with a long gap.
            self.put_gap()?;
            self.columns.raw_payload(payload_bytes);
        }
        self.payload_end = member.payload.end;
        Ok(())
    }

    /// Writes the gap, behind the pending entry if there is one.
    fn put_gap(&mut self) -> Result<()> {
        self.part_bytes += self.gap.len();
        if let Some(PendingEntry { header, payload_bytes }) = self.pending.take() {
            self.part_bytes += header.len();
            // Without a base, no entry has a payload of its own.
            let _ = self.columns.entry(&header, payload_bytes, &self.gap, None);
        } else {
            self.columns.raw(&self.gap);
        }
        self.gap.clear();
        if self.part_bytes >= self.most_part_bytes { self.put_part() } else { Ok(()) }
    }

    /// Writes the columns of a part, and begins the next one.
    fn put_part(&mut self) -> Result<()> {
        if self.part_bytes == 0 {
            return Ok(());
        }
        self.part_bytes = 0;
        let packed = mem::replace(&mut self.columns, HeaderWriter::new(self.level)).finish();
        // Content that compresses very far is refused by readers as a bomb.
        self.is_unreadable |= HeaderReader::open(&packed, &part_limits()).is_err();
        let length = u32::try_from(packed.len()).expect("columns are hardly larger than a part");
        self.write(&length.to_le_bytes())?;
        self.write(&packed)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes).map_err(Error::io(&self.place))
    }
}

impl<W> fmt::Debug for FrameEncoder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameEncoder").field("place", &self.place).finish_non_exhaustive()
    }
}

/// The scanner decides about a block when it sees the next one; both may be in parts.
const LOOK_AHEAD_BYTES: usize = 1024;
/// Longer gaps are content that travels in the frames, or zeros at the end.
const MOST_GAP_BYTES: usize = 1 << 20;
/// Level of zstd for columns.
const LEVEL: i32 = 9;
