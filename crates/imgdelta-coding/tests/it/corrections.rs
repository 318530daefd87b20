//! Codes of corrections: any bytes come back, in pieces, and similar ones take little room.
#![cfg(feature = "encode")]

use imgdelta_coding::{
    aligned::Kind,
    corrections::{BLOCK, CorrectionReader, CorrectionState, MAX_OPEN},
};
use imgdelta_testkit::noise;
use proptest::prelude::*;

const KINDS: [Kind; 4] = [Kind::Text, Kind::Data, Kind::Words, Kind::X86];

/// Reads a code in pieces of so many blocks.
fn read(
    state: &mut CorrectionState,
    code: &[u8],
    predicted: &[u8],
    (exact, kinds): (&[u64], &[(usize, Kind)]),
    blocks: usize,
) -> Vec<u8> {
    let mut bytes = predicted.to_vec();
    let mut reader = CorrectionReader::new(state, code);
    let (mut at, len) = (0, blocks * BLOCK);
    for (piece, exact) in bytes.chunks_mut(len).zip(exact.chunks(blocks)) {
        reader.correct(piece, at, exact, kinds).expect("just packed");
        at += len;
    }
    bytes
}

/// Ranges of all kinds, in turn.
fn kinds(len: usize) -> Vec<(usize, Kind)> {
    let ends = (0..len).step_by(1000).map(|start| (start + 1000).min(len));
    ends.zip(KINDS.into_iter().cycle()).collect()
}

/// Bytes, and the same with one byte in two hundred changed in the same way, here and there.
fn similar(len: usize) -> (Vec<u8>, Vec<u8>) {
    let predicted = noise(1, len);
    let mut wanted = predicted.clone();
    let places = noise(4, len);
    for at in (0..len).filter(|at| places[at / 2] < 2 && at % 2 == 0) {
        wanted[at] = wanted[at].wrapping_add(5);
    }
    (predicted, wanted)
}

#[test]
fn corrections_of_one_sort_take_little_room() {
    let (predicted, wanted) = similar(100_000);
    let exact = vec![0; predicted.len().div_ceil(BLOCK)];
    let all = kinds(predicted.len());
    let mut state = CorrectionState::default();
    let code = state.pack(&mut predicted.clone(), &wanted, &exact, &all).expect("few bytes");
    let changed = predicted.iter().zip(&wanted).filter(|(old, new)| old != new).count();
    assert!(code.len() < changed * 3 / 2, "{} bytes for {changed} corrections", code.len());
    for blocks in [1, 3, 10_000] {
        let mut state = CorrectionState::default();
        let made = read(&mut state, &code, &predicted, (&exact, &all), blocks);
        assert!(made == wanted, "pieces of {blocks} blocks");
    }
}

#[test]
fn a_code_that_goes_on_is_shorter() {
    let (predicted, wanted) = similar(50_000);
    let exact = vec![0; predicted.len().div_ceil(BLOCK)];
    let all = kinds(predicted.len());
    let mut state = CorrectionState::default();
    let mut pack = || state.pack(&mut predicted.clone(), &wanted, &exact, &all).expect("few bytes");
    let (first, second) = (pack(), pack());
    assert!(second.len() * 10 < first.len() * 9, "{} and {} bytes", first.len(), second.len());
    let mut state = CorrectionState::default();
    for code in [first, second] {
        assert!(read(&mut state, &code, &predicted, (&exact, &all), 7) == wanted);
    }
}

#[test]
fn exact_bytes_are_never_changed() {
    let predicted = noise(2, 5000);
    let exact: Vec<u64> =
        (0..predicted.len().div_ceil(BLOCK) as u64).map(|i| i * 0x1357_9BDF).collect();
    let mut bytes = predicted.clone();
    let (mut state, code) = (CorrectionState::default(), noise(3, 5000));
    let mut reader = CorrectionReader::new(&mut state, &code);
    reader
        .correct(&mut bytes, 0, &exact, &kinds(predicted.len()))
        .expect("a byte of code for each");
    assert!(bytes != predicted);
    for (at, (new, old)) in bytes.iter().zip(&predicted).enumerate() {
        assert!(new == old || exact[at / BLOCK] >> (at % BLOCK) & 1 == 0, "byte {at}");
    }
}

#[test]
fn a_short_code_for_many_bytes_is_refused() {
    let len = 1 << 20;
    let exact = vec![0; len / BLOCK];
    let most = 2 * MAX_OPEN + 2 * BLOCK as u64;
    // Some bytes read as blocks with corrections for ever.
    let refused = (0..=u8::MAX).filter(|&byte| {
        let mut state = CorrectionState::default();
        let code = [byte, byte];
        let mut reader = CorrectionReader::new(&mut state, &code);
        let mut bytes = vec![byte; len];
        match reader.correct(&mut bytes, 0, &exact, &[(len, Kind::Data)]) {
            Ok(()) => false,
            Err(error) => {
                assert!(error.found <= most, "{} bytes", error.found);
                true
            }
        }
    });
    assert!(refused.count() > 50);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_come_back(
        predicted in prop::collection::vec(any::<u8>(), 0..600),
        changes in prop::collection::vec((0_usize..600, any::<u8>()), 0..40),
        exact in prop::collection::vec(any::<u64>(), 10),
        blocks in 1_usize..4,
    ) {
        let exact = &exact[..predicted.len().div_ceil(BLOCK)];
        let mut wanted = predicted.clone();
        for (at, byte) in changes {
            if at < wanted.len() && exact[at / BLOCK] >> (at % BLOCK) & 1 == 0 {
                wanted[at] = byte;
            }
        }
        let all = kinds(predicted.len());
        let mut state = CorrectionState::default();
        if let Some(code) = state.pack(&mut predicted.clone(), &wanted, exact, &all) {
            let mut state = CorrectionState::default();
            let made = read(&mut state, &code, &predicted, (exact, &all), blocks);
            prop_assert_eq!(made, wanted);
        }
    }

    #[test]
    fn any_bytes_are_read_within_their_bounds(
        code in prop::collection::vec(any::<u8>(), 0..300),
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let exact = vec![0; bytes.len().div_ceil(BLOCK)];
        let (mut state, mut made) = (CorrectionState::default(), bytes.clone());
        let all = kinds(bytes.len());
        let _ = CorrectionReader::new(&mut state, &code).correct(&mut made, 0, &exact, &all);
        prop_assert_eq!(made.len(), bytes.len());
    }
}
