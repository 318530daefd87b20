//! Stretches of made programs, and groups whose literals are aligned codes.

use super::*;
use crate::{
    CodecError, CoderSizes, GroupDecoder, GroupLimits, StreamCoder, StreamKind, View,
    group::StreamWriter, literals::LiteralHistory, trial::Scene,
};
use imgdelta_coding::pack::{self, Packer};
use imgdelta_fields::host::NoHost;
use imgdelta_testkit::noise;

const CODE: usize = 0x1000;

/// A program of a machine with one segment of code and some bytes behind it.
fn program(machine: u8, code: &[u8]) -> Vec<u8> {
    let mut file = vec![0; CODE];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    for (at, number) in [(18, machine), (54, 56), (56, 1), (64, 1), (68, 5)] {
        put(at, &[number]);
    }
    let len = code.len() as u64 - 500;
    for (at, number) in [(32, 64), (72, CODE as u64), (80, 0x40_1000), (96, len), (104, len)] {
        put(at, &number.to_le_bytes());
    }
    file.extend_from_slice(code);
    file
}

/// A program, a newer one, and copies between them: a long one, a gap, and a short one that moved.
fn pair(machine: u8, seed: u64) -> (Vec<u8>, Vec<u8>, Vec<BaseCopy>) {
    let mut code = noise(seed, 0x8000);
    for at in (16..0x8000 - 16).step_by(40) {
        // A call.
        code[at] = 0xE8;
        code[at + 1..at + 5].copy_from_slice(&(0x100 - at as i32).to_le_bytes());
    }
    let mut new = code[..0x2000].to_vec();
    for (part, change) in code[0x2000..].chunks(64).zip(noise(seed + 9, 0x1000)) {
        new.extend_from_slice(part);
        new.extend((0..change & 3).map(|more| more ^ change));
    }
    let (base, target) = (program(machine, &code), program(machine, &new));
    let moved = new.windows(60).position(|part| *part == code[0x4001..0x403D]).unwrap();
    let first = BaseCopy { target: 0, base: 0, len: CODE + 0x2000 };
    let second = BaseCopy { target: CODE + moved, base: CODE + 0x4001, len: 60 };
    (base, target, vec![first, second])
}

/// A group of so many members, and base and target of each.
fn group_of(machine: u8, members: u64) -> (StreamWriter, Vec<[Vec<u8>; 2]>) {
    let (history, mut mixer) = (LiteralHistory::default(), None);
    let (mut streams, mut files) = (StreamWriter::default(), Vec::new());
    for seed in 1..=members {
        let (base, target, copies) = pair(machine, seed);
        let scene = Scene::open(View::Elf, &base, &target, &NoHost).unwrap();
        let layout = Layout::plain(copies);
        let survey = scene.survey(&layout);
        let mut trial = scene.write(&layout, &survey, survey.overrides(Some(3)));
        let literals = trial.streams.stream(StreamKind::Literals).len();
        let packed = scene.pack_aligned(&trial, &layout, &history, mixer.as_ref());
        let (packed, after) = packed.expect("they follow the base");
        trial.set_apart(&packed);
        mixer = Some(after);
        let code = trial.streams.stream(StreamKind::Codes).len();
        assert!(code < literals / 5, "{code} bytes for {literals}");
        streams.append(&trial.streams);
        files.push([base, target]);
    }
    (streams, files)
}

fn group(machine: u8) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let (streams, mut files) = group_of(machine, 1);
    let [base, target] = files.remove(0);
    (Packer::new(1).pack(streams.all()), base, target)
}

fn decode(group: &[u8], base: &[u8], len: usize) -> Result<Vec<u8>, CodecError> {
    let mut decoder = GroupDecoder::open(group, &GroupLimits::default())?;
    let mut target = vec![0; len];
    decoder.member(base, &mut target)?;
    decoder.finish()?;
    Ok(target)
}

#[test]
fn literals_of_both_machines_follow_the_base_and_come_back() {
    for machine in [62, 183] {
        let (group, base, target) = group(machine);
        assert!(decode(&group, &base, target.len()).unwrap() == target, "machine {machine}");
    }
}

