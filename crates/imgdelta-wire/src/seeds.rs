//! An index of seeds: the offsets in the base of short runs of bytes.
//! Never takes more than its ceiling of memory; a larger base is indexed more sparsely instead.
//!
//! It holds every `step`-th offset, so it finds every exact match of `seed + step - 1` bytes. A
//! bucket is a quarter of a cache line with four entries. Each entry keeps seven bits of the hash
//! next to the position. In bytes that match nowhere, nearly all look-ups end there without reading
//! the base. An entry takes 4 bytes at a load of 40 to 80 %: 0.6 to 1.2 bytes per base byte at a
//! step of 8, and twice that at a step of 4.

#![allow(clippy::cast_possible_truncation, reason = "a hash is cut to a place on purpose")]

/// Entries that share a bucket.
const WAYS: usize = 4;

/// Bits of an entry that hold the seed's number; the rest is its tag.
const NUMBER_BITS: u32 = 25;

/// Most seeds in one index: keeps the table within 128 MiB.
const MAX_SEEDS: usize = (1 << NUMBER_BITS) * 4 / 5;

/// Marks an empty entry.
const EMPTY: u32 = u32::MAX;

/// Positions of seeds, by their hash.
#[derive(Debug, Default)]
pub struct SeedIndex {
    buckets: Vec<[u32; WAYS]>,
    shift: u32,
    seed: usize,
    step: usize,
}

impl SeedIndex {
    /// Indexes `bytes`: seeds of `seed` bytes (16 or 32) at every `step`-th offset.
    pub fn build(&mut self, bytes: &[u8], seed: usize, step: usize) {
        let step = step.max(bytes.len().div_ceil(MAX_SEEDS));
        let (seeds, bits) = Self::extent(bytes.len(), seed, step);
        self.buckets.clear();
        self.buckets.resize(1 << bits, [EMPTY; WAYS]);
        (self.shift, self.seed, self.step) = (64 - bits, seed, step);
        for number in 0..seeds {
            let hash = self.hash(&bytes[number * step..]).unwrap_or(0);
            let entry = tag(hash) | u32::try_from(number).unwrap_or(EMPTY);
            let bucket = &mut self.buckets[(hash >> self.shift) as usize];
            // A full bucket means repeats. The first two entries stay, newer seeds replace the
            // others: some lie near the start, some near the place that is being matched.
            let full = 2 + number % 2;
            // Buckets fill from the front. Counting takes no branch that would wait for the bucket.
            let filled: usize = bucket.iter().map(|&entry| usize::from(entry != EMPTY)).sum();
            let way = if filled < WAYS { filled } else { full };
            bucket[way % WAYS] = entry;
        }
    }

    /// Returns offsets in the base where the seed at the front of `bytes` may occur.
    #[inline]
    pub fn find(&self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        let hash = self.hash(bytes);
        let bucket = hash.map_or([EMPTY; WAYS], |hash| self.buckets[(hash >> self.shift) as usize]);
        let tag = hash.map_or(0, tag);
        let step = self.step;
        bucket.into_iter().filter_map(move |entry| {
            let same = entry != EMPTY && entry & !MASK == tag;
            same.then_some((entry & MASK) as usize * step)
        })
    }

    /// Frees a large table; a small one is kept, which saves small members an allocation.
    pub fn free_if_large(&mut self) {
        const LARGE: usize = (1 << 20) / size_of::<[u32; WAYS]>();
        if self.buckets.len() > LARGE {
            self.buckets = Vec::new();
        }
    }

    /// Returns the size of the index of a base of `len` bytes.
    pub fn table_bytes(len: usize, step: usize) -> u64 {
        let (_, bits) = Self::extent(len, 16, step);
        (size_of::<[u32; WAYS]>() as u64) << bits
    }

    /// Returns the number of seeds in `len` bytes, and the binary logarithm of the number of
    /// buckets.
    fn extent(len: usize, seed: usize, step: usize) -> (usize, u32) {
        let seeds = len.saturating_sub(seed - 1).div_ceil(step);
        (seeds, (seeds * 5 / 4 / WAYS).max(4).next_power_of_two().trailing_zeros())
    }

    /// Bytes of one seed.
    pub fn seed(&self) -> usize {
        self.seed
    }

    #[inline]
    fn hash(&self, bytes: &[u8]) -> Option<u64> {
        let word = |i: usize| {
            let bytes = bytes.get(i * 8..)?.first_chunk::<8>()?;
            Some(u64::from_le_bytes(*bytes))
        };
        let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(MULTIPLIER);
        let mut hash = mix(mix(0, word(0)?), word(1)?);
        if self.seed > 16 {
            hash = mix(mix(hash, word(2)?), word(3)?);
        }
        // The low bits of a product depend only on low bits of its factors; the tag needs better
        // ones.
        Some(hash ^ (hash >> 32))
    }
}

const MASK: u32 = (1 << NUMBER_BITS) - 1;

/// The fraction of the golden ratio: an odd number without pattern.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Seven bits of the hash that do not choose the bucket.
#[inline]
fn tag(hash: u64) -> u32 {
    // Tag 127 with the highest number would equal `EMPTY`; no index is that full.
    ((hash & 0x7f) as u32) << NUMBER_BITS
}
