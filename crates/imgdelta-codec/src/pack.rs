//! Several byte streams as one string: a table, then each stream raw or compressed.
//! Never reserves memory for a length beyond the limit or beyond what the bytes can expand to.
//!
//! A delta of small changes has dozens of streams of a few hundred bytes. A frame for each would
//! cost more than it holds, so small streams share one frame. Large ones have their own, whose
//! statistics are purer. The writer tries several borders between small and large.
//! `docs/format-group.md` specifies the bytes.

use crate::{
    error::PackError,
    frame::{self, ZSTD_MAGIC},
    mixing,
};
use imgdelta_wire::{Cursor, varint};
use std::fmt;
use zstd::{bulk::Compressor, zstd_safe::CParameter};

/// The coding of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coder {
    /// The bytes themselves.
    Raw,
    /// A zstd frame of its own.
    Own,
    /// The zstd frame that all small streams share.
    Shared,
    /// Predictions mixed from many contexts.
    Mixed,
}

/// Most bytes of a pack in mixed streams, and most for each packed byte.
///
/// A mixed byte takes one or two microseconds: this bounds the work of a reader of hostile packs.
const MAX_MIXED: u64 = 4 << 20;
const MAX_MIXED_EXPANSION: u64 = 32;

/// Unpacked bytes that any pack of tables may have, and those for each packed byte beyond.
///
/// Tables of millions of equal numbers pack to almost nothing. These bounds keep the memory of a
/// reader in proportion to the bytes that it has read.
const FREE_UNPACKED: u64 = 8 << 20;
const MAX_EXPANSION: u64 = 512;

/// Sizes that a pack states for its streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackSizes {
    /// Unpacked bytes of all streams.
    pub unpacked_bytes: u64,
    /// Those of them that are mixed, which take one or two microseconds each.
    pub mixed_bytes: u64,
}

/// Unpacks the tables of a delta: at most `max_count` streams, of at most `limit_bytes` together.
///
/// Refuses mixed streams, and packs that expand further than tables do.
pub fn unpack(pack: &[u8], max_count: usize, limit_bytes: u64) -> Result<Vec<Vec<u8>>, PackError> {
    let sizes = sizes(pack, max_count)?;
    if sizes.mixed_bytes > 0 {
        let (at, what) = (0, "mixed bytes in a table");
        return Err(PackError::Malformed { at, what, expected: 0, found: sizes.mixed_bytes });
    }
    let bearable = (pack.len() as u64).saturating_mul(MAX_EXPANSION).saturating_add(FREE_UNPACKED);
    unpack_group(pack, max_count, limit_bytes.min(bearable))
}

