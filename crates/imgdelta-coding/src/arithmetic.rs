//! A binary arithmetic coder, and the scales of its odds. Never predicts: callers say how likely each
//! bit is.
//!
//! Odds are of 65,536. Models add logarithms of odds, in units of 1/256. All arithmetic is on integers.

// Logarithms are clamped before they become places.
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "see above")]

/// One side of the coder.
pub(crate) trait BitCoder {
    /// Codes a bit that is 1 with `odds` of 65,536, and returns it. Only the writing side reads `bit`.
    fn code(&mut self, bit: u32, odds: u32) -> u32;
}

/// Divides the range from `low` to `high` by `odds` of 65,536.
fn middle(low: u32, high: u32, odds: u32) -> u32 {
    low + ((u64::from(high - low) * u64::from(odds)) >> 16) as u32
}

/// The range to which the bits written so far have narrowed.
pub(crate) struct BitEncoder {
    low: u32,
    high: u32,
    out: Vec<u8>,
}

impl BitEncoder {
    pub(crate) fn new(room: usize) -> Self {
        Self { low: 0, high: u32::MAX, out: Vec::with_capacity(room) }
    }

    /// Missing bytes read as zero, so one byte within the range identifies it.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.low > 0 {
            self.out.push((self.high >> 24) as u8);
        }
        while self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }
}

impl BitCoder for BitEncoder {
    #[inline]
    fn code(&mut self, bit: u32, odds: u32) -> u32 {
        let middle = middle(self.low, self.high, odds);
        if bit == 1 {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.out.push((self.high >> 24) as u8);
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
        }
        bit
    }
}

/// The decoder's side of [`BitEncoder`].
pub(crate) struct BitDecoder<'a> {
    low: u32,
    high: u32,
    word: u32,
    rest: std::slice::Iter<'a, u8>,
}

impl<'a> BitDecoder<'a> {
    /// Starts to read; bytes behind the last one read as zero.
    pub(crate) fn new(packed: &'a [u8]) -> Self {
        let mut coder = Self { low: 0, high: u32::MAX, word: 0, rest: packed.iter() };
        (0..4).for_each(|_| coder.shift());
        coder
    }

    fn shift(&mut self) {
        self.word = self.word << 8 | u32::from(self.rest.next().copied().unwrap_or(0));
    }
}

impl BitCoder for BitDecoder<'_> {
    #[inline]
    fn code(&mut self, _: u32, odds: u32) -> u32 {
        let middle = middle(self.low, self.high, odds);
        let bit = u32::from(self.word <= middle);
        if bit == 1 {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
            self.shift();
        }
        bit
    }
}

/// Hashes two numbers into one.
#[inline]
pub(crate) fn mixed(a: u32, b: u32) -> u32 {
    let product = (u64::from(a) << 32 | u64::from(b)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((product ^ product >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32) as u32
}

/// Returns odds of 65,536 for a logarithm of odds in units of 1/256.
#[inline]
pub(crate) fn squash(stretched: i32) -> u32 {
    SQUASH[(stretched.clamp(-2047, 2047) + 2048) as usize & 4095].into()
}

/// The inverse of [`squash`], for odds of 65,536.
#[inline]
pub(crate) fn stretch(odds: u32) -> i32 {
    STRETCH[(odds >> 4) as usize & 4095].into()
}

static SQUASH: [u16; 4096] = squashed();
static STRETCH: [i16; 4096] = stretched();

const fn squashed() -> [u16; 4096] {
    let mut table = [0; 4096];
    let mut place = 0;
    while place < 4096 {
        let (left, right) = (SQUASHED[place / 32], SQUASHED[place / 32 + 1]);
        let part = (place % 32) as u32;
        table[place] = ((left * (32 - part) + right * part) >> 5) as u16;
        place += 1;
    }
    table
}

const fn stretched() -> [i16; 4096] {
    let squashed = squashed();
    let mut table = [2047; 4096];
    let (mut next, mut place) = (0, 1);
    while place < 4096 {
        let odds = (squashed[place] >> 4) as usize;
        while next <= odds {
            table[next] = place as i16 - 2048;
            next += 1;
        }
        place += 1;
    }
    table
}

/// The logistic function at every thirty-second position from -2048 to 2048.
const SQUASHED: [u32; 129] = [
    22, 25, 28, 32, 36, 41, 47, 53, 60, 68, 77, 87, 98, 111, 126, 143, 162, 184, 208, 236, 267,
    302, 342, 387, 439, 497, 562, 636, 720, 815, 922, 1042, 1179, 1333, 1506, 1701, 1921, 2168,
    2446, 2758, 3108, 3500, 3938, 4427, 4971, 5577, 6249, 6992, 7812, 8714, 9702, 10782, 11955,
    13226, 14595, 16062, 17625, 19282, 21025, 22849, 24743, 26695, 28693, 30723, 32768, 34813,
    36843, 38841, 40793, 42687, 44511, 46254, 47911, 49474, 50941, 52310, 53581, 54754, 55834,
    56822, 57724, 58544, 59287, 59959, 60565, 61109, 61598, 62036, 62428, 62778, 63090, 63368,
    63615, 63835, 64030, 64203, 64357, 64494, 64614, 64721, 64816, 64900, 64974, 65039, 65097,
    65149, 65194, 65234, 65269, 65300, 65328, 65352, 65374, 65393, 65410, 65425, 65438, 65449,
    65459, 65468, 65476, 65483, 65489, 65495, 65500, 65504, 65508, 65511, 65514,
];