#[test]
fn the_mixer_state_goes_on_from_member_to_member() {
    let (streams, files) = group_of(62, 3);
    let [one, three] =
        [&group_of(62, 1).0, &streams].map(|streams| streams.stream(StreamKind::Codes).len());
    assert!(three < one * 29 / 10, "{three} bytes for three members, {one} for the first");
    let group = Packer::new(1).pack(streams.all());
    let mut decoder = GroupDecoder::open(&group, &GroupLimits::default()).unwrap();
    for [base, target] in files {
        let mut made = vec![0; target.len()];
        decoder.member(&base, &mut made).unwrap();
        assert!(made == target);
    }
    decoder.finish().unwrap();
}

#[test]
fn aligned_codes_count_as_mixed_with_the_base() {
    let (streams, _) = group_of(62, 1);
    let code = streams.stream(StreamKind::Codes).len() as u64;
    let sizes = CoderSizes::of_group(&Packer::new(1).pack(streams.all())).unwrap();
    assert!(sizes.used().any(|size| size == (StreamCoder::MixedWithBase, code)), "{sizes:?}");
}

#[test]
fn a_code_that_goes_on_with_no_mixer_state_is_refused() {
    let (group, base, target) = group(62);
    let mut streams = pack::unpack_group(&group, StreamKind::ALL.len(), 1 << 22).unwrap();
    let coder = &mut streams[StreamKind::PackedLiterals as usize][0];
    assert_eq!(*coder, 2);
    *coder = 3;
    let error = decode(&Packer::new(1).pack(&streams), &base, target.len()).unwrap_err();
    assert!(error.to_string().contains("aligned codes before"), "{error}");
}

#[test]
fn damaged_aligned_codes_are_errors_or_other_bytes() {
    let (group, base, target) = group(62);
    let with = |stream: StreamKind, change: &dyn Fn(&mut Vec<u8>)| {
        let mut streams = pack::unpack_group(&group, StreamKind::ALL.len(), 1 << 22).unwrap();
        change(&mut streams[stream as usize]);
        decode(&Packer::new(1).pack(&streams), &base, target.len())
    };
    for at in (0..700).step_by(50) {
        for stream in [StreamKind::Codes, StreamKind::PackedLiterals] {
            let made = with(stream, &|bytes| {
                let at = at % bytes.len();
                bytes[at] ^= 0x15;
            });
            assert!(made.is_err() || made.unwrap().len() == target.len());
        }
        assert!(with(StreamKind::Codes, &|bytes| bytes.truncate(at)).is_err());
    }
    assert!(with(StreamKind::Codes, &|bytes| bytes.push(0)).is_err());
    // Without a byte of code nothing shows how much work there is.
    assert!(with(StreamKind::PackedLiterals, &|bytes| *bytes = vec![2, 0, 0]).is_err());
}

#[test]
fn stretches_are_cut_by_kind_and_know_their_places_in_the_base() {
    let (base, target, copies) = pair(62, 1);
    let scene = Scene::open(View::Elf, &base, &target, &NoHost).unwrap();
    let reference = Reference::whole(&base);
    let layout = Layout::plain(copies.clone());
    let all = stretches(&layout, target.len(), &scene.target.image, &reference);
    let [first, second] = [copies[0].target_end(), copies[1].target_end()];
    let code_end = target.len() - 500;
    let starts: Vec<usize> = all.iter().map(|stretch| stretch.target).collect();
    assert_eq!(starts, [first, second, code_end]);
    assert_eq!(all.iter().map(|s| s.kind).collect::<Vec<_>>(), [Kind::X86, Kind::X86, Kind::Data]);
    let gap = copies[1].target - first;
    assert_eq!(
        (all[0].len, all[0].before, all[0].after),
        (gap, Some(first), Some(copies[1].base - gap))
    );
    assert_eq!(all[1].before, Some(copies[1].base_end()));
    let later = copies[1].base_end() + code_end - second;
    assert_eq!((all[2].before, all[2].after), (Some(later), None));
}
