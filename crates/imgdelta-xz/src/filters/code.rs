//! Filters of machine code with instructions of a fixed length.
//! Never keeps a state: each instruction is filtered by itself.

use super::Direction;

/// Adds the position to an address before packing, and takes it off afterwards.
#[inline]
fn moved(address: u32, position: u32, direction: Direction) -> u32 {
    match direction {
        Direction::Encode => address.wrapping_add(position),
        Direction::Decode => address.wrapping_sub(position),
    }
}

/// Filters words that `change` changes; returns the bytes that are done.
#[inline]
fn words(bytes: &mut [u8], position: u32, mut change: impl FnMut(&mut [u8; 4], u32)) -> usize {
    let mut at = position;
    let mut done = 0;
    let mut chunks = bytes.chunks_exact_mut(4);
    for word in &mut chunks {
        change(word.try_into().expect("four bytes"), at);
        at = at.wrapping_add(4);
        done += 4;
    }
    done
}

/// `bl` instructions of `PowerPC`.
pub(super) fn power_pc(bytes: &mut [u8], position: u32, direction: Direction) -> usize {
    words(bytes, position, |word, at| {
        let code = u32::from_be_bytes(*word);
        if code & 0xfc00_0003 == 0x4800_0001 {
            let address = moved(code & 0x03ff_fffc, at, direction);
            *word = (0x4800_0001 | address & 0x03ff_fffc).to_be_bytes();
        }
    })
}

/// `bl` instructions of 32-bit ARM.
pub(super) fn arm(bytes: &mut [u8], position: u32, direction: Direction) -> usize {
    words(bytes, position, |word, at| {
        if word[3] == 0xeb {
            let code = u32::from_le_bytes(*word);
            let address = moved((code & 0x00ff_ffff) << 2, at.wrapping_add(8), direction);
            *word = (0xeb00_0000 | address >> 2 & 0x00ff_ffff).to_le_bytes();
        }
    })
}

/// `call` instructions of SPARC.
pub(super) fn sparc(bytes: &mut [u8], position: u32, direction: Direction) -> usize {
    words(bytes, position, |word, at| {
        let code = u32::from_be_bytes(*word);
        let upper = code >> 22;
        if upper == 0x100 || upper == 0x1ff {
            let address = moved(code << 2, at, direction) >> 2;
            let sign = (0_u32.wrapping_sub(address >> 22 & 1) << 22) & 0x3fff_ffff;
            *word = (0x4000_0000 | sign | address & 0x003f_ffff).to_be_bytes();
        }
    })
}

/// `bl` and `adrp` instructions of 64-bit ARM.
pub(super) fn arm64(bytes: &mut [u8], position: u32, direction: Direction) -> usize {
    words(bytes, position, |word, at| {
        let code = u32::from_le_bytes(*word);
        if code >> 26 == 0x25 {
            let address = moved(code & 0x03ff_ffff, at >> 2, direction);
            *word = (0x9400_0000 | address & 0x03ff_ffff).to_le_bytes();
        } else if code & 0x9f00_0000 == 0x9000_0000 {
            let page = (code >> 29 & 3) | (code >> 3 & 0x001f_fffc);
            // Only pages within 512 MiB are filtered; others are rare, and look like data.
            if page.wrapping_add(0x0002_0000) & 0x001c_0000 != 0 {
                return;
            }
            let address = moved(page, at >> 12, direction);
            let sign = 0_u32.wrapping_sub(address & 0x0002_0000) & 0x00e0_0000;
            let low = (address & 3) << 29 | (address & 0x0003_fffc) << 3;
            *word = (code & 0x9000_001f | low | sign).to_le_bytes();
        }
    })
}

/// Pairs of `bl` instructions of ARM in Thumb code. They stand at even places, so a pair that is
/// done moves the next one by four bytes, and any other by two.
pub(super) fn arm_thumb(bytes: &mut [u8], position: u32, direction: Direction) -> usize {
    let mut at = 0;
    while at + 4 <= bytes.len() {
        let word = &mut bytes[at..at + 4];
        if word[1] & 0xf8 == 0xf0 && word[3] & 0xf8 == 0xf8 {
            let upper = u32::from(word[1] & 7) << 19 | u32::from(word[0]) << 11;
            let lower = u32::from(word[3] & 7) << 8 | u32::from(word[2]);
            let here = position.wrapping_add(at as u32).wrapping_add(4);
            let address = moved((upper | lower) << 1, here, direction) >> 1;
            word[1] = 0xf0 | (address >> 19 & 7) as u8;
            word[0] = (address >> 11) as u8;
            word[3] = 0xf8 | (address >> 8 & 7) as u8;
            word[2] = address as u8;
            at += 4;
        } else {
            at += 2;
        }
    }
    at
}
