//! The parts of an ELF file that the code view reads: segments, sections and unwind tables.
//! Never follows a number that was not compared with the file's length. Other files are not images.
//!
//! Addresses are `u32` and count from the lowest one: a file with a larger span is not an image.
//! A file that is not ELF can be read as one flat image, so that other views use the same map.

use imgdelta_wire::fixed::{u16_at, u32_at, u64_at};

/// Processors whose references are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
    /// A class-data archive of a Java virtual machine.
    ClassData,
    /// Not a program: the image is a flat file.
    None,
}

/// A loaded part of a file. File and memory ranges ascend and do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Offset of its first byte in the file.
    pub offset: usize,
    /// Bytes of it in the file.
    pub file_len: usize,
    /// Address of its first byte, relative to the image.
    pub start: u32,
    /// Bytes of it in memory.
    pub memory_len: u32,
    /// The segment may hold code.
    pub executable: bool,
}

impl Segment {
    /// Offset behind the last byte in the file.
    pub fn offset_end(&self) -> usize {
        self.offset + self.file_len
    }

    /// Address behind the last byte that is in the file.
    pub fn data_end(&self) -> u32 {
        self.start + low_half(self.file_len)
    }

    /// Address behind the last byte in memory.
    pub fn end(&self) -> u32 {
        self.start + self.memory_len
    }
}

/// A region of Java objects in a class-data archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeapRegion {
    /// Address of its first byte, relative to the image.
    pub start: u32,
    /// Bytes of it.
    pub len: u32,
    /// The reference to its first byte.
    pub reference: u32,
}

/// The segments of a file: offsets and addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryImage {
    /// The machine that the file is for.
    pub machine: Machine,
    /// The lowest address; all others are relative to it.
    pub low: u64,
    /// Distance from the lowest to the highest address.
    pub span: u32,
    /// Never empty.
    pub segments: Vec<Segment>,
    /// Start and length of the sorted table of unwind entries.
    pub eh_frame_hdr: Option<(u32, u32)>,
    /// Bytes at the front from which the image is read.
    pub header_len: usize,
    /// Empty except in class-data archives.
    pub heaps: Vec<HeapRegion>,
    /// Offset of the section headers of a relocatable file.
    pub sections_at: Option<usize>,
}

/// Header sizes of the 64-bit format.
pub const FILE_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;

/// Real files have ten or so; more would make every look-up of an address slow.
const MAX_SEGMENTS: usize = 64;

/// Addresses of the names and types of relocatable files: a kernel has a tenth of these.
pub(crate) const NAMES: u32 = 1 << 25;
pub(crate) const TYPES: u32 = 1 << 21;

const PT_LOAD: u32 = 1;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;

impl MemoryImage {
    /// Reads the headers at the front of `bytes`; the file is `file_len` bytes long.
    pub fn parse(bytes: &[u8], file_len: usize) -> Option<Self> {
        // 64-bit, little-endian, version 1.
        if bytes.get(..7)? != b"\x7fELF\x02\x01\x01" || u32::try_from(file_len).is_err() {
            return None;
        }
        let machine = match u16_at(bytes, 18)? {
            62 => Machine::X86_64,
            183 => Machine::Aarch64,
            _ => return None,
        };
        let count = usize::from(u16_at(bytes, 56)?);
        // Headers are copied as one piece, so they must be adjacent. Real linkers write them so.
        if u64_at(bytes, 32)? != FILE_HEADER as u64 || u16_at(bytes, 54)? != 56 || count > 256 {
            return None;
        }
        let header_len = FILE_HEADER + PROGRAM_HEADER * count;
        let headers = bytes.get(FILE_HEADER..header_len)?;
        let (mut loaded, mut table) = (Vec::new(), None);
        for header in headers.chunks_exact(PROGRAM_HEADER) {
            let kind = u32_at(header, 0)?;
            let raw = RawSegment {
                executable: u32_at(header, 4)? & 1 != 0,
                offset: u64_at(header, 8)?,
                address: u64_at(header, 16)?,
                file_len: u64_at(header, 32)?,
                memory_len: u64_at(header, 40)?,
            };
            match kind {
                PT_LOAD if raw.memory_len > 0 => loaded.push(raw),
                PT_GNU_EH_FRAME => table = Some(raw),
                _ => {}
            }
        }
        let low = loaded.first()?.address;
        let last = loaded.last()?;
        let high = last.address.checked_add(last.memory_len)?;
        let span = u32::try_from(high.checked_sub(low)?).ok().filter(|&span| span < u32::MAX)?;
        if loaded.len() > MAX_SEGMENTS {
            return None;
        }
        let mut segments: Vec<Segment> = Vec::with_capacity(loaded.len());
        for raw in loaded {
            let segment = raw.admit(low, span, file_len)?;
            if let Some(before) = segments.last()
                && (before.end() > segment.start || before.offset_end() > segment.offset)
            {
                return None;
            }
            segments.push(segment);
        }
        let eh_frame_hdr =
            table.and_then(|raw| raw.admit(low, span, file_len)).map(|t| (t.start, t.memory_len));
        Some(Self {
            machine,
            low,
            span,
            segments,
            eh_frame_hdr,
            header_len,
            heaps: Vec::new(),
            sections_at: None,
        })
    }

