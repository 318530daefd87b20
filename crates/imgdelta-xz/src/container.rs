//! The container around LZMA2: headers, index and footer of a stream.
//! Never packs or unpacks.

use crate::{check::CheckKind, error::XzError, filters::Filter};
use imgdelta_wire::Cursor;

/// First bytes of a stream.
pub const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
/// Last bytes of a stream.
const END_MAGIC: [u8; 2] = *b"YZ";
/// Length of the header and of the footer of a stream.
pub(crate) const EDGE_BYTES: usize = 12;

/// Returns the header of a stream.
pub(crate) fn stream_header(check: CheckKind) -> [u8; EDGE_BYTES] {
    let flags = [0, check.number()];
    let mut header = [0; EDGE_BYTES];
    header[..6].copy_from_slice(&MAGIC);
    header[6..8].copy_from_slice(&flags);
    header[8..].copy_from_slice(&crc32(&flags));
    header
}

/// Reads the header of a stream.
pub(crate) fn read_stream_header(header: &[u8]) -> Result<CheckKind, XzError> {
    let check = header.get(7).copied().unwrap_or(0);
    let check = CheckKind::from_number(check).ok_or(XzError::Unsupported("checksum"))?;
    if header == stream_header(check) {
        Ok(check)
    } else {
        Err(XzError::Damaged("header of a stream"))
    }
}

/// Returns the footer of a stream, whose index has `index_bytes` bytes.
pub(crate) fn stream_footer(check: CheckKind, index_bytes: usize) -> [u8; EDGE_BYTES] {
    let mut footer = [0; EDGE_BYTES];
    footer[4..8].copy_from_slice(&((index_bytes / 4 - 1) as u32).to_le_bytes());
    footer[9] = check.number();
    let sum = crc32(&footer[4..10]);
    footer[..4].copy_from_slice(&sum);
    footer[10..].copy_from_slice(&END_MAGIC);
    footer
}

/// Lengths of a block for the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockRecord {
    /// Header, packed bytes and checksum, without padding.
    pub(crate) stored_bytes: u64,
    pub(crate) plain_bytes: u64,
}

/// Returns the index of a stream.
pub(crate) fn index(records: &[BlockRecord]) -> Vec<u8> {
    let mut index = vec![0];
    write_number(&mut index, records.len() as u64);
    for record in records {
        write_number(&mut index, record.stored_bytes);
        write_number(&mut index, record.plain_bytes);
    }
    index.resize(index.len().next_multiple_of(4), 0);
    let sum = crc32(&index);
    index.extend(sum);
    index
}

/// The header of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// Length of the header, which padding may have made longer.
    pub(crate) header_bytes: usize,
    pub(crate) packed_bytes: Option<u64>,
    pub(crate) plain_bytes: Option<u64>,
    /// Filters before LZMA2.
    pub(crate) filters: Vec<Filter>,
    /// Code of the window's length.
    pub(crate) window_code: u8,
}

impl BlockHeader {
    /// Reads a header, which begins with its length.
    pub(crate) fn read(header: &[u8]) -> Result<Self, XzError> {
        const DAMAGED: XzError = XzError::Damaged("header of a block");
        let (content, sum) = header.split_last_chunk::<4>().ok_or(DAMAGED)?;
        if crc32(content) != *sum {
            return Err(DAMAGED);
        }
        let mut cursor = Cursor::new(content.get(1..).ok_or(DAMAGED)?);
        let flags = cursor.u8().map_err(|_| DAMAGED)?;
        if flags & 0x3c != 0 {
            return Err(XzError::Unsupported("flag of a block"));
        }
        let mut number = |is_there: bool| {
            if is_there { read_number(&mut cursor).map(Some) } else { Ok(None) }
        };
        let packed_bytes = number(flags & 0x40 != 0)?;
        let plain_bytes = number(flags & 0x80 != 0)?;
        let mut filters = Vec::new();
        let mut window_code = None;
        for ordinal in 0..=flags & 3 {
            let identifier = read_number(&mut cursor)?;
            let count = read_number(&mut cursor)?;
            let properties = cursor.take(count).map_err(|_| DAMAGED)?;
            if ordinal < flags & 3 {
                let filter = Filter::read(identifier, properties);
                filters.push(filter.ok_or(XzError::Unsupported("filter"))?);
            } else {
                let (LZMA2, [code]) = (identifier, properties) else {
                    return Err(XzError::Unsupported("filter"));
                };
                window_code = Some(*code);
            }
        }
        if cursor.take_rest().iter().any(|byte| *byte != 0) {
            return Err(XzError::Unsupported("field in the header of a block"));
        }
        let window_code = window_code.ok_or(DAMAGED)?;
        Ok(Self { header_bytes: header.len(), packed_bytes, plain_bytes, filters, window_code })
    }

