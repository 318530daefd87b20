//! XXH64 with seed 0, by its published specification: the checksum at the end of a zstd frame.
//!
//! Never keeps more than one stripe of input.

/// Odd constants of the specification, in its order.
const PRIMES: [u64; 5] = [
    0x9e37_79b1_85eb_ca87,
    0xc2b2_ae3d_27d4_eb4f,
    0x1656_67b1_9e37_79f9,
    0x85eb_ca77_c2b2_ae63,
    0x27d4_eb2f_1656_67c5,
];

/// Bytes that the four lanes take in one step.
const STRIPE: usize = 32;

/// A running checksum.
#[derive(Debug, Clone)]
pub(crate) struct Xxh64 {
    lanes: [u64; 4],
    /// Bytes of an unfinished stripe: the first `total % STRIPE` of them.
    rest: [u8; STRIPE],
    total: u64,
}

impl Xxh64 {
    pub(crate) fn new() -> Self {
        let [first, second, ..] = PRIMES;
        let lanes = [first.wrapping_add(second), second, 0, first.wrapping_neg()];
        Self { lanes, rest: [0; STRIPE], total: 0 }
    }

    /// Adds bytes.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        let held = self.held();
        self.total += bytes.len() as u64;
        if held > 0 {
            let (now, later) = bytes.split_at(bytes.len().min(STRIPE - held));
            self.rest[held..held + now.len()].copy_from_slice(now);
            if held + now.len() < STRIPE {
                return;
            }
            add_stripe(&mut self.lanes, &self.rest);
            bytes = later;
        }
        let (stripes, rest) = bytes.as_chunks::<STRIPE>();
        // A copy of the lanes stays in registers.
        let mut lanes = self.lanes;
        for stripe in stripes {
            add_stripe(&mut lanes, stripe);
        }
        self.lanes = lanes;
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    /// Returns the checksum of all bytes so far.
    pub(crate) fn value(&self) -> u64 {
        let mut sum = if self.total < STRIPE as u64 {
            PRIMES[4]
        } else {
            let [a, b, c, d] = self.lanes;
            let mixed = a
                .rotate_left(1)
                .wrapping_add(b.rotate_left(7))
                .wrapping_add(c.rotate_left(12))
                .wrapping_add(d.rotate_left(18));
            self.lanes.iter().fold(mixed, |sum, lane| {
                (sum ^ round(0, *lane)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3])
            })
        };
        sum = sum.wrapping_add(self.total);
        let (words, rest) = self.rest[..self.held()].as_chunks::<8>();
        for word in words {
            sum = (sum ^ round(0, u64::from_le_bytes(*word))).rotate_left(27);
            sum = sum.wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
        }
        let (halves, rest) = rest.as_chunks::<4>();
        for half in halves {
            sum ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIMES[0]);
            sum = sum.rotate_left(23).wrapping_mul(PRIMES[1]).wrapping_add(PRIMES[2]);
        }
        for byte in rest {
            sum ^= u64::from(*byte).wrapping_mul(PRIMES[4]);
            sum = sum.rotate_left(11).wrapping_mul(PRIMES[0]);
        }
        sum = (sum ^ (sum >> 33)).wrapping_mul(PRIMES[1]);
        sum = (sum ^ (sum >> 29)).wrapping_mul(PRIMES[2]);
        sum ^ (sum >> 32)
    }

    fn held(&self) -> usize {
        (self.total % STRIPE as u64) as usize
    }
}

fn add_stripe(lanes: &mut [u64; 4], stripe: &[u8; STRIPE]) {
    for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
        *lane = round(*lane, u64::from_le_bytes(*word));
    }
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> u64 {
        let mut sum = Xxh64::new();
        sum.update(bytes);
        sum.value()
    }

    #[test]
    fn known_values_are_reproduced() {
        assert_eq!(sum(b""), 0xef46_db37_51d8_e999);
        assert_eq!(sum(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(sum(b"abc"), 0x44bc_2cf5_ad77_0999);
    }

    /// The reference encoder writes the low half of the checksum at the end of a frame.
    #[test]
    fn every_length_and_cut_gives_the_checksum_of_the_reference() {
        let plain: Vec<u8> = (0..200u32).map(|at| ((at * at) >> 3) as u8).collect();
        for length in 0..plain.len() {
            let plain = &plain[..length];
            let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
            compressor.include_checksum(true).unwrap();
            let frame = compressor.compress(plain).unwrap();
            let expected = &frame[frame.len() - 4..];
            for cut in 0..=length {
                let mut sum = Xxh64::new();
                sum.update(&plain[..cut]);
                sum.update(&plain[cut..]);
                assert_eq!((sum.value() as u32).to_le_bytes(), expected, "{cut} of {length}");
            }
        }
    }
}
