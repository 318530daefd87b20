//! The fast loop, which runs while both buffers have room.
//!
//! The idea is that of libdeflate and of zlib's `inflate_fast`. A refill reads eight bytes, and the
//! next symbol is looked up before the last one is written. A round decodes up to three literal
//! pairs and a copy. Copies have steps of sixteen bytes, which may write past the end.
//! The careful loop decodes the last bytes of a buffer. Never waits, and never fails for lack of
//! input.

use super::reader::CallBuffers;
use super::table::{BLOCK_END, LITERAL, SPECIAL, copy_token, value};
use super::{InflateFault, InflateObserver, Inflater};
use crate::token::Token;

/// Most input bytes of a round, including all refills.
const INPUT_ROOM: usize = 32;
/// Most output bytes of a round: literals, a copy, and the bytes written past its end.
const OUTPUT_ROOM: usize = super::OUTPUT_SLACK;

impl Inflater {
    /// Decodes tokens. True at the end of the block, false if a buffer has too little room.
    #[inline(never)]
    pub(super) fn fast_loop<S: InflateObserver>(
        &mut self,
        io: &mut CallBuffers<'_>,
        observer: &mut S,
    ) -> Result<bool, InflateFault> {
        let input = io.input;
        let output = &mut *io.output;
        let mut read = io.read;
        let mut position = io.position;
        let mut buffer = self.bits.buffer;
        let mut count = self.bits.count;
        let read_end = input.len().saturating_sub(INPUT_ROOM);
        let position_end = output.len().saturating_sub(OUTPUT_ROOM);
        let tables = &self.tables;

        if read < read_end {
            refill(input, &mut read, &mut buffer, &mut count);
        }
        // The entry of the next symbol is looked up before the last symbol is written.
        let mut entry = tables.litlen_first(buffer);
        let outcome = loop {
            if read >= read_end || position >= position_end {
                break Ok(false);
            }
            if entry & LITERAL != 0 {
                buffer >>= entry & 0x3f;
                count -= entry & 0xff;
                let next = tables.litlen_first(buffer);
                position += put_literals::<S>(output, position, entry, observer);
                entry = next;
                if entry & LITERAL != 0 {
                    buffer >>= entry & 0x3f;
                    count -= entry & 0xff;
                    let next = tables.litlen_first(buffer);
                    position += put_literals::<S>(output, position, entry, observer);
                    entry = next;
                    if entry & LITERAL != 0 {
                        buffer >>= entry & 0x3f;
                        count -= entry & 0xff;
                        refill(input, &mut read, &mut buffer, &mut count);
                        let next = tables.litlen_first(buffer);
                        position += put_literals::<S>(output, position, entry, observer);
                        entry = next;
                        continue;
                    }
                }
            }
            // At most 22 of at least 56 bits are used: the rest is enough for a length, and not for
            // a distance.
            if entry & SPECIAL != 0 {
                entry = tables.litlen_entry(buffer);
                if entry & LITERAL != 0 {
                    position += put_literals::<S>(output, position, entry, observer);
                    buffer >>= entry & 0x3f;
                    count -= entry & 0xff;
                    refill(input, &mut read, &mut buffer, &mut count);
                    entry = tables.litlen_first(buffer);
                    continue;
                }
                if entry & SPECIAL != 0 {
                    if entry & BLOCK_END == 0 {
                        break Err(InflateFault::LitlenSymbol);
                    }
                    buffer >>= entry & 0x3f;
                    count -= entry & 0xff;
                    break Ok(true);
                }
            }
            let length = value(entry, buffer);
            let length_entry = entry;
            buffer >>= entry & 0x3f;
            count -= entry & 0xff;
            if count < 28 {
                refill(input, &mut read, &mut buffer, &mut count);
            }
            let second = tables.distance_entry(buffer);
            if second & SPECIAL != 0 {
                break Err(InflateFault::DistanceSymbol);
            }
            let distance = value(second, buffer);
            buffer >>= second & 0x3f;
            count -= second & 0xff;
            refill(input, &mut read, &mut buffer, &mut count);
            entry = tables.litlen_first(buffer);
            if distance > position {
                break Err(InflateFault::Distance);
            }
            if S::TOKENS {
                observer.token(copy_token(length_entry, length, distance));
            }
            copy(output, position, length, distance);
            position += length;
        };

        // A refill reads more bits than it counts. The bits above the count are read again.
        self.bits.buffer = if count < 64 { buffer & ((1 << count) - 1) } else { buffer };
        self.bits.count = count;
        io.read = read;
        io.position = position;
        outcome
    }
}

#[inline]
fn refill(input: &[u8], read: &mut usize, buffer: &mut u64, count: &mut u32) {
    if let Some(bytes) = input.get(*read..).and_then(<[u8]>::first_chunk) {
        *buffer |= u64::from_le_bytes(*bytes) << *count;
        *read += ((63 - *count) >> 3) as usize;
        *count |= 0b11_1000;
    }
}

#[inline]
fn put_literals<S: InflateObserver>(
    output: &mut [u8],
    position: usize,
    entry: u32,
    observer: &mut S,
) -> usize {
    let both = ((entry >> 8) as u16).to_le_bytes();
    output[position..position + 2].copy_from_slice(&both);
    let count = (entry >> 24 & 3) as usize;
    if S::TOKENS {
        observer.token(Token::literal(both[0]));
        if count == 2 {
            observer.token(Token::literal(both[1]));
        }
    }
    count
}

#[expect(clippy::inline_always, reason = "a call per copy costs five per cent")]
#[inline(always)]
fn copy(output: &mut [u8], position: usize, length: usize, distance: usize) {
    let start = position - distance;
    // One bounds check covers the copy and the bytes past its end.
    let Some(area) = output.get_mut(start..position + length + 32) else { return };
    if distance >= 16 {
        let mut done = 0;
        loop {
            let piece: [u8; 16] = area[done..done + 16].try_into().expect("sixteen bytes");
            area[done + distance..done + distance + 16].copy_from_slice(&piece);
            done += 16;
            if done >= length {
                break;
            }
        }
    } else if distance == 1 {
        let byte = area[0];
        area[1..=length].fill(byte);
    } else {
        copy_near(area, length, distance);
    }
}

/// Copies from 2 to 15 bytes back: builds the pattern once and writes whole multiples of it.
#[inline]
fn copy_near(area: &mut [u8], length: usize, distance: usize) {
    let mut pattern = [0u8; 16];
    for (i, byte) in pattern.iter_mut().enumerate() {
        *byte = area[i % distance];
    }
    let step = 16 - 16 % distance;
    let mut done = 0;
    while done < length {
        let at = distance + done;
        area[at..at + 16].copy_from_slice(&pattern);
        done += step;
    }
}
