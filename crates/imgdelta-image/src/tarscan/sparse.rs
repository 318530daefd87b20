//! The maps of sparse files in the four ways they were ever written.
//!
//! Old GNU: in the header and extension blocks behind it. GNU.sparse 0.0 and 0.1: in PAX records.
//! 1.0: as text in front of the data. It never sees data.

use super::{BLOCK_BYTES, header::number, member::SparseMap};

impl SparseMap {
    /// Makes a map of pairs as written, or `None` if they overlap, run backwards or leave the file.
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
    /// Reads the header's own four places; the flag says whether extension blocks follow.
    pub(super) fn begin(block: &[u8; BLOCK_BYTES]) -> Option<(Self, bool)> {
        let size_bytes = u64::try_from(number(&block[483..495])?).ok()?;
        let mut map = Self { pairs: Vec::new(), size_bytes };
        map.take(&block[386..482])?;
        Some((map, block[482] != 0))
    }

    /// Reads an extension block; the answer is whether another follows.
    pub(super) fn extend(&mut self, block: &[u8; BLOCK_BYTES]) -> Option<bool> {
        self.take(&block[..504])?;
        Some(block[504] != 0)
    }

    fn take(&mut self, places: &[u8]) -> Option<()> {
        for place in places.chunks_exact(24) {
            // Unused places begin with a NUL.
            if place[0] == 0 {
                break;
            }
            let part = |field| u64::try_from(number(field)?).ok();
            self.pairs.push((part(&place[..12])?, part(&place[12..])?));
        }
        Some(())
    }
}

/// What has been read of a map written as text in front of the data.
pub(super) enum TextMap {
    /// More blocks are needed.
    Unfinished,
    /// No map.
    Broken,
    /// Offsets and lengths.
    Done(Vec<(u64, u64)>),
}

/// Reads the whole blocks of a 1.0 map: a count, then offsets and lengths, a line each.
#[derive(Debug)]
pub(super) struct TextReader {
    numbers: Vec<u64>,
    digits: Vec<u8>,
}

impl TextReader {
    pub(super) fn new() -> Self {
        Self { numbers: Vec::new(), digits: Vec::new() }
    }

    /// Reads one more block. The map ends inside a block whose rest is filler.
    pub(super) fn block(&mut self, block: &[u8]) -> TextMap {
        for &byte in block {
            if byte != b'\n' {
                self.digits.push(byte);
                // Twenty digits hold any 64-bit number.
                if self.digits.len() > 20 {
                    return TextMap::Broken;
                }
                continue;
            }
            let Some(number) = decimal(&self.digits) else { return TextMap::Broken };
            self.digits.clear();
            self.numbers.push(number);
            let (count, rest) = self.numbers.split_first().expect("one was just pushed");
            if rest.len() % 2 == 0 && *count == rest.len() as u64 / 2 {
                return TextMap::Done(pairs(rest));
            }
        }
        TextMap::Unfinished
    }
}

/// Takes numbers two by two; an odd last one is dropped.
pub(super) fn pairs(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Reads decimal digits; nothing else, and at least one.
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
    fn text_maps_end_where_their_count_says() {
        let read = |text: &[u8]| match TextReader::new().block(text) {
            TextMap::Unfinished => Err("unfinished"),
            TextMap::Broken => Err("broken"),
            TextMap::Done(pairs) => Ok(pairs),
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