    /// Appends the header to `out`; `None` if its fields do not fit its length.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        out.push(u8::try_from((self.header_bytes / 4).checked_sub(1)?).ok()?);
        out.push(
            u8::try_from(self.filters.len()).ok().filter(|count| *count < 4)?
                | if self.packed_bytes.is_some() { 0x40 } else { 0 }
                | if self.plain_bytes.is_some() { 0x80 } else { 0 },
        );
        for number in [self.packed_bytes, self.plain_bytes].into_iter().flatten() {
            write_number(out, number);
        }
        for filter in &self.filters {
            out.extend([filter.identifier(), filter.properties().len() as u8]);
            out.extend_from_slice(filter.properties());
        }
        out.extend([LZMA2 as u8, 1, self.window_code]);
        let end = start + self.header_bytes.checked_sub(4)?;
        if out.len() > end {
            return None;
        }
        out.resize(end, 0);
        let sum = crc32(&out[start..]);
        out.extend(sum);
        Some(())
    }
}

/// Returns the bytes of a window by its code; `None` if the code does not exist.
pub(crate) fn window_bytes(code: u8) -> Option<u64> {
    match code {
        0..40 => Some(u64::from(2 | u32::from(code) & 1) << (code / 2 + 11)),
        40 => Some(u64::from(u32::MAX)),
        _ => None,
    }
}

/// Reads a number of xz: seven bits a byte, the lowest first, in the shortest form.
fn read_number(cursor: &mut Cursor<'_>) -> Result<u64, XzError> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = cursor.u8().map_err(|_| XzError::Damaged("header of a block"))?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return if byte == 0 && shift > 0 {
                Err(XzError::Damaged("number in the header of a block"))
            } else {
                Ok(number)
            };
        }
    }
    Err(XzError::Damaged("number in the header of a block"))
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn crc32(bytes: &[u8]) -> [u8; 4] {
    zlib_rs::crc32::crc32(0, bytes).to_le_bytes()
}

/// Identifier of LZMA2 among the filters.
const LZMA2: u64 = 0x21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_codes() {
        assert_eq!(window_bytes(0), Some(4 << 10));
        assert_eq!(window_bytes(1), Some(6 << 10));
        assert_eq!(window_bytes(22), Some(8 << 20));
        assert_eq!(window_bytes(40), Some(u64::from(u32::MAX)));
        assert_eq!(window_bytes(41), None);
    }

    #[test]
    fn block_headers_survive_the_byte_form() {
        let header = BlockHeader {
            header_bytes: 24,
            packed_bytes: Some(300),
            plain_bytes: Some(1 << 40),
            filters: vec![Filter::X86, Filter::Delta(3)],
            window_code: 22,
        };
        let mut bytes = Vec::new();
        assert_eq!(header.write(&mut bytes), Some(()));
        assert_eq!(bytes.len(), 24);
        assert_eq!(BlockHeader::read(&bytes), Ok(header.clone()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(BlockHeader::read(&damaged).is_err(), "byte {at}");
        }
        let short = BlockHeader { header_bytes: 16, ..header };
        assert_eq!(short.write(&mut Vec::new()), None);
    }
}
