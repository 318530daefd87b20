//! Members of a tar archive of images, by name, with the byte range of each.
//!
//! Reads the tar dialects that image tools write: old, USTAR, GNU and PAX names and sizes, and links
//! inside the archive. Never reads payloads. Layers need every byte and have their own reader,
//! `tarscan`; this one keeps names and ranges only.

use super::source::{RangeReader, ReadAt, SourceRange};
use crate::envelope::Compression;
use imgdelta_core::{
    Error, LimitName, Limits, Result,
    path::{LayerPath, escaped},
};
use std::{collections::HashMap, sync::Arc};

#[derive(Debug)]
pub(super) struct Members {
    source: Arc<dyn ReadAt>,
    by_path: HashMap<LayerPath, ArchiveMember>,
}

#[derive(Debug, PartialEq)]
enum ArchiveMember {
    File(MemberRange),
    Symlink(Box<[u8]>),
    HardLink(Box<[u8]>),
    /// Two members have this name, and readers disagree on which one counts.
    Ambiguous,
}

/// Offset and length of a member's payload.
pub(super) type MemberRange = (u64, u64);

impl Members {
    pub(super) fn read(source: Arc<dyn ReadAt>, place: &str, limits: &Limits) -> Result<Self> {
        let end = source.size_bytes().map_err(Error::io(place))?;
        let next = ExtensionFields::default();
        let mut walk = ArchiveWalk { source: &*source, place, limits, end, at: 0, next };
        let mut by_path = HashMap::new();
        let mut members = 0;
        while let Some((path, member)) = walk.member()? {
            members += 1;
            limits.admit(LimitName::ArchiveMembers, members, "count of members", place)?;
            let Some(member) = member else { continue };
            let earlier = by_path.entry(path);
            earlier.and_modify(|other| *other = ArchiveMember::Ambiguous).or_insert(member);
        }
        Ok(Self { source, by_path })
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.by_path.contains_key(&LayerPath::parse(name.as_bytes()))
    }

    /// Follows links to a file's range; `None` without such a member.
    pub(super) fn find(&self, name: &str, place: &str) -> Result<Option<MemberRange>> {
        let wrong = |what: &str| {
            Error::bad_input(place, format_args!("member {:?} {what}", escaped(name.as_bytes())))
        };
        let mut path = inside(name.as_bytes()).ok_or_else(|| wrong("lies outside the archive"))?;
        for hop in 0..MAX_LINKS {
            let target = match self.by_path.get(&path) {
                Some(ArchiveMember::File(range)) => return Ok(Some(*range)),
                Some(ArchiveMember::Ambiguous) => return Err(wrong("occurs more than once")),
                Some(ArchiveMember::HardLink(target)) => target.to_vec(),
                Some(ArchiveMember::Symlink(target)) => {
                    let parent = path.parent().unwrap_or_else(LayerPath::root);
                    [parent.as_bytes(), target].join(&b'/')
                }
                None if hop == 0 => return Ok(None),
                None => return Err(wrong("is a link to nothing")),
            };
            path = inside(&target).ok_or_else(|| wrong("is a link out of the archive"))?;
        }
        Err(wrong("is a chain of too many links"))
    }

    pub(super) fn open(&self, (offset, size_bytes): MemberRange) -> RangeReader {
        RangeReader::new(Arc::clone(&self.source), offset, size_bytes)
    }

    pub(super) fn in_place(&self, (offset, size_bytes): MemberRange) -> Arc<dyn ReadAt> {
        Arc::new(SourceRange::new(Arc::clone(&self.source), offset, size_bytes))
    }
}

/// Returns the cleaned path, or `None` if it climbs above its start.
fn inside(spelling: &[u8]) -> Option<LayerPath> {
    let mut depth = 0_usize;
    for part in spelling.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => depth = depth.checked_sub(1)?,
            _ => depth += 1,
        }
    }
    Some(LayerPath::parse(spelling))
}

/// The position in an archive, and the extension headers read so far for the next member.
struct ArchiveWalk<'a> {
    source: &'a dyn ReadAt,
    place: &'a str,
    limits: &'a Limits,
    end: u64,
    at: u64,
    next: ExtensionFields,
}

/// Fields from extension headers for the next member.
#[derive(Default)]
struct ExtensionFields {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size_bytes: Option<u64>,
}

