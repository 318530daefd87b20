//! The slots of a hash table without collisions, as the linker of Java (`jlink`) assigns them.
//! Never knows what the keys are.
//!
//! Keys fall into buckets by their hash. The largest buckets come first: each tries one seed after another,
//! until all its keys have free slots. A bucket of one key takes the first free slot.

/// Slots of keys, and the way to find them.
#[derive(Debug)]
pub(super) struct Slots {
    /// The key in each slot. Keys are numbered in their order.
    pub(super) keys: Vec<u32>,
    /// For each bucket the seed, or -1 minus the slot, or 0 if it is empty.
    pub(super) redirects: Vec<i32>,
}

/// Assigns as many slots as there are keys; `None` if a bucket finds none, or if that takes too long, as it
/// does if many keys are alike.
pub(super) fn assign(keys: &[Vec<u8>]) -> Option<Slots> {
    let key_bytes: usize = keys.iter().map(|key| key.len() + 1).sum();
    let mut budget = key_bytes.saturating_mul(MOST_PASSES);
    let hashes: Vec<u32> = keys.iter().map(|key| hash(FIRST_SEED, key)).collect();
    let count = keys.len();
    let slot = |hash: u32| hash as usize % count;
    let mut order: Vec<u32> = (0..u32::try_from(keys.len()).ok()?).collect();
    // Stable: keys of a bucket stay in their order.
    order.sort_by_key(|key| slot(hashes[*key as usize]));
    let is_alike =
        |one: &u32, other: &u32| slot(hashes[*one as usize]) == slot(hashes[*other as usize]);
    let mut buckets: Vec<&[u32]> = order.chunk_by(is_alike).collect();
    buckets.sort_by_key(|bucket| std::cmp::Reverse(bucket.len()));
    let mut slots = Slots { keys: vec![FREE; count], redirects: vec![0; count] };
    let mut first_free = 0;
    for bucket in buckets {
        let redirect = if let [key] = bucket {
            first_free += slots.keys[first_free..].iter().position(|key| *key == FREE)?;
            slots.keys[first_free] = *key;
            -1 - i32::try_from(first_free).ok()?
        } else {
            let mut seed = FIRST_SEED + 1;
            while !slots.place(keys, bucket, seed, &mut budget)? {
                seed += 1;
                if seed > FIRST_SEED + MOST_SEEDS {
                    return None;
                }
            }
            seed.cast_signed()
        };
        slots.redirects[slot(hashes[bucket[0] as usize])] = redirect;
    }
    Some(slots)
}

impl Slots {
    /// Places the keys of a bucket by a seed; returns false, and places none, if a slot is taken. `None`
    /// if no budget is left.
    fn place(
        &mut self,
        keys: &[Vec<u8>],
        bucket: &[u32],
        seed: u32,
        budget: &mut usize,
    ) -> Option<bool> {
        let mut placed = Vec::with_capacity(bucket.len());
        for number in bucket {
            let key = &keys[*number as usize];
            *budget = budget.checked_sub(key.len() + 1)?;
            let slot = hash(seed, key) as usize % self.keys.len();
            if self.keys[slot] != FREE {
                for slot in placed {
                    self.keys[slot] = FREE;
                }
                return Some(false);
            }
            self.keys[slot] = *number;
            placed.push(slot);
        }
        Some(true)
    }
}

/// Returns the hash of a key, which is never negative as a signed number.
fn hash(seed: u32, key: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| hash.wrapping_mul(FIRST_SEED) ^ u32::from(*byte);
    key.iter().fold(seed, step) & (u32::MAX >> 1)
}

/// The factor of the hash, which is that of FNV-1.
const FIRST_SEED: u32 = 0x0100_0193;
/// Seeds that a bucket tries. Java's linker makes a larger table then, which no real image needs.
const MOST_SEEDS: u32 = 1001;
/// Hashes of each key that all tries take together, on average.
const MOST_PASSES: usize = 64;
/// Mark of a slot without a key.
const FREE: u32 = u32::MAX;
