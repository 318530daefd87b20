//! The reader against iced-x86, on the programs of the machine that runs the test.

use iced_x86::{Code, Decoder, DecoderOptions, OpKind, Register};
use imgdelta_instructions::{Edit, Instruction, InstructionSet, length};
use proptest::prelude::*;
use std::fs;

/// Files of code that any Linux machine with this processor has.
fn programs() -> Vec<Vec<u8>> {
    let own = std::env::current_exe().unwrap();
    let others =
        ["/bin/bash", "/usr/bin/git", "/usr/bin/python3", "/lib/x86_64-linux-gnu/libc.so.6"];
    let names = others.iter().map(Into::into).chain([own]);
    names.filter_map(|name: std::path::PathBuf| fs::read(name).ok()).collect()
}

/// Returns the bytes of the section `.text`, at most 4 MB of it.
fn text(file: &[u8]) -> Option<&[u8]> {
    let word =
        |at: usize| usize::try_from(u64::from_le_bytes(*file.get(at..)?.first_chunk()?)).ok();
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(*file.get(at..)?.first_chunk()?)));
    if file.get(..5)? != b"\x7fELF\x02" || half(18)? != 62 {
        return None;
    }
    let (table, count, names) = (word(40)?, half(60)?, half(62)?);
    let names = word(table + 64 * names + 24)?;
    (0..count).map(|number| table + 64 * number).find_map(|header| {
        let name = names + (word(header)? & 0xffff_ffff);
        let (offset, len) = (word(header + 24)?, word(header + 32)?.min(4 << 20));
        (file.get(name..name + 6)? == b".text\0").then(|| file.get(offset..offset + len))?
    })
}

#[test]
fn lengths_and_fields_of_whole_programs_agree() {
    let mut instructions = 0_u64;
    for file in programs() {
        let Some(text) = text(&file) else { continue };
        let (mut with_fields, mut all, mut wrong) = (0_u64, 0_u64, 0_u64);
        let mut decoder = Decoder::with_ip(64, text, 0, DecoderOptions::NONE);
        while decoder.can_decode() {
            let at = decoder.position();
            let wanted = decoder.decode();
            // The distance of `xbegin` is an immediate here.
            if wanted.is_invalid() || wanted.code() == Code::Xbegin_rel32 {
                continue;
            }
            all += 1;
            let found = length(&text[at..]);
            if found != wanted.len() {
                wrong += 1;
                continue;
            }
            let Some(read) = Instruction::read(&text[at..]) else { continue };
            with_fields += 1;
            let bytes = read.write().unwrap();
            assert_eq!(bytes.as_slice(), &text[at..at + found]);
            let offsets = decoder.get_constant_offsets(&wanted);
            let is_relative = wanted.memory_base() == Register::RIP;
            if let Some(reference) = bytes.reference() {
                let place = if is_relative {
                    (offsets.displacement_offset(), offsets.displacement_size())
                } else {
                    (offsets.immediate_offset(), offsets.immediate_size())
                };
                assert_eq!((reference.at, reference.len), place, "{wanted:?}");
            } else {
                assert!(!is_relative && wanted.op0_kind() != OpKind::NearBranch64, "{wanted:?}");
            }
        }
        // Strings and tables between functions are read in other ways.
        assert!(wrong * 1000 <= all, "{wrong} of {all} lengths are wrong");
        assert!(with_fields * 100 >= all * 90, "{with_fields} of {all} have fields");
        instructions += all;
    }
    if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        assert!(instructions > 100_000, "{instructions} instructions");
    }
}

