//! The decoder of LZ4 blocks.
//! Holds no more than the content that is expected.

use super::LEAST_MATCH;

/// Unpacks a block; `None` if it is damaged or its content is not `plain_bytes` long.
pub fn decode(block: &[u8], plain_bytes: usize) -> Option<Vec<u8>> {
    let mut reader = BlockReader(block);
    // A byte of a block stands for at most 255 bytes.
    let most_bytes = block.len().saturating_mul(255);
    let mut plain = Vec::with_capacity(plain_bytes.min(most_bytes));
    loop {
        let token = usize::from(reader.byte()?);
        let (literal_bits, match_bits) = (token / 16, token % 16);
        let count = reader.length(literal_bits)?;
        let literals = reader.0.get(..count)?;
        if count > plain_bytes - plain.len() {
            return None;
        }
        plain.extend_from_slice(literals);
        reader.0 = &reader.0[count..];
        if reader.0.is_empty() {
            return (plain.len() == plain_bytes && match_bits == 0).then_some(plain);
        }
        let distance = usize::from(u16::from_le_bytes([reader.byte()?, reader.byte()?]));
        let mut left = reader.length(match_bits)?.checked_add(LEAST_MATCH)?;
        if left > plain_bytes - plain.len() || distance == 0 {
            return None;
        }
        let from = plain.len().checked_sub(distance)?;
        while left > 0 {
            // Each step doubles what can be copied at once.
            let count = left.min(plain.len() - from);
            plain.extend_from_within(from..from + count);
            left -= count;
        }
    }
}

struct BlockReader<'a>(&'a [u8]);

impl BlockReader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Reads what a length has over 15.
    fn length(&mut self, bits: usize) -> Option<usize> {
        let mut length = bits;
        if bits == 15 {
            loop {
                let byte = self.byte()?;
                length = length.checked_add(byte.into())?;
                if byte < 255 {
                    break;
                }
            }
        }
        Some(length)
    }
}
