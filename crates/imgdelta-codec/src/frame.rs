//! One stream as a zstd frame that may refer to bytes before it, which both sides have: its prefix.
//! Never keeps the prefix, and never asks what it is.
//!
//! As in a pack, the frame lacks zstd's magic number and says neither its length nor a checksum.

use crate::{
    error::PackError,
    pack::{MAX_EXPANSION, ZSTD_MAGIC},
};
use zstd::zstd_safe::DCtx;
#[cfg(feature = "encode")]
use zstd::zstd_safe::{self, CCtx, CParameter};

/// Distances in the stream and its prefix together may take this many bits: more costs the packing
/// side too much memory. The unpacking side takes none for it: all lies before it anyway.
#[cfg(feature = "encode")]
const MAX_WINDOW_LOG: u32 = 22;

/// Packs `raw` at one of zstd's levels, with `prefix` before it.
#[cfg(feature = "encode")]
pub(crate) fn pack(raw: &[u8], prefix: &[u8], level: i32) -> Vec<u8> {
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

/// Unpacks a frame that must come to exactly `raw_len` bytes after `prefix`.
pub(crate) fn unpack(packed: &[u8], prefix: &[u8], raw_len: usize) -> Result<Vec<u8>, PackError> {
    let malformed = |what, expected, found| PackError::Malformed { at: 0, what, expected, found };
    let bearable = (packed.len() as u64).saturating_mul(MAX_EXPANSION);
    if raw_len as u64 > bearable {
        return Err(malformed("unpacked length of a frame", bearable, raw_len as u64));
    }
    let whole = [&ZSTD_MAGIC, packed].concat();
    let mut raw = Vec::with_capacity(raw_len);
    let mut zstd = DCtx::create();
    zstd.ref_prefix(prefix)
        .and_then(|_| zstd.decompress(&mut raw, &whole))
        .map_err(|_| malformed("readable zstd frames", 1, 0))?;
    if raw.len() != raw_len {
        return Err(malformed("unpacked length of a frame", raw_len as u64, raw.len() as u64));
    }
    Ok(raw)
}

#[cfg(all(test, feature = "encode"))]
mod tests {
    use super::*;

    fn noise(len: usize, mut state: u32) -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn what_the_prefix_has_is_hardly_said_again() {
        let prefix = noise(3 << 20, 7);
        let raw = [&prefix[1000..9000], b"and something new", &prefix[2 << 20..][..5000]].concat();
        for level in [9, 18, 22] {
            let packed = pack(&raw, &prefix, level);
            assert!(packed.len() < 100, "level {level}: {} bytes", packed.len());
            assert_eq!(unpack(&packed, &prefix, raw.len()).unwrap(), raw);
            assert!(unpack(&packed, &prefix, raw.len() - 1).is_err());
            assert!(unpack(&packed, &prefix, raw.len() + 1).is_err());
            let shorter = &prefix[..prefix.len() - 1];
            assert!(unpack(&packed, shorter, raw.len()).ok().is_none_or(|other| other != raw));
            assert!(unpack(&packed, &[], raw.len()).is_err());
            for len in 0..packed.len() {
                assert!(unpack(&packed[..len], &prefix, raw.len()).is_err(), "cut at {len}");
            }
        }
    }

    #[test]
    fn a_frame_that_claims_too_much_takes_no_memory() {
        let lie = unpack(&[0x58, 1, 0, 0], b"abc", usize::MAX).unwrap_err();
        assert!(matches!(lie, PackError::Malformed { expected: 131_072, .. }), "{lie}");
    }

    #[test]
    fn empty_prefix_and_empty_stream_come_back() {
        let raw = noise(100, 1);
        assert_eq!(unpack(&pack(&raw, &[], 9), &[], 100).unwrap(), raw);
        assert_eq!(unpack(&pack(&[], &raw, 9), &raw, 0).unwrap(), b"");
    }
}
