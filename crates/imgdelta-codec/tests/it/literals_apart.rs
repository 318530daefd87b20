//! Literals packed with the base as prefix come back, and false claims about them are refused.
#![cfg(feature = "encode")]

use imgdelta_codec::{
    CodecError, CoderSizes, Effort, GroupDecoder, GroupEncoder, GroupLimits, MemberStats,
    StreamCoder, StreamKind, View,
};
use imgdelta_coding::pack::{self, Packer};
use imgdelta_testkit::noise;
use imgdelta_wire::varint;

const LEN: usize = 0x1_0000;

/// A program with one segment of code.
fn program(code: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 0x1000];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let len = code.len() as u64;
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(18, &62_u16.to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    put(54, &56_u16.to_le_bytes());
    put(56, &1_u16.to_le_bytes());
    put(64, &1_u32.to_le_bytes());
    put(68, &5_u32.to_le_bytes());
    for (at, number) in [(72, 0x1000), (80, 0x40_1000), (96, len), (104, len)] {
        put(at, &u64::to_le_bytes(number));
    }
    file.extend_from_slice(code);
    file
}

/// A program, and one whose second half has the same snippets in another order, too short for
/// copies.
fn pair(seed: u64) -> (Vec<u8>, Vec<u8>) {
    let code = noise(seed, LEN);
    let (kept, changed) = code.split_at(LEN / 2);
    let snippets: Vec<&[u8]> = changed.chunks(9).collect();
    let mut new = kept.to_vec();
    for i in 0..snippets.len() {
        // The count of snippets is no multiple of it.
        new.extend_from_slice(snippets[i * 1009 % snippets.len()]);
    }
    (program(&code), program(&new))
}

/// The same with new bytes between the snippets, each similar to the one before.
fn changed_pair(seed: u64) -> (Vec<u8>, Vec<u8>) {
    let code = noise(seed, LEN);
    let (kept, changed) = code.split_at(LEN / 2);
    let snippets: Vec<&[u8]> = changed.chunks(9).collect();
    let (mut new, mut last) = (kept.to_vec(), 0_u8);
    for (i, steps) in noise(seed + 50, LEN).chunks(9).take(snippets.len()).enumerate() {
        new.extend_from_slice(snippets[i * 1009 % snippets.len()]);
        for step in steps {
            last = if step & 0x80 == 0 { last.wrapping_add(step & 3) } else { last ^ 0x40 };
            new.push(last);
        }
    }
    (program(&code), program(&new))
}

/// The number of the coder of the first member's packed literals.
fn coder(group: &[u8]) -> u8 {
    let streams = pack::unpack_group(group, StreamKind::ALL.len(), 1 << 22).unwrap();
    streams[StreamKind::PackedLiterals as usize][0]
}

fn encode(effort: Effort, pairs: &[(Vec<u8>, Vec<u8>)]) -> (Vec<u8>, Vec<MemberStats>) {
    let mut encoder = GroupEncoder::new(effort);
    let stats = pairs.iter().map(|(base, target)| encoder.member(base, target)).collect();
    let lengths = encoder.stream_lengths();
    assert_eq!(lengths.bytes(StreamKind::Literals), 0, "{lengths:?}");
    (encoder.finish(), stats)
}

