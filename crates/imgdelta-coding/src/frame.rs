//! One stream as a zstd frame, which may refer to a prefix that both sides have.
//! Never keeps the prefix.
//!
//! A frame lacks zstd's magic number, its content size and its checksum, as in a pack.

use crate::error::PackError;
#[cfg(feature = "encode")]
use zstd::zstd_safe::{self, CCtx, CParameter};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// Distances within a stream take at most this many bits, which bounds memory on both sides. The
/// prefix is in memory anyway.
const MAX_WINDOW_LOG: u32 = 22;

/// Packs `raw` at one of zstd's levels, with `prefix` before it.
#[cfg(feature = "encode")]
pub fn pack(raw: &[u8], prefix: &[u8], level: i32) -> Vec<u8> {
    let mut zstd = CCtx::create();
    let reach = (raw.len() + prefix.len()).max(1 << 10).next_power_of_two().ilog2();
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::WindowLog(reach.min(MAX_WINDOW_LOG)),
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
    ] {
        zstd.set_parameter(parameter).expect("all are settable before a frame starts");
    }
    zstd.ref_prefix(prefix).expect("a prefix may be set before a frame starts");
    let mut frame = Vec::with_capacity(zstd_safe::compress_bound(raw.len()));
    zstd.compress2(&mut frame, raw).expect("the output buffer is sized by zstd itself");
    frame.drain(..ZSTD_MAGIC.len());
    frame
}

/// Unpacks a frame of exactly `raw_len` bytes behind `prefix`; `at` is its offset in errors.
pub fn unpack(packed: &[u8], prefix: &[u8], raw_len: u64, at: u64) -> Result<Vec<u8>, PackError> {
    let malformed = |what, expected, found| PackError::Malformed { at, what, expected, found };
    let bearable = (packed.len() as u64).saturating_mul(MAX_EXPANSION);
    if raw_len > bearable {
        return Err(malformed("unpacked length of a frame", bearable, raw_len));
    }
    let whole = [&ZSTD_MAGIC, packed].concat();
    let mut raw = Vec::with_capacity(usize::try_from(raw_len).unwrap_or(usize::MAX));
    let mut zstd = DCtx::create();
    zstd.ref_prefix(prefix)
        .and_then(|_| zstd.decompress(&mut raw, &whole))
        .map_err(|_| malformed("readable zstd frames", 1, 0))?;
    if raw.len() as u64 != raw_len {
        return Err(malformed("unpacked length of a frame", raw_len, raw.len() as u64));
    }
    Ok(raw)
}

/// A frame behind a prefix that is unpacked part by part; its window bounds the memory.
pub struct FrameReader<'a> {
    zstd: DCtx<'a>,
    /// The frame with its magic number, and the bytes of it that were read.
    packed: Vec<u8>,
    read: usize,
    raw_len: u64,
    left: u64,
    is_done: bool,
    at: u64,
}

impl<'a> FrameReader<'a> {
    /// Begins to read a frame of `raw_len` bytes; `at` is its offset in errors.
    pub fn open(packed: &[u8], prefix: &'a [u8], raw_len: u64, at: u64) -> Result<Self, PackError> {
        let bearable = (packed.len() as u64).saturating_mul(MAX_EXPANSION);
        let packed = [&ZSTD_MAGIC, packed].concat();
        let (read, left, is_done) = (0, raw_len, false);
        let mut zstd = DCtx::create();
        let set = zstd
            .set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))
            .and_then(|_| zstd.ref_prefix(prefix));
        let reader = Self { zstd, packed, read, raw_len, left, is_done, at };
        if raw_len > bearable {
            return Err(reader.malformed("unpacked length of a frame", bearable, raw_len));
        }
        set.map(|_| ()).map_err(|_| reader.malformed(READABLE, 1, 0))?;
        Ok(reader)
    }

    /// Fills `bytes`, which the frame must have.
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<(), PackError> {
        let len = bytes.len();
        let mut filled = 0;
        while filled < len {
            let more = self.step(&mut bytes[filled..])?;
            filled += more;
            self.left = self.left.saturating_sub(more as u64);
            if more == 0 && self.is_done {
                let found = self.raw_len - self.left;
                return Err(self.malformed("unpacked length of a frame", self.raw_len, found));
            }
        }
        Ok(())
    }

    /// Checks that frame and length end together.
    pub fn finish(mut self) -> Result<(), PackError> {
        let mut one = [0];
        while !self.is_done {
            if self.step(&mut one)? > 0 {
                let found = self.raw_len.saturating_add(1);
                return Err(self.malformed("unpacked length of a frame", self.raw_len, found));
            }
        }
        let left = (self.packed.len() - self.read) as u64;
        if left > 0 { Err(self.malformed("bytes behind a frame", 0, left)) } else { Ok(()) }
    }

    /// Unpacks some bytes, and returns their number.
    fn step(&mut self, bytes: &mut [u8]) -> Result<usize, PackError> {
        if self.is_done {
            return Ok(0);
        }
        let mut input = InBuffer::around(&self.packed[self.read..]);
        let mut output = OutBuffer::around(bytes);
        let hint = self.zstd.decompress_stream(&mut output, &mut input);
        let (read, written) = (input.pos(), output.pos());
        let hint = hint.map_err(|_| self.malformed(READABLE, 1, 0))?;
        self.read += read;
        self.is_done = hint == 0;
        if !self.is_done && written == 0 && read == 0 {
            // The frame is cut.
            return Err(self.malformed(READABLE, 1, 0));
        }
        Ok(written)
    }

    #[cold]
    fn malformed(&self, what: &'static str, expected: u64, found: u64) -> PackError {
        PackError::Malformed { at: self.at, what, expected, found }
    }
}

