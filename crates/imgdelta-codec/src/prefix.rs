//! The prefix for packed literals: uncopied bytes of the base, spelled like the target's literals.
//! Never reads the target except for its headers, so both sides make the same bytes.
//!
//! New code resembles old code, but its references differ. Here each reference of the base gets its
//! value in the target, and an address is spelled as literals spell it. Copied bytes resemble the
//! literals far less than uncopied ones: leaving them out makes literals 0.5 % larger and saves
//! most of the time.

use crate::map::AddressMap;
use imgdelta_coding::aligned;
use imgdelta_fields::{
    elf::{Machine, MemoryImage, Segment},
    field_index::{FieldCache, FieldIndex},
    fields::{Field, Form},
};
use std::ops::Range;

/// Copied bytes kept on either side of a gap, since changed functions alternate between both.
const MARGIN: usize = 32;

/// Most bytes of the base in a prefix, which are its last ones: zstd reaches no further back.
pub(crate) const MAX_PREFIX: usize = 32 << 20;

/// The same in the reference of an aligned code, which reads on where a copy ends.
const REFERENCE_MARGIN: usize = 256;

/// The bytes that an aligned code of literals refers to.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) bytes: Vec<u8>,
    /// Ranges of the base, ascending, each with its place.
    places: Vec<(Range<usize>, usize)>,
}

impl Reference {
    /// Returns the bytes of a base as they are.
    #[cfg(test)]
    pub(crate) fn whole(base: &[u8]) -> Self {
        Self { bytes: base.to_vec(), places: vec![(0..base.len(), 0)] }
    }

    /// Returns the place of a byte of the base.
    pub(crate) fn place(&self, at: usize) -> Option<usize> {
        let next = self.places.partition_point(|(range, _)| range.start <= at);
        let (range, place) = self.places.get(next.checked_sub(1)?)?;
        (at < range.end).then(|| place + at - range.start)
    }
}

/// The inputs of a prefix.
#[derive(Debug)]
pub(crate) struct LiteralPrefix<'a> {
    pub(crate) base: &'a FieldIndex<'a>,
    /// Ranges of the base that copies take.
    pub(crate) taken: Vec<Range<usize>>,
    pub(crate) target_image: &'a MemoryImage,
    pub(crate) map: &'a AddressMap,
}

