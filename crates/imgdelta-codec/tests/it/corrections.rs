//! Codes of corrections in groups: members of all views come back, and damage is harmless.
#![cfg(feature = "encode")]

use imgdelta_codec::{CodecError, Effort, GroupDecoder, GroupEncoder, GroupLimits, StreamKind};
use imgdelta_coding::pack::{self, Packer};
use imgdelta_testkit::noise;

/// Offset of the code in a program.
const CODE: usize = 0x1000;

/// A program of one machine with one segment of code.
fn program(machine: u16, code: &[u8]) -> Vec<u8> {
    let mut file = vec![0; CODE];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    for (at, number) in [(18, machine), (54, 56), (56, 1)] {
        put(at, &number.to_le_bytes());
    }
    for (at, number) in [(64, 1_u32), (68, 5)] {
        put(at, &number.to_le_bytes());
    }
    let len = code.len() as u64;
    for (at, number) in [(32, 64), (72, CODE as u64), (80, 0x40_1000), (96, len), (104, len)] {
        put(at, &number.to_le_bytes());
    }
    file.extend_from_slice(code);
    file
}

/// Returns bytes of which some are changed: half of those that are less than 5.
fn changed(bytes: &[u8], from: usize) -> Vec<u8> {
    let choice = noise(9, bytes.len());
    let mut new = bytes.to_vec();
    for at in (from..bytes.len()).filter(|&at| bytes[at] < 5 && choice[at] < 128) {
        new[at] = new[at].wrapping_add(choice[at] % 5 + 1);
    }
    new
}

/// A program of one machine, and a later version of it.
fn pair_of(machine: u16, seed: u64, len: usize) -> [Vec<u8>; 2] {
    // Branches in the code are fields, which divide places where pieces could begin.
    let mut code = noise(seed, len);
    for (number, word) in code.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        if number % 3 == 0 {
            *word = if number % 6 == 0 { [0xE8, 0x10, 0x20, 0] } else { [0x10, 0x20, 0, 0x94] };
        }
    }
    let base = program(machine, &code);
    let mut target = changed(&base, CODE);
    target.splice(CODE + 9_000..CODE + 9_100, noise(5, 4_000));
    let len = (target.len() - CODE) as u64;
    for at in [96, 104] {
        target[at..at + 8].copy_from_slice(&len.to_le_bytes());
    }
    [base, target]
}

/// Programs of both machines, and a file without a view.
fn pairs() -> Vec<[Vec<u8>; 2]> {
    let base = noise(4, 30_000);
    let target = changed(&base, 0);
    vec![pair_of(62, 1, 40_000), [base, target], pair_of(183, 2, 40_000)]
}

fn group(pairs: &[[Vec<u8>; 2]]) -> Vec<u8> {
    let mut encoder = GroupEncoder::new(Effort::Best);
    for [base, target] in pairs {
        encoder.member(base, target);
    }
    encoder.finish()
}

fn decode(group: &[u8], pairs: &[[Vec<u8>; 2]]) -> Result<Vec<Vec<u8>>, CodecError> {
    let mut decoder = GroupDecoder::open(group, &GroupLimits::default())?;
    let mut all = Vec::new();
    for [base, target] in pairs {
        let mut made = vec![0; target.len()];
        decoder.member(base, &mut made)?;
        all.push(made);
    }
    decoder.finish()?;
    Ok(all)
}

fn streams(group: &[u8]) -> Vec<Vec<u8>> {
    pack::unpack_group(group, StreamKind::ALL.len(), 1 << 24).unwrap()
}

#[test]
fn members_with_corrections_come_back() {
    // The last one is longer than a piece.
    let mut pairs = pairs();
    pairs.push(pair_of(62, 3, 1_100_000));
    let group = group(&pairs);
    let heads = &streams(&group)[StreamKind::Members as usize];
    let corrected = heads.iter().map(|head| head & 8 != 0).collect::<Vec<_>>();
    assert_eq!(corrected, [true; 4]);
    for (made, [_, target]) in decode(&group, &pairs).unwrap().iter().zip(&pairs) {
        assert!(made == target);
    }
}

#[test]
fn groups_that_were_matched_apart_come_back_together() {
    let pairs = &pairs();
    let mut encoder = GroupEncoder::new(Effort::Best);
    for pair in pairs {
        let mut part = GroupEncoder::new(Effort::Best);
        part.member(&pair[0], &pair[1]);
        encoder.append(&part.finish_loose()).unwrap();
    }
    encoder.member(&pairs[0][0], &pairs[0][1]);
    let all: Vec<[Vec<u8>; 2]> = pairs.iter().chain(&pairs[..1]).cloned().collect();
    for (made, [_, target]) in decode(&encoder.finish(), &all).unwrap().iter().zip(&all) {
        assert!(made == target);
    }
}

#[test]
fn a_code_that_goes_on_with_no_state_is_refused() {
    let pairs = &pairs()[..1];
    let mut streams = streams(&group(pairs));
    let number = &mut streams[StreamKind::PatchGaps as usize][0];
    assert_eq!(*number & 1, 0);
    *number |= 1;
    let error = decode(&Packer::new(1).pack(&streams), pairs).unwrap_err();
    assert!(error.to_string().contains("codes before"), "{error}");
}

#[test]
fn damaged_corrections_are_errors_or_other_bytes() {
    let pairs = &pairs()[..2];
    let streams = streams(&group(pairs));
    let with = |stream: StreamKind, change: &dyn Fn(&mut Vec<u8>)| {
        let mut streams = streams.clone();
        change(&mut streams[stream as usize]);
        decode(&Packer::new(1).pack(&streams), pairs)
    };
    for at in 0..12 {
        for stream in [StreamKind::Codes, StreamKind::PatchGaps, StreamKind::Members] {
            let made = with(stream, &|bytes| {
                let at = at * 131 % bytes.len();
                bytes[at] ^= 1 << (at % 8);
            });
            for (made, [_, target]) in made.iter().flatten().zip(pairs) {
                assert_eq!(made.len(), target.len());
            }
        }
    }
    assert!(with(StreamKind::Codes, &|bytes| bytes.push(0)).is_err());
    assert!(with(StreamKind::Codes, &|bytes| bytes.truncate(bytes.len() - 1)).is_err());
    assert!(with(StreamKind::PatchGaps, &|bytes| bytes.clear()).is_err());
}
