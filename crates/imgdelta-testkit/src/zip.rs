//! Zip files in the variants that archivers write.
//!
//! Writes only; the readers under test are elsewhere.

use imgdelta_deflate::{EncoderCache, EncoderModel, ZlibStrategy};

/// The variant of a zip file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZipStyle {
    /// Checksum and lengths in the members' headers, as Info-ZIP and Python write them.
    Ahead,
    /// Checksum and lengths in descriptors after the members, as Java writes them.
    Descriptors,
    /// Lengths of 64 bits in extra fields, and a 64-bit end record.
    Large,
    /// Bytes before the archive and between members; the directory lists members in reverse order.
    Odd,
}

impl ZipStyle {
    /// Every style.
    pub const ALL: [Self; 4] = [Self::Ahead, Self::Descriptors, Self::Large, Self::Odd];
}

/// A member: its name, its content, and true if it is compressed.
pub type ZipMember<'a> = (&'a str, &'a [u8], bool);

/// Returns a zip file whose members are compressed as zlib does it.
pub fn zip_of(members: &[ZipMember<'_>], style: ZipStyle) -> Vec<u8> {
    let mut out = Vec::new();
    if style == ZipStyle::Odd {
        out.extend(b"#!/usr/bin/env python3\n");
    }
    let model = EncoderModel::Zlib {
        level: 6,
        mem_level: 8,
        window_bits: 15,
        strategy: ZlibStrategy::Default,
    };
    let mut encoders = EncoderCache::new();
    let mut directory: Vec<Vec<u8>> = Vec::new();
    for (number, (name, content, is_compressed)) in members.iter().enumerate() {
        let mut packed = Vec::new();
        if *is_compressed {
            encoders.remake_raw(&model, content, &mut packed).expect("a supported model");
        } else {
            packed.extend_from_slice(content);
        }
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let (crc, plain) = (crc.sum(), low(content.len()));
        let method: u16 = if *is_compressed { 8 } else { 0 };
        let is_behind = style == ZipStyle::Descriptors && *is_compressed;
        let flags: u16 = if is_behind { 0x0808 } else { 0 };
        let time = 0x58a1_6c00_u32 + low(number);
        let common = [&20_u16.to_le_bytes()[..], &flags.to_le_bytes(), &method.to_le_bytes()];
        let common = [common.concat(), time.to_le_bytes().to_vec()].concat();
        let real = [crc, low(packed.len()), plain];
        let extra = match style {
            ZipStyle::Large => {
                let lengths = [u64::from(plain), u64::from(low(packed.len()))];
                let lengths: Vec<u8> = lengths.iter().flat_map(|n| n.to_le_bytes()).collect();
                [&[1, 0, 16, 0][..], &lengths].concat()
            }
            _ if number == 0 => vec![0xfe, 0xca, 0, 0],
            _ => Vec::new(),
        };
        let ahead = match style {
            ZipStyle::Large => [crc, u32::MAX, u32::MAX],
            _ if is_behind => [0; 3],
            _ => real,
        };
        let offset = low(out.len());
        out.extend(b"PK\x03\x04");
        out.extend_from_slice(&common);
        out.extend(ahead.iter().flat_map(|n| n.to_le_bytes()));
        out.extend((name.len() as u64).to_le_bytes()[..2].iter());
        out.extend((extra.len() as u64).to_le_bytes()[..2].iter());
        out.extend(name.bytes());
        out.extend_from_slice(&extra);
        out.extend(packed);
        if is_behind {
            out.extend(b"PK\x07\x08");
            out.extend(real.iter().flat_map(|n| n.to_le_bytes()));
        }
        if style == ZipStyle::Odd {
            out.extend(b"between");
        }
        let mut entry = b"PK\x01\x02\x14\x03".to_vec();
        entry.extend_from_slice(&common);
        entry.extend(real.iter().flat_map(|n| n.to_le_bytes()));
        entry.extend((name.len() as u64).to_le_bytes()[..2].iter());
        entry.extend([0; 8]);
        entry.extend((0o100_644_u32 << 16).to_le_bytes());
        entry.extend(offset.to_le_bytes());
        entry.extend(name.bytes());
        directory.push(entry);
    }
    if style == ZipStyle::Odd {
        directory.reverse();
    }
    let start = low(out.len());
    out.extend(directory.concat());
    let bytes = low(out.len()) - start;
    let count = u16::try_from(members.len()).expect("few members");
    if style == ZipStyle::Large {
        let end = out.len() as u64;
        out.extend(b"PK\x06\x06");
        out.extend(44_u64.to_le_bytes());
        out.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [u64::from(count), u64::from(count), u64::from(bytes), u64::from(start)] {
            out.extend(number.to_le_bytes());
        }
        out.extend(b"PK\x06\x07\0\0\0\0");
        out.extend(end.to_le_bytes());
        out.extend(1_u32.to_le_bytes());
        out.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
        return out;
    }
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(bytes.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn low(count: usize) -> u32 {
    u32::try_from(count).expect("small files")
}
