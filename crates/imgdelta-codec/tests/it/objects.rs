//! References in relocatable files move with their targets: relocations, symbols and types.
#![cfg(feature = "encode")]
#![expect(clippy::cast_possible_truncation, reason = "these files are small")]

use imgdelta_codec::{Effort, GroupDecoder, GroupEncoder, GroupLimits, MemberStats, View};
use imgdelta_testkit::noise;
use proptest::prelude::*;

/// A section: name, type, flags, content, link, info.
struct Section(&'static str, u32, u64, Vec<u8>, u32, u32);

const SYMBOLS: u32 = 7;

/// Writes a module of functions, each given by its seed. Numbers of the kernel's types and names have
/// moved by `moved`.
fn module(machine: u16, seeds: &[u64], moved: u32) -> Vec<u8> {
    let (mut text, mut names, mut symbols) = (Vec::new(), vec![0], vec![0; 24]);
    let (mut calls, mut sites, mut types) = (Vec::new(), Vec::new(), Vec::new());
    // The text's own symbol.
    symbols.extend(symbol(0, 3, 1, 0, 0));
    for &seed in seeds {
        let start = text.len() as u64;
        for part in 0..6 + seed % 5 {
            let place = text.len() as u64;
            calls.extend(relocation(place + 1, 4, 2 + (seed + part) as u32 % 40, -4));
            sites.extend(relocation(sites.len() as u64 / 6, 2, 1, place.cast_signed()));
            text.extend(if machine == 62 { [0xe8, 0, 0, 0, 0, 0x90, 0x90, 0x90] } else { CALL });
            text.extend(noise(seed * 16 + part, 24));
        }
        symbols.extend(symbol(names.len() as u32, 18, 1, start, text.len() as u64 - start));
        names.extend(format!("function_{seed}\0").bytes());
        // A member of a structure of the kernel, and a function of the module.
        let known = 1000 + seed as u32 % 300;
        let known = if known < 1100 { known } else { known + moved };
        for word in [known, 4 << 24 | 1, 16, known + 1, known, 64, known, 12 << 24, known] {
            types.extend(word.to_le_bytes());
        }
    }
    let head = [1 << 16 | 0xeb9f, 24, 0, types.len() as u32, types.len() as u32, 0];
    let head: Vec<u8> = head.into_iter().flat_map(u32::to_le_bytes).collect();
    let words = sites.len() / 6;
    let sections = [
        Section(".text", 1, 6, text, 0, 0),
        Section(".rela.text", 4, 0, calls, SYMBOLS, 1),
        Section(".sites", 1, 2, vec![0; words], 0, 0),
        Section(".rela.sites", 4, 0, sites, SYMBOLS, 3),
        Section(".bss", 8, 3, vec![0; 64 + seeds.len()], 0, 0),
        Section(".BTF", 1, 0, [head, types].concat(), 0, 0),
        Section(".symtab", 2, 0, symbols, SYMBOLS + 1, 2),
        Section(".strtab", 3, 0, names, 0, 0),
    ];
    write(machine, &sections)
}

/// A call of AArch64, and a page.
const CALL: [u8; 8] = [0, 0, 0, 0x94, 0, 0, 0, 0x90];

fn write(machine: u16, sections: &[Section]) -> Vec<u8> {
    let titles: Vec<&str> = sections.iter().map(|section| section.0).collect();
    let titles = format!("\0{}\0.shstrtab\0", titles.join("\0")).into_bytes();
    let last = Section(".shstrtab", 3, 0, titles, 0, 0);
    let (mut out, mut table, mut title) = (vec![0; 64], vec![0; 64], 1_u32);
    for Section(name, kind, flags, content, link, info) in sections.iter().chain([&last]) {
        out.resize(out.len().next_multiple_of(8), 0);
        let numbers = [*flags, 0, out.len() as u64, content.len() as u64];
        table.extend([title, *kind].map(u32::to_le_bytes).concat());
        table.extend(numbers.map(u64::to_le_bytes).concat());
        table.extend([*link, *info, 8, 0, 0, 0].map(u32::to_le_bytes).concat());
        title += name.len() as u32 + 1;
        out.extend(content.iter().filter(|_| *kind != 8));
    }
    out.resize(out.len().next_multiple_of(8), 0);
    out[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let (at, count) = (out.len() as u64, sections.len() as u16 + 2);
    for (place, number) in [(16, 1), (18, machine), (58, 64), (60, count), (62, count - 1)] {
        out[place..place + 2].copy_from_slice(&number.to_le_bytes());
    }
    out[40..48].copy_from_slice(&at.to_le_bytes());
    [out, table].concat()
}

fn symbol(name: u32, kind: u8, section: u8, value: u64, len: u64) -> Vec<u8> {
    let head = [&name.to_le_bytes()[..], &[kind, 0, section, 0]].concat();
    [&head[..], &value.to_le_bytes(), &len.to_le_bytes()].concat()
}

fn relocation(place: u64, kind: u32, symbol: u32, addend: i64) -> Vec<u8> {
    let info = u64::from(symbol) << 32 | u64::from(kind);
    [place.to_le_bytes(), info.to_le_bytes(), addend.to_le_bytes()].concat()
}

fn encode(base: &[u8], target: &[u8]) -> (Vec<u8>, MemberStats) {
    let mut encoder = GroupEncoder::new(Effort::Default);
    let stats = encoder.member(base, target);
    (encoder.finish(), stats)
}

fn decode(group: &[u8], base: &[u8], len: usize) -> imgdelta_codec::Result<Vec<u8>> {
    let mut decoder = GroupDecoder::open(group, &GroupLimits::default())?;
    let mut target = vec![0; len];
    decoder.member(base, &mut target)?;
    decoder.finish()?;
    Ok(target)
}

fn seeds(count: u64) -> Vec<u64> {
    (0..count).map(|i| i * 7 % 1009).collect()
}

#[test]
fn whatever_refers_to_what_moved_moves_with_it() {
    for machine in [62, 183] {
        let old = seeds(300);
        let mut new = old.clone();
        new.splice(100..100, [2001, 2002]);
        new.remove(40);
        let (base, target) = (module(machine, &old, 0), module(machine, &new, 9));
        let (group, stats) = encode(&base, &target);
        assert_eq!(decode(&group, &base, target.len()).unwrap(), target);
        assert_eq!(stats.view, View::Elf, "{machine}");
        // Noise of two new functions, and thousands of numbers that have changed.
        assert!(group.len() < 1100, "{machine}: {} of {}", group.len(), target.len());
    }
}

#[test]
fn the_types_of_another_file_move_by_their_numbers() {
    let (base, target) = (module(62, &seeds(500), 0), module(62, &seeds(500), 77));
    assert_eq!(base.len(), target.len());
    let (group, stats) = encode(&base, &target);
    assert_eq!(decode(&group, &base, target.len()).unwrap(), target);
    assert_eq!((stats.view, stats.patched_bytes), (View::Elf, 0));
    assert!(group.len() < 1200, "{}", group.len());
}

#[test]
fn a_relocatable_file_is_made_from_no_program_and_the_other_way_around() {
    let old = seeds(300);
    let (base, target) = (module(62, &old, 0), module(62, &old[1..], 0));
    let (group, stats) = encode(&base, &target);
    assert_eq!(stats.view, View::Elf);
    let mut other = base.clone();
    other[16] = 2;
    assert!(decode(&group, &other, target.len()).is_err());
    let mut program = base;
    program[32] = 64;
    assert!(decode(&group, &program, target.len()).is_err());
}

#[test]
fn every_flipped_byte_of_group_or_headers_is_an_error_or_other_bytes() {
    let old = seeds(30);
    let (base, target) = (module(183, &old, 0), module(183, &old[1..], 5));
    let (group, _) = encode(&base, &target);
    for at in 0..group.len() {
        for change in [1, 0x80, 0xff] {
            let mut damaged = group.clone();
            damaged[at] ^= change;
            let _ = decode(&damaged, &base, target.len());
        }
    }
    let table = u64::from_le_bytes(*base[40..].first_chunk().unwrap()) as usize;
    for at in (0..64).chain(table..base.len()) {
        let mut damaged = base.clone();
        damaged[at] ^= 1 << (at % 8);
        let _ = decode(&group, &damaged, target.len());
        // Files that only look like modules have to be encodable all the same, on either side.
        for (base, target) in [(&damaged, &target), (&target, &damaged)] {
            let (group, _) = encode(base, target);
            assert_eq!(&decode(&group, base, target.len()).unwrap(), target);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn functions_may_come_and_go(
        machine in prop_oneof![Just(62), Just(183)],
        kept in prop::collection::vec(prop::bool::weighted(0.9), 120),
        added in prop::collection::vec((0..100_usize, 3000..4000_u64), 0..5),
        moved in 0..50_u32,
    ) {
        let old = seeds(120);
        let mut new: Vec<u64> =
            old.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(seed, _)| *seed).collect();
        for (at, seed) in added {
            new.insert(at.min(new.len()), seed);
        }
        let (base, target) = (module(machine, &old, 0), module(machine, &new, moved));
        let (group, _) = encode(&base, &target);
        prop_assert!(decode(&group, &base, target.len()).unwrap() == target);
    }

    /// Headers and tables with any numbers: what is made comes back, and a decoder never panics.
    #[test]
    fn damaged_files_come_back(
        flips in prop::collection::vec((any::<bool>(), 0..6_usize, any::<u32>(), any::<u8>()), 1..12),
    ) {
        let old = seeds(60);
        let mut files = [module(62, &old, 0), module(62, &old[2..], 5)];
        let (group, _) = encode(&files[0], &files[1]);
        for (is_target, part, place, byte) in flips {
            let file = &mut files[usize::from(is_target)];
            let (table, len) = (u64::from_le_bytes(*file[40..].first_chunk().unwrap()), file.len());
            // The file's header, its section headers, or anything.
            let range = match part {
                0 => 16..64,
                1..=3 => (table as usize).min(len - 1)..len,
                _ => 0..len,
            };
            file[range.start + place as usize % range.len()] = byte;
        }
        let _ = decode(&group, &files[0], files[1].len());
        let (group, _) = encode(&files[0], &files[1]);
        prop_assert!(decode(&group, &files[0], files[1].len()).unwrap() == files[1]);
    }
}
