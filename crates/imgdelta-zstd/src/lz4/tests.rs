//! Blocks are those of the LZ4 library, and come back; damage is refused.

use super::*;
use proptest::prelude::*;
use zlib_rs::crc32::crc32;

/// Returns text with repetitions near and far.
fn text((seed, bytes, mask): (u32, usize, u8)) -> Vec<u8> {
    let (mut state, mut text) = (seed, Vec::new());
    while text.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let from = text.len().saturating_sub(1 + (state >> 12) as usize % 90_000);
        let until = text.len().min(from + (state >> 27) as usize);
        text.extend_from_within(from.min(until)..until);
        text.extend(state.to_le_bytes()[2..].iter().map(|byte| byte & mask));
    }
    text.truncate(bytes);
    text
}

/// Input, and lengths and checksums of what the library makes of it: release 1.10.0 at level 1, and
/// release 1.9.4 at levels 1, 3, 4 and 5.
type GoldenBlock = ((u32, usize, u8), [(usize, u32); 5]);
const GOLDEN: &[GoldenBlock] = &[
    (
        (1, 1, 255),
        [(2, 0xe878_0bbc), (2, 0xe878_0bbc), (2, 0xe878_0bbc), (2, 0xe878_0bbc), (2, 0xe878_0bbc)],
    ),
    (
        (2, 12, 0),
        [
            (13, 0x1293_f23e),
            (13, 0x1293_f23e),
            (13, 0x1293_f23e),
            (13, 0x1293_f23e),
            (13, 0x1293_f23e),
        ],
    ),
    (
        (3, 13, 0),
        [
            (10, 0xef37_5af4),
            (10, 0xef37_5af4),
            (10, 0xef37_5af4),
            (10, 0xef37_5af4),
            (10, 0xef37_5af4),
        ],
    ),
    (
        (4, 600, 3),
        [
            (190, 0xf9c7_7098),
            (182, 0xcac2_dc72),
            (165, 0x3c09_6824),
            (157, 0x337a_5d24),
            (149, 0x97f1_730e),
        ],
    ),
    (
        (5, 9_000, 255),
        [
            (3_117, 0x0e92_75c4),
            (2_895, 0x04d6_08b3),
            (2_724, 0x8efc_c38c),
            (2_659, 0x9228_f71d),
            (2_613, 0x4f6c_2df9),
        ],
    ),
    (
        (6, 70_000, 1),
        [
            (20_876, 0xf5eb_3014),
            (21_872, 0x4926_c192),
            (18_188, 0x10ee_93a2),
            (16_014, 0x06e2_fd6d),
            (14_412, 0xb83d_7c26),
        ],
    ),
    (
        (7, 300_000, 255),
        [
            (124_379, 0x5176_085a),
            (107_488, 0xfce6_0cea),
            (101_326, 0xf34b_47ff),
            (98_940, 0xd5f4_9248),
            (98_102, 0x0d50_57a6),
        ],
    ),
    (
        (8, 300_000, 3),
        [
            (106_717, 0xa9c2_bf20),
            (134_895, 0x98b4_5bc9),
            (122_033, 0x8832_c09a),
            (110_641, 0x6fe9_7c6c),
            (100_531, 0xdb1b_f19a),
        ],
    ),
    (
        (9, 40_000, 0),
        [
            (167, 0xdee1_b348),
            (167, 0xdee1_b348),
            (167, 0xdee1_b348),
            (167, 0xdee1_b348),
            (167, 0xdee1_b348),
        ],
    ),
];

#[test]
fn blocks_are_those_of_the_library() {
    for (input, blocks) in GOLDEN {
        let plain = text(*input);
        for (encoder, (bytes, checksum)) in Lz4Encoder::ALL.into_iter().zip(blocks) {
            let block = encoder.encode(&plain).unwrap();
            assert_eq!(
                (block.len(), crc32(0, &block)),
                (*bytes, *checksum),
                "{encoder:?} {input:?}"
            );
            assert!(decode(&block, plain.len()).as_ref() == Some(&plain), "{encoder:?} {input:?}");
            let found = Lz4Encoder::find(&plain, &block).unwrap();
            assert!(found.encode(&plain).as_ref() == Ok(&block), "{encoder:?} {input:?}");
        }
    }
}

#[test]
fn block_of_another_encoder_is_not_found() {
    let plain = text((5, 9000, 255));
    let mut block = Lz4Encoder::Middle.encode(&plain).unwrap();
    assert_eq!(Lz4Encoder::find(&plain, &block), Some(Lz4Encoder::Middle));
    block.push(0);
    assert_eq!(Lz4Encoder::find(&plain, &block), None, "a byte behind it");
    block.truncate(block.len() - 2);
    assert_eq!(Lz4Encoder::find(&plain, &block), None, "a byte less");
    // Literals alone are a valid block, which no encoder makes of this text.
    let literals = [&[0xf0, 255, 255, 255, 135], &plain[..915]].concat();
    assert!(decode(&literals, 915).is_some());
    assert_eq!(Lz4Encoder::find(&plain[..915], &literals), None);
}

#[test]
fn matches_outside_of_the_content_are_refused() {
    for (block, plain_bytes, why) in [
        (&[][..], 0, "no token"),
        (&[0x10], 1, "no literal"),
        (&[0x10, b'a', 2, 0, 0], 5, "a distance that is too long"),
        (&[0x10, b'a', 0, 0, 0], 5, "a distance of 0"),
        (&[0x10, b'a', 1, 0], 5, "nothing behind a match"),
        (&[0x11, b'a'], 1, "a match length in the last token"),
        (&[0x1f, b'a', 1, 0, 255, 255, 255], 5, "an endless length"),
        (&[0x10, b'a', 1, 0, 0], 4, "too many bytes"),
        (&[0x10, b'a', 1, 0, 0], 6, "too few bytes"),
    ] {
        assert_eq!(decode(block, plain_bytes), None, "{why}");
    }
    assert_eq!(decode(&[0x10, b'a', 1, 0, 0], 5).unwrap(), b"aaaaa");
}

#[test]
fn huge_stated_length_takes_no_memory() {
    assert_eq!(decode(&[0x10, b'a', 1, 0, 0], usize::MAX), None);
}

#[test]
fn content_that_is_too_long_is_refused() {
    let long = vec![0; usize::try_from(MOST_PLAIN_BYTES).unwrap() + 1];
    for encoder in Lz4Encoder::ALL {
        assert_eq!(encoder.encode(&long), Err(Lz4Error::TooLong));
    }
}

proptest! {
    #[test]
    fn packed_text_comes_back(
        words in prop::collection::vec((prop::collection::vec(0_u8..3, 1..20), 1..9_usize), 0..200),
        damage in any::<(usize, u8)>(),
    ) {
        let plain: Vec<u8> = words.iter().flat_map(|(word, count)| word.repeat(*count)).collect();
        for encoder in Lz4Encoder::ALL {
            let mut block = encoder.encode(&plain).unwrap();
            prop_assert_eq!(decode(&block, plain.len()), Some(plain.clone()));
            let at = damage.0 % block.len();
            block[at] ^= damage.1;
            let _ = decode(&block, plain.len());
        }
    }
}
