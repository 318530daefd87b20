//! ELF files with compressed sections, in the variants that linkers write.
//!
//! Writes only; the readers under test are elsewhere.

use imgdelta_deflate::{EncoderCache, EncoderModel};

/// The compression of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionPacking {
    /// As it is.
    Plain,
    /// zlib behind a compression header.
    Compressed,
    /// zlib behind `ZLIB` and the length, as older linkers write it.
    Gnu,
}

/// A section: its name, its content, and its compression.
pub type ElfSection<'a> = (&'a str, &'a [u8], SectionPacking);

/// Returns a 64-bit little-endian ELF file whose sections are compressed as Go's linker does it.
///
/// The section headers stand at the end as ld writes them, or behind the file header as Go does.
pub fn elf_of(sections: &[ElfSection<'_>], headers_first: bool) -> Vec<u8> {
    let mut encoders = EncoderCache::new();
    let mut names = vec![0];
    let mut table = vec![[0; ENTRY_BYTES]];
    let table_bytes = (sections.len() + 2) * ENTRY_BYTES;
    let mut out = vec![0; if headers_first { HEADER_BYTES + table_bytes } else { HEADER_BYTES }];
    for &(name, content, packing) in sections {
        let stored = match packing {
            SectionPacking::Plain => content.to_vec(),
            SectionPacking::Compressed => {
                let header = [1, content.len() as u64, 8].map(u64::to_le_bytes).concat();
                [header, zlib(&mut encoders, content)].concat()
            }
            SectionPacking::Gnu => {
                let length = (content.len() as u64).to_be_bytes();
                [b"ZLIB", &length[..], &zlib(&mut encoders, content)].concat()
            }
        };
        let flags = if packing == SectionPacking::Compressed { 0x800 } else { 0 };
        table.push(entry(names.len(), 1, flags, [out.len(), stored.len()]));
        names.extend([name.as_bytes(), b"\0"].concat());
        out.extend(stored);
    }
    table.push(entry(names.len(), 3, 0, [out.len(), names.len() + NAMES.len()]));
    names.extend(NAMES);
    out.extend(names);
    let offset = if headers_first { HEADER_BYTES } else { out.len() };
    out.resize(out.len().max(offset + table_bytes), 0);
    out[offset..offset + table_bytes].copy_from_slice(&table.concat());
    out[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\x3e\0");
    out[40..48].copy_from_slice(&(offset as u64).to_le_bytes());
    let count = u16::try_from(table.len()).expect("few sections");
    for (at, number) in [(52, 64), (58, 64), (60, count), (62, count - 1)] {
        out[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
    out
}

/// A program for graphics processors: architecture, stored bytes, and the length of its content if
/// these are an LZ4 block, else 0.
pub type GpuProgram<'a> = (u32, &'a [u8], u64);

/// Returns a container of programs as CUDA's compiler writes it, for a section `.nv_fatbin`.
pub fn gpu_container(programs: &[GpuProgram<'_>]) -> Vec<u8> {
    let mut entries = Vec::new();
    for &(architecture, stored, plain_bytes) in programs {
        let body_bytes = stored.len().next_multiple_of(8);
        let mut header = [0; 64];
        header[..8].copy_from_slice(&[2, 0, 1, 1, 64, 0, 0, 0]);
        header[8..16].copy_from_slice(&(body_bytes as u64).to_le_bytes());
        header[28..32].copy_from_slice(&architecture.to_le_bytes());
        if plain_bytes > 0 {
            let stored_bytes = u32::try_from(stored.len()).expect("a short program");
            header[16..20].copy_from_slice(&stored_bytes.to_le_bytes());
            header[40..48].copy_from_slice(&0x2011_u64.to_le_bytes());
            header[56..].copy_from_slice(&plain_bytes.to_le_bytes());
        }
        entries.extend(header);
        entries.extend(stored);
        entries.resize(entries.len().next_multiple_of(8), 0);
    }
    let length = (entries.len() as u64).to_le_bytes();
    [&b"\x50\xed\x55\xba\x01\0\x10\0"[..], &length, &entries].concat()
}

fn entry(name: usize, kind: u32, flags: u64, [offset, bytes]: [usize; 2]) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    let name = u32::try_from(name).expect("short names");
    entry[..4].copy_from_slice(&name.to_le_bytes());
    entry[4..8].copy_from_slice(&kind.to_le_bytes());
    let numbers = [(8, flags), (24, offset as u64), (32, bytes as u64), (48, 1)];
    for (at, number) in numbers {
        entry[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    entry
}

/// Returns a zlib stream.
fn zlib(encoders: &mut EncoderCache, plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let model = EncoderModel::Golang { level: 1 };
    encoders.remake_raw(&model, plain, &mut out).expect("a model that exists");
    let (mut low, mut high) = (1_u32, 0_u32);
    for &byte in plain {
        low = (low + u32::from(byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    out.extend((high << 16 | low).to_be_bytes());
    out
}

const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 64;
const NAMES: &[u8] = b".shstrtab\0";
