//! Places in code where a distance or address of four bytes may begin, by the bytes before it.
//! Never reads an instruction: these places are a part of the format of deltas.
//!
//! One byte in fifteen is a candidate, so 64 bytes are tested at a time. The candidates are those of
//! a scan byte by byte, on every processor.

use std::ops::Range;

/// Calls `visit` with the place of each candidate, so that its field starts in `within`.
///
/// With `addresses`, bytes before an address are candidates as well.
#[inline]
pub fn each(code: &[u8], within: Range<usize>, addresses: bool, mut visit: impl FnMut(usize)) {
    // Position of the last byte before a field; one more byte precedes it.
    let mut at = within.start.saturating_sub(1).max(1);
    let end = within.end.saturating_sub(1).min(code.len());
    while at + BLOCK <= end
        && let Some(block) = code.get(at - 1..).and_then(|rest| rest.first_chunk())
    {
        let mut found =
            if addresses { candidates::<true>(block) } else { candidates::<false>(block) };
        while found != 0 {
            visit(at + found.trailing_zeros() as usize);
            found &= found - 1;
        }
        at += BLOCK;
    }
    for at in at..end {
        let (byte, before) = (code[at], code[at - 1]);
        if is_candidate(byte, before) || addresses && precedes_address(byte, before) {
            visit(at);
        }
    }
}

/// Bytes tested at a time: one bit of a `u64` for each.
const BLOCK: usize = 64;

/// Returns one bit for each byte of a block that is a candidate; one more byte precedes the block.
/// If `ADDRESSES`, bytes before an address are candidates as well.
///
/// The first loop has no branches and no carries between bytes, so compilers vectorise it. The
/// second gathers the lowest bits of eight bytes by one multiplication.
#[inline]
fn candidates<const ADDRESSES: bool>(block: &[u8; BLOCK + 1]) -> u64 {
    let mut flags = [0_u8; BLOCK];
    for (i, flag) in flags.iter_mut().enumerate() {
        let (byte, before) = (block[i + 1], block[i]);
        *flag = u8::from(is_candidate(byte, before) | (ADDRESSES & precedes_address(byte, before)));
    }
    let mut mask = 0;
    for (i, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= bits << (8 * i);
    }
    mask
}

/// True if a distance may follow `byte`.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "branches would keep compilers from vectorising")]
pub fn is_candidate(byte: u8, before: u8) -> bool {
    (byte & 0xFE == 0xE8) | (byte & 0xC7 == 0x05) | ((byte & 0xF0 == 0x80) & (before == 0x0F))
}

/// True if an address may follow `byte`, and never a distance: `push`, `mov` to a register, `cmp` with
/// a register, and memory at a scaled index.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "branches would keep compilers from vectorising")]
fn precedes_address(byte: u8, before: u8) -> bool {
    (byte == 0x68)
        | (byte & 0xF8 == 0xB8)
        | ((byte >= 0xF8) & (before == 0x81))
        | ((byte >= 0x40) & (byte & 7 == 5) & (before & 0xC7 == 0x04))
}

/// Returns the bytes of the operand behind a memory operand that is relative to the next instruction;
/// `opcode` is the byte before `ModRM`.
#[inline]
pub fn operand_bytes(opcode: u8) -> u8 {
    match opcode {
        0x80 | 0x83 | 0xC0 | 0xC1 | 0xC6 | 0x6B => 1,
        0x81 | 0xC7 | 0x69 => 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_at_a_time_equals_a_byte_at_a_time() {
        let mut bytes: Vec<u8> = (0..=255).collect();
        bytes.extend((0..=255_u8).flat_map(|byte| [0x0F, byte, 0x01, 0x80, byte]));
        for (at, block) in bytes.windows(BLOCK + 1).enumerate() {
            let block: &[u8; BLOCK + 1] = block.try_into().unwrap();
            let naive = (0..BLOCK).filter(|&i| is_candidate(block[i + 1], block[i]));
            let naive: u64 = naive.map(|i| 1 << i).sum();
            assert_eq!(candidates::<false>(block), naive, "at {at}");
            let more = (0..BLOCK).filter(|&i| precedes_address(block[i + 1], block[i]));
            let more: u64 = more.map(|i| 1 << i).sum();
            assert_eq!((candidates::<true>(block), naive & more), (naive | more, 0), "at {at}");
        }
    }
}
