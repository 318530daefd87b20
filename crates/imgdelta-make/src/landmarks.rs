//! Landmarks: places in a byte string that are chosen by the 64 bytes before them.
//! Never stores the bytes.
//!
//! Equal bytes give equal landmarks at any offset, so two versions of a file share most of them.

/// Finds landmarks in a byte string that arrives in pieces.
#[derive(Debug)]
pub(crate) struct LandmarkFinder {
    sum: u64,
    shift: u32,
    offset: u64,
}

impl LandmarkFinder {
    /// Makes one place in `2^rarity` a landmark.
    pub(crate) fn new(rarity: u32) -> Self {
        Self { sum: 0, shift: 64 - rarity, offset: 0 }
    }

    /// Calls `found` with each landmark that ends in `bytes`: its end and a hash of its content.
    ///
    /// Ends are counted from the first byte that was fed.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(u64, u64)) {
        for (at, &byte) in (1..).zip(bytes) {
            // A byte leaves the sum after 64 more; the top bits depend on all 64.
            self.sum = (self.sum << 1).wrapping_add(GEAR[usize::from(byte)]);
            if self.sum >> self.shift == 0 {
                found(self.offset + at, self.sum.wrapping_mul(MIX));
            }
        }
        self.offset += bytes.len() as u64;
    }
}

/// Spreads the leading zeros, which all landmarks have in common.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// A fixed random number for each byte.
const GEAR: [u64; 256] = gear();

const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let mut state = 0_u64;
    let mut i = 0;
    while i < table.len() {
        // Steele, Lea and Flood's SplitMix64.
        state = state.wrapping_add(MIX);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        table[i] = z ^ (z >> 31);
        i += 1;
    }
    table
}
