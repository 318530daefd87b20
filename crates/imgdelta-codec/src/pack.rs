//! How the streams of a group lie in its bytes: a table, then each stream raw or compressed.
//! Never reserves memory for a length that the limits, or the bytes at hand, do not bear out.
//!
//! A group of small changes has a dozen streams of a few hundred bytes. A frame for each would cost
//! more than it holds, so small streams share one frame and large ones keep their own, whose
//! statistics are purer. The writer tries several borders between small and large.
//! `docs/format-group.md` is the law for these bytes.

use crate::{
    error::{CodecError, Result},
    streams::{Sources, Stream},
};
use imgdelta_format::varint;

/// What a reader is willing to unpack.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GroupLimits {
    /// Upper bound for the unpacked bytes of all streams together.
    ///
    /// 512 MiB by default: a literal is at most as long as the files of one group, and groups are
    /// cut far below that.
    pub stream_bytes: u64,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self { stream_bytes: 512 << 20 }
    }
}

impl GroupLimits {
    /// Sets the upper bound for the unpacked bytes of all streams together.
    #[must_use]
    pub fn stream_bytes(mut self, bytes: u64) -> Self {
        self.stream_bytes = bytes;
        self
    }
}

/// How one stream is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coder {
    /// As it is.
    Raw,
    /// In a zstd frame of its own.
    Own,
    /// In the zstd frame that all small streams share.
    Shared,
}

/// Every zstd frame starts with these bytes; a group leaves them out.
const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// A zstd block of 4 bytes can stand for at most 128 KiB, so a longer claim is a lie and is refused
/// before memory is taken for it.
const MAX_EXPANSION: u64 = 32 << 10;

/// Unpacks every stream of `group`.
pub(crate) fn unpack(group: &[u8], limits: &GroupLimits) -> Result<Sources> {
    let mut table = Table { group, at: 0 };
    let count = table.number("stream count")?;
    if count > Stream::ALL.len() as u64 {
        return Err(table.malformed("stream count", Stream::ALL.len() as u64, count));
    }
    let mut total_bytes = 0_u64;
    let mut shared_bytes = 0_u64;
    let mut kept = Vec::with_capacity(Stream::ALL.len());
    for &stream in Stream::ALL.iter().take(usize::try_from(count).unwrap_or(0)) {
        let word = table.number("stream length and coder")?;
        let raw_len = word >> 2;
        total_bytes = total_bytes.saturating_add(raw_len);
        if total_bytes > limits.stream_bytes {
            return Err(CodecError::TooLarge {
                what: "unpacked streams",
                limit: limits.stream_bytes,
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
            other => return Err(table.malformed("stream coder", 2, other)),
        };
        kept.push((stream, coder, raw_len, packed_len));
    }

    let mut sources = Sources::default();
    let mut shared = Vec::new();
    if kept.iter().any(|&(_, coder, ..)| coder == Coder::Shared) {
        let packed_len = table.number("packed length of the shared frame")?;
        shared = table.frame(packed_len, shared_bytes)?;
    }
    let mut shared_rest = shared.as_slice();
    for (stream, coder, raw_len, packed_len) in kept {
        let bytes = match coder {
            Coder::Raw => table.bytes(packed_len)?.to_vec(),
            Coder::Own => table.frame(packed_len, raw_len)?,
            Coder::Shared => {
                let len = usize::try_from(raw_len).unwrap_or(usize::MAX).min(shared_rest.len());
                let (own, rest) = shared_rest.split_at(len);
                shared_rest = rest;
                own.to_vec()
            }
        };
        sources.set(stream, bytes);
    }
    if table.at != group.len() {
        return Err(table.malformed("end of the group", table.at as u64, group.len() as u64));
    }
    Ok(sources)
}

/// A group's bytes and how far they have been read.
struct Table<'a> {
    group: &'a [u8],
    at: usize,
}

impl<'a> Table<'a> {
    fn number(&mut self, what: &'static str) -> Result<u64> {
        let Some((value, len)) = varint::take(&self.group[self.at..]) else {
            return Err(self.malformed(what, 1, 0));
        };
        self.at += len;
        Ok(value)
    }

    fn bytes(&mut self, len: u64) -> Result<&'a [u8]> {
        let rest = &self.group[self.at..];
        match usize::try_from(len).ok().and_then(|len| rest.get(..len)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => Err(self.malformed("bytes left in the group", len, rest.len() as u64)),
        }
    }

    /// Reads a frame of `packed_len` bytes that must unpack to exactly `raw_len` bytes.
    fn frame(&mut self, packed_len: u64, raw_len: u64) -> Result<Vec<u8>> {
        let packed = self.bytes(packed_len)?;
        let bearable = packed_len.saturating_mul(MAX_EXPANSION);
        if raw_len > bearable {
            return Err(self.malformed("unpacked length of a frame", bearable, raw_len));
        }
        let capacity = usize::try_from(raw_len).unwrap_or(usize::MAX);
        let whole = [&ZSTD_MAGIC, packed].concat();
        let raw = zstd::bulk::Decompressor::new()
            .and_then(|mut zstd| zstd.decompress(&whole, capacity))
            .map_err(|_| self.malformed("readable zstd frames", 1, 0))?;
        if raw.len() != capacity {
            return Err(self.malformed("unpacked length of a frame", raw_len, raw.len() as u64));
        }
        Ok(raw)
    }

    #[cold]
    fn malformed(&self, what: &'static str, expected: u64, found: u64) -> CodecError {
        CodecError::Malformed { stream: None, at: self.at as u64, what, expected, found }
    }
}

