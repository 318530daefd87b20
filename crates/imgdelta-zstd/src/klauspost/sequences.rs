//! The sequences section of a block: three codes a sequence, extra bits, and the choice of tables.
//!
//! Never sees literals, and never looks for copies.

use super::Sequence;
use crate::bits::{BitWriter, high_bit};
use crate::fse::{Table, accuracy, normalise};
use std::sync::LazyLock;

/// Most bits of accuracy klauspost uses, for all three.
const WANTED_LOG: u32 = 8;

/// Packs sequences block after block, with the tables of an earlier block where they serve.
#[derive(Default)]
pub(super) struct Sequences {
    /// What a reader would repeat; none if that was a run or a predefined table.
    known: [Option<Table>; 3],
}

/// The tables that a block used, to be confirmed when it goes out.
pub(super) struct Used([Choice; 3]);

enum Choice {
    Predefined,
    Run(Table),
    New(Table),
    Repeat,
}

/// The three kinds of code, in the order of the header.
const LITERALS: usize = 0;
const OFFSET: usize = 1;
const COPY: usize = 2;

/// A sequence's codes and their extra bits.
struct Coded {
    codes: [u8; 3],
    extra: [u32; 3],
}

impl Sequences {
    /// Appends the section; `sequences` are not empty. `None` if tables cannot be made.
    pub(super) fn pack(&self, sequences: &[Sequence], out: &mut Vec<u8>) -> Option<Used> {
        put_count(sequences.len(), out);
        let coded: Vec<Coded> = sequences.iter().map(Coded::new).collect();
        let mut choices = Vec::with_capacity(3);
        let mut modes = 0;
        for kind in [LITERALS, OFFSET, COPY] {
            let choice = self.choose(kind, &coded)?;
            modes = modes << 2 | choice.mode();
            choices.push(choice);
        }
        out.push(modes << 2);
        for (kind, choice) in choices.iter().enumerate() {
            match choice {
                Choice::Run(_) => out.push(coded[0].codes[kind]),
                Choice::New(table) => table.write_shares(out),
                Choice::Predefined | Choice::Repeat => {}
            }
        }
        let choices: [Choice; 3] = choices.try_into().ok()?;
        self.write(&coded, &choices, out)?;
        Some(Used(choices))
    }

    /// The block went out: a reader knows its tables.
    pub(super) fn confirm(&mut self, used: Used) {
        for (known, choice) in self.known.iter_mut().zip(used.0) {
            match choice {
                Choice::New(table) => *known = Some(table),
                Choice::Predefined | Choice::Run(_) => *known = None,
                Choice::Repeat => {}
            }
        }
    }

    fn choose(&self, kind: usize, coded: &[Coded]) -> Option<Choice> {
        let mut counts = [0u32; 64];
        for sequence in coded {
            counts[usize::from(sequence.codes[kind])] += 1;
        }
        let total = coded.len() as u32;
        let kinds = counts.iter().rposition(|&count| count > 0)? + 1;
        let counts = &counts[..kinds];
        if counts[kinds - 1] == total {
            return Some(Choice::Run(Table::single(kinds as u8 - 1)));
        }
        let log = accuracy(total, kinds, WANTED_LOG, high_bit(total) + 1);
        let table = Table::new(&normalise(counts, total, log)?, log);

        // In bits. A new table counts its header as if nothing in it could be shortened, and a
        // sixteenth more, so that it is taken only if it gains.
        let header = (((kinds as u32 * log) >> 3) + 3) * 8;
        let new = table.cost(counts).unwrap_or(u32::MAX).wrapping_add(header);
        let new = new.wrapping_add(new.wrapping_add(256) >> 4);
        let predefined = PREDEFINED[kind].cost(counts).unwrap_or(u32::MAX);
        let repeat = self.known[kind].as_ref().and_then(|known| known.cost(counts));
        let repeat = repeat.unwrap_or(u32::MAX);
        Some(if predefined <= repeat && predefined <= new {
            Choice::Predefined
        } else if repeat <= new {
            Choice::Repeat
        } else {
            Choice::New(table)
        })
    }

    /// Writes states and extra bits, from the last sequence to the first.
    fn write(&self, coded: &[Coded], choices: &[Choice; 3], out: &mut Vec<u8>) -> Option<()> {
        let table = |kind: usize| match &choices[kind] {
            Choice::Predefined => Some(&PREDEFINED[kind]),
            Choice::Run(table) | Choice::New(table) => Some(table),
            Choice::Repeat => self.known[kind].as_ref(),
        };
        let tables = [table(LITERALS)?, table(OFFSET)?, table(COPY)?];
        let (last, before) = coded.split_last()?;
        let mut bits = BitWriter::new(out);
        let start = |kind: usize| tables[kind].start(last.codes[kind]);
        let mut states = [start(LITERALS), start(OFFSET), start(COPY)];
        last.put_extra(&mut bits);
        for sequence in before.iter().rev() {
            for kind in [OFFSET, COPY, LITERALS] {
                tables[kind].encode(&mut states[kind], sequence.codes[kind], &mut bits);
            }
            sequence.put_extra(&mut bits);
        }
        for kind in [COPY, OFFSET, LITERALS] {
            tables[kind].end(states[kind], &mut bits);
        }
        bits.close();
        Some(())
    }
}