impl LiteralPrefix<'_> {
    /// Builds the prefix behind `history`, with room for `spare` bytes behind it. The base's code is
    /// most similar and costs least when near.
    pub(crate) fn build(
        &self,
        fields: &mut FieldCache<'_>,
        history: &[u8],
        spare: usize,
    ) -> Vec<u8> {
        let parts = self.parts();
        // Only the last bytes are kept; a field in front of them may reach into them.
        let all: usize = parts.iter().map(|(_, range)| range.len()).sum();
        let mut skipped = all.saturating_sub(MAX_PREFIX + 8);
        let mut prefix = Vec::with_capacity(history.len() + all.min(MAX_PREFIX + 8) + spare);
        prefix.extend_from_slice(history);
        for (segment, range) in parts {
            let skip = skipped.min(range.len());
            skipped -= skip;
            if skip < range.len() {
                self.add(fields, segment, range.start + skip..range.end, &mut prefix);
            }
        }
        let excess = (prefix.len() - history.len()).saturating_sub(MAX_PREFIX);
        prefix.drain(history.len()..history.len() + excess);
        prefix
    }

    /// Returns the ranges of the base that are in the reference of an aligned code, and their bytes
    /// behind `history`. `None` if there are too many.
    pub(crate) fn reference(
        &self,
        fields: &mut FieldCache<'_>,
        history: &[u8],
    ) -> Option<Reference> {
        let gaps = self.gaps(REFERENCE_MARGIN);
        let all = gaps.iter().fold(history.len(), |sum, (start, end)| sum + end - start);
        if all > aligned::MAX_REFERENCE {
            return None;
        }
        let mut bytes = Vec::with_capacity(all);
        bytes.extend_from_slice(history);
        let mut places = Vec::with_capacity(gaps.len());
        for (start, end) in gaps {
            places.push((start..end, bytes.len()));
            let mut at = start;
            for segment in &self.base.image.segments {
                let (from, to) = (at.max(segment.offset), end.min(segment.offset_end()));
                if from < to {
                    bytes.extend_from_slice(&self.base.file[at..from]);
                    self.add(fields, segment, from..to, &mut bytes);
                    at = to;
                }
            }
            bytes.extend_from_slice(&self.base.file[at..end]);
        }
        Some(Reference { bytes, places })
    }

    /// Returns the loaded ranges of the base that are in the prefix, in its order.
    fn parts(&self) -> Vec<(&Segment, Range<usize>)> {
        let gaps = self.gaps(MARGIN);
        let mut parts = Vec::new();
        for executable in [false, true] {
            let segments = self.base.image.segments.iter();
            for segment in segments.filter(|segment| segment.executable == executable) {
                let first = gaps.partition_point(|gap| gap.1 <= segment.offset);
                for &(from, to) in &gaps[first..] {
                    let (from, to) = (from.max(segment.offset), to.min(segment.offset_end()));
                    if from >= to {
                        break;
                    }
                    parts.push((segment, from..to));
                }
            }
        }
        parts
    }

    /// Returns the ranges of the base that no copy takes, with a margin; ascending and apart.
    fn gaps(&self, margin: usize) -> Vec<(usize, usize)> {
        let mut copied: Vec<(usize, usize)> =
            self.taken.iter().map(|range| (range.start, range.end)).collect();
        copied.sort_unstable();
        copied.push((self.base.file.len(), self.base.file.len()));
        let mut gaps: Vec<(usize, usize)> = Vec::new();
        let mut at = 0;
        for (start, end) in copied {
            if start > at {
                let from = at.saturating_sub(margin);
                let to = start.saturating_add(margin).min(self.base.file.len());
                match gaps.last_mut() {
                    Some(last) if last.1 >= from => last.1 = to,
                    _ => gaps.push((from, to)),
                }
            }
            at = at.max(end);
        }
        gaps
    }

    /// Appends a range of the base's bytes, which lies in `segment`.
    fn add(
        &self,
        fields: &mut FieldCache<'_>,
        segment: &Segment,
        range: Range<usize>,
        prefix: &mut Vec<u8>,
    ) {
        let (from, file) = (range.start, self.base.file);
        let start = prefix.len();
        prefix.extend_from_slice(&file[range.clone()]);
        let own = &mut prefix[start..];
        for block in FieldIndex::block_of(from)..=FieldIndex::block_of(range.end - 1) {
            for field in fields.block(block) {
                if !range.contains(&(field.at as usize)) {
                    continue;
                }
                let at = field.at as usize - from;
                let before = field.at.checked_sub(1).map_or(0, |before| file[before as usize]);
                let Some(bytes) = own.get_mut(at..at + field.form.size()) else { break };
                let address = segment.start + (from - segment.offset + at) as u32;
                let more = if segment.executable {
                    self.more_in_code(field, address, before, bytes)
                } else {
                    self.more_in_data(field, address)
                };
                if let Some(more) = more.filter(|&more| more != 0) {
                    field.form.add(bytes, more);
                }
            }
        }
    }

    /// Returns the absolute address in the target of a base address; unmoved if its shift is
    /// unknown.
    fn moved(&self, address: u32) -> i64 {
        let shift = self.map.shift(address).unwrap_or(0);
        let absolute = self.base.image.low.wrapping_add(address.into()).cast_signed();
        absolute.wrapping_add(shift.into())
    }

    /// Returns the number to add to a field in code; `before` is the byte before it.
    fn more_in_code(&self, field: &Field, address: u32, before: u8, bytes: &[u8]) -> Option<i64> {
        let spelled = match (self.base.image.machine, field.form) {
            (Machine::X86_64, Form::Branch32) if before == 0xE8 => true,
            (Machine::X86_64, Form::Relative32) => before & 0xC7 == 0x05,
            (Machine::Aarch64, Form::Branch26) => bytes[3] & 0xFC == 0x94,
            (Machine::Aarch64, Form::Page21) => true,
            _ => false,
        };
        if !spelled {
            return self.more_in_data(field, address);
        }
        let moved = self.moved(field.target);
        let wanted = match field.form {
            Form::Branch26 => moved >> 2,
            Form::Page21 => moved >> 12,
            _ => moved.wrapping_sub(self.target_image.low.cast_signed()),
        };
        Some(wanted.wrapping_sub(field.form.number(bytes)))
    }

    /// Returns the number to add to a field that literals do not respell, if it is known.
    fn more_in_data(&self, field: &Field, address: u32) -> Option<i64> {
        let shift = i64::from(self.map.shift(field.target)?);
        match field.form {
            Form::Absolute32 | Form::Absolute64 | Form::Absolute64InData => Some(shift),
            Form::Branch32 | Form::Relative32 | Form::Relative32InData => {
                Some(shift - i64::from(self.map.shift(address)?))
            }
            Form::Low12(scale) => {
                let low = |address: i64| (address & 0xfff) >> scale;
                let old = self.base.image.low.wrapping_add(field.target.into()).cast_signed();
                Some(low(old.wrapping_add(shift)) - low(old))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{map::Override, script::BaseCopy};

    /// The prefix of a base of `code`; all of it has moved by 0x100 except the ranges of `copies`.
    fn prefix(machine: Machine, code: &[u8], fields: Vec<Field>, copies: &[BaseCopy]) -> Vec<u8> {
        let mut image = MemoryImage::flat(code.len()).unwrap();
        image.machine = machine;
        image.low = 0x40_0000;
        image.segments[0].executable = true;
        let moved = Override { start: 0, len: image.span, shift: 0x100 };
        let map = AddressMap::new(&[], &[moved], &image);
        let index = FieldIndex::with_fields(code, image.clone(), fields);
        let (base, target_image) = (&index, &image);
        let taken = copies.iter().map(|copy| copy.base..copy.base_end()).collect();
        let prefix = LiteralPrefix { base, taken, target_image, map: &map };
        prefix.build(&mut FieldCache::new(&index), b"before", 0)
    }

    #[test]
    fn calls_and_operands_are_spelled_as_the_targets_address() {
        let mut code = vec![0x90; 0x40];
        code[0x0F] = 0xE8;
        code[0x10..0x14].copy_from_slice(&0x11_u32.to_le_bytes());
        code[0x1F] = 0x05;
        code[0x20..0x24].copy_from_slice(&0x11_u32.to_le_bytes());
        code[0x2F] = 0xE9;
        code[0x30..0x34].copy_from_slice(&0x11_u32.to_le_bytes());
        let fields = vec![
            Field { at: 0x10, target: 0x25, form: Form::Branch32 },
            Field { at: 0x20, target: 0x35, form: Form::Relative32 },
            Field { at: 0x30, target: 0x10, form: Form::Branch32 },
        ];
        let prefix = prefix(Machine::X86_64, &code, fields, &[]);
        assert_eq!(prefix[..6], *b"before");
        assert_eq!(prefix[0x16..0x1A], 0x125_u32.to_le_bytes());
        assert_eq!(prefix[0x26..0x2A], 0x135_u32.to_le_bytes());
        assert_eq!(prefix[0x36..0x3A], 0x11_u32.to_le_bytes(), "a jump moves with its target");
    }

    #[test]
    fn aarch64_calls_and_pages_too() {
        let code = [0x9400_0004_u32, 0x9000_0000, 0x1400_0001].map(u32::to_le_bytes).concat();
        let fields = vec![
            Field { at: 0, target: 4, form: Form::Branch26 },
            Field { at: 4, target: 8, form: Form::Page21 },
            Field { at: 8, target: 0, form: Form::Branch26 },
        ];
        let prefix = prefix(Machine::Aarch64, &code, fields, &[]);
        let words: Vec<u32> =
            prefix[6..].as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        assert_eq!(words, [0x9410_0041, 0x9000_2000, 0x1400_0001]);
    }

    #[test]
    fn copied_bytes_are_left_out_but_for_a_margin() {
        let code: Vec<u8> = (0..=255).collect();
        let copies = [(0, 50), (60, 80), (100, 200)].map(|(start, end)| BaseCopy {
            target: 0,
            base: start,
            len: end - start,
        });
        let prefix = prefix(Machine::X86_64, &code, Vec::new(), &copies);
        let wanted = [b"before", &code[18..132], &code[168..]].concat();
        assert_eq!(prefix, wanted);
    }
}
