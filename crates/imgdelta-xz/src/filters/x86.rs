//! The filter of x86: the addresses of `call` and `jmp`.
//! Never changes an opcode.
//!
//! Instructions have no fixed places, so a byte that looks like an opcode may be part of an address.
//! A mask remembers where such bytes stood among the last four; near them fewer addresses are
//! filtered, by rules that the decoder can repeat.

use super::Direction;

/// Facts about the bytes before.
#[derive(Default)]
pub(super) struct X86State {
    /// Opcodes among the last bytes: bit 0 for one, bit 4 for one whose address was not filtered.
    mask: u32,
    /// Bytes since the last opcode, at most six.
    since: u32,
}

impl X86State {
    /// Filters bytes; returns how many are done. The last four are never.
    pub(super) fn run(&mut self, bytes: &mut [u8], position: u32, direction: Direction) -> usize {
        let mut at = 0;
        while at + 5 <= bytes.len() {
            if !matches!(bytes[at], 0xe8 | 0xe9) {
                at += 1;
                self.since = (self.since + 1).min(6);
                continue;
            }
            if self.since > 5 {
                self.mask = 0;
            } else {
                for _ in 0..self.since {
                    self.mask = (self.mask & 0x77) << 1;
                }
            }
            self.since = 0;
            let is_address = is_sign(bytes[at + 4]);
            let near = self.mask >> 1;
            if is_address && near <= 4 && near != 3 {
                let here = position.wrapping_add(at as u32).wrapping_add(5);
                let address: &mut [u8; 4] =
                    (&mut bytes[at + 1..at + 5]).try_into().expect("four bytes");
                *address = self.address(*address, here, direction).to_le_bytes();
                at += 5;
                self.since = 5;
                self.mask = 0;
            } else {
                at += 1;
                self.since = 1;
                self.mask |= if is_address { 0x11 } else { 1 };
            }
        }
        at
    }

    /// Filters an address. A result that looks like an opcode where one stood before is filtered
    /// again, with the bytes in doubt turned round.
    fn address(&self, bytes: [u8; 4], here: u32, direction: Direction) -> u32 {
        let mut from = u32::from_le_bytes(bytes);
        loop {
            let made = match direction {
                Direction::Encode => from.wrapping_add(here),
                Direction::Decode => from.wrapping_sub(here),
            };
            let sign = 0_u32.wrapping_sub(made >> 24 & 1) & 0xff00_0000;
            let signed = made & 0x00ff_ffff | sign;
            if self.mask == 0 {
                return signed;
            }
            let shift = 24 - 8 * BYTE_IN_DOUBT[(self.mask >> 1) as usize & 7];
            if !is_sign((made >> shift) as u8) {
                return signed;
            }
            from = made ^ ((1_u64 << (32 - (24 - shift))) - 1) as u32;
        }
    }
}

/// True if a byte may be the upper byte of an address that is near.
fn is_sign(byte: u8) -> bool {
    matches!(byte, 0 | 0xff)
}

/// Byte of an address that an opcode before it puts in doubt, by the mask.
const BYTE_IN_DOUBT: [u32; 8] = [0, 1, 2, 2, 3, 3, 3, 3];
