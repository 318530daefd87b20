//! What copies may reach: the bytes of a window and of the block at hand.
//!
//! Never searches.

use crate::xxh64::Xxh64;

/// The plain bytes a finder sees, and their places in the frame.
pub(super) struct History {
    bytes: Vec<u8>,
    /// Place of the first byte. Places begin at the window's size, so that a table's empty
    /// entries, which are 0, are out of reach from everywhere.
    origin: u32,
    window: u32,
    sum: Xxh64,
}

/// Room beyond the window before bytes are moved, at least.
const SLACK_BYTES: usize = 1 << 20;

/// Places are moved down before they reach this.
const HIGHEST_ORIGIN: u32 = 1 << 31;

impl History {
    /// Starts with nothing; a window has at most 128 MiB.
    pub(super) fn new(window: u32) -> Self {
        Self { bytes: Vec::new(), origin: window, window, sum: Xxh64::new() }
    }

    /// Begins another frame, from which no place entered so far can be reached.
    pub(super) fn restart(&mut self, window: u32) {
        self.origin = self.origin.saturating_add(self.bytes.len() as u32).saturating_add(window);
        self.bytes.clear();
        self.window = window;
        self.sum = Xxh64::new();
    }

    /// Appends a block and returns its index in [`Self::bytes`].
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

    /// Returns by how much all places in tables must be lowered before the next block.
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

    /// The frame's checksum over all blocks.
    pub(super) fn checksum(&self) -> [u8; 4] {
        (self.sum.finish() as u32).to_le_bytes()
    }
}

/// The eight bytes from `at` on.
#[inline]
pub(super) fn eight(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// The four bytes from `at` on.
#[inline]
pub(super) fn four(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// How many bytes from `at` on agree with those from the earlier `from` on.
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

/// How many bytes before `at` agree with those before `from`, stopping at these floors.
#[inline]
pub(super) fn agreeing_before(
    bytes: &[u8],
    (from, from_floor): (usize, usize),
    (at, at_floor): (usize, usize),
) -> usize {
    let most = from.saturating_sub(from_floor).min(at.saturating_sub(at_floor));
    (1..=most).take_while(|back| bytes[from - back] == bytes[at - back]).count()
}

/// Multiplicative hashes of the low 4, 5, 6 or 8 bytes of a word, of so many bits.
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
    fn bytes_out_of_the_window_go_and_places_stay() {
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
