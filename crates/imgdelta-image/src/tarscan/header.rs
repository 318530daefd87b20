//! One header block of 512 bytes: its fields, its numbers, its checksum.
//!
//! It never reads past the block. Where the dialects differ (v7, USTAR, star, GNU), it follows Go's
//! archive/tar, since container runtimes unpack with it.

use super::BLOCK_BYTES;

/// A header block's bytes.
#[derive(Clone, Copy)]
pub(super) struct RawHeader<'a>(pub(super) &'a [u8; BLOCK_BYTES]);

impl<'a> RawHeader<'a> {
    /// Returns true if the checksum is right, over unsigned bytes or, as some old writers, signed ones.
    pub(super) fn is_sound(self) -> bool {
        let Some(found) = octal(&self.0[CHECKSUM]) else { return false };
        let plain = |bytes: &[u8]| bytes.iter().map(|&byte| i64::from(byte)).sum::<i64>();
        let rest = [&self.0[..CHECKSUM.start], &self.0[CHECKSUM.end..]];
        let spaces = 8 * i64::from(b' ');
        let unsigned = spaces + plain(rest[0]) + plain(rest[1]);
        if found == unsigned {
            return true;
        }
        let high = rest.iter().flat_map(|part| part.iter()).filter(|&&byte| byte >= 0x80).count();
        i64::try_from(high).is_ok_and(|high| found == unsigned - 256 * high)
    }

    /// Returns the type flag; 0 in very old archives' regular files.
    pub(super) fn flag(self) -> u8 {
        self.0[156]
    }

    /// Returns the name with its USTAR prefix.
    pub(super) fn name(self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = match self.format() {
            HeaderFormat::Ustar => text(&self.0[345..500]),
            HeaderFormat::Star => text(&self.0[345..476]),
            // GNU has times and the sparse map in this field.
            HeaderFormat::Gnu | HeaderFormat::Old => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// Returns the target of a link.
    pub(super) fn link(self) -> &'a [u8] {
        text(&self.0[157..257])
    }

    /// Returns the user's and the group's name.
    pub(super) fn names(self) -> (&'a [u8], &'a [u8]) {
        match self.format() {
            HeaderFormat::Old => (b"", b""),
            _ => (text(&self.0[265..297]), text(&self.0[297..329])),
        }
    }

    /// Returns the permission bits.
    ///
    /// Like every number except the size, an invalid one is 0, since it decides no range.
    pub(super) fn mode(self) -> u32 {
        let bits = number(&self.0[100..108]).unwrap_or(0) & 0o7777;
        u32::try_from(bits).expect("twelve bits")
    }

    /// Returns the user's and the group's number.
    pub(super) fn ids(self) -> (u64, u64) {
        let id = |field| number(field).and_then(|id| u64::try_from(id).ok()).unwrap_or(0);
        (id(&self.0[108..116]), id(&self.0[116..124]))
    }

    /// Returns the size, or `None` if it is not a number or negative.
    pub(super) fn size(self) -> Option<u64> {
        u64::try_from(number(&self.0[124..136])?).ok()
    }

    /// Returns the seconds of the modification time.
    pub(super) fn mtime(self) -> i64 {
        number(&self.0[136..148]).unwrap_or(0)
    }

    /// Returns a device's numbers.
    pub(super) fn device(self) -> (u32, u32) {
        if self.format() == HeaderFormat::Old {
            return (0, 0);
        }
        let part = |field| number(field).and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
        (part(&self.0[329..337]), part(&self.0[337..345]))
    }

    fn format(self) -> HeaderFormat {
        match &self.0[257..263] {
            b"ustar\0" if &self.0[508..512] == b"tar\0" => HeaderFormat::Star,
            b"ustar\0" => HeaderFormat::Ustar,
            b"ustar " => HeaderFormat::Gnu,
            _ => HeaderFormat::Old,
        }
    }
}

/// The dialect of a header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HeaderFormat {
    Old,
    Ustar,
    Star,
    Gnu,
}

/// Returns a field's bytes up to the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Reads a number: octal digits, or with the top bit set base 256 in two's complement.
pub fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 == 0 {
        return octal(field);
    }
    let invert = if first & 0x40 == 0 { 0 } else { 0xff };
    let mut value = 0u64;
    for (place, &byte) in field.iter().enumerate() {
        let byte = if place == 0 { (byte ^ invert) & 0x7f } else { byte ^ invert };
        if value >> 56 > 0 {
            return None;
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).ok()?;
    Some(if invert == 0 { value } else { !value })
}

/// Reads octal digits between spaces or NULs; a field without digits is 0.
fn octal(field: &[u8]) -> Option<i64> {
    let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_filler(byte)).unwrap_or(field.len());
    let mut value = 0i64;
    for byte in field[start..].iter().take_while(|byte| !is_filler(byte)) {
        let digit = matches!(byte, b'0'..=b'7').then(|| i64::from(byte - b'0'))?;
        value = value.checked_mul(8)?.checked_add(digit)?;
    }
    Some(value)
}

const CHECKSUM: std::ops::Range<usize> = 148..156;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_dialect_are_read() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"00000000644 "), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"777777777777"), Some(0o777_777_777_777));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\x10\0\0\0"), Some(0x1000_0000));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(b"0000648\0"), None);
        assert_eq!(number(b"-1\0\0\0\0\0\0"), None);
        assert_eq!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(number(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    #[test]
    fn both_kinds_of_checksum_are_sound() {
        let mut block = [0u8; BLOCK_BYTES];
        block[..2].copy_from_slice(b"\xff\xfe");
        let sum = |block: &mut [u8; BLOCK_BYTES], value: u32| {
            block[148..156].copy_from_slice(format!("{value:06o}\0 ").as_bytes());
            RawHeader(block).is_sound()
        };
        let unsigned = 256 + 0xff + 0xfe;
        assert!(sum(&mut block, unsigned));
        assert!(sum(&mut block, unsigned - 512));
        assert!(!sum(&mut block, unsigned + 1));
    }
}
