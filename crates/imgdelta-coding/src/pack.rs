//! Several byte streams as one string: a table, then each stream raw or compressed.
//! Never reserves memory for a length beyond the limit or beyond what the bytes can expand to.
//!
//! A delta of small changes has dozens of streams of a few hundred bytes. A frame for each would
//! cost more than it holds, so small streams share one frame. Large ones have their own, whose
//! statistics are purer. The writer tries several borders between small and large, and the coders
//! for large ones.
//! `docs/format-group.md` specifies the bytes.

use crate::{
    error::PackError,
    frame::{self, ZSTD_MAGIC},
    lz,
    mixing::StreamMixer,
};
use imgdelta_wire::{Cursor, varint};
use std::fmt;
use zstd::{bulk::Compressor, zstd_safe::CParameter};

/// The coding of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coder {
    /// The bytes themselves.
    Raw,
    /// A zstd frame of its own.
    Own,
    /// The zstd frame that all small streams share.
    Shared,
    /// Predictions mixed from many contexts.
    Mixed,
    /// LZ with adaptive binary range coding.
    Lz,
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
    /// Entries of the table: streams behind them are empty.
    pub streams: usize,
    /// Unpacked bytes of all streams.
    pub unpacked_bytes: u64,
    /// Those of them that are mixed, which take one or two microseconds each.
    pub mixed_bytes: u64,
    /// Those of them that are LZ-coded, which take up to a tenth of a microsecond each.
    pub lz_bytes: u64,
    /// Unpacked bytes of the last entry.
    pub last_bytes: u64,
}

/// A stream of a pack as it is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodedStream<'a> {
    /// Its coder.
    pub coder: Coder,
    /// Its code: empty if the stream is in the shared frame.
    pub code: &'a [u8],
}

/// The streams of a pack as they are coded, and their shared frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodedStreams<'a> {
    /// The streams, in order; empty ones at the end are absent.
    pub streams: Vec<CodedStream<'a>>,
    /// The frame of all small streams; empty if there is none.
    pub shared: &'a [u8],
}

/// Divides a pack of at most `max_count` streams into their codes; decodes none of them.
pub fn coded_streams(pack: &[u8], max_count: usize) -> Result<CodedStreams<'_>, PackError> {
    let mut table = PackTable(Cursor::new(pack));
    let count = table.count(max_count)?;
    let entries = (0..count).map(|_| table.entry()).collect::<Result<Vec<_>, _>>()?;
    let has_shared = entries.iter().any(|entry| entry.coder == Coder::Shared);
    let shared_len = if has_shared { table.shared_len()? } else { 0 };
    let shared = table.bytes(shared_len)?;
    let coded = |entry: &PackEntry| {
        let code = table.bytes(entry.packed_len)?;
        Ok(CodedStream { coder: entry.coder, code })
    };
    let streams = entries.iter().map(coded).collect::<Result<Vec<_>, PackError>>()?;
    Ok(CodedStreams { streams, shared })
}

