//! One stream as a zstd frame, which may refer to a prefix that both sides have.
//! Never keeps the prefix.
//!
//! A frame lacks zstd's magic number, its content size and its checksum, as in a pack.

use crate::error::PackError;
use zstd::zstd_safe::DCtx;
#[cfg(feature = "encode")]
use zstd::zstd_safe::{self, CCtx, CParameter};

/// Distances in stream and prefix together take at most this many bits: more needs too much memory
/// to pack. To unpack takes none for it, since prefix and stream are in memory anyway.
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

/// Unpacks a frame of exactly `raw_len` bytes behind `prefix`; `at` is its offset in errors.
pub(crate) fn unpack(
    packed: &[u8],
    prefix: &[u8],
    raw_len: u64,
    at: u64,
) -> Result<Vec<u8>, PackError> {
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

/// Every zstd frame starts with these bytes; ours are kept without them.
pub(crate) const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

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
            for len in 0..packed.len() {
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