impl ArchiveWalk<'_> {
    /// Returns the next path, with its member if it is a file or a link.
    fn member(&mut self) -> Result<Option<(LayerPath, Option<ArchiveMember>)>> {
        loop {
            let mut header = [0; BLOCK];
            let start = self.at;
            match self.read(&mut header)? {
                0 => return Ok(None),
                BLOCK if header == [0; BLOCK] => return Ok(None),
                BLOCK => {}
                _ if start == 0 => return Err(self.wrong(start, "not a tar file")),
                _ => return Err(self.wrong(start, "the archive ends within a header")),
            }
            if !checksum_is_right(&header) {
                return Err(self.wrong(start, not_a_header(start, &header)));
            }
            let kind = header[156];
            let is_extension = matches!(kind, b'L' | b'K' | b'x' | b'g');
            let stated = number(&header[124..136])
                .ok_or_else(|| self.wrong(start, "size is not a number"))?;
            let size = match kind {
                // Links and directories have no payload, although some writers state a size.
                b'1'..=b'6' => 0,
                _ if is_extension => stated,
                _ => self.next.size_bytes.unwrap_or(stated),
            };
            let payload = self.at;
            let next =
                size.checked_next_multiple_of(BLOCK as u64).and_then(|n| n.checked_add(payload));
            match next {
                // Only the padding of the last block may be missing.
                Some(next) if payload + size <= self.end => self.at = next,
                _ => return Err(self.wrong(start, "the archive ends within a member")),
            }
            if is_extension {
                self.extension(kind, payload, size)?;
                continue;
            }
            let fields = std::mem::take(&mut self.next);
            let spelling = fields.path.unwrap_or_else(|| header_path(&header));
            let link = fields.link.unwrap_or_else(|| text(&header[157..257]).to_vec());
            let Some(path) = inside(&spelling) else {
                return Err(self.wrong(start, "the path climbs out of the archive"));
            };
            let member = match kind {
                0 | b'0' | b'7' => Some(ArchiveMember::File((payload, size))),
                b'1' => Some(ArchiveMember::HardLink(link.into())),
                b'2' => Some(ArchiveMember::Symlink(link.into())),
                _ => None,
            };
            return Ok(Some((path, member)));
        }
    }

    fn extension(&mut self, kind: u8, payload: u64, size: u64) -> Result<()> {
        self.limits.admit(
            LimitName::ExtensionBytes,
            size,
            "size of an extension header",
            self.place,
        )?;
        let mut bytes = Vec::new();
        let mut at = payload;
        let mut piece = [0; 4096];
        while (bytes.len() as u64) < size {
            let room = usize::try_from(size - bytes.len() as u64).map_or(4096, |n| n.min(4096));
            let count =
                self.source.read_at(&mut piece[..room], at).map_err(Error::io(self.place))?;
            if count == 0 {
                return Err(self.wrong(payload, "the archive ends within a member"));
            }
            bytes.extend_from_slice(&piece[..count]);
            at += count as u64;
        }
        match kind {
            b'L' => self.next.path = Some(text(&bytes).to_vec()),
            b'K' => self.next.link = Some(text(&bytes).to_vec()),
            // Global records, such as git's comment, say nothing about a member's position.
            b'x' => {
                let records = records(&bytes);
                let records =
                    records.ok_or_else(|| self.wrong(payload, "PAX record is malformed"))?;
                for (key, value) in records {
                    match key {
                        b"path" => self.next.path = Some(value.to_vec()),
                        b"linkpath" => self.next.link = Some(value.to_vec()),
                        b"size" => {
                            let size = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                            let size = size
                                .ok_or_else(|| self.wrong(payload, "PAX size is not a number"))?;
                            self.next.size_bytes = Some(size);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn read(&mut self, block: &mut [u8; BLOCK]) -> Result<usize> {
        let mut reader = &mut block[..];
        let mut total = 0;
        while !reader.is_empty() {
            let count = self.source.read_at(reader, self.at).map_err(Error::io(self.place))?;
            if count == 0 {
                break;
            }
            self.at += count as u64;
            total += count;
            reader = &mut reader[count..];
        }
        Ok(total)
    }

    fn wrong(&self, offset: u64, what: &str) -> Error {
        Error::bad_input(format_args!("{}, offset {offset}", self.place), what)
    }
}

/// Returns the error text for a block whose checksum is wrong.
fn not_a_header(start: u64, header: &[u8]) -> &'static str {
    match Compression::of(header) {
        Compression::Gzip if start == 0 => {
            "the archive is compressed with gzip; decompress it first, since this program reads it in place"
        }
        Compression::Zstd if start == 0 => {
            "the archive is compressed with zstd; decompress it first, since this program reads it in place"
        }
        _ if start == 0 => "not a tar file",
        _ => "tar header with a wrong checksum",
    }
}

fn checksum_is_right(header: &[u8; BLOCK]) -> bool {
    let sum = header
        .iter()
        .enumerate()
        .map(|(at, &byte)| u64::from(if (148..156).contains(&at) { b' ' } else { byte }));
    number(&header[148..156]) == Some(sum.sum())
}

/// Reads a number field: octal text, or base 256 with the top bit set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len() - 8);
        // A checksum field has no room for the mark and eight bytes; no writer uses the mark there.
        let is_small = high
            .split_first()
            .is_some_and(|(&mark, rest)| mark == 0x80 && rest.iter().all(|&byte| byte == 0));
        return is_small.then(|| low.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)));
    }
    let digits = text(field).trim_ascii();
    digits.iter().try_fold(0_u64, |value, &byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn header_path(header: &[u8; BLOCK]) -> Vec<u8> {
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    // With GNU's old magic this field holds times, not POSIX's prefix.
    if prefix.is_empty() || &header[257..263] != b"ustar\0" {
        return name.to_vec();
    }
    [prefix, name].join(&b'/')
}

/// Splits PAX records: `LENGTH KEY=VALUE\n`, where the length includes its own digits.
fn records(mut rest: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !rest.is_empty() {
        let space = rest.iter().position(|&byte| byte == b' ')?;
        let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
        let record = rest.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|&byte| byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        rest = &rest[length..];
    }
    Some(records)
}

const BLOCK: usize = 512;
/// `docker save` wrote links of one hop.
const MAX_LINKS: usize = 8;
