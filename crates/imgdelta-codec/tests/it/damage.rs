//! Damage is harmless: an error or wrong bytes, never a panic, endless work or huge memory.
#![cfg(feature = "encode")]

use imgdelta_codec::{CodecError, Effort, GroupDecoder, GroupEncoder, GroupLimits};
use proptest::prelude::*;

/// Opens and decodes as a caller would; the caller judges the result.
fn decode(group: &[u8], base: &[u8], target_len: usize) -> Result<Vec<u8>, CodecError> {
    let limits = GroupLimits::default().stream_bytes(1 << 20);
    let mut decoder = GroupDecoder::open(group, &limits)?;
    let mut target = vec![0; target_len];
    decoder.member(base, &mut target)?;
    decoder.finish()?;
    Ok(target)
}

fn sample() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let base: Vec<u8> = (0..4000_u32).flat_map(|i| (i * i).to_le_bytes()).collect();
    let mut target = base.clone();
    target.splice(3000..3100, *b"something new");
    target[9000] ^= 1;
    target.truncate(14_000);
    let mut encoder = GroupEncoder::new(Effort::Default);
    encoder.member(&base, &target);
    (encoder.finish(), base, target)
}

#[test]
fn a_group_cut_anywhere_is_an_error() {
    let (group, base, target) = sample();
    assert_eq!(decode(&group, &base, target.len()).unwrap(), target);
    for len in 0..group.len() {
        assert!(decode(&group[..len], &base, target.len()).is_err(), "cut at {len}");
    }
}

#[test]
fn every_flipped_bit_is_an_error_or_other_bytes() {
    let (group, base, target) = sample();
    for at in 0..group.len() {
        for bit in 0..8 {
            let mut damaged = group.clone();
            damaged[at] ^= 1 << bit;
            if let Ok(rebuilt) = decode(&damaged, &base, target.len()) {
                assert_eq!(rebuilt.len(), target.len());
            }
        }
    }
}

#[test]
fn copy_past_the_base_is_refused() {
    let (group, base, target) = sample();
    let error = decode(&group, &base[..9000], target.len()).unwrap_err();
    assert!(matches!(error, CodecError::BaseUnlike { found: 9000, .. }), "{error}");
    // One stream, raw: a member that is one copy of the whole base, longer than the base.
    let whole = [1, 1 << 2, 0x80];
    let error = decode(&whole, b"short", 6).unwrap_err();
    assert_eq!(
        error,
        CodecError::BaseUnlike { what: "length in bytes", expected: 6, found: 5 },
        "{error}"
    );
}

#[test]
fn a_target_of_another_length_is_refused() {
    let (group, base, target) = sample();
    assert!(decode(&group, &base, target.len() - 1).is_err());
    assert!(decode(&group, &base, target.len() + 1).is_err());
}

proptest! {
    #[test]
    fn arbitrary_groups_never_panic(
        group in prop::collection::vec(any::<u8>(), 0..200),
        base in prop::collection::vec(any::<u8>(), 0..200),
        target_len in 0..300_usize,
    ) {
        let _ = decode(&group, &base, target_len);
    }

    /// Raw streams of arbitrary bytes reach the modules behind the unpacking.
    #[test]
    fn arbitrary_streams_never_panic(
        view in 0..6_u8,
        flags in prop_oneof![Just(0), Just(0x20), Just(0x40), any::<u8>()],
        streams in prop::collection::vec(prop::collection::vec(0..40_u8, 0..20), 23),
        base in prop::collection::vec(any::<u8>(), 0..200),
        target_len in 0..100_usize,
    ) {
        let mut group = vec![24, 1 << 2];
        group.extend(streams.iter().map(|stream| u8::try_from(stream.len() << 2).unwrap()));
        group.push(view | flags);
        group.extend(streams.concat());
        let _ = decode(&group, &base, target_len);
    }
}