/// Unpacks the streams of a group: at most `max_count`, of at most `limit_bytes` together.
pub fn unpack_group(
    pack: &[u8],
    max_count: usize,
    limit_bytes: u64,
) -> Result<Vec<Vec<u8>>, PackError> {
    let mut table = PackTable(Cursor::new(pack));
    let count = table.number("stream count")?;
    if count > max_count as u64 {
        return Err(table.malformed("stream count", max_count as u64, count));
    }
    let mut total_bytes = 0_u64;
    let (mut shared_bytes, mut mixed_bytes) = (0_u64, 0_u64);
    let mut kept = Vec::new();
    for _ in 0..count {
        let word = table.number("stream length and coder")?;
        let raw_len = word >> 2;
        total_bytes = total_bytes.saturating_add(raw_len);
        if total_bytes > limit_bytes {
            return Err(PackError::TooLarge {
                what: "unpacked streams",
                limit: limit_bytes,
                found: total_bytes,
            });
        }
        let (coder, packed_len) = match word & 3 {
            0 => (Coder::Raw, raw_len),
            1 => (Coder::Own, table.number("packed length")?),
            2 => {
                shared_bytes += raw_len;
                (Coder::Shared, 0)
            }
            _ => {
                let packed_len = table.number("packed length")?;
                let bearable = packed_len.saturating_mul(MAX_MIXED_EXPANSION);
                mixed_bytes = mixed_bytes.saturating_add(raw_len);
                if raw_len > bearable || mixed_bytes > MAX_MIXED {
                    let bearable = bearable.min(MAX_MIXED);
                    return Err(table.malformed("mixed bytes", bearable, raw_len));
                }
                (Coder::Mixed, packed_len)
            }
        };
        kept.push((coder, raw_len, packed_len));
    }

    let mut shared = Vec::new();
    if kept.iter().any(|&(coder, ..)| coder == Coder::Shared) {
        let packed_len = table.number("packed length of the shared frame")?;
        shared = table.frame(packed_len, shared_bytes)?;
    }
    let mut shared_rest = shared.as_slice();
    let mut streams = Vec::with_capacity(kept.len());
    for (coder, raw_len, packed_len) in kept {
        streams.push(match coder {
            Coder::Raw => table.bytes(packed_len)?.to_vec(),
            Coder::Own => table.frame(packed_len, raw_len)?,
            Coder::Mixed => {
                let packed = table.bytes(packed_len)?;
                mixing::unpack(packed, usize::try_from(raw_len).unwrap_or(0))
            }
            Coder::Shared => {
                let len = usize::try_from(raw_len).unwrap_or(usize::MAX).min(shared_rest.len());
                let (own, rest) = shared_rest.split_at(len);
                shared_rest = rest;
                own.to_vec()
            }
        });
    }
    table.0.finish().map_err(|error| PackError::of_wire(error, "end of the pack"))?;
    Ok(streams)
}

/// Returns the sizes that a pack states, from its first bytes; [`TABLE_BYTES`] are enough.
pub fn sizes(start: &[u8], max_count: usize) -> Result<PackSizes, PackError> {
    let mut table = PackTable(Cursor::new(start));
    let count = table.number("stream count")?;
    if count > max_count as u64 {
        return Err(table.malformed("stream count", max_count as u64, count));
    }
    let mut sizes = PackSizes::default();
    for _ in 0..count {
        let word = table.number("stream length and coder")?;
        sizes.unpacked_bytes = sizes.unpacked_bytes.saturating_add(word >> 2);
        if matches!(word & 3, 1 | 3) {
            table.number("packed length")?;
        }
        if word & 3 == 3 {
            sizes.mixed_bytes = sizes.mixed_bytes.saturating_add(word >> 2);
        }
    }
    Ok(sizes)
}

/// First bytes of a pack that hold its table, if it has at most 24 streams.
pub const TABLE_BYTES: usize = 10 + 24 * (10 + 10);

/// A pack that is being read.
struct PackTable<'a>(Cursor<'a>);

impl<'a> PackTable<'a> {
    fn number(&mut self, what: &'static str) -> Result<u64, PackError> {
        self.0.varint().map_err(|error| PackError::of_wire(error, what))
    }

    fn bytes(&mut self, len: u64) -> Result<&'a [u8], PackError> {
        self.0.take(len).map_err(|error| PackError::of_wire(error, "bytes left in the pack"))
    }

    /// Reads a frame of `packed_len` bytes that must unpack to exactly `raw_len` bytes.
    fn frame(&mut self, packed_len: u64, raw_len: u64) -> Result<Vec<u8>, PackError> {
        let packed = self.bytes(packed_len)?;
        frame::unpack(packed, &[], raw_len, self.0.at())
    }

    #[cold]
    fn malformed(&self, what: &'static str, expected: u64, found: u64) -> PackError {
        PackError::Malformed { at: self.0.at(), what, expected, found }
    }
}

/// Shorter streams do not pay for a model of their own.
const SHORTEST_MIXED: usize = 64;

/// Longest streams that share a frame; every border is tried and the smallest pack wins.
const BORDERS: [usize; 4] = [0, 512, 4 << 10, 32 << 10];

/// Compresses streams at one level; reuses the compressor's memory.
pub struct Packer {
    zstd: Compressor<'static>,
    mixes: bool,
}