impl Choice {
    fn mode(&self) -> u8 {
        match self {
            Self::Predefined => 0,
            Self::Run(_) => 1,
            Self::New(_) => 2,
            Self::Repeat => 3,
        }
    }
}

impl Coded {
    fn new(sequence: &Sequence) -> Self {
        // The format's lengths of copies begin at 3, its codes at 0.
        let copy = sequence.copy_bytes - 3;
        let codes = [
            literals_code(sequence.literal_bytes),
            high_bit(sequence.offset) as u8,
            copy_code(copy),
        ];
        Self { codes, extra: [sequence.literal_bytes, sequence.offset, copy] }
    }

    fn put_extra(&self, bits: &mut BitWriter) {
        bits.put(self.extra[LITERALS], u32::from(LITERALS_BITS[usize::from(self.codes[LITERALS])]));
        bits.put(self.extra[COPY], u32::from(COPY_BITS[usize::from(self.codes[COPY])]));
        bits.put(self.extra[OFFSET], u32::from(self.codes[OFFSET]));
    }
}

/// Bits that an offset takes with the predefined table, roughly.
pub(super) fn offset_bits(offset: u32) -> i32 {
    let code = high_bit(offset) as u8;
    i32::from(code) + PREDEFINED[OFFSET].whole_bits(code) as i32
}

/// Bits that a copy's length takes likewise; `copy` is 3 bytes less than it has.
pub(super) fn copy_bits(copy: u32) -> i32 {
    let code = copy_code(copy);
    i32::from(COPY_BITS[usize::from(code)]) + PREDEFINED[COPY].whole_bits(code) as i32
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    match count {
        0..128 => out.push(count as u8),
        128..0x7f00 => out.extend([128 + (count >> 8) as u8, count as u8]),
        _ => {
            let rest = count - 0x7f00;
            out.extend([255, rest as u8, (rest >> 8) as u8]);
        }
    }
}

fn literals_code(count: u32) -> u8 {
    match count {
        0..16 => count as u8,
        16..24 => 16 + ((count - 16) >> 1) as u8,
        24..32 => 20 + ((count - 24) >> 2) as u8,
        32..48 => 22 + ((count - 32) >> 3) as u8,
        48..64 => 24,
        _ => high_bit(count) as u8 + 19,
    }
}

fn copy_code(count: u32) -> u8 {
    match count {
        0..32 => count as u8,
        32..40 => 32 + ((count - 32) >> 1) as u8,
        40..48 => 36 + ((count - 40) >> 2) as u8,
        48..64 => 38 + ((count - 48) >> 3) as u8,
        64..96 => 40 + ((count - 64) >> 4) as u8,
        96..128 => 42,
        _ => high_bit(count) as u8 + 36,
    }
}

/// Extra bits of each code of a literal count.
const LITERALS_BITS: [u8; 36] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11,
    12, 13, 14, 15, 16,
];

/// Extra bits of each code of a copy's length.
const COPY_BITS: [u8; 53] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
];

/// The format's default distributions.
static PREDEFINED: LazyLock<[Table; 3]> = LazyLock::new(|| {
    [
        Table::new(
            &[
                4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1,
                1, 1, 1, 1, -1, -1, -1, -1,
            ],
            6,
        ),
        Table::new(
            &[
                1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1,
                -1, -1,
            ],
            5,
        ),
        Table::new(
            &[
                1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
            ],
            6,
        ),
    ]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_begin_where_the_format_says() {
        let starts = [
            (15, 15),
            (16, 16),
            (18, 17),
            (24, 20),
            (32, 22),
            (40, 23),
            (48, 24),
            (64, 25),
            (65_536, 35),
        ];
        for (count, code) in starts {
            assert_eq!(literals_code(count), code, "{count} literals");
        }
        let starts = [
            (31, 31),
            (32, 32),
            (40, 36),
            (48, 38),
            (64, 40),
            (80, 41),
            (96, 42),
            (128, 43),
            (65_536, 52),
        ];
        for (count, code) in starts {
            assert_eq!(copy_code(count), code, "copy of {count} + 3");
        }
    }

    #[test]
    fn a_table_is_repeated_only_when_a_reader_has_it() {
        let odd: Vec<Sequence> = (0..500)
            .map(|n| Sequence {
                literal_bytes: 33 + n % 7,
                copy_bytes: 200 + n % 70,
                offset: 9000 + n,
            })
            .collect();
        let mut sequences = Sequences::default();
        let mut first = Vec::new();
        let used = sequences.pack(&odd, &mut first).unwrap();
        let mut again = Vec::new();
        sequences.pack(&odd, &mut again).unwrap();
        assert_eq!(first, again, "not confirmed");
        sequences.confirm(used);
        let mut repeated = Vec::new();
        let used = sequences.pack(&odd, &mut repeated).unwrap();
        assert!(repeated.len() < first.len());
        sequences.confirm(used);
        let mut third = Vec::new();
        sequences.pack(&odd, &mut third).unwrap();
        assert_eq!(repeated, third);
    }
}