const READABLE: &str = "readable zstd frames";

/// Every zstd frame starts with these bytes; ours are kept without them.
pub const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// Most unpacked bytes for each packed one: a zstd block of 4 bytes stands for at most 128 KiB. A
/// larger claim is refused before memory is taken.
const MAX_EXPANSION: u64 = 32 << 10;

#[cfg(all(test, feature = "encode"))]
mod tests {
    use super::*;
    use imgdelta_testkit::noise;

    #[test]
    fn what_the_prefix_has_is_hardly_said_again() {
        let prefix = noise(7, 3 << 20);
        let raw = [&prefix[1000..9000], b"and something new", &prefix[2 << 20..][..5000]].concat();
        for level in [9, 18, 22] {
            let packed = pack(&raw, &prefix, level);
            assert!(packed.len() < 100, "level {level}: {} bytes", packed.len());
            assert_eq!(unpack(&packed, &prefix, raw.len() as u64, 0).unwrap(), raw);
            assert!(unpack(&packed, &prefix, raw.len() as u64 - 1, 0).is_err());
            assert!(unpack(&packed, &prefix, raw.len() as u64 + 1, 0).is_err());
            let shorter = &prefix[..prefix.len() - 1];
            assert!(
                unpack(&packed, shorter, raw.len() as u64, 0).ok().is_none_or(|other| other != raw)
            );
            assert!(unpack(&packed, &[], raw.len() as u64, 0).is_err());
            let parts = |packed: &[u8], raw_len: usize| {
                let mut reader = FrameReader::open(packed, &prefix, raw_len as u64, 0)?;
                let mut bytes = vec![0; raw_len];
                for part in bytes.chunks_mut(1000) {
                    reader.read(part)?;
                }
                reader.finish().map(|()| bytes)
            };
            assert_eq!(parts(&packed, raw.len()).unwrap(), raw);
            assert!(parts(&packed, raw.len() - 1).is_err());
            assert!(parts(&packed, raw.len() + 1).is_err());
            assert!(parts(&[&packed[..], b"more"].concat(), raw.len()).is_err());
            for len in 0..packed.len() {
                assert!(parts(&packed[..len], raw.len()).is_err(), "cut at {len}");
                assert!(
                    unpack(&packed[..len], &prefix, raw.len() as u64, 0).is_err(),
                    "cut at {len}"
                );
            }
        }
    }

    #[test]
    fn a_frame_that_claims_too_much_takes_no_memory() {
        let lie = unpack(&[0x58, 1, 0, 0], b"abc", u64::MAX, 7).unwrap_err();
        assert!(matches!(lie, PackError::Malformed { at: 7, expected: 131_072, .. }), "{lie}");
    }

    #[test]
    fn empty_prefix_and_empty_stream_come_back() {
        let raw = noise(1, 100);
        assert_eq!(unpack(&pack(&raw, &[], 9), &[], 100, 0).unwrap(), raw);
        assert_eq!(unpack(&pack(&[], &raw, 9), &raw, 0, 0).unwrap(), b"");
    }
}
