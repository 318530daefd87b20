//! The reader against iced-x86, on the programs of the machine that runs the test.

use iced_x86::{Code, Decoder, DecoderOptions, OpKind, Register};
use imgdelta_instructions::{Edit, Instruction, length};
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
}