fn decode(group: &[u8], pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<Vec<u8>>, CodecError> {
    let mut decoder = GroupDecoder::open(group, &GroupLimits::default().stream_bytes(1 << 22))?;
    let mut rebuilt = Vec::new();
    for (base, target) in pairs {
        let mut own = vec![0; target.len()];
        decoder.member(base, &mut own)?;
        rebuilt.push(own);
    }
    decoder.finish()?;
    Ok(rebuilt)
}

/// The same group with one stream changed.
fn with(group: &[u8], stream: StreamKind, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut streams = pack::unpack_group(group, StreamKind::ALL.len(), 1 << 22).unwrap();
    change(&mut streams[stream as usize]);
    Packer::new(1).pack(&streams)
}

#[test]
fn literals_that_resemble_the_base_are_packed_against_it() {
    for effort in [Effort::Fast, Effort::Default, Effort::Best] {
        let pairs = [pair(1)];
        let (group, stats) = encode(effort, &pairs);
        assert!(decode(&group, &pairs).unwrap()[0] == pairs[0].1);
        assert_eq!(stats[0].view, View::Elf);
        assert!(stats[0].literal_bytes > 30_000, "{stats:?}");
        assert!(group.len() < 20_000, "{effort:?}: {} bytes", group.len());
    }
}

#[test]
fn an_lz_code_is_kept_where_it_is_shorter_than_a_frame() {
    for effort in [Effort::Fast, Effort::Default, Effort::Best] {
        let pairs = [changed_pair(3), changed_pair(4), pair(1)];
        let (group, _) = encode(effort, &pairs);
        assert!(decode(&group, &pairs).unwrap().iter().eq(pairs.iter().map(|pair| &pair.1)));
        assert_eq!(coder(&group), u8::from(effort != Effort::Fast), "{effort:?}");
    }
}

#[test]
fn damaged_lz_codes_are_errors_or_other_bytes() {
    let pairs = [changed_pair(3)];
    let (group, _) = encode(Effort::Default, &pairs);
    for at in (0..2000).step_by(17) {
        let damage = |stream: &mut Vec<u8>| {
            let at = at % stream.len();
            stream[at] ^= 0x15;
        };
        let damaged = with(&group, StreamKind::PackedLiterals, damage);
        if let Ok(rebuilt) = decode(&damaged, &pairs) {
            assert_eq!(rebuilt[0].len(), pairs[0].1.len());
        }
        let cut = with(&group, StreamKind::PackedLiterals, |stream| stream.truncate(at));
        assert!(decode(&cut, &pairs).is_err(), "cut at {at}");
    }
}

#[test]
fn calls_that_overlap_come_back() {
    let (base, mut new) = (noise(5, LEN), noise(6, LEN));
    // Two opcodes of a call in a row: the first one's distance leads out of the program, until the
    // second one's is spelled as an address.
    for at in (0x2000..LEN - 64).step_by(64) {
        let end = i32::try_from(at + 6).unwrap();
        new[at..at + 2].copy_from_slice(&[0xE8; 2]);
        new[at + 2..at + 6].copy_from_slice(&(0x20 - end).to_le_bytes());
    }
    let pair = (program(&base), program(&new));
    let mut encoder = GroupEncoder::new(Effort::Default);
    let stats = encoder.member(&pair.0, &pair.1);
    assert_eq!(stats.view, View::Elf);
    assert!(stats.patched_bytes > 0, "{stats:?}");
    let group = encoder.finish();
    assert!(decode(&group, std::slice::from_ref(&pair)).unwrap()[0] == pair.1);
}

#[test]
fn what_one_member_said_is_said_shorter_by_the_next() {
    let (one, other) = (pair(1), pair(2));
    let twin = (other.0.clone(), one.1.clone());
    let alone = encode(Effort::Default, std::slice::from_ref(&one)).0;
    let pairs = [one, other, twin];
    let (group, stats) = encode(Effort::Default, &pairs);
    assert!(stats[2].literal_bytes > 30_000, "{stats:?}");
    assert!(group.len() < alone.len() * 2 + 34_000, "{} bytes", group.len());
    let rebuilt = decode(&group, &pairs).unwrap();
    assert!(rebuilt.iter().eq(pairs.iter().map(|(_, target)| target)));
}

#[test]
fn a_member_behind_an_appended_group_decodes() {
    let pairs = [pair(1), pair(2), (pair(2).0, pair(1).1)];
    let mut appended = GroupEncoder::new(Effort::Default);
    appended.member(&pairs[1].0, &pairs[1].1);
    let mut encoder = GroupEncoder::new(Effort::Default);
    encoder.member(&pairs[0].0, &pairs[0].1);
    encoder.append(&appended.finish_loose()).unwrap();
    // The literals of the first member would help, but they are no longer the last ones.
    encoder.member(&pairs[2].0, &pairs[2].1);
    let rebuilt = decode(&encoder.finish(), &pairs).unwrap();
    assert!(rebuilt.iter().eq(pairs.iter().map(|(_, target)| target)));
}

/// The same code with up to three new bytes before every 24 old ones: no copies, but an aligned code.
fn followed_pair(seed: u64) -> (Vec<u8>, Vec<u8>) {
    let code = noise(seed, LEN);
    let mut new = code[..LEN / 2].to_vec();
    for (part, more) in code[LEN / 2..].chunks(24).zip(noise(seed + 50, LEN)) {
        new.extend((0..more & 3).map(|number| more ^ number));
        new.extend_from_slice(part);
    }
    (program(&code), program(&new))
}

#[test]
fn aligned_codes_share_a_mixer_state_until_another_group_is_appended() {
    let pairs = [1, 4, 1, 1].map(followed_pair);
    let mut encoder = GroupEncoder::new(Effort::Best);
    let mut appended = GroupEncoder::new(Effort::Best);
    let add = |encoder: &mut GroupEncoder, number: usize| {
        encoder.member(&pairs[number].0, &pairs[number].1);
    };
    add(&mut encoder, 0);
    add(&mut encoder, 1);
    add(&mut appended, 2);
    encoder.append(&appended.finish_loose()).unwrap();
    add(&mut encoder, 3);
    let group = encoder.finish();
    let streams = pack::unpack_group(&group, StreamKind::ALL.len(), 1 << 22).unwrap();
    let mut numbers = &streams[StreamKind::PackedLiterals as usize][..];
    let mut coders = Vec::new();
    while !numbers.is_empty() {
        // The coder, bytes of the history, and bytes of the code, which are in another stream.
        for place in 0..3 {
            let (number, len) = varint::read(numbers).unwrap();
            numbers = &numbers[len..];
            coders.extend((place == 0).then_some(number));
        }
    }
    assert_eq!(coders, [2, 3, 2, 2]);
    let rebuilt = decode(&group, &pairs).unwrap();
    assert!(rebuilt.iter().eq(pairs.iter().map(|(_, target)| target)));
}

#[test]
fn every_cut_is_an_error_and_every_flipped_byte_too_or_other_bytes() {
    let pairs = [pair(1)];
    let (group, _) = encode(Effort::Default, &pairs);
    for len in (0..group.len()).step_by(37).chain(group.len() - 40..group.len()) {
        assert!(decode(&group[..len], &pairs).is_err(), "cut at {len}");
    }
    for at in (0..60).chain((60..group.len()).step_by(97)) {
        let mut damaged = group.clone();
        damaged[at] ^= 0x15;
        let _ = decode(&damaged, &pairs);
    }
    let packed = |change: fn(&mut Vec<u8>)| with(&group, StreamKind::PackedLiterals, change);
    assert!(decode(&packed(|_| ()), &pairs).unwrap()[0] == pairs[0].1);
    assert!(decode(&packed(|stream| stream.truncate(100)), &pairs).is_err());
    assert!(decode(&packed(|stream| stream.push(0)), &pairs).is_err());
}

#[test]
fn lies_about_packed_literals_are_refused() {
    let pairs = [pair(1)];
    let (group, _) = encode(Effort::Default, &pairs);
    let refused = |stream, change: &dyn Fn(&mut Vec<u8>)| {
        let error = decode(&with(&group, stream, change), &pairs).unwrap_err();
        let CodecError::Malformed { stream, what, .. } = error else { panic!("{error}") };
        (stream.unwrap(), what)
    };
    let apart = StreamKind::PackedLiterals;
    // No member was before this one.
    assert_eq!(refused(apart, &|stream| stream[1] = 1), (apart, "bytes before"));
    assert_eq!(refused(apart, &|stream| stream[0] = 4), (apart, "coder"));
    let huge = |stream: &mut Vec<u8>| {
        stream.truncate(2);
        varint::write(stream, u64::MAX);
    };
    assert_eq!(refused(apart, &huge), (apart, "bytes left"));
    // A frame far too short for so many literals, before memory is taken.
    let short = |stream: &mut Vec<u8>| *stream = vec![0, 0, 0];
    assert_eq!(refused(apart, &short), (apart, "unpacked length of a frame"));
    let broken = |stream: &mut Vec<u8>| *stream = vec![0, 0, 3, 0x58, 0xff, 0xff];
    assert_eq!(refused(apart, &broken), (apart, "readable zstd frames"));
    let short = |stream: &mut Vec<u8>| *stream = vec![1, 0, 1, 0];
    assert_eq!(refused(apart, &short), (apart, "raw bytes of an LZ code"));
    let long = |stream: &mut Vec<u8>| {
        *stream = vec![1, 0];
        varint::write_prefixed(stream, &[0; 5000]);
    };
    assert_eq!(refused(apart, &long), (apart, "bytes behind an LZ code"));
    // Only programs that have a script have them.
    for first in [0x40, 0x42, 0x43, 0xC1, 0x20, 0x22, 0xA1, 0x10, 0x12, 0x91] {
        let lie = refused(StreamKind::Members, &|stream| stream[0] = first);
        assert_eq!(lie, (StreamKind::Members, "literals apart, edits, or an unwind table"));
    }
}

#[test]
fn the_bytes_of_a_group_are_counted_by_coder() {
    let (base, target) = changed_pair(7);
    let mut encoder = GroupEncoder::new(Effort::Default);
    encoder.member(&base, &target);
    let group = encoder.finish();
    let sizes = CoderSizes::of_group(&group).unwrap();
    let literals = sizes.used().find(|(coder, _)| *coder == StreamCoder::LzWithBase);
    let all: u64 = sizes.used().map(|(_, bytes)| bytes).sum();
    let table = group.len() as u64 - all;
    assert!(literals.is_some_and(|(_, bytes)| bytes > all / 2), "{sizes:?}");
    assert!(table < 200, "{table} of {} bytes", group.len());
    for len in 0..group.len() {
        assert!(CoderSizes::of_group(&group[..len]).is_err(), "cut at {len}");
    }
}
