//! The code view finds references. Programs are linked here, byte by byte.
#![cfg(feature = "encode")]
#![expect(clippy::cast_possible_truncation, reason = "these programs are small")]

use imgdelta_codec::{
    CodecError, Effort, GroupDecoder, GroupEncoder, GroupLimits, MemberStats, View,
};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Machine {
    X86,
    Arm,
}

/// A function: its own bytes, and the functions it calls after every 24 of them.
#[derive(Debug, Clone)]
struct Function {
    seed: u32,
    calls: Vec<usize>,
}

fn functions(count: usize) -> Vec<Function> {
    let calls = |i: usize| (0..2 + i % 5).map(|k| (i * 7 + k * 13) % count).collect();
    (0..count).map(|i| Function { seed: i as u32 * 99 + 1, calls: calls(i) }).collect()
}

/// Instructions of a function that starts at `address`; `place` holds the starts of all functions.
fn assemble(function: &Function, machine: Machine, address: u64, place: &[u64]) -> Vec<u8> {
    let mut code = Vec::new();
    let mut state = function.seed;
    for &callee in &function.calls {
        for _ in 0..6 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Arithmetic on registers in both instruction sets, without operands in memory.
            let word = match machine {
                Machine::X86 => {
                    u32::from_le_bytes([0x48, 0x01, 0xC0 | (state >> 24) as u8 & 0x3f, 0x90])
                }
                Machine::Arm => 0x8b00_0000 | state & 0x001f_03ff,
            };
            code.extend(word.to_le_bytes());
        }
        let here = address + code.len() as u64;
        match machine {
            Machine::X86 => {
                code.push(0xE8);
                code.extend((place[callee].wrapping_sub(here + 5) as u32).to_le_bytes());
            }
            Machine::Arm => {
                let words = place[callee].wrapping_sub(here).cast_signed() >> 2;
                code.extend(
                    (0x9400_0000 | words.cast_unsigned() as u32 & 0x03ff_ffff).to_le_bytes(),
                );
            }
        }
    }
    while code.len() % 16 != 0 {
        code.push(if machine == Machine::X86 { 0x90 } else { 0 });
    }
    code
}

