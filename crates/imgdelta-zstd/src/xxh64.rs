//! The checksum of zstd frames: XXH64 with seed 0, of which frames keep the low half.
//!
//! Never used against an adversary: it finds accidents only.

const P1: u64 = 0x9e37_79b1_85eb_ca87;
const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P3: u64 = 0x1656_67b1_9e37_79f9;
const P4: u64 = 0x85eb_ca77_c2b2_ae63;
const P5: u64 = 0x27d4_eb2f_1656_67c5;

/// A checksum in the making.
#[derive(Clone)]
pub(crate) struct Xxh64 {
    lanes: [u64; 4],
    /// Bytes that do not fill a stripe yet.
    held: [u8; 32],
    held_bytes: usize,
    total_bytes: u64,
}

impl Xxh64 {
    pub(crate) fn new() -> Self {
        Self {
            lanes: [P1.wrapping_add(P2), P2, 0, 0u64.wrapping_sub(P1)],
            held: [0; 32],
            held_bytes: 0,
            total_bytes: 0,
        }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.total_bytes += bytes.len() as u64;
        if self.held_bytes > 0 {
            let taken = bytes.len().min(32 - self.held_bytes);
            self.held[self.held_bytes..self.held_bytes + taken].copy_from_slice(&bytes[..taken]);
            self.held_bytes += taken;
            bytes = &bytes[taken..];
            if self.held_bytes < 32 {
                return;
            }
            let stripe = self.held;
            self.stripe(&stripe);
            self.held_bytes = 0;
        }
        let (stripes, rest) = bytes.as_chunks::<32>();
        for stripe in stripes {
            self.stripe(stripe);
        }
        self.held[..rest.len()].copy_from_slice(rest);
        self.held_bytes = rest.len();
    }

    fn stripe(&mut self, stripe: &[u8; 32]) {
        for (lane, word) in self.lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }

    pub(crate) fn finish(&self) -> u64 {
        let mut sum = if self.total_bytes >= 32 {
            let turns = [1, 7, 12, 18];
            let joined = (self.lanes.iter().zip(turns))
                .fold(0u64, |sum, (lane, turn)| sum.wrapping_add(lane.rotate_left(turn)));
            self.lanes
                .iter()
                .fold(joined, |sum, &lane| (sum ^ round(0, lane)).wrapping_mul(P1).wrapping_add(P4))
        } else {
            P5
        };
        sum = sum.wrapping_add(self.total_bytes);
        let (words, rest) = self.held[..self.held_bytes].as_chunks::<8>();
        for word in words {
            sum ^= round(0, u64::from_le_bytes(*word));
            sum = sum.rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
        }
        let (words, rest) = rest.as_chunks::<4>();
        for word in words {
            sum ^= u64::from(u32::from_le_bytes(*word)).wrapping_mul(P1);
            sum = sum.rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
        }
        for &byte in rest {
            sum ^= u64::from(byte).wrapping_mul(P5);
            sum = sum.rotate_left(11).wrapping_mul(P1);
        }
        sum = (sum ^ (sum >> 33)).wrapping_mul(P2);
        sum = (sum ^ (sum >> 29)).wrapping_mul(P3);
        sum ^ (sum >> 32)
    }
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> u64 {
        let mut sum = Xxh64::new();
        sum.update(bytes);
        sum.finish()
    }

    #[test]
    fn known_sums() {
        assert_eq!(of(b""), 0xef46_db37_51d8_e999);
        assert_eq!(of(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(of(b"as"), 0x1c33_0fb2_d66b_e179);
        assert_eq!(
            of(b"Call me Ishmael. Some years ago--never mind how long precisely-"),
            0x02a2_e854_70d6_fd96
        );
    }

    #[test]
    fn pieces_sum_up_to_the_whole() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| ((n * n) >> 3) as u8).collect();
        for size in [1, 3, 31, 32, 33, 100] {
            let mut sum = Xxh64::new();
            bytes.chunks(size).for_each(|piece| sum.update(piece));
            assert_eq!(sum.finish(), of(&bytes), "pieces of {size}");
        }
    }
}