/// Unpacks the tables of a delta: at most `max_count` streams, of at most `limit_bytes` together.
///
/// Refuses mixed and LZ-coded streams, and packs that expand further than tables do.
pub fn unpack(pack: &[u8], max_count: usize, limit_bytes: u64) -> Result<Vec<Vec<u8>>, PackError> {
    let sizes = sizes(pack, max_count)?;
    for (what, found) in
        [("mixed bytes in a table", sizes.mixed_bytes), ("LZ bytes in a table", sizes.lz_bytes)]
    {
        if found > 0 {
            return Err(PackError::Malformed { at: 0, what, expected: 0, found });
        }
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
    let count = table.count(max_count)?;
    let mut total_bytes = 0_u64;
    let (mut shared_bytes, mut mixed_bytes) = (0_u64, 0_u64);
    let mut kept = Vec::new();
    for _ in 0..count {
        let entry = table.entry()?;
        let PackEntry { coder, raw_len, packed_len } = entry;
        total_bytes = total_bytes.saturating_add(raw_len);
        if total_bytes > limit_bytes {
            return Err(PackError::TooLarge {
                what: "unpacked streams",
                limit: limit_bytes,
                found: total_bytes,
            });
        }
        match coder {
            Coder::Shared => shared_bytes += raw_len,
            Coder::Mixed => {
                let bearable = packed_len.saturating_mul(MAX_MIXED_EXPANSION);
                mixed_bytes = mixed_bytes.saturating_add(raw_len);
                if raw_len > bearable || mixed_bytes > MAX_MIXED {
                    let bearable = bearable.min(MAX_MIXED);
                    return Err(table.malformed("mixed bytes", bearable, raw_len));
                }
            }
            Coder::Raw | Coder::Own | Coder::Lz => {}
        }
        kept.push(entry);
    }

    let mut shared = Vec::new();
    if kept.iter().any(|entry| entry.coder == Coder::Shared) {
        let packed_len = table.shared_len()?;
        shared = table.frame(packed_len, shared_bytes)?;
    }
    let mut shared_rest = shared.as_slice();
    let mut streams = Vec::with_capacity(kept.len());
    let mut mixer = None;
    for PackEntry { coder, raw_len, packed_len } in kept {
        streams.push(match coder {
            Coder::Raw => table.bytes(packed_len)?.to_vec(),
            Coder::Own => table.frame(packed_len, raw_len)?,
            Coder::Mixed => {
                let packed = table.bytes(packed_len)?;
                let mixer = mixer.get_or_insert_with(StreamMixer::default);
                mixer.unpack(packed, usize::try_from(raw_len).unwrap_or(0))
            }
            Coder::Lz => {
                let packed = table.bytes(packed_len)?;
                let raw_len = usize::try_from(raw_len).unwrap_or(usize::MAX);
                lz::unpack(packed, Vec::new(), raw_len, lz::RawKind::Bytes)
                    .map_err(|error| PackError::of_lz(error, table.0.at()))?
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
    let count = table.count(max_count)?;
    let mut sizes = PackSizes { streams: count, ..PackSizes::default() };
    for _ in 0..count {
        let PackEntry { coder, raw_len, .. } = table.entry()?;
        sizes.unpacked_bytes = sizes.unpacked_bytes.saturating_add(raw_len);
        sizes.last_bytes = raw_len;
        let bytes = match coder {
            Coder::Mixed => &mut sizes.mixed_bytes,
            Coder::Lz => &mut sizes.lz_bytes,
            Coder::Raw | Coder::Own | Coder::Shared => continue,
        };
        *bytes = bytes.saturating_add(raw_len);
    }
    Ok(sizes)
}

/// First bytes of a pack that hold its table, if it has at most 29 streams.
pub const TABLE_BYTES: usize = 10 + 29 * (10 + 10);

/// An entry of a pack's table.
#[derive(Debug, Clone, Copy)]
struct PackEntry {
    coder: Coder,
    raw_len: u64,
    /// Bytes of its code: none if it is in the shared frame.
    packed_len: u64,
}

/// A pack that is being read.
struct PackTable<'a>(Cursor<'a>);

impl<'a> PackTable<'a> {
    fn number(&mut self, what: &'static str) -> Result<u64, PackError> {
        self.0.varint().map_err(|error| PackError::of_wire(error, what))
    }

    /// Reads the number of streams.
    fn count(&mut self, max_count: usize) -> Result<usize, PackError> {
        let count = self.number("stream count")?;
        let admitted = usize::try_from(count).ok().filter(|&count| count <= max_count);
        admitted.ok_or_else(|| self.malformed("stream count", max_count as u64, count))
    }

    /// Reads the entry of a stream.
    fn entry(&mut self) -> Result<PackEntry, PackError> {
        let word = self.number("stream length and coder")?;
        let raw_len = word >> 2;
        let (coder, packed_len) = match word & 3 {
            0 => (Coder::Raw, raw_len),
            1 => (Coder::Own, self.number("packed length")?),
            2 => (Coder::Shared, 0),
            _ => {
                let word = self.number("packed length")?;
                (if word & 1 == 0 { Coder::Mixed } else { Coder::Lz }, word >> 1)
            }
        };
        Ok(PackEntry { coder, raw_len, packed_len })
    }

    /// Reads the length of the frame that small streams share.
    fn shared_len(&mut self) -> Result<u64, PackError> {
        self.number("packed length of the shared frame")
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
const SHORTEST_MODELLED: usize = 64;

/// The level that is tried first. Where it finds nothing, no coder does. In all streams of fifty
/// rebuilt libraries, an LZ code that is shorter by a thirty-second is also shorter than the frame
/// of level 18: that frame, which takes more time than all the rest, is not tried then.
#[cfg(feature = "encode")]
const QUICK_LEVEL: i32 = 5;

/// Streams of at most so many bytes are always tried by both.
#[cfg(feature = "encode")]
const ALWAYS_TRIED: usize = 16 << 10;

/// Longer streams that no other coder shortens are not mixed.
const ALWAYS_MIXED: usize = 4 << 10;

/// Packs of no more bytes are also tried without mixed streams: a frame that small streams share may be shorter.
const SMALL_PACK: usize = 64 << 10;

/// Longest streams that share a frame; every border is tried and the smallest pack wins.
const BORDERS: [usize; 4] = [0, 512, 4 << 10, 32 << 10];

/// Compresses streams at one level; reuses the compressor's memory.
pub struct Packer {
    zstd: Compressor<'static>,
    mixes: bool,
    /// Judges LZ codes, if they are tried.
    #[cfg(feature = "encode")]
    quick: Option<Compressor<'static>>,
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
        Self {
            zstd: compressor(level),
            mixes: false,
            #[cfg(feature = "encode")]
            quick: None,
        }
    }

    /// Also tries to mix predictions: a tenth smaller, at one or two microseconds a byte on each
    /// side.
    #[must_use]
    pub fn mixing(mut self) -> Self {
        self.mixes = true;
        self
    }

    /// Also tries LZ codes: a twentieth smaller, at ten times zstd's time on the reader's side.
    #[cfg(feature = "encode")]
    #[must_use]
    pub fn with_lz(mut self) -> Self {
        self.quick = Some(compressor(QUICK_LEVEL));
        self
    }

    /// Returns one frame without the bytes that every frame starts with.
    fn frame(&mut self, raw: &[u8]) -> Vec<u8> {
        frame_of(&mut self.zstd, raw)
    }

    /// Returns an LZ code or a frame, whichever is shorter.
    fn lz_or_frame(&mut self, raw: &[u8]) -> (Coder, Vec<u8>) {
        #[cfg(feature = "encode")]
        if let Some(quick) = &mut self.quick
            && raw.len() > SHORTEST_MODELLED
        {
            let frame = frame_of(quick, raw);
            if frame.len() > raw.len() - raw.len() / 256 {
                return (Coder::Own, frame);
            }
            if let Some(code) = lz::PrefixPacker::new(Vec::new(), raw.len()).pack(raw) {
                if raw.len() > ALWAYS_TRIED && code.len() < frame.len() - frame.len() / 32 {
                    return (Coder::Lz, code);
                }
                let frame = self.frame(raw);
                let is_shorter = code.len() < frame.len();
                return if is_shorter { (Coder::Lz, code) } else { (Coder::Own, frame) };
            }
        }
        (Coder::Own, self.frame(raw))
    }

    /// Returns an LZ code or a frame of a stream on its own; `None` stands for its raw bytes.
    fn alone(&mut self, raw: &[u8]) -> OwnCoding {
        let shortest = self.lz_or_frame(raw);
        (shortest.1.len() + 2 < raw.len()).then_some(shortest)
    }

    /// Estimates the packed bytes of `raw` on its own.
    pub fn estimate(&mut self, raw: &[u8]) -> usize {
        if raw.len() < 16 { raw.len() } else { self.frame(raw).len().min(raw.len()) }
    }

    /// Packs all streams; empty ones at the end take no bytes.
    pub fn pack<S: AsRef<[u8]>>(&mut self, streams: &[S]) -> Vec<u8> {
        let used = streams.iter().rposition(|stream| !stream.as_ref().is_empty());
        let streams = &streams[..used.map_or(0, |last| last + 1)];
        let alone: Vec<OwnCoding> =
            streams.iter().map(|stream| self.alone(stream.as_ref())).collect();
        let bytes: usize = streams.iter().map(|stream| stream.as_ref().len()).sum();
        let plain =
            (!self.mixes || bytes <= SMALL_PACK).then(|| self.pack_in(streams, alone.as_slice()));
        if !self.mixes {
            return plain.unwrap_or_default();
        }
        let mixed = self.pack_in(streams, &mixed_codings(streams, alone));
        plain.filter(|plain| plain.len() <= mixed.len()).unwrap_or(mixed)
    }

    /// Packs streams with these codings, at the best border.
    fn pack_in<S: AsRef<[u8]>>(&mut self, streams: &[S], own: &[OwnCoding]) -> Vec<u8> {
        let longest = streams.iter().map(|stream| stream.as_ref().len()).max().unwrap_or(0);
        let mut best: Option<Vec<u8>> = None;
        for (i, &border) in BORDERS.iter().enumerate() {
            if i > 0 && BORDERS[i - 1] >= longest {
                break; // a higher border changes nothing any more
            }
            let pack = self.pack_at(streams, own, border);
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
            // A mixed stream teaches those behind it, wherever the border is.
            let is_mixed = own.as_ref().is_some_and(|(coder, _)| *coder == Coder::Mixed);
            if !raw.is_empty() && raw.len() <= border && !is_mixed {
                varint::write(&mut table, word | 2);
                shared.extend_from_slice(raw);
            } else if let Some((coder, own)) = own {
                let len = own.len() as u64;
                let (number, packed) = match coder {
                    Coder::Mixed => (3, len << 1),
                    Coder::Lz => (3, len << 1 | 1),
                    _ => (1, len),
                };
                varint::write(&mut table, word | number);
                varint::write(&mut table, packed);
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

/// Replaces the codings of streams by mixed ones where those are shorter.
fn mixed_codings<S: AsRef<[u8]>>(streams: &[S], mut own: Vec<OwnCoding>) -> Vec<OwnCoding> {
    let (mut mixer, mut left) = (StreamMixer::default(), MAX_MIXED);
    for (stream, own) in streams.iter().zip(&mut own) {
        let raw = stream.as_ref();
        let raw_len = raw.len() as u64;
        let is_hopeless = own.is_none() && raw.len() > ALWAYS_MIXED;
        if raw_len > left || raw.len() <= SHORTEST_MODELLED || is_hopeless {
            continue;
        }
        let mut after = mixer.clone();
        let mixed = after.pack(raw);
        let most = own.as_ref().map_or(raw.len() - 2, |(_, packed)| packed.len());
        if mixed.len() < most && mixed.len() as u64 * MAX_MIXED_EXPANSION >= raw_len {
            left -= raw_len;
            mixer = after;
            *own = Some((Coder::Mixed, mixed));
        }
    }
    own
}

/// Creates a compressor at one of zstd's levels.
fn compressor(level: i32) -> Compressor<'static> {
    let mut zstd = Compressor::new(level).expect("level lies in zstd's range");
    // The table holds the length, and the delta file a digest of the result.
    for parameter in [CParameter::ContentSizeFlag(false), CParameter::ChecksumFlag(false)] {
        zstd.set_parameter(parameter).expect("both are settable before a frame starts");
    }
    zstd
}

/// Returns one frame without the bytes that every frame starts with.
fn frame_of(zstd: &mut Compressor<'_>, raw: &[u8]) -> Vec<u8> {
    let mut frame = zstd.compress(raw).expect("the output buffer is sized by zstd itself");
    frame.drain(..ZSTD_MAGIC.len());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
