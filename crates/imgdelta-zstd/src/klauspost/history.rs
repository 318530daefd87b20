//! The bytes that copies can reach: the window and the current block.
//!
//! Never searches.

use crate::xxh64::Xxh64;

/// The plain bytes that a finder searches, and their positions in the frame.
pub(super) struct History {
    bytes: Vec<u8>,
    /// Position of the first byte. Positions start at the size of the window, so that the empty
    /// entries of tables, which are 0, are always out of reach.
    origin: u32,
    window: u32,
    sum: Xxh64,
}

/// Least bytes beyond the window before old bytes are dropped.
const SLACK_BYTES: usize = 1 << 20;

/// Positions are lowered before they reach this value.
const HIGHEST_ORIGIN: u32 = 1 << 31;

impl History {
    /// Makes an empty history. A window has at most 128 MiB.
    pub(super) fn new(window: u32) -> Self {
        Self { bytes: Vec::new(), origin: window, window, sum: Xxh64::new() }
    }

    /// Begins another frame, which reaches none of the positions so far.
    pub(super) fn restart(&mut self, window: u32) {
        self.origin = self.origin.saturating_add(self.bytes.len() as u32).saturating_add(window);
        self.bytes.clear();
        self.window = window;
        self.sum = Xxh64::new();
    }

    /// Appends a block and returns its start in [`Self::bytes`].
    pub(super) fn add(&mut self, block: &[u8]) -> usize {
        let window = self.window as usize;
        if self.bytes.len() + block.len() > window + window.max(SLACK_BYTES) {
            let gone = self.bytes.len() - window;
            self.bytes.drain(..gone);
            self.origin += gone as u32;
        }
        self.sum.update(block);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(block);
        start
    }

    /// Lowers the positions if they are high. Returns the amount, by which all tables must lower
    /// their positions before the next block.
    pub(super) fn lower(&mut self) -> Option<u32> {
        let by = self.origin - self.window;
        (self.origin >= HIGHEST_ORIGIN).then(|| {
            self.origin -= by;
            by
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn origin(&self) -> u32 {
        self.origin
    }

    pub(super) fn window(&self) -> u32 {
        self.window
    }

    /// Returns the checksum of the frame.
    pub(super) fn checksum(&self) -> [u8; 4] {
        (self.sum.value() as u32).to_le_bytes()
    }
}

/// Returns eight bytes at `at`, little endian.
#[inline]
pub(super) fn eight(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Returns four bytes at `at`, little endian.
#[inline]
pub(super) fn four(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// Returns the number of equal bytes at `at` and at the earlier `from`.
#[inline]
pub(super) fn agreeing(bytes: &[u8], from: usize, at: usize) -> usize {
    let (later, earlier) = (&bytes[at..], &bytes[from..]);
    let (words, rest) = later.as_chunks::<8>();
    for (place, (word, other)) in words.iter().zip(earlier.as_chunks::<8>().0).enumerate() {
        let difference = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
        if difference != 0 {
            return place * 8 + (difference.trailing_zeros() >> 3) as usize;
        }
    }
    let done = words.len() * 8;
    done + rest.iter().zip(&earlier[done..]).take_while(|(a, b)| a == b).count()
}

/// Returns the number of equal bytes before `at` and before `from`, down to the floors.
#[inline]
pub(super) fn agreeing_before(
    bytes: &[u8],
    (from, from_floor): (usize, usize),
    (at, at_floor): (usize, usize),
) -> usize {
    let most = from.saturating_sub(from_floor).min(at.saturating_sub(at_floor));
    (1..=most).take_while(|back| bytes[from - back] == bytes[at - back]).count()
}

/// Returns a hash of `bits` bits over the low four bytes of a word. The functions below take five,
/// six and eight bytes.
#[inline]
pub(super) fn hash4(word: u64, bits: u32) -> usize {
    ((word as u32).wrapping_mul(2_654_435_761) >> (32 - bits)) as usize
}

#[inline]
pub(super) fn hash5(word: u64, bits: u32) -> usize {
    ((word << 24).wrapping_mul(889_523_592_379) >> (64 - bits)) as usize
}

#[inline]
pub(super) fn hash6(word: u64, bits: u32) -> usize {
    ((word << 16).wrapping_mul(227_718_039_650_203) >> (64 - bits)) as usize
}

#[inline]
pub(super) fn hash8(word: u64, bits: u32) -> usize {
    (word.wrapping_mul(0xcf1b_bcdc_b7a5_6463) >> (64 - bits)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_the_window_are_dropped_and_positions_stay() {
        let mut history = History::new(1 << 20);
        let block: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        for n in 0..100 {
            let start = history.add(&block);
            let place = history.origin() as usize + start;
            assert_eq!(place, (1 << 20) + n * block.len());
            assert!(start >= (1 << 20).min(n * block.len()));
            assert!(history.bytes().len() <= 2 << 20);
        }
        assert_eq!(history.lower(), None);
    }

    #[test]
    fn agreement_forward_and_back() {
        let bytes = b"abcdefghijklmnop--abcdefghijklmnoX";
        assert_eq!(agreeing(bytes, 0, 18), 15);
        assert_eq!(agreeing(bytes, 3, 21), 12);
        assert_eq!(agreeing_before(bytes, (10, 0), (28, 18)), 10);
        assert_eq!(agreeing_before(bytes, (10, 4), (28, 18)), 6);
        assert_eq!(agreeing_before(bytes, (10, 0), (28, 25)), 3);
    }
}
