//! Reads the headers of frames, skippable frames and blocks without decoding their contents.
//!
//! Never reads past its input, and never checks a size against the data behind the header.

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Bytes of the header, including the magic number.
    pub(crate) bytes: usize,
    /// Bytes of the window. `None` if the whole frame is the window.
    pub(crate) window: Option<u64>,
    /// Plain bytes in the frame, if the header has them.
    pub(crate) plain_bytes: Option<u64>,
    /// True if a checksum ends the frame.
    pub(crate) checksum: bool,
    /// True if decoding needs a dictionary.
    pub(crate) dictionary: bool,
}

/// Bytes of the longest header.
pub(crate) const LONGEST_HEADER: usize = 18;

pub(crate) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

impl FrameHeader {
    /// Reads the header at the start of `bytes`. `None` if there is no valid header.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (&descriptor, rest) = rest.split_first()?;
        // The format reserves this bit: readers must refuse it.
        if descriptor & 0x08 != 0 {
            return None;
        }
        let single = descriptor & 0x20 != 0;
        let (window, rest) = if single {
            (None, rest)
        } else {
            let (&byte, rest) = rest.split_first()?;
            let base = 1u64 << (10 + (byte >> 3));
            (Some(base + (base >> 3) * u64::from(byte & 7)), rest)
        };
        let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let (dictionary, rest) = rest.split_at_checked(dictionary_bytes)?;
        let size_bytes = match descriptor >> 6 {
            0 => usize::from(single),
            power => 1 << power,
        };
        let (size, rest) = rest.split_at_checked(size_bytes)?;
        let mut number = [0; 8];
        number[..size_bytes].copy_from_slice(size);
        let number = u64::from_le_bytes(number);
        let plain_bytes = match size_bytes {
            0 => None,
            2 => Some(number + 256),
            _ => Some(number),
        };
        Some(Self {
            bytes: bytes.len() - rest.len(),
            window,
            plain_bytes,
            checksum: descriptor & 0x04 != 0,
            dictionary: dictionary.iter().any(|&byte| byte != 0),
        })
    }
}

/// The header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// True for the last block of a frame.
    pub(crate) last: bool,
    /// Bytes of the block behind the header.
    pub(crate) bytes: u64,
    /// Plain bytes in the block. `None` for compressed blocks, whose headers do not have them.
    pub(crate) plain_bytes: Option<u64>,
}

impl BlockHeader {
    /// Bytes of the header.
    pub(crate) const BYTES: usize = 3;

    /// Reads a header. `None` if the block type is reserved.
    pub(crate) fn read(bytes: [u8; 3]) -> Option<Self> {
        let number = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
        let size = u64::from(number >> 3);
        let (bytes, plain_bytes) = match number >> 1 & 3 {
            0 => (size, Some(size)),
            1 => (1, Some(size)),
            2 => (size, None),
            _ => return None,
        };
        Some(Self { last: number & 1 == 1, bytes, plain_bytes })
    }
}

/// Returns the size of the skippable frame at the start of `bytes`, including its header of eight
/// bytes. `None` if `bytes` start with something else.
pub(crate) fn skippable(bytes: &[u8]) -> Option<u64> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    let (size, _) = rest.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*head) & !0xf == 0x184d_2a50)
        .then(|| 8 + u64::from(u32::from_le_bytes(*size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_as_encoders_write_them() {
        // A stream of klauspost/compress.
        let header = FrameHeader::read(&[0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x68, 0xaa]).unwrap();
        let expected = FrameHeader {
            bytes: 6,
            window: Some(8 << 20),
            plain_bytes: None,
            checksum: true,
            dictionary: false,
        };
        assert_eq!(header, expected);
        // zstd of a file of 9,000,000 bytes.
        let bytes = [0x28, 0xb5, 0x2f, 0xfd, 0x84, 0x58, 0x40, 0x54, 0x89, 0x00];
        let header = FrameHeader::read(&bytes).unwrap();
        assert_eq!((header.bytes, header.plain_bytes), (10, Some(9_000_000)));
        // The frame is the window: a size of one byte, then of two bytes.
        let header = FrameHeader::read(&[0x28, 0xb5, 0x2f, 0xfd, 0x24, 5, 0]).unwrap();
        assert_eq!((header.window, header.plain_bytes), (None, Some(5)));
        let header = FrameHeader::read(&[0x28, 0xb5, 0x2f, 0xfd, 0x64, 0, 1]).unwrap();
        assert_eq!(header.plain_bytes, Some(512));
    }

    #[test]
    fn short_and_reserved_headers_are_refused() {
        let whole = [0x28, 0xb5, 0x2f, 0xfd, 0x84, 0x58, 0x40, 0x54, 0x89, 0x00];
        for length in 0..whole.len() {
            assert_eq!(FrameHeader::read(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(FrameHeader::read(&[0x28, 0xb5, 0x2f, 0xfd, 0x0c, 0x58]), None);
        assert_eq!(BlockHeader::read([7, 0, 0]), None);
        assert_eq!(skippable(&[0x5a, 0x2a, 0x4d, 0x18, 9, 0, 0, 0]), Some(17));
        assert_eq!(skippable(&[0x60, 0x2a, 0x4d, 0x18, 9, 0, 0, 0]), None);
    }
}
