//! Any bytes as a code of corrections end, and change no exact byte; what a packer makes of any bytes comes
//! back, also with a state that goes on.
#![no_main]

use imgdelta_coding::{
    aligned::Kind,
    corrections::{BLOCK, CorrectionReader, CorrectionState},
};
use libfuzzer_sys::fuzz_target;

const KINDS: [Kind; 4] = [Kind::Text, Kind::Data, Kind::Words, Kind::X86];

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, rest)) = bytes.split_first() else { return };
    let kinds: Vec<_> = (0..rest.len()).step_by(150).zip(KINDS.into_iter().cycle()).collect();
    let (exact, rest) = rest.split_at(rest.len().min(usize::from(cut & 31)));
    let word =
        |number: usize| exact.get(number).map_or(0, |&byte| u64::from(byte) * 0x0101_0101_0101);
    let (code, predicted) = rest.split_at(rest.len() / 2);
    let exact: Vec<u64> = (0..predicted.len().div_ceil(BLOCK)).map(word).collect();

    let (mut state, mut made) = (CorrectionState::default(), predicted.to_vec());
    let _ = CorrectionReader::new(&mut state, code).correct(&mut made, 0, &exact, &kinds);
    let is_exact = |at: usize| exact[at / BLOCK] >> (at % BLOCK) & 1 == 1;
    assert!((0..made.len()).all(|at| !is_exact(at) || made[at] == predicted[at]));

    let mut wanted = predicted.to_vec();
    for (at, byte) in wanted.iter_mut().enumerate().filter(|(at, _)| !is_exact(*at)) {
        *byte = code.get(at).copied().unwrap_or(*byte);
    }
    let (mut packing, mut unpacking) = (CorrectionState::default(), CorrectionState::default());
    for _ in 0..2 {
        let packed = packing.pack(&mut predicted.to_vec(), &wanted, &exact, &kinds);
        let Some(packed) = packed else { return };
        let mut made = predicted.to_vec();
        let mut reader = CorrectionReader::new(&mut unpacking, &packed);
        reader.correct(&mut made, 0, &exact, &kinds).expect("just packed");
        assert_eq!(made, wanted);
    }
});