    /// A file of `len` bytes whose addresses are its offsets.
    pub fn flat(len: usize) -> Option<Self> {
        let span = u32::try_from(len).ok().filter(|&span| span < u32::MAX)?;
        let segment =
            Segment { offset: 0, file_len: len, start: 0, memory_len: span, executable: false };
        Some(Self {
            machine: Machine::None,
            low: 0,
            span,
            segments: vec![segment],
            eh_frame_hdr: None,
            header_len: 0,
            heaps: Vec::new(),
            sections_at: None,
        })
    }

    /// Returns the relative address of the byte at `offset`, if that byte is loaded.
    pub fn address(&self, offset: usize) -> Option<u32> {
        let segment = self.segments.iter().find(|s| s.offset_end() > offset)?;
        Some(segment.start + low_half(offset.checked_sub(segment.offset)?))
    }

    /// Returns the offset of the byte at a relative address, if the file has that byte.
    pub fn offset(&self, address: u32) -> Option<usize> {
        let segment = self.segments.iter().find(|s| s.end() > address)?;
        let within = address.checked_sub(segment.start)? as usize;
        (within < segment.file_len).then_some(segment.offset + within)
    }

    /// True for a relocatable file.
    pub fn is_object(&self) -> bool {
        self.sections_at.is_some()
    }

    /// Returns the end of all addresses: those of names and types follow behind the image.
    pub fn reach(&self) -> u32 {
        if self.is_object() { self.span + NAMES + TYPES } else { self.span }
    }

    /// Returns the address of a name of a relocatable file's types.
    pub fn name_address(&self, name: u32) -> Option<u32> {
        (self.is_object() && name < NAMES).then(|| self.span + name)
    }

    /// Returns the address of a relocatable file's type.
    pub fn type_address(&self, number: u32) -> Option<u32> {
        (self.is_object() && number < TYPES).then(|| self.span + NAMES + number)
    }

    /// Lays the headers from which the image was read over a piece of the file, which starts at
    /// `start`.
    pub fn lay_headers(&self, headers: &[u8], piece: &mut [u8], start: usize) {
        let front_len = if self.is_object() { FILE_HEADER } else { headers.len() };
        let (front, table) = headers.split_at(front_len.min(headers.len()));
        for (at, part) in [(0, front), (self.sections_at.unwrap_or(0), table)] {
            let (from, to) = (at.max(start), (at + part.len()).min(start + piece.len()));
            if from < to {
                piece[from - start..to - start].copy_from_slice(&part[from - at..to - at]);
            }
        }
    }

    /// Returns an absolute address relative to the image, if it lies within.
    #[inline]
    pub fn relative(&self, address: u64) -> Option<u32> {
        let relative = address.wrapping_sub(self.low);
        u32::try_from(relative).ok().filter(|&relative| relative < self.span)
    }

