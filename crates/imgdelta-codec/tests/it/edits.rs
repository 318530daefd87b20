//! Copies with edited instructions: programs are compiled twice here, with other registers and stack
//! places the second time.
#![cfg(feature = "encode")]
#![expect(clippy::cast_possible_truncation, reason = "these programs are small")]

use imgdelta_codec::{CodecError, Effort, GroupDecoder, GroupEncoder, GroupLimits, StreamKind};

/// Addresses of the parts of a program, which are their offsets as well.
const TABLE: u64 = 0x200;
const RECORDS: u64 = 0x210;
const CODE: u64 = 0x8000;

/// Numbers that look random.
struct Noise(u64);

impl Noise {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Machines of ELF headers.
const X86_64: u16 = 62;
const AARCH64: u16 = 183;

/// One instruction of a function, before its address is known.
enum Line {
    Bytes(Vec<u8>),
    /// A short jump to the line with this number.
    Jump(usize),
    Call(usize),
    /// The same as words.
    BranchWord(usize),
    CallWord(usize),
}

/// The lines of a function; `version` 2 allocates some registers and stack places differently.
fn compile(number: usize, functions: usize, version: u32) -> Vec<Line> {
    let mut noise = Noise(number as u64 * 77 + 5);
    let mut choice = Noise(number as u64 * 31 + 9);
    let lines = 30 + noise.below(30) as usize;
    let mut changed = |one_in: u64| choice.below(one_in) == 0 && version == 2;
    let line = |at: usize| {
        let (register, other) = (noise.below(8) as u8, noise.below(3) as u8);
        let (kind, number) = (noise.below(8), noise.below(100) as u8);
        let new_register = changed(9);
        let number = if changed(11) { number + 120 } else { number };
        let callee = noise.below(functions as u64) as usize;
        let rex = if new_register { 0x4C } else { 0x48 };
        match kind {
            0 | 1 => {
                // A load from the stack, whose place may need four bytes.
                let mut bytes = vec![rex, 0x8B, 0x44 | register << 3, 0x24, number];
                if number > 127 {
                    bytes[2] = 0x84 | register << 3;
                    bytes.extend([0; 3]);
                }
                Line::Bytes(bytes)
            }
            2 | 3 => Line::Bytes(if new_register {
                vec![0x44, 0x89, 0xC0 | register << 3 | other]
            } else {
                vec![0x89, 0xC0 | register << 3 | other]
            }),
            4 => Line::Bytes(if number > 127 {
                vec![0x48, 0x81, 0xC0 | other, number, 0, 0, 0]
            } else {
                vec![0x48, 0x83, 0xC0 | other, number]
            }),
            5 => Line::Jump((at + 4).min(lines)),
            6 => Line::Call(callee),
            _ => Line::Bytes(vec![rex, 0x8D, 0x40 | register << 3 | other, number & 0x7F]),
        }
    };
    let mut all: Vec<Line> = (0..lines).map(line).collect();
    all.push(Line::Bytes(vec![0xC3]));
    all
}

/// The same in AArch64; version 2 has more words, too.
fn compile_words(number: usize, functions: usize, version: u32) -> Vec<Line> {
    let mut noise = Noise(number as u64 * 77 + 5);
    let mut choice = Noise(number as u64 * 31 + 9);
    let lines = 30 + noise.below(30) as usize;
    // A function has other registers for some values, and a larger frame.
    let renamed = [(); 4].map(|()| choice.below(28) as u32);
    let frame = if version == 2 { choice.below(3) as u32 } else { 0 };
    let mut changed = |one_in: u64| u32::from(choice.below(one_in) == 0 && version == 2);
    let line = |at: usize| {
        let [register, other, third] = [(); 3].map(|()| {
            let register = noise.below(28) as u32;
            register + u32::from(version == 2 && renamed.contains(&register))
        });
        let (kind, number) = (noise.below(8), noise.below(30) as u32);
        let number = if kind < 2 { number + frame } else { number + 30 * changed(7) };
        let callee = noise.below(functions as u64) as usize;
        let word = match kind {
            // A load from the stack; a store of two registers; a sum; a product.
            0 | 1 => 0xF940_03E0 | register | number << 10,
            2 => 0xA900_0000 | register | other << 5 | third << 10 | (number & 31) << 15,
            3 => 0x9100_0000 | register | other << 5 | number << 10,
            4 => 0x9B00_0000 | register | other << 5 | third << 16 | 31 << 10,
            5 => return Line::BranchWord((at + 4).min(lines)),
            6 => return Line::CallWord(callee),
            _ => 0xD280_0000 | register | (number * 77) << 5,
        };
        Line::Bytes(word.to_le_bytes().into())
    };
    let mut all: Vec<Line> = (0..lines).map(line).collect();
    for at in (0..lines).rev().filter(|_| version == 2 && choice.below(30) == 0) {
        all.insert(at, Line::Bytes(0xD503_201F_u32.to_le_bytes().into()));
    }
    all.push(Line::Bytes(0xD65F_03C0_u32.to_le_bytes().into()));
    all
}

fn len(line: &Line) -> usize {
    match line {
        Line::Bytes(bytes) => bytes.len(),
        Line::Jump(_) => 2,
        Line::Call(_) => 5,
        Line::BranchWord(_) | Line::CallWord(_) => 4,
    }
}

/// A shared library: headers, unwind records, code.
fn program(functions: usize, version: u32) -> Vec<u8> {
    program_for(X86_64, functions, version)
}

fn program_for(machine: u16, functions: usize, version: u32) -> Vec<u8> {
    let compile = if machine == X86_64 { compile } else { compile_words };
    let compiled: Vec<_> = (0..functions).map(|i| compile(i, functions, version)).collect();
    let mut places = vec![CODE];
    for lines in &compiled {
        let end: usize = lines.iter().map(len).sum();
        places.push((places[places.len() - 1] + end as u64 + 15) & !15);
    }
    let mut file = vec![0; CODE as usize];
    for (lines, start) in compiled.iter().zip(&places) {
        file.resize(*start as usize, 0xCC);
        let mut starts = vec![0];
        for line in lines {
            starts.push(starts[starts.len() - 1] + len(line));
        }
        for (number, line) in lines.iter().enumerate() {
            let end = starts[number + 1];
            match line {
                Line::Bytes(bytes) => file.extend(bytes),
                Line::Jump(to) => file.extend([0x75, (starts[*to] - end) as u8]),
                Line::Call(callee) => {
                    file.push(0xE8);
                    let here = file.len() as u64 + 4;
                    file.extend((places[*callee].wrapping_sub(here) as u32).to_le_bytes());
                }
                Line::BranchWord(to) => {
                    let distance = starts[*to].wrapping_sub(starts[number]) as u32 >> 2;
                    file.extend((0xB500_0000 | (distance & 0x7_FFFF) << 5).to_le_bytes());
                }
                Line::CallWord(callee) => {
                    let distance = places[*callee].wrapping_sub(file.len() as u64) >> 2;
                    file.extend((0x9400_0000 | distance as u32 & 0x3FF_FFFF).to_le_bytes());
                }
            }
        }
    }
    file.resize(places[functions] as usize, 0xCC);
    let total = file.len() as u64;
    let mut put = |at: u64, bytes: &[u8]| {
        file[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    };
    // Unwind table and records: one common record, then one for each function.
    put(TABLE, &[1, 0x1B, 0x03, 0x3B]);
    put(TABLE + 4, &((RECORDS - TABLE - 4) as u32).to_le_bytes());
    put(RECORDS, &20_u32.to_le_bytes());
    put(RECORDS + 8, b"\x01zR\0\x01\x78\x10\x01\x1B");
    let mut at = RECORDS + 24;
    for (number, lines) in compiled.iter().enumerate() {
        let code_len: usize = lines.iter().map(len).sum();
        let fields = [
            20,
            (at + 4 - RECORDS) as u32,
            places[number].wrapping_sub(at + 8) as u32,
            code_len as u32,
        ];
        fields.iter().zip(0..).for_each(|(field, i)| put(at + 4 * i, &field.to_le_bytes()));
        at += 24;
    }
    put(at, &[0; 4]);
    assert!(at + 4 <= CODE, "the records fit");
    // Headers: a segment of everything, executable from the code on, and the unwind table.
    put(0, b"\x7fELF\x02\x01\x01");
    put(18, &machine.to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    put(54, &56_u16.to_le_bytes());
    put(56, &3_u16.to_le_bytes());
    let headers =
        [(1_u32, 4_u32, 0, CODE), (1, 5, CODE, total - CODE), (0x6474_E550, 4, TABLE, 12)];
    for ((kind, flags, start, len), i) in headers.into_iter().zip(0..) {
        let at = 64 + 56 * i;
        put(at, &kind.to_le_bytes());
        put(at + 4, &flags.to_le_bytes());
        for (place, number) in [(8, start), (16, start), (32, len), (40, len)] {
            put(at + place, &number.to_le_bytes());
        }
    }
    file
}

fn encode(base: &[u8], target: &[u8]) -> (Vec<u8>, u64, u64) {
    let mut encoder = GroupEncoder::new(Effort::Default);
    let stats = encoder.member(base, target);
    let edits = encoder.stream_lengths().bytes(StreamKind::EditParts);
    (encoder.finish(), stats.patched_bytes, edits)
}

fn decode(group: &[u8], base: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut decoder = GroupDecoder::open(group, &GroupLimits::default()).ok()?;
    let mut rebuilt = vec![0; len];
    decoder.member(base, &mut rebuilt).ok()?;
    decoder.finish().ok()?;
    Some(rebuilt)
}

#[test]
fn other_registers_and_numbers_are_edits_and_jumps_follow_them() {
    let (base, target) = (program(400, 1), program(400, 2));
    let (group, patched_bytes, edits) = encode(&base, &target);
    assert!(decode(&group, &base, target.len()).is_some_and(|rebuilt| rebuilt == target));
    assert!(edits > 1500, "{edits} edits");
    // Lengths of functions in the unwind records, and little else.
    assert!(patched_bytes < 1000, "{patched_bytes} bytes are patched");
}

#[test]
fn words_of_aarch64_are_edited_and_their_branches_stay_fields() {
    let [base, target] = [1, 2].map(|version| program_for(AARCH64, 400, version));
    let (group, patched_bytes, edits) = encode(&base, &target);
    assert!(decode(&group, &base, target.len()).is_some_and(|rebuilt| rebuilt == target));
    assert!(edits > 1000, "{edits} edits");
    assert!(patched_bytes < 1000, "{patched_bytes} bytes are patched");
    // As x86-64, the same edits are refused, or give other bytes.
    let mut other = base;
    other[18..20].copy_from_slice(&X86_64.to_le_bytes());
    assert!(decode(&group, &other, target.len()).is_none_or(|rebuilt| rebuilt != target));
}

#[test]
fn a_long_target_is_rebuilt_in_pieces_that_divide_no_edit() {
    let (base, target) = (program(1300, 1), program(1300, 2));
    // Far more than one piece: the code three times, at other distances.
    let tripled = |file: &[u8]| {
        let more = [&file[CODE as usize..], &[0x90; 40], &file[CODE as usize..]].concat();
        [file, &more].concat()
    };
    let (base, target) = (tripled(&base), tripled(&target));
    let (group, _, _) = encode(&base, &target);
    assert!(decode(&group, &base, target.len()).is_some_and(|rebuilt| rebuilt == target));
}

#[test]
fn damage_to_edits_is_an_error_or_other_bytes() {
    for machine in [X86_64, AARCH64] {
        damage(&program_for(machine, 120, 1), &program_for(machine, 120, 2));
    }
}

fn damage(base: &[u8], target: &[u8]) {
    let (group, _, edits) = encode(base, target);
    assert!(edits > 100, "{edits} edits");
    for at in 0..group.len() {
        for flip in [1, 0x10, 0x80] {
            let mut damaged = group.clone();
            damaged[at] ^= flip;
            let _ = decode(&damaged, base, target.len());
        }
    }
    for len in 0..group.len() {
        assert!(decode(&group[..len], base, target.len()).is_none(), "cut at {len}");
    }
    // Another base, whose instructions begin elsewhere.
    let mut other = base.to_vec();
    other.remove(CODE as usize + 1);
    let _ = decode(&group, &other, target.len());
}

/// A group of one member, whose first copy takes all of a base of `len` bytes and adds 1 to the
/// displacement of its first instruction.
fn one_edit(len: usize) -> Vec<u8> {
    let mut copied = Vec::new();
    imgdelta_wire::varint::write(&mut copied, len as u64);
    let mut streams = vec![Vec::new(); StreamKind::ALL.len()];
    let edited = [(StreamKind::EditCounts, 2), (StreamKind::EditParts, 8)];
    for (stream, byte) in [(StreamKind::Members, 0x21), (StreamKind::EditDisplacements, 2)]
        .into_iter()
        .chain(edited)
        .chain([StreamKind::LiteralLengths, StreamKind::BaseOffsets].map(|stream| (stream, 0)))
        .chain([(StreamKind::EditGaps, 0)])
    {
        streams[stream as usize].push(byte);
    }
    streams[StreamKind::CopyLengths as usize] = copied;
    let mut group = vec![streams.len() as u8];
    group.extend(streams.iter().map(|stream| (stream.len() << 2) as u8));
    group.extend(streams.concat());
    group
}

#[test]
fn more_jumps_than_a_reader_remembers_are_refused() {
    let base = |jumps: usize| [&[0x8B, 0x40, 8][..], &[0x75, 0x7F].repeat(jumps)].concat();
    let refused = |jumps: usize| {
        let base = base(jumps);
        let mut decoder =
            GroupDecoder::open(&one_edit(base.len()), &GroupLimits::default()).unwrap();
        decoder.member(&base, &mut vec![0; base.len()]).unwrap_err()
    };
    let error = refused(600_000);
    let what = "distances of edited copies";
    let limit = 1 << 19;
    assert_eq!(error, CodecError::TooLarge { what, limit, found: limit + 1 });
    // Fewer are read; then the headers are missing.
    assert!(matches!(
        refused(1000),
        CodecError::Malformed { stream: Some(StreamKind::Headers), .. }
    ));
}