/// A program: code at 0x401000, then data with a pointer to every function.
fn link(functions: &[Function], machine: Machine) -> Vec<u8> {
    const CODE: u64 = 0x40_1000;
    let mut place = vec![CODE; functions.len()];
    let mut end = CODE;
    for (function, place) in functions.iter().zip(&mut place) {
        *place = end;
        end += assemble(function, machine, 0, &vec![0; functions.len()]).len() as u64;
    }
    let mut file = vec![0; 0x1000];
    for (function, &address) in functions.iter().zip(&place) {
        file.extend(assemble(function, machine, address, &place));
    }
    let code_len = file.len() as u64 - 0x1000;
    let data_at = file.len() as u64;
    for address in &place {
        file.extend(address.to_le_bytes());
    }
    let data_len = file.len() as u64 - data_at;

    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(18, &(if machine == Machine::X86 { 62_u16 } else { 183 }).to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    put(54, &56_u16.to_le_bytes());
    put(56, &2_u16.to_le_bytes());
    let segments = [(5_u32, 0x1000, CODE, code_len), (6, data_at, 0x80_0000 + data_at, data_len)];
    for (i, (flags, offset, address, len)) in segments.into_iter().enumerate() {
        let at = 64 + 56 * i;
        put(at, &1_u32.to_le_bytes());
        put(at + 4, &flags.to_le_bytes());
        put(at + 8, &offset.to_le_bytes());
        put(at + 16, &address.to_le_bytes());
        put(at + 32, &len.to_le_bytes());
        put(at + 40, &len.to_le_bytes());
    }
    file
}

fn encode(base: &[u8], target: &[u8]) -> (Vec<u8>, MemberStats) {
    let mut encoder = GroupEncoder::new(Effort::Default);
    let stats = encoder.member(base, target);
    (encoder.finish(), stats)
}

fn decode(group: &[u8], base: &[u8], target_len: usize) -> Result<Vec<u8>, CodecError> {
    let mut decoder = GroupDecoder::open(group, &GroupLimits::default().stream_bytes(1 << 22))?;
    let mut target = vec![0; target_len];
    decoder.member(base, &mut target)?;
    decoder.finish()?;
    Ok(target)
}

#[test]
fn an_inserted_function_costs_little_more_than_itself() {
    for machine in [Machine::X86, Machine::Arm] {
        let old = functions(600);
        let mut new = old.clone();
        for function in &mut new {
            // What lies behind the new function has moved.
            function.calls.iter_mut().filter(|callee| **callee >= 200).for_each(|c| *c += 1);
        }
        new.insert(200, Function { seed: 12_345, calls: vec![3, 500] });
        let (base, target) = (link(&old, machine), link(&new, machine));
        let (group, stats) = encode(&base, &target);
        assert_eq!(decode(&group, &base, target.len()).unwrap(), target);
        assert_eq!(stats.view, View::Elf, "{machine:?}");
        // What it replaced was taken for a copy with a few patches: that may cost some calls.
        assert!(stats.missed_fields < 8, "{machine:?}: {stats:?}");
        assert!(stats.literal_bytes < 120, "{machine:?}: {stats:?}");
        assert!(group.len() < 300, "{machine:?}: {} bytes", group.len());
    }
}

#[test]
fn another_call_is_one_missed_field() {
    for machine in [Machine::X86, Machine::Arm] {
        let old = functions(300);
        let mut new = old.clone();
        new[150].calls[1] = 7;
        let (base, target) = (link(&old, machine), link(&new, machine));
        let (group, stats) = encode(&base, &target);
        assert_eq!(decode(&group, &base, target.len()).unwrap(), target);
        assert!(stats.missed_fields <= 1 && stats.patched_bytes <= 4, "{machine:?}: {stats:?}");
        assert!(group.len() < 60, "{machine:?}: {} bytes", group.len());
    }
}

#[test]
fn a_base_without_headers_is_refused() {
    let (old, mut new) = (functions(300), functions(299));
    new[100].calls = vec![1, 2, 3, 4, 5, 6, 7];
    let (base, target) = (link(&old, Machine::X86), link(&new, Machine::X86));
    let (group, stats) = encode(&base, &target);
    assert_eq!(stats.view, View::Elf);
    let mut other = base.clone();
    other[0] = 0;
    assert!(matches!(
        decode(&group, &other, target.len()),
        Err(CodecError::BaseUnlike { .. } | CodecError::Malformed { .. })
    ));
}

#[test]
fn every_flipped_byte_of_group_or_headers_is_an_error_or_other_bytes() {
    let (old, mut new) = (functions(200), functions(200));
    new[120] = Function { seed: 77, calls: vec![1; 12] };
    let (base, target) = (link(&old, Machine::Arm), link(&new, Machine::Arm));
    let (group, _) = encode(&base, &target);
    for at in 0..group.len() {
        for change in [1, 0x80, 0xff] {
            let mut damaged = group.clone();
            damaged[at] ^= change;
            let _ = decode(&damaged, &base, target.len());
        }
    }
    for at in 0..64 + 2 * 56 {
        for change in [1, 0x80, 0xff] {
            let mut damaged = base.clone();
            damaged[at] ^= change;
            let _ = decode(&group, &damaged, target.len());
            // A base and a target that only look like programs have to be encodable all the same.
            let (group, _) = encode(&damaged, &target);
            assert_eq!(decode(&group, &damaged, target.len()).unwrap(), target);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn programs_with_random_bytes_in_them_come_back(
        count in 20..80_usize,
        removed in any::<prop::sample::Index>(),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<[u8; 8]>()), 0..30),
        arm in any::<bool>(),
    ) {
        let machine = if arm { Machine::Arm } else { Machine::X86 };
        let mut base = link(&functions(count), machine);
        let mut fewer = functions(count - 1);
        fewer.remove(removed.index(count - 1));
        for callee in fewer.iter_mut().flat_map(|function| &mut function.calls) {
            *callee %= count - 2;
        }
        let mut target = link(&fewer, machine);
        for (at, bytes) in noise {
            for file in [&mut base, &mut target] {
                let at = at.index(file.len() - 8);
                file[at..at + 8].copy_from_slice(&bytes);
            }
        }
        let (group, _) = encode(&base, &target);
        prop_assert_eq!(decode(&group, &base, target.len()).unwrap(), target);
    }
}

#[test]
fn offset_tables_follow_what_they_point_to() {
    // Lengths and offsets of strings, as in a message catalogue.
    let catalogue = |strings: &[String], big: bool| {
        let mut table = Vec::new();
        let mut text = Vec::new();
        let start = 16 + strings.len() * 8;
        let number = |n: usize| {
            if big { (n as u32).to_be_bytes() } else { (n as u32).to_le_bytes() }
        };
        for string in strings {
            table.extend(number(string.len()));
            table.extend(number(start + text.len()));
            text.extend(string.as_bytes());
            text.push(0);
        }
        [vec![0x95; 16], table, text].concat()
    };
    let mut strings: Vec<String> =
        (0..400).map(|i| format!("message {} of this catalogue", i * i * 31)).collect();
    for (big, view) in [(false, View::OffsetsLittle), (true, View::OffsetsBig)] {
        let base = catalogue(&strings, big);
        strings[200].push_str(", now longer");
        let target = catalogue(&strings, big);
        let (group, stats) = encode(&base, &target);
        assert_eq!(decode(&group, &base, target.len()).unwrap(), target);
        assert_eq!(stats.view, view);
        assert!(group.len() < 80, "{} bytes", group.len());
    }
}
