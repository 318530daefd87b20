//! Writes the sequences section of a block: three codes per sequence, extra bits, and tables.
//!
//! Never sees literals, and never searches for copies.

use super::Sequence;
use crate::bits::{BitWriter, high_bit};
use crate::fse::{FseTable, accuracy, normalise};
use std::sync::LazyLock;

/// Highest accuracy of klauspost's tables, in bits.
const WANTED_LOG: u32 = 8;

/// Compresses the sequences of one block after another, and reuses earlier tables where they pay.
#[derive(Default)]
pub(super) struct SequencesCoder {
    /// The last written table of each kind, which a reader can repeat. `None` after a run or a
    /// predefined table.
    last_tables: [Option<FseTable>; 3],
}

/// The tables of a packed block. [`SequencesCoder::confirm`] takes them if the block is written.
pub(super) struct UsedTables([TableChoice; 3]);

enum TableChoice {
    Predefined,
    Run(FseTable),
    New(FseTable),
    Repeat,
}

/// The three kinds of code, in the order of the header.
const LITERALS: usize = 0;
const OFFSET: usize = 1;
const COPY: usize = 2;

/// The codes of a sequence and their extra bits.
struct CodedSequence {
    codes: [u8; 3],
    extra: [u32; 3],
}

impl SequencesCoder {
    /// Appends the section for a nonempty list. `None` if a table cannot be built.
    pub(super) fn pack(&self, sequences: &[Sequence], out: &mut Vec<u8>) -> Option<UsedTables> {
        put_count(sequences.len(), out);
        let coded: Vec<CodedSequence> = sequences.iter().map(CodedSequence::new).collect();
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
                TableChoice::Run(_) => out.push(coded[0].codes[kind]),
                TableChoice::New(table) => table.write_shares(out),
                TableChoice::Predefined | TableChoice::Repeat => {}
            }
        }
        let choices: [TableChoice; 3] = choices.try_into().ok()?;
        self.write(&coded, &choices, out)?;
        Some(UsedTables(choices))
    }

    /// Remembers the tables of a block that was written.
    pub(super) fn confirm(&mut self, used: UsedTables) {
        for (last, choice) in self.last_tables.iter_mut().zip(used.0) {
            match choice {
                TableChoice::New(table) => *last = Some(table),
                TableChoice::Predefined | TableChoice::Run(_) => *last = None,
                TableChoice::Repeat => {}
            }
        }
    }

    fn choose(&self, kind: usize, coded: &[CodedSequence]) -> Option<TableChoice> {
        let mut counts = [0u32; 64];
        for sequence in coded {
            counts[usize::from(sequence.codes[kind])] += 1;
        }
        let total = coded.len() as u32;
        let kinds = counts.iter().rposition(|&count| count > 0)? + 1;
        let counts = &counts[..kinds];
        if counts[kinds - 1] == total {
            return Some(TableChoice::Run(FseTable::single(kinds as u8 - 1)));
        }
        let log = accuracy(total, kinds, WANTED_LOG, high_bit(total) + 1);
        let table = FseTable::new(&normalise(counts, total, log)?, log);

        // In bits. The price of a new table includes its header without any shortening, and a
        // sixteenth on top.
        let header = (((kinds as u32 * log) >> 3) + 3) * 8;
        let new = table.cost(counts).unwrap_or(u32::MAX).wrapping_add(header);
        let new = new.wrapping_add(new.wrapping_add(256) >> 4);
        let predefined = PREDEFINED[kind].cost(counts).unwrap_or(u32::MAX);
        let repeat = self.last_tables[kind].as_ref().and_then(|last| last.cost(counts));
        let repeat = repeat.unwrap_or(u32::MAX);
        Some(if predefined <= repeat && predefined <= new {
            TableChoice::Predefined
        } else if repeat <= new {
            TableChoice::Repeat
        } else {
            TableChoice::New(table)
        })
    }

    /// Writes states and extra bits, from the last sequence to the first.
    fn write(
        &self,
        coded: &[CodedSequence],
        choices: &[TableChoice; 3],
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let table = |kind: usize| match &choices[kind] {
            TableChoice::Predefined => Some(&PREDEFINED[kind]),
            TableChoice::Run(table) | TableChoice::New(table) => Some(table),
            TableChoice::Repeat => self.last_tables[kind].as_ref(),
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

impl TableChoice {
    fn mode(&self) -> u8 {
        match self {
            Self::Predefined => 0,
            Self::Run(_) => 1,
            Self::New(_) => 2,
            Self::Repeat => 3,
        }
    }
}

impl CodedSequence {
    fn new(sequence: &Sequence) -> Self {
        // The shortest copy of the format has 3 bytes and code 0.
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

/// Estimates the bits of an offset with the predefined table.
pub(super) fn offset_bits(offset: u32) -> i32 {
    let code = high_bit(offset) as u8;
    i32::from(code) + PREDEFINED[OFFSET].whole_bits(code) as i32
}

/// Estimates the bits of a copy's length with the predefined table. `copy` is the length minus 3.
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

/// Extra bits of each code for a number of literals.
const LITERALS_BITS: [u8; 36] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11,
    12, 13, 14, 15, 16,
];

/// Extra bits of each code for the length of a copy.
const COPY_BITS: [u8; 53] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
];

/// The predefined tables of the format.
static PREDEFINED: LazyLock<[FseTable; 3]> = LazyLock::new(|| {
    [
        FseTable::new(
            &[
                4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1,
                1, 1, 1, 1, -1, -1, -1, -1,
            ],
            6,
        ),
        FseTable::new(
            &[
                1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1,
                -1, -1,
            ],
            5,
        ),
        FseTable::new(
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
    fn codes_begin_at_the_values_of_the_format() {
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
    fn only_a_confirmed_table_is_repeated() {
        let odd: Vec<Sequence> = (0..500)
            .map(|n| Sequence {
                literal_bytes: 33 + n % 7,
                copy_bytes: 200 + n % 70,
                offset: 9000 + n,
            })
            .collect();
        let mut sequences = SequencesCoder::default();
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
