//! References inside literals, spelled as addresses instead of distances: which bytes of a piece.
//! Never reads outside a literal except for the opcode bytes just before it.

use imgdelta_fields::elf::{Machine, MemoryImage};
pub(crate) use imgdelta_instructions::spelling::Spelling;
use imgdelta_instructions::spelling::{aarch64, x86_64};
use std::ops::Range;

/// Respells a literal in a piece of a file that `image` describes.
///
/// The piece starts at offset `at` of the file; `literal` counts from the piece's start. Up to two
/// bytes before the literal are read as copied, before any correction.
pub(crate) fn respell(
    piece: &mut [u8],
    at: usize,
    literal: Range<usize>,
    image: &MemoryImage,
    spell: Spelling,
) {
    if literal.is_empty() {
        return;
    }
    let (start, end) = (at + literal.start, at + literal.end);
    for segment in image.segments.iter().filter(|segment| segment.executable) {
        let (from, to) = (start.max(segment.offset), end.min(segment.offset_end()));
        if from >= to {
            continue;
        }
        let address = i64::from(segment.start) + (from - segment.offset) as i64;
        let (from, to) = (from - at, to - at);
        match image.machine {
            Machine::X86_64 => x86_64(piece, from..to, address, image.span, spell),
            Machine::Aarch64 => {
                let absolute = image.low.wrapping_add(address.cast_unsigned());
                aarch64(&mut piece[from..to], absolute, spell);
            }
            Machine::ClassData | Machine::None => {}
        }
    }
}

#[cfg(all(test, feature = "encode"))]
mod tests {
    use super::*;
    use crate::script::BaseCopy;

    fn image(machine: Machine, len: usize) -> MemoryImage {
        let mut image = MemoryImage::flat(len).unwrap();
        image.machine = machine;
        image.segments[0].executable = true;
        image
    }

    /// Respells all literals between copies in a whole file.
    fn respell_all(file: &mut [u8], copies: &[BaseCopy], image: &MemoryImage, spell: Spelling) {
        let mut start = 0;
        for copy in copies {
            respell(file, 0, start..copy.target, image, spell);
            start = copy.target_end();
        }
        let end = file.len();
        respell(file, 0, start..end, image, spell);
    }

    #[test]
    fn only_literals_are_respelled() {
        let image = image(Machine::Aarch64, 0x40);
        let mut code = 0x9400_0001_u32.to_le_bytes().repeat(16);
        let copies = [BaseCopy { target: 0x10, base: 0, len: 0x20 }];
        respell_all(&mut code, &copies, &image, Spelling::Address);
        let words: Vec<u32> =
            code.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word) & 0xffff).collect();
        assert_eq!(words[..5], [1, 2, 3, 4, 1]);
        assert_eq!(words[11..], [1, 13, 14, 15, 16]);
    }
}