proptest! {
    #[test]
    fn what_has_fields_comes_back_from_any_bytes(code in prop::collection::vec(any::<u8>(), 0..20)) {
        let len = length(&code);
        prop_assert!(len >= 1 && (len <= code.len() || code.is_empty()));
        if let Some(read) = Instruction::read(&code) {
            let bytes = read.write().unwrap();
            prop_assert_eq!(bytes.as_slice(), &code[..len]);
            prop_assert_eq!(read.edited(&Edit::default()), Some(read));
        }
    }

    #[cfg(feature = "encode")]
    #[test]
    fn the_difference_of_two_instructions_makes_one_into_the_other(
        head in prop::collection::vec(any::<u8>(), 1..4),
        tails in prop::array::uniform2(prop::collection::vec(any::<u8>(), 14)),
    ) {
        let [old, new] = tails.map(|tail| Instruction::read(&[head.as_slice(), &tail].concat()));
        if let (Some(old), Some(new)) = (old, new)
            && let Some(edit) = old.difference(&new)
        {
            let made = old.edited(&edit).unwrap().write().unwrap();
            let wanted = new.write().unwrap();
            let hide = |bytes: &imgdelta_instructions::Bytes| {
                let mut hidden = bytes.as_slice().to_vec();
                if let Some(reference) = bytes.reference() {
                    hidden[reference.at..reference.at + reference.len].fill(0);
                }
                hidden
            };
            prop_assert_eq!(hide(&made), hide(&wanted));
        }
    }

    #[test]
    fn an_edited_word_differs_in_its_fields_alone_and_edits_back(
        word in any::<u32>(),
        registers in prop::array::uniform3(prop::option::of(0_u8..40)),
        numbers in prop::array::uniform2(prop::option::of(-9000_i64..9000)),
    ) {
        let set = InstructionSet::Aarch64;
        let [register, base, index] = registers;
        let [displacement, immediate] = numbers;
        let edit = Edit { register, base, index, displacement, immediate, form: false };
        let edited = |word: u32, edit: &Edit| {
            let edited = set.edited(&word.to_le_bytes(), edit)?;
            assert_eq!(edited.old_len, 4);
            edited.bytes.as_slice().first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
        };
        if let Some(new) = edited(word, &edit) {
            let bits = |word: u32, at: u32| Some((word >> at & 31) as u8);
            let index_at = if word >> 28 & 3 == 2 && word >> 25 & 5 == 4 { 10 } else { 16 };
            let back = Edit {
                register: register.and(bits(word, 0)),
                base: base.and(bits(word, 5)),
                index: index.and(bits(word, index_at)),
                displacement: displacement.map(|more| -more),
                immediate: immediate.map(|more| -more),
                form: false,
            };
            prop_assert_eq!(edited(new, &back), Some(word));
            prop_assert!(register.is_none_or(|register| bits(new, 0) == Some(register)));
        }
        let form = Edit { form: true, ..Edit::default() };
        prop_assert_eq!(edited(word, &form), None);
    }
}

/// Words of each shape, with the edit that makes one into the other.
#[test]
fn fields_of_words_are_edited() {
    let number = |displacement: i64| Edit { displacement: Some(displacement), ..Edit::default() };
    let immediate = |more: i64| Edit { immediate: Some(more), ..Edit::default() };
    let register = |register: u8| Edit { register: Some(register), ..Edit::default() };
    let index = |index: u8| Edit { index: Some(index), ..Edit::default() };
    for (old, edit, new) in [
        (0xF940_07E0_u32, number(8), Some(0xF940_0BE0_u32)), // ldr x0, [sp, 8]; 16
        (0xF940_07E0, number(4), None),
        (0xF940_07E0, number(-16), None),
        (0xF940_07E0, immediate(8), None),
        (0xB940_07E0, number(4), Some(0xB940_0BE0)), // ldr w0, [sp, 4]; 8
        (0x3DC0_07E0, number(16), Some(0x3DC0_0BE0)), // ldr q0, [sp, 16]; 32
        (0xA9BF_7BFD, number(-16), Some(0xA9BE_7BFD)), // stp x29, x30, [sp, -16]!; -32
        (0xA9BF_7BFD, index(19), Some(0xA9BF_4FFD)), // stp x29, x19, [sp, -16]!
        (0xF85F_83A0, number(-8), Some(0xF85F_03A0)), // ldur x0, [x29, -8]; -16
        (0x9100_43E0, immediate(16), Some(0x9100_83E0)), // add x0, sp, 16; 32
        (0xD280_0020, immediate(-2), None),          // mov x0, 1
        (0xD280_0020, immediate(65534), Some(0xD29F_FFE0)), // mov x0, 65535
        (0x8B02_0020, index(3), Some(0x8B03_0020)),  // add x0, x1, x2; x3
        (0x8B02_0020, index(32), None),
        (0x5400_0040, register(1), Some(0x5400_0041)), // b.eq; b.ne
        (0x3700_0040, immediate(3), Some(0x3718_0040)), // tbnz w0, 0; 3
        (0x9400_0001, register(1), None),              // bl
        (0x0000_0000, register(1), None),              // udf
    ] {
        let found = InstructionSet::Aarch64.edited(&old.to_le_bytes(), &edit);
        let found = found.map(|edited| edited.bytes.as_slice().to_vec());
        assert_eq!(found, new.map(|new| new.to_le_bytes().to_vec()), "{old:08x} {edit:?}");
    }
    let cut = InstructionSet::Aarch64.edited(&[0xE0, 7, 0x40], &register(1));
    assert_eq!((cut, InstructionSet::Aarch64.length(&[1, 2, 3])), (None, 3));
}