#[cfg(feature = "encode")]
pub(crate) use writing::{Packer, coded_len};

/// The making side.
#[cfg(feature = "encode")]
mod writing {
    use super::ZSTD_MAGIC;
    use crate::streams::{Sinks, Stream};
    use imgdelta_format::varint;
    use std::fmt;
    use zstd::{bulk::Compressor, zstd_safe::CParameter};

    /// Streams up to this long share a frame; every border is tried, the smallest group wins.
    const BORDERS: [usize; 4] = [0, 512, 4 << 10, 32 << 10];

    /// Compresses streams at one level, reusing the compressor's memory.
    pub(crate) struct Packer(Compressor<'static>);

    impl fmt::Debug for Packer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Packer")
        }
    }

    impl Packer {
        pub(crate) fn new(level: i32) -> Self {
            let mut zstd = Compressor::new(level).expect("level lies in zstd's range");
            // The table holds the length, and the delta file a digest of what comes out.
            for parameter in [CParameter::ContentSizeFlag(false), CParameter::ChecksumFlag(false)] {
                zstd.set_parameter(parameter).expect("both are settable before a frame starts");
            }
            Self(zstd)
        }

        /// One frame, without the bytes that every frame starts with.
        fn frame(&mut self, raw: &[u8]) -> Vec<u8> {
            let mut frame =
                self.0.compress(raw).expect("the output buffer is sized by zstd itself");
            frame.drain(..ZSTD_MAGIC.len());
            frame
        }

        /// The shorter of a stream's own frame and the stream as it is; `None` means as it is.
        fn own(&mut self, raw: &[u8]) -> Option<Vec<u8>> {
            let frame = self.frame(raw);
            (frame.len() + 2 < raw.len()).then_some(frame)
        }

        /// What `raw` would come to by itself.
        fn estimate(&mut self, raw: &[u8]) -> usize {
            if raw.len() < 16 { raw.len() } else { self.frame(raw).len().min(raw.len()) }
        }

        /// Packs all streams into a group.
        pub(crate) fn pack(&mut self, streams: &Sinks) -> Vec<u8> {
            let own: Vec<_> = Stream::ALL.map(|stream| self.own(streams.stream(stream))).into();
            let longest = Stream::ALL.iter().map(|&s| streams.stream(s).len()).max().unwrap_or(0);
            let mut best: Option<Vec<u8>> = None;
            for (i, &border) in BORDERS.iter().enumerate() {
                if i > 0 && BORDERS[i - 1] >= longest {
                    break; // a higher border changes nothing any more
                }
                let group = self.pack_at(streams, &own, border);
                if best.as_ref().is_none_or(|best| group.len() < best.len()) {
                    best = Some(group);
                }
            }
            best.unwrap_or_default()
        }

        fn pack_at(&mut self, streams: &Sinks, own: &[Option<Vec<u8>>], border: usize) -> Vec<u8> {
            let count = Stream::ALL
                .iter()
                .rposition(|&stream| !streams.stream(stream).is_empty())
                .map_or(0, |last| last + 1);
            let (mut table, mut bodies, mut shared) = (Vec::new(), Vec::new(), Vec::new());
            varint::write(&mut table, count as u64);
            for (&stream, own) in Stream::ALL.iter().zip(own).take(count) {
                let raw = streams.stream(stream);
                let word = (raw.len() as u64) << 2;
                if !raw.is_empty() && raw.len() <= border {
                    varint::write(&mut table, word | 2);
                    shared.extend_from_slice(raw);
                } else if let Some(own) = own {
                    varint::write(&mut table, word | 1);
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

    /// Estimates what the streams of one member will add to a group.
    pub(crate) fn coded_len(packer: &mut Packer, streams: &Sinks) -> usize {
        Stream::ALL.iter().map(|&stream| packer.estimate(streams.stream(stream))).sum()
    }
}

#[cfg(all(test, feature = "encode"))]
mod tests {
    use super::*;
    use crate::streams::Sinks;

    fn streams() -> Sinks {
        let mut streams = Sinks::default();
        streams.byte(Stream::Members, 1);
        (0..700).for_each(|i| streams.number(Stream::CopyLengths, i % 5));
        streams.bytes(Stream::Literals, &vec![7; 100_000]);
        streams
    }

    #[test]
    fn streams_come_back_and_end_where_they_should() {
        let group = Packer::new(3).pack(&streams());
        assert!(group.len() < 120, "{} bytes", group.len());
        let mut sources = unpack(&group, &GroupLimits::default()).unwrap();
        assert_eq!(sources.byte(Stream::Members), Ok(1));
        for i in 0..700 {
            assert_eq!(sources.number(Stream::CopyLengths), Ok(i % 5));
        }
        assert!(sources.finish().is_err(), "literals are still unread");
        assert_eq!(sources.bytes(Stream::Literals, 100_000).unwrap(), vec![7; 100_000]);
        assert!(sources.byte(Stream::Literals).is_err(), "past the end");
        assert_eq!(sources.finish(), Ok(()));
    }

    #[test]
    fn huge_literal_takes_no_memory() {
        let mut group = vec![15];
        group.extend([0; 14]);
        varint::write(&mut group, (400 << 20 << 2) | 1);
        group.extend([5, 0, 0x58, 1, 0, 0]);
        let lie = unpack(&group, &GroupLimits::default()).unwrap_err();
        assert!(matches!(lie, CodecError::Malformed { expected: 163_840, .. }), "{lie}");
        let bound = GroupLimits::default().stream_bytes(100_000);
        let refused = unpack(&Packer::new(3).pack(&streams()), &bound).unwrap_err();
        assert_eq!(
            refused,
            CodecError::TooLarge { what: "unpacked streams", limit: 100_000, found: 100_701 }
        );
    }

    #[test]
    fn every_cut_and_every_unknown_coder_is_refused() {
        let group = Packer::new(3).pack(&streams());
        for len in 0..group.len() {
            assert!(unpack(&group[..len], &GroupLimits::default()).is_err(), "cut at {len}");
        }
        assert!(unpack(&[1, 3], &GroupLimits::default()).is_err(), "coder 3");
        assert!(unpack(&[16], &GroupLimits::default()).is_err(), "too many streams");
        assert!(unpack(&[0, 0], &GroupLimits::default()).is_err(), "trailing byte");
    }
}
