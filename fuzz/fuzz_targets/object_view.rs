//! Any bytes as the sections of a relocatable file: what an encoder makes of two such files decodes to
//! them.
#![no_main]

use imgdelta_codec::Effort;
use imgdelta_fuzz::member_comes_back;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [choice, cut, rest @ ..] = bytes else { return };
    let machine = if choice & 1 == 0 { 62 } else { 183 };
    let (old, new) = rest.split_at(rest.len() * usize::from(*cut) / 255);
    let base = object(machine, old);
    let moved = [new, old].concat();
    let target = object(machine, if choice & 2 == 0 { new } else { &moved });
    member_comes_back(&base, &target, &[Effort::Fast, Effort::Default]);
});

/// Type, flags, link and info of each section; the names are in the last one.
const SECTIONS: [(u32, u64, u32, u32); 6] =
    [(1, 6, 0, 0), (4, 0, 3, 1), (2, 0, 5, 0), (1, 0, 0, 0), (8, 0, 0, 0), (3, 0, 0, 0)];
const NAMES: &[u8] = b"\0.BTF\0";

/// A file whose sections are parts of the content, each behind two bytes for its length.
fn object(machine: u16, content: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 64];
    let mut table = vec![0; 64];
    let mut rest = content;
    for (number, (kind, flags, link, info)) in SECTIONS.into_iter().enumerate() {
        let (len, parts) = rest.split_first_chunk().unwrap_or((&[0; 2], &[]));
        let len = usize::from(u16::from_le_bytes(*len));
        let (part, behind) = parts.split_at(len.min(parts.len()));
        rest = behind;
        let part = if kind == 3 { NAMES } else { part };
        let name = u32::from(number == 3);
        table.extend([name, kind].map(u32::to_le_bytes).concat());
        let numbers = [flags, 0, file.len() as u64, part.len() as u64];
        table.extend(numbers.map(u64::to_le_bytes).concat());
        table.extend([link, info, 1, 0, 0, 0].map(u32::to_le_bytes).concat());
        if kind != 8 {
            file.extend_from_slice(part);
        }
    }
    let at = file.len() as u64;
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    for (place, number) in [(16, 1), (18, machine), (58, 64), (60, 7), (62, 6)] {
        file[place..place + 2].copy_from_slice(&number.to_le_bytes());
    }
    file[40..48].copy_from_slice(&at.to_le_bytes());
    file.extend(table);
    file
}
