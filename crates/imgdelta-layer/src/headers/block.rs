//! Parses the header of one entry: extension headers, the main block, blocks of a sparse map.
//! Knows nothing of references or columns.

use super::records::PaxRecords;
use imgdelta_core::{Error, Result};
use imgdelta_image::tarscan::number;
use std::ops::Range;

/// The unit of a tar archive.
pub(super) const BLOCK_BYTES: usize = 512;

/// One block.
pub(super) type TarBlock = [u8; BLOCK_BYTES];

/// The fields of a header block.
pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const FLAG: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..263;
pub(super) const USER: Range<usize> = 265..297;
pub(super) const GROUP: Range<usize> = 297..329;
pub(super) const MAJOR: Range<usize> = 329..337;
pub(super) const MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;

/// All header blocks of one entry.
#[derive(Clone, Debug)]
pub(super) struct HeaderBlocks {
    pub(super) bytes: Vec<u8>,
    /// Offset of the main block.
    pub(super) main_at: usize,
}

/// An extension header.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExtensionHeader<'a> {
    pub(super) block: &'a TarBlock,
    /// The body without padding.
    pub(super) body: &'a [u8],
    pub(super) padding: &'a [u8],
}

impl HeaderBlocks {
    /// Reads the header at an address, with at most `limit` bytes besides the main block.
    pub(super) fn read(
        address: u64,
        limit: u64,
        base: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>,
    ) -> Result<Self> {
        let mut head = Self { bytes: vec![0; BLOCK_BYTES], main_at: 0 };
        let mut take = |bytes: &mut Vec<u8>, count: usize| {
            let at = bytes.len();
            let from = address.checked_add(at as u64).ok_or_else(|| too_far(address))?;
            bytes.resize(at + count, 0);
            base(from, &mut bytes[at..])
        };
        head.bytes.clear();
        take(&mut head.bytes, BLOCK_BYTES)?;
        while is_extension(head.main()[FLAG]) {
            let size = number(&head.main()[SIZE]).and_then(|size| u64::try_from(size).ok());
            let room = limit.saturating_sub(head.main_at as u64);
            let Some(body_bytes) = size.filter(|&size| size <= room) else {
                return Err(Error::bad_input(
                    format_args!("base header at {address}"),
                    "its extensions exceed the limit",
                ));
            };
            let padded = padded(usize::try_from(body_bytes).map_err(|_| too_far(address))?);
            take(&mut head.bytes, padded + BLOCK_BYTES)?;
            head.main_at += BLOCK_BYTES + padded;
        }
        if head.main()[FLAG] == b'S' && head.main()[482] != 0 {
            loop {
                if (head.bytes.len() - head.main_at) as u64 > limit {
                    return Err(too_far(address));
                }
                take(&mut head.bytes, BLOCK_BYTES)?;
                if head.bytes[head.bytes.len() - BLOCK_BYTES + 504] == 0 {
                    break;
                }
            }
        }
        Ok(head)
    }

    /// Parses bytes that are exactly one header; `None` for other bytes.
    pub(super) fn parse(bytes: &[u8], limit: u64) -> Option<Self> {
        let mut read = |at: u64, out: &mut [u8]| {
            let range = usize::try_from(at).ok().and_then(|at| bytes.get(at..at + out.len()));
            out.copy_from_slice(range.ok_or_else(|| too_far(at))?);
            Ok(())
        };
        let head = Self::read(0, limit, &mut read).ok()?;
        (head.bytes.len() == bytes.len()).then_some(head)
    }

    /// Returns the main block.
    pub(super) fn main(&self) -> &TarBlock {
        block_at(&self.bytes, self.main_at)
    }

    /// Returns the blocks of an old GNU sparse map behind the main block.
    pub(super) fn map(&self) -> &[u8] {
        &self.bytes[self.main_at + BLOCK_BYTES..]
    }

    /// Returns all bytes in front of the main block.
    pub(super) fn extension_bytes(&self) -> &[u8] {
        &self.bytes[..self.main_at]
    }

