//! Writes bits from the low end of each byte and ends with a single set bit.
//!
//! All entropy-coded streams in zstd have this form. Never holds more than eight bytes: full
//! bytes go to the output at once.

/// Appends bits to a byte vector.
pub(crate) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    held: u64,
    held_bits: u32,
}

impl<'a> BitWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, held: 0, held_bits: 0 }
    }

    /// Appends the low `bits` bits of `value`, at most 32.
    #[inline]
    pub(crate) fn put(&mut self, value: u32, bits: u32) {
        debug_assert!(bits <= 32);
        self.held |= (u64::from(value) & ((1u64 << bits) - 1)) << self.held_bits;
        self.held_bits += bits;
        if self.held_bits >= 32 {
            self.out.extend_from_slice(&(self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.held_bits -= 32;
        }
    }

    /// Ends the stream with a set bit, from which a reader finds the last bit.
    pub(crate) fn close(mut self) {
        self.put(1, 1);
        self.pad();
    }

    /// Fills the last byte with zeros.
    pub(crate) fn pad(self) {
        let bytes = self.held_bits.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.held.to_le_bytes()[..bytes]);
    }
}

/// Returns the index of the highest set bit. For zero, all bits of the result are set, because the
/// original encoders' arithmetic wraps in the same way.
pub(crate) fn high_bit(value: u32) -> u32 {
    31u32.wrapping_sub(value.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_fill_bytes_from_the_low_end() {
        let mut out = vec![0xaa];
        let mut bits = BitWriter::new(&mut out);
        bits.put(0b101, 3);
        bits.put(0xffff_ffff, 32);
        bits.put(0, 4);
        bits.close();
        assert_eq!(out, [0xaa, 0xfd, 0xff, 0xff, 0xff, 0b1000_0111]);
    }

    #[test]
    fn the_end_bit_of_a_full_byte_is_in_the_next_byte() {
        let mut out = Vec::new();
        let mut bits = BitWriter::new(&mut out);
        bits.put(0x5a, 8);
        bits.close();
        assert_eq!(out, [0x5a, 1]);
    }
}
