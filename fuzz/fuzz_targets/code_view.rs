//! Any bytes as the code of a program: what an encoder makes of two such programs decodes to them.
//!
//! Both are wrapped in the least ELF file that the code view takes, for either machine.
#![no_main]

use imgdelta_codec::Effort;
use imgdelta_fuzz::member_comes_back;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [choice, cut, rest @ ..] = bytes else { return };
    let machine = if choice & 1 == 0 { 62 } else { 183 };
    let (old, new) = rest.split_at(rest.len() * usize::from(*cut) / 255);
    let base = program(machine, old);
    // The new code holds the old as well, so that there is something to copy.
    let moved = [new, old, &new[..new.len() / 2]].concat();
    let target = program(machine, if choice & 2 == 0 { new } else { &moved });
    member_comes_back(&base, &target, &[Effort::Fast, Effort::Default, Effort::Best]);
});

/// A file of one executable segment behind the headers.
fn program(machine: u16, code: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    let end = HEADERS + code.len() as u64;
    let mut file = Vec::new();
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(3_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for offset in [0x1000_u64, 64, 0] {
        file.extend(offset.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes());
    file.extend(5_u32.to_le_bytes());
    for field in [0, 0x40_0000, 0x40_0000, end, end + 256, 0x1000_u64] {
        file.extend(field.to_le_bytes());
    }
    file.extend_from_slice(code);
    file
}