/// A stream's own coding, or `None` for its bytes as they are.
type OwnCoding = Option<(Coder, Vec<u8>)>;

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    /// Creates a packer at one of zstd's levels.
    pub fn new(level: i32) -> Self {
        let mut zstd = Compressor::new(level).expect("level lies in zstd's range");
        // The table holds the length, and the delta file a digest of the result.
        for parameter in [CParameter::ContentSizeFlag(false), CParameter::ChecksumFlag(false)] {
            zstd.set_parameter(parameter).expect("both are settable before a frame starts");
        }
        Self { zstd, mixes: false }
    }

    /// Also tries to mix predictions: a tenth smaller, at one or two microseconds a byte on each
    /// side.
    #[must_use]
    pub fn mixing(mut self) -> Self {
        self.mixes = true;
        self
    }

    /// Returns one frame without the bytes that every frame starts with.
    fn frame(&mut self, raw: &[u8]) -> Vec<u8> {
        let mut frame = self.zstd.compress(raw).expect("the output buffer is sized by zstd itself");
        frame.drain(..ZSTD_MAGIC.len());
        frame
    }

    /// Returns the shortest of a stream's codings on its own; `None` stands for its raw bytes.
    fn own(&mut self, raw: &[u8], mixed_left: &mut u64) -> OwnCoding {
        let frame = self.frame(raw);
        let raw_len = raw.len() as u64;
        if self.mixes && raw_len <= *mixed_left && raw.len() > SHORTEST_MIXED {
            let mixed = mixing::pack(raw);
            let bearable = mixed.len() as u64 * MAX_MIXED_EXPANSION >= raw_len;
            if bearable && mixed.len() < frame.len() && mixed.len() + 2 < raw.len() {
                *mixed_left -= raw_len;
                return Some((Coder::Mixed, mixed));
            }
        }
        (frame.len() + 2 < raw.len()).then_some((Coder::Own, frame))
    }

    /// Estimates the packed bytes of `raw` on its own.
    pub fn estimate(&mut self, raw: &[u8]) -> usize {
        if raw.len() < 16 { raw.len() } else { self.frame(raw).len().min(raw.len()) }
    }

    /// Packs all streams; empty ones at the end take no bytes.
    pub fn pack<S: AsRef<[u8]>>(&mut self, streams: &[S]) -> Vec<u8> {
        let used = streams.iter().rposition(|stream| !stream.as_ref().is_empty());
        let streams = &streams[..used.map_or(0, |last| last + 1)];
        let mut mixed_left = MAX_MIXED;
        let own: Vec<OwnCoding> =
            streams.iter().map(|stream| self.own(stream.as_ref(), &mut mixed_left)).collect();
        let longest = streams.iter().map(|stream| stream.as_ref().len()).max().unwrap_or(0);
        let mut best: Option<Vec<u8>> = None;
        for (i, &border) in BORDERS.iter().enumerate() {
            if i > 0 && BORDERS[i - 1] >= longest {
                break; // a higher border changes nothing any more
            }
            let pack = self.pack_at(streams, &own, border);
            if best.as_ref().is_none_or(|best| pack.len() < best.len()) {
                best = Some(pack);
            }
        }
        best.unwrap_or_default()
    }

    fn pack_at<S: AsRef<[u8]>>(
        &mut self,
        streams: &[S],
        own: &[OwnCoding],
        border: usize,
    ) -> Vec<u8> {
        let (mut table, mut bodies, mut shared) = (Vec::new(), Vec::new(), Vec::new());
        varint::write(&mut table, streams.len() as u64);
        for (stream, own) in streams.iter().zip(own) {
            let raw = stream.as_ref();
            let word = (raw.len() as u64) << 2;
            if !raw.is_empty() && raw.len() <= border {
                varint::write(&mut table, word | 2);
                shared.extend_from_slice(raw);
            } else if let Some((coder, own)) = own {
                varint::write(&mut table, word | if *coder == Coder::Mixed { 3 } else { 1 });
                varint::write(&mut table, own.len() as u64);
                bodies.extend_from_slice(own);
            } else {
                varint::write(&mut table, word);
                bodies.extend_from_slice(raw);
            }
        }
        if !shared.is_empty() {
            let frame = self.frame(&shared);
            varint::write(&mut table, frame.len() as u64);
            table.extend_from_slice(&frame);
        }
        table.extend_from_slice(&bodies);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams() -> Vec<Vec<u8>> {
        let small = (0..700u32).map(|i| (i % 5).to_le_bytes()[0]).collect();
        vec![vec![1], small, Vec::new(), vec![7; 100_000], Vec::new()]
    }

    #[test]
    fn streams_come_back_without_the_empty_ones_at_the_end() {
        let pack = Packer::new(3).pack(&streams());
        assert!(pack.len() < 120, "{} bytes", pack.len());
        assert_eq!(unpack_group(&pack, 5, 200_000).unwrap(), streams()[..4]);
    }

    #[test]
    fn huge_stream_takes_no_memory() {
        let mut pack = vec![1];
        varint::write(&mut pack, (400 << 20 << 2) | 1);
        pack.extend([5, 0, 0x58, 1, 0, 0]);
        let lie = unpack_group(&pack, 1, 1 << 30).unwrap_err();
        assert!(matches!(lie, PackError::Malformed { expected: 163_840, .. }), "{lie}");
        let refused = unpack_group(&Packer::new(3).pack(&streams()), 5, 100_000).unwrap_err();
        assert_eq!(
            refused,
            PackError::TooLarge { what: "unpacked streams", limit: 100_000, found: 100_701 }
        );
    }

    #[test]
    fn streams_of_exactly_the_limit_are_admitted() {
        let pack = Packer::new(3).pack(&streams());
        assert_eq!(unpack_group(&pack, 5, 100_701).unwrap(), streams()[..4]);
        let refused = unpack_group(&pack, 5, 100_700).unwrap_err();
        let what = "unpacked streams";
        assert_eq!(refused, PackError::TooLarge { what, limit: 100_700, found: 100_701 });
        // Raw streams that are cut: the sum is refused before the missing bytes are.
        let mut cut = vec![2];
        varint::write(&mut cut, 60 << 2);
        varint::write(&mut cut, 60 << 2);
        let refused = unpack_group(&cut, 2, 100).unwrap_err();
        assert_eq!(refused, PackError::TooLarge { what, limit: 100, found: 120 });
    }

    #[test]
    fn a_frame_of_fewer_bytes_than_its_table_says_is_refused() {
        let raw = vec![7; 1000];
        let frame = Packer::new(3).frame(&raw);
        for (raw_len, is_right) in [(1000, true), (1001, false), (999, false)] {
            let mut pack = vec![1];
            varint::write(&mut pack, raw_len << 2 | 1);
            varint::write_prefixed(&mut pack, &frame);
            let unpacked = unpack_group(&pack, 1, 2000);
            assert_eq!(unpacked.is_ok(), is_right, "{raw_len} bytes");
            if raw_len > 1000 {
                let what = "unpacked length of a frame";
                let at = pack.len() as u64;
                let expected = PackError::Malformed { at, what, expected: 1001, found: 1000 };
                assert_eq!(unpacked.unwrap_err(), expected);
            }
        }
    }

    #[test]
    fn stated_sizes_are_those_that_unpack() {
        let streams = [vec![1; 5000], Vec::new(), vec![2; 3], (0..=255).collect()];
        let unpacked_bytes = 5000 + 3 + 256;
        let pack = Packer::new(3).pack(&streams);
        let plain = PackSizes { unpacked_bytes, mixed_bytes: 0 };
        assert_eq!(sizes(&pack, 4).unwrap(), plain);
        let mixed = Packer::new(3).mixing().pack(&streams);
        assert_eq!(sizes(&mixed, 4).unwrap().unpacked_bytes, unpacked_bytes);
        assert!(sizes(&pack, 3).is_err());
        assert!(sizes(&pack[..2], 4).is_err());
        let words: Vec<u8> = (0..4000_u32).flat_map(|i| (i * i % 1000 / 7).to_le_bytes()).collect();
        let mixed = Packer::new(19).mixing().pack(&[words]);
        let expected = PackSizes { unpacked_bytes: 16_000, mixed_bytes: 16_000 };
        assert_eq!(sizes(&mixed[..TABLE_BYTES], 1).unwrap(), expected);
    }

    #[test]
    fn tables_are_never_mixed_and_expand_little() {
        let words: Vec<u8> = (0..4000_u32).flat_map(|i| (i * i % 1000 / 7).to_le_bytes()).collect();
        let mixed = Packer::new(19).mixing().pack(&[words]);
        let refused = unpack(&mixed, 1, 1 << 30).unwrap_err();
        let (at, what) = (0, "mixed bytes in a table");
        let expected = PackError::Malformed { at, what, expected: 0, found: 16_000 };
        assert_eq!(refused, expected);
        // 8 MiB of zeros pack to some hundred bytes, each of which admits 512 more.
        let most = FREE_UNPACKED as usize;
        let pack = Packer::new(3).pack(&[vec![0; most]]);
        assert_eq!(unpack(&pack, 1, 1 << 30).unwrap()[0].len(), most);
        let pack = Packer::new(3).pack(&[vec![0; 2 * most]]);
        let refused = unpack(&pack, 1, 1 << 30).unwrap_err();
        let limit = FREE_UNPACKED + MAX_EXPANSION * pack.len() as u64;
        let found = 2 * FREE_UNPACKED;
        assert_eq!(refused, PackError::TooLarge { what: "unpacked streams", limit, found });
    }

    #[test]
    fn mixed_streams_come_back_and_cannot_ask_for_endless_work() {
        let words =
            (0..4000_u32).flat_map(|i| (i * i % 1000 / 7).to_le_bytes()).collect::<Vec<u8>>();
        let streams = [words, vec![9; 30]];
        let pack = Packer::new(19).mixing().pack(&streams);
        assert!(pack.len() < Packer::new(19).pack(&streams).len());
        assert_eq!(unpack_group(&pack, 5, 1 << 20).unwrap(), streams);
        for len in 0..pack.len() {
            assert!(unpack_group(&pack[..len], 5, 1 << 20).is_err(), "cut at {len}");
        }
        for (raw_len, packed_len) in [(33, 1_usize), (1 << 23, 1 << 20)] {
            let mut lie = vec![1];
            varint::write(&mut lie, raw_len << 2 | 3);
            varint::write(&mut lie, packed_len as u64);
            lie.resize(lie.len() + packed_len, 0x55);
            let refused = unpack_group(&lie, 1, 1 << 30).unwrap_err();
            assert!(matches!(refused, PackError::Malformed { what: "mixed bytes", .. }));
        }
    }

    #[test]
    fn a_mixed_stream_of_the_most_bytes_for_each_packed_one_is_read() {
        let mut pack = vec![1];
        varint::write(&mut pack, MAX_MIXED_EXPANSION << 2 | 3);
        pack.extend([1, 0x55]);
        assert_eq!(unpack_group(&pack, 1, 1 << 30).unwrap()[0].len() as u64, MAX_MIXED_EXPANSION);
    }

    #[test]
    fn every_cut_and_every_unknown_coder_is_refused() {
        let pack = Packer::new(3).pack(&streams());
        for len in 0..pack.len() {
            assert!(unpack_group(&pack[..len], 5, 1 << 20).is_err(), "cut at {len}");
        }
        assert!(unpack_group(&[6], 5, 1 << 20).is_err(), "too many streams");
        assert!(unpack_group(&[0, 0], 5, 1 << 20).is_err(), "trailing byte");
    }
}