    /// Address behind the last segment's bytes; zero-filled memory follows.
    pub fn data_end(&self) -> u64 {
        self.low + self.segments.last().map_or(0, |last| u64::from(last.data_end()))
    }
}

/// The lower half of a length that fits: files of 4 GiB and more are not images.
fn low_half(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// A program header of the file.
struct RawSegment {
    executable: bool,
    offset: u64,
    address: u64,
    file_len: u64,
    memory_len: u64,
}

impl RawSegment {
    fn admit(&self, low: u64, span: u32, file_len: usize) -> Option<Segment> {
        let start = u32::try_from(self.address.checked_sub(low)?).ok()?;
        let memory_len = u32::try_from(self.memory_len).ok()?;
        let offset_end = self.offset.checked_add(self.file_len)?;
        let fits = self.file_len <= self.memory_len
            && start.checked_add(memory_len)? <= span
            && offset_end <= file_len as u64;
        fits.then_some(Segment {
            offset: usize::try_from(self.offset).ok()?,
            file_len: usize::try_from(self.file_len).ok()?,
            start,
            memory_len,
            executable: self.executable,
        })
    }
}

/// A section header, as far as the walkers need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) address: u64,
    pub(crate) offset: usize,
    pub(crate) len: usize,
    /// Number of the section it refers to.
    pub(crate) link: usize,
}

impl Section<'_> {
    pub(crate) const PROGRAM: u32 = 1;
    pub(crate) const SYMBOLS: u32 = 2;
    #[cfg(feature = "encode")]
    pub(crate) const NAMES: u32 = 3;
    pub(crate) const RELOCATIONS: u32 = 4;
    pub(crate) const DYNAMIC_SYMBOLS: u32 = 11;
    #[cfg(feature = "encode")]
    pub(crate) const HASHES: u32 = 0x6fff_fff6;
    pub(crate) const UNWIND: u32 = 0x7000_0001;
    pub(crate) const LOADED: u64 = 2;
    pub(crate) const EXECUTABLE: u64 = 4;
}

/// Returns the sections of a whole file, or none if the table is missing or malformed.
///
/// Sections without bytes in the file, or that reach past its end, have length 0.
pub(crate) fn sections(file: &[u8]) -> Vec<Section<'_>> {
    try_sections(file).unwrap_or_default()
}

fn try_sections(file: &[u8]) -> Option<Vec<Section<'_>>> {
    let table = usize::try_from(u64_at(file, 40)?).ok()?;
    let count = usize::from(u16_at(file, 60)?);
    let names = usize::from(u16_at(file, 62)?);
    if u16_at(file, 58)? != 64 {
        return None;
    }
    let end = table.checked_add(count.checked_mul(SECTION_HEADER)?)?;
    let headers: Vec<&[u8]> = file.get(table..end)?.chunks_exact(SECTION_HEADER).collect();
    let extent = |header: &[u8]| {
        const NO_BITS: u32 = 8;
        let offset = usize::try_from(u64_at(header, 24)?).ok()?;
        let len = usize::try_from(u64_at(header, 32)?).ok()?;
        let sound = u32_at(header, 4)? != NO_BITS && offset.checked_add(len)? <= file.len();
        Some(if sound { (offset, len) } else { (0, 0) })
    };
    let (names_offset, names_len) = headers.get(names).and_then(|header| extent(header))?;
    let names = &file[names_offset..names_offset + names_len];
    let mut sections = Vec::with_capacity(count);
    for header in headers {
        let (offset, len) = extent(header).unwrap_or((0, 0));
        let name = names.get(u32_at(header, 0)? as usize..).unwrap_or_default();
        let name_len = name.iter().take(MAX_NAME).position(|&byte| byte == 0).unwrap_or(0);
        sections.push(Section {
            name: &name[..name_len],
            kind: u32_at(header, 4)?,
            flags: u64_at(header, 8)?,
            address: u64_at(header, 16)?,
            offset,
            len,
            link: u32_at(header, 40)? as usize,
        });
    }
    Some(sections)
}

/// The sections that matter have shorter names; the limit bounds the work on hostile files.
const MAX_NAME: usize = 32;