    /// Returns the extension headers in order.
    pub(super) fn extensions(&self) -> impl Iterator<Item = ExtensionHeader<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            (at < self.main_at).then(|| {
                let block = block_at(&self.bytes, at);
                let size = number(&block[SIZE]).and_then(|size| usize::try_from(size).ok());
                let start = at + BLOCK_BYTES;
                let end = start + size.unwrap_or(0).min(self.main_at - start);
                at = start + padded(end - start).min(self.main_at - start);
                ExtensionHeader {
                    block,
                    body: &self.bytes[start..end],
                    padding: &self.bytes[end..at],
                }
            })
        })
    }

    /// Returns the payload's length that the header states.
    pub(super) fn payload_bytes(&self) -> u64 {
        if matches!(self.main()[FLAG], b'1'..=b'6') {
            return 0;
        }
        let mut size = number(&self.main()[SIZE]).and_then(|size| u64::try_from(size).ok());
        for extension in self.extensions().filter(|extension| is_pax(extension.block[FLAG])) {
            let records = PaxRecords::parse(extension.body);
            size = records.and_then(|records| records.size()).or(size);
        }
        size.unwrap_or(0)
    }

    /// Returns the length of the entry with padding; `None` if it does not fit a `u64`.
    pub(super) fn entry_bytes(&self) -> Option<u64> {
        let payload = self.payload_bytes().checked_next_multiple_of(BLOCK_BYTES as u64)?;
        payload.checked_add(self.bytes.len() as u64)
    }
}

/// True if a type flag is that of an extension header.
pub(super) fn is_extension(flag: u8) -> bool {
    is_pax(flag) || matches!(flag, b'g' | b'L' | b'K')
}

/// True if an extension's body is PAX records for one entry.
pub(super) fn is_pax(flag: u8) -> bool {
    matches!(flag, b'x' | b'X')
}

/// Returns a length with its padding.
pub(super) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_BYTES)
}

fn block_at(bytes: &[u8], at: usize) -> &TarBlock {
    bytes[at..at + BLOCK_BYTES].try_into().expect("a header is whole blocks")
}

#[cold]
fn too_far(address: u64) -> Error {
    Error::bad_input(format_args!("base header at {address}"), "it exceeds the base")
}

/// Returns a field's bytes up to the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Fills a field with a text and NULs; a text that is too long is cut.
pub(super) fn put_text(field: &mut [u8], text: &[u8]) {
    field.fill(0);
    let len = text.len().min(field.len());
    field[..len].copy_from_slice(&text[..len]);
}

/// Replaces the number in a field, and keeps the field's spelling.
pub(super) fn put_number(field: &mut [u8], value: i64) {
    if number(field) == Some(value) {
        return;
    }
    let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
    let kept = match field.iter().rposition(|byte| !is_filler(byte)) {
        Some(last) if field[0] & 0x80 == 0 => last + 1,
        _ => field.len() - 1,
    };
    let digits = &mut field[..kept];
    let bits = 3 * kept;
    if value >= 0 && (bits >= 63 || value >> bits == 0) {
        let filler = if digits[0] == b' ' { b' ' } else { b'0' };
        let mut rest = value;
        for (place, digit) in digits.iter_mut().rev().enumerate() {
            *digit =
                if rest == 0 && place > 0 { filler } else { b'0' + (rest & 7).to_le_bytes()[0] };
            rest >>= 3;
        }
        if field[0] & 0x80 != 0 || field[kept..].iter().any(|byte| !is_filler(byte)) {
            field[kept..].fill(0);
        }
        return;
    }
    let mut rest = value;
    for byte in field.iter_mut().rev() {
        *byte = rest.to_le_bytes()[0];
        rest >>= 8;
    }
    field[0] |= 0x80;
}

/// Replaces the checksum in its field, and keeps the field's spelling.
pub(super) fn put_checksum(block: &mut TarBlock) {
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    let own: u32 = block[CHECKSUM].iter().map(|&byte| u32::from(byte)).sum();
    let total = sum - own + 8 * u32::from(b' ');
    put_number(&mut block[CHECKSUM], i64::from(total));
}

/// Returns the reference of a layer's first header: numbers as Go and most other writers spell them.
pub(super) fn template() -> TarBlock {
    let mut block = [0; BLOCK_BYTES];
    for field in [MODE, UID, GID, SIZE, MTIME, MAJOR, MINOR] {
        let end = field.end - 1;
        block[field.start..end].fill(b'0');
    }
    block[CHECKSUM].copy_from_slice(b"000000\0 ");
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[FLAG] = b'0';
    block
}
