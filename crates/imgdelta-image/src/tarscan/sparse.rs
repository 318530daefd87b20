//! Maps of sparse files, in the four known formats.
//!
//! Old GNU has the map in the header and in extension blocks after it. GNU.sparse 0.0 and 0.1 have it
//! in PAX records, and 1.0 as text before the data. Nothing here reads the data.

use super::{BLOCK_BYTES, header::number, member::SparseMap};

impl SparseMap {
    /// Returns the map of the written pairs.
    ///
    /// `None` if they overlap, are out of order, or go past the end of the file.
    pub(super) fn new(pairs: &[(u64, u64)], size_bytes: u64) -> Option<Self> {
        let mut segments: Vec<(u64, u64)> = Vec::new();
        let mut end = 0u64;
        for &(offset, len) in pairs {
            if offset < end {
                return None;
            }
            let touches = offset == end;
            end = offset.checked_add(len).filter(|&end| end <= size_bytes)?;
            match segments.last_mut() {
                _ if len == 0 => {}
                Some(last) if touches && last.0 + last.1 == offset => last.1 += len,
                _ => segments.push((offset, len)),
            }
        }
        Some(Self { segments })
    }
}

/// The map of an old GNU header while its extension blocks arrive.
#[derive(Debug, Default)]
pub(super) struct OldMap {
    pub(super) pairs: Vec<(u64, u64)>,
    pub(super) size_bytes: u64,
}

impl OldMap {
    /// Reads the four pairs of the header; the flag is true if extension blocks follow.
    pub(super) fn begin(block: &[u8; BLOCK_BYTES]) -> Option<(Self, bool)> {
        let size_bytes = u64::try_from(number(&block[483..495])?).ok()?;
        let mut map = Self { pairs: Vec::new(), size_bytes };
        map.take(&block[386..482])?;
        Some((map, block[482] != 0))
    }

    /// Reads an extension block; returns true if another follows.
    pub(super) fn extend(&mut self, block: &[u8; BLOCK_BYTES]) -> Option<bool> {
        self.take(&block[..504])?;
        Some(block[504] != 0)
    }

    fn take(&mut self, places: &[u8]) -> Option<()> {
        for place in places.chunks_exact(24) {
            // Unused pairs begin with a NUL.
            if place[0] == 0 {
                break;
            }
            let part = |field| u64::try_from(number(field)?).ok();
            self.pairs.push((part(&place[..12])?, part(&place[12..])?));
        }
        Some(())
    }
}

/// The state of reading a text map after a block.
pub(super) enum TextMapProgress {
    /// More blocks are needed.
    Unfinished,
    /// The text is not a map.
    Broken,
    /// The map is complete: offsets and lengths.
    Done(Vec<(u64, u64)>),
}

/// Reads the blocks of a 1.0 map: a count, then offsets and lengths, one number per line.
#[derive(Debug)]
pub(super) struct TextMapReader {
    numbers: Vec<u64>,
    digits: Vec<u8>,
}

impl TextMapReader {
    pub(super) fn new() -> Self {
        Self { numbers: Vec::new(), digits: Vec::new() }
    }

    /// Reads one more block. The map ends inside a block, and the rest of that block is filler.
    pub(super) fn block(&mut self, block: &[u8]) -> TextMapProgress {
        for &byte in block {
            if byte != b'\n' {
                self.digits.push(byte);
                // Twenty digits hold any 64-bit number.
                if self.digits.len() > 20 {
                    return TextMapProgress::Broken;
                }
                continue;
            }
            let Some(number) = decimal(&self.digits) else { return TextMapProgress::Broken };
            self.digits.clear();
            self.numbers.push(number);
            let (count, rest) = self.numbers.split_first().expect("one was just pushed");
            if rest.len() % 2 == 0 && *count == rest.len() as u64 / 2 {
                return TextMapProgress::Done(pairs(rest));
            }
        }
        TextMapProgress::Unfinished
    }
}

/// Returns the numbers as pairs, without an odd last one.
pub(super) fn pairs(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Reads one or more decimal digits, and nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_one_map() {
        let map = |pairs: &[(u64, u64)]| SparseMap::new(pairs, 100).map(|map| map.segments);
        assert_eq!(
            map(&[(0, 10), (10, 5), (50, 0), (60, 1), (100, 0)]),
            Some(vec![(0, 15), (60, 1)])
        );
        assert_eq!(map(&[]), Some(vec![]));
        assert_eq!(map(&[(5, 0), (5, 5)]), Some(vec![(5, 5)]));
        assert_eq!(map(&[(10, 1), (5, 1)]), None);
        assert_eq!(map(&[(0, 10), (9, 1)]), None);
        assert_eq!(map(&[(99, 2)]), None);
        assert_eq!(map(&[(1, u64::MAX)]), None);
    }

    #[test]
    fn a_text_map_ends_after_its_count_of_pairs() {
        let read = |text: &[u8]| match TextMapReader::new().block(text) {
            TextMapProgress::Unfinished => Err("unfinished"),
            TextMapProgress::Broken => Err("broken"),
            TextMapProgress::Done(pairs) => Ok(pairs),
        };
        assert_eq!(read(b"0\n\0\0"), Ok(vec![]));
        assert_eq!(read(b"2\n0\n5\n9\n1\n\0"), Ok(vec![(0, 5), (9, 1)]));
        assert_eq!(read(b"2\n0\n5\n9\n1"), Err("unfinished"));
        assert_eq!(read(b"x\n"), Err("broken"));
        assert_eq!(read(b"\n"), Err("broken"));
        assert_eq!(read(b"99999999999999999999\n"), Err("broken"));
        assert_eq!(read(&[b'1'; 40]), Err("broken"));
    }
}
