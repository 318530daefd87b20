//! Two contents compared as what they are: lines, archive members, ELF sections, or other bytes.
//! Never prints; reads no more than its limits allow.
//!
//! Archives in archives are compared, too, down to a depth and within a budget for all of them. A
//! member is equal if its stored bytes are equal, or its inflated bytes: a checksum in a directory
//! proves nothing.

use crate::{
    elf,
    hunk::{TextChange, is_text, short_name},
};
use imgdelta_core::{Result, progress::Progress, size::Grouped};
use imgdelta_layer::archive::{
    self, ArchiveBytes, ArchiveKind, ArchivePart, OpenedArchive, START_BYTES,
};
use std::collections::HashMap;

/// The difference between two contents, by what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentChange {
    /// Lines of a text.
    Text(TextChange),
    /// Packages in a database that is not a text, one line for each.
    Packages(TextChange),
    /// Members of an archive.
    Archive(ArchiveChange),
    /// Other bytes, described in one line.
    Opaque(String),
}

/// The difference between two archives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveChange {
    /// `gzip`, `zip` or `tar`.
    pub kind: &'static str,
    /// Members that differ, in the new archive's order; a gzip file has one without a name.
    pub members: Vec<MemberPatch>,
    /// Number of members with equal content.
    pub unchanged_members: u64,
    /// Number of members that were not compared, because the archives have too many.
    pub omitted_members: u64,
}

/// One member that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberPatch {
    /// Name in the archive, safe for a terminal.
    pub name: String,
    /// The archives that have it.
    pub presence: MemberPresence,
    /// The difference.
    pub content: ContentChange,
}

/// The archives that have a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberPresence {
    /// Only the new one.
    New,
    /// Only the old one.
    Old,
    /// Both.
    Both,
}

impl MemberPresence {
    /// Returns `added`, `removed` or `modified`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::New => "added",
            Self::Old => "removed",
            Self::Both => "modified",
        }
    }
}

/// Limits of one comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContentLimits {
    /// Bytes of a file that is read at once.
    pub(crate) file_bytes: u64,
    /// Bytes of a text.
    pub(crate) text_bytes: u64,
    /// Lines in the hunks of a text.
    pub(crate) hunk_lines: u64,
}

impl ContentChange {
    /// Returns the bytes that its texts take.
    pub(crate) fn text_bytes(&self) -> u64 {
        match self {
            Self::Text(text) | Self::Packages(text) => text.text_bytes(),
            Self::Archive(archive) => archive
                .members
                .iter()
                .map(|member| member.content.text_bytes() + member.name.len() as u64)
                .sum(),
            Self::Opaque(line) => line.len() as u64,
        }
    }

    /// Returns the lines that were added and removed, those of members included.
    pub fn line_counts(&self) -> (u64, u64) {
        match self {
            Self::Text(text) | Self::Packages(text) => (text.added_lines, text.removed_lines),
            Self::Archive(archive) => {
                let counts = archive.members.iter().map(|member| member.content.line_counts());
                counts.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
            }
            Self::Opaque(_) => (0, 0),
        }
    }
}

/// Compares two contents of which at least one exists.
pub(crate) fn compare(
    old: Option<&ArchiveBytes<'_>>,
    new: Option<&ArchiveBytes<'_>>,
    limits: ContentLimits,
    progress: &dyn Progress,
) -> Result<ContentChange> {
    let (Some(before), Some(after)) = (old, new) else {
        let Some(only) = old.or(new) else { return Ok(ContentChange::Opaque(String::new())) };
        return Ok(match whole(only, limits.text_bytes)? {
            Some(bytes) => with_one_side(&bytes, new.is_some(), limits),
            None => ContentChange::Opaque(format!("{} bytes", Grouped(only.bytes()))),
        });
    };
    let kinds = [kind_of(before)?, kind_of(after)?];
    if let [Some(kind), Some(other)] = kinds
        && kind == other
        && let Some(change) = ArchiveComparer::new(limits, progress).compare(kind, before, after)?
    {
        return Ok(ContentChange::Archive(change));
    }
    Ok(match (whole(before, limits.file_bytes)?, whole(after, limits.file_bytes)?) {
        (Some(before), Some(after)) => compare_bytes(&before, &after, limits),
        _ => ContentChange::Opaque(sizes(before.bytes(), after.bytes())),
    })
}

/// Compares two contents in memory.
pub(crate) fn compare_bytes(old: &[u8], new: &[u8], limits: ContentLimits) -> ContentChange {
    let sizes = sizes(old.len() as u64, new.len() as u64);
    if is_text(old) && is_text(new) {
        if old.len().max(new.len()) as u64 > limits.text_bytes {
            return ContentChange::Opaque(format!("{sizes}; a text that is too long to compare"));
        }
        return ContentChange::Text(TextChange::between(old, new, limits.hunk_lines));
    }
    ContentChange::Opaque(match elf::compare(old, new) {
        Some(sections) => format!("{sizes}; {sections}"),
        None => sizes,
    })
}

/// Returns the change of a content that only one side has.
fn with_one_side(bytes: &[u8], is_new: bool, limits: ContentLimits) -> ContentChange {
    let (old, new) = if is_new { (&[][..], bytes) } else { (bytes, &[][..]) };
    if is_text(bytes) && bytes.len() as u64 <= limits.text_bytes {
        return ContentChange::Text(TextChange::between(old, new, limits.hunk_lines));
    }
    ContentChange::Opaque(format!("{} bytes", Grouped(bytes.len() as u64)))
}

fn kind_of(bytes: &ArchiveBytes<'_>) -> Result<Option<ArchiveKind>> {
    let start = bytes.read(0, bytes.bytes().min(START_BYTES as u64))?;
    let kind = start.and_then(|start| archive::recognise(&start));
    // ELF files are compared by their sections.
    Ok(kind.filter(|kind| *kind != ArchiveKind::Elf))
}

/// Reads a whole content; `None` if it is too long.
fn whole(bytes: &ArchiveBytes<'_>, most_bytes: u64) -> Result<Option<Vec<u8>>> {
    if bytes.bytes() > most_bytes { Ok(None) } else { bytes.read(0, bytes.bytes()) }
}

fn sizes(old: u64, new: u64) -> String {
    if old == new {
        return format!("{} bytes, other content", Grouped(new));
    }
    format!("{} -> {} bytes", Grouped(old), Grouped(new))
}

/// A member of an archive, to be compared.
struct ArchiveMember<'a> {
    archive: &'a ArchiveBytes<'a>,
    part: ArchivePart,
}

/// Compares archives with those inside them, within a budget for all.
struct ArchiveComparer<'a> {
    limits: ContentLimits,
    progress: &'a dyn Progress,
    /// Bytes of members that may still be inflated.
    left_bytes: u64,
    /// Members that may still be listed.
    left_members: u64,
    /// Archives that contain the one that is being compared.
    depth: u32,
}

impl<'a> ArchiveComparer<'a> {
    fn new(limits: ContentLimits, progress: &'a dyn Progress) -> Self {
        let (left_bytes, left_members) = (MOST_INFLATED_BYTES, MOST_MEMBERS);
        Self { limits, progress, left_bytes, left_members, depth: 0 }
    }

    /// Compares two archives of one kind; `None` if one of them is damaged.
    fn compare(
        &mut self,
        kind: ArchiveKind,
        old: &ArchiveBytes<'_>,
        new: &ArchiveBytes<'_>,
    ) -> Result<Option<ArchiveChange>> {
        let opened = (OpenedArchive::read(kind, old)?, OpenedArchive::read(kind, new)?);
        let (Some(before), Some(after)) = opened else { return Ok(None) };
        // A zip may have a name twice: the first of one side belongs to the first of the other.
        let mut olds: HashMap<Vec<u8>, Vec<ArchivePart>> = HashMap::new();
        let mut order = Vec::new();
        for part in before.parts.into_iter().rev() {
            order.push(part.name.clone());
            olds.entry(part.name.clone()).or_default().push(part);
        }
        let mut change = ArchiveChange {
            kind: match kind {
                ArchiveKind::Gzip => "gzip",
                ArchiveKind::Zip => "zip",
                ArchiveKind::Tar => "tar",
                ArchiveKind::Elf => "elf",
                ArchiveKind::Xz => "xz",
                ArchiveKind::Zstd => "zstd",
                ArchiveKind::Ar => "deb",
                ArchiveKind::Fatbin => "fatbin",
                ArchiveKind::Jimage => "jimage",
            },
            members: Vec::new(),
            unchanged_members: 0,
            omitted_members: 0,
        };
        for part in after.parts {
            let partner = olds.get_mut(&part.name).and_then(Vec::pop);
            let partner = partner.map(|part| ArchiveMember { archive: old, part });
            let member = ArchiveMember { archive: new, part };
            self.take(&mut change, partner.as_ref(), Some(&member))?;
        }
        for name in order.into_iter().rev() {
            if let Some(part) = olds.get_mut(&name).and_then(Vec::pop) {
                self.take(&mut change, Some(&ArchiveMember { archive: old, part }), None)?;
            }
        }
        Ok(Some(change))
    }

    fn take(
        &mut self,
        change: &mut ArchiveChange,
        old: Option<&ArchiveMember<'_>>,
        new: Option<&ArchiveMember<'_>>,
    ) -> Result<()> {
        self.progress.check()?;
        if let (Some(old), Some(new)) = (old, new)
            && old.has_stored_bytes_of(new)?
        {
            change.unchanged_members += 1;
            return Ok(());
        }
        if self.left_members == 0 {
            change.omitted_members += 1;
            return Ok(());
        }
        let before = old.map(|member| self.inflated(member)).transpose()?;
        let after = new.map(|member| self.inflated(member)).transpose()?;
        if let (Some(Some(before)), Some(Some(after))) = (&before, &after)
            && before == after
        {
            change.unchanged_members += 1;
            return Ok(());
        }
        self.left_members -= 1;
        let (presence, content) = match (before, after) {
            (Some(Some(before)), Some(Some(after))) => {
                (MemberPresence::Both, self.compare_members(&before, &after)?)
            }
            (None, Some(Some(after))) => {
                (MemberPresence::New, with_one_side(&after, true, self.limits))
            }
            (Some(Some(before)), None) => {
                (MemberPresence::Old, with_one_side(&before, false, self.limits))
            }
            (before, after) => {
                let presence = match (before, after) {
                    (None, _) => MemberPresence::New,
                    (_, None) => MemberPresence::Old,
                    _ => MemberPresence::Both,
                };
                (presence, ContentChange::Opaque("damaged, or too large to compare".to_owned()))
            }
        };
        let name = new.or(old).map_or(&[][..], |member| &member.part.name);
        let name = short_name(name).into_owned();
        change.members.push(MemberPatch { name, presence, content });
        Ok(())
    }

    /// Compares the contents of two members, which may be archives.
    fn compare_members(&mut self, old: &[u8], new: &[u8]) -> Result<ContentChange> {
        let (before, after) = (ArchiveBytes::in_memory(old), ArchiveBytes::in_memory(new));
        if self.depth < MOST_DEPTH
            && let Some(kind) = archive::recognise(&old[..old.len().min(START_BYTES)])
            && archive::recognise(&new[..new.len().min(START_BYTES)]) == Some(kind)
        {
            self.depth += 1;
            let compared = self.compare(kind, &before, &after);
            self.depth -= 1;
            if let Some(change) = compared? {
                return Ok(ContentChange::Archive(change));
            }
        }
        Ok(compare_bytes(old, new, self.limits))
    }

    /// Returns the content of a member; `None` if it is damaged or exceeds what is left.
    fn inflated(&mut self, member: &ArchiveMember<'_>) -> Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        let most_bytes = self.limits.file_bytes.min(self.left_bytes);
        let read =
            member.part.inflate(member.archive, most_bytes, self.progress, &mut |piece| {
                content.extend_from_slice(piece);
                Ok(())
            })?;
        self.left_bytes = self.left_bytes.saturating_sub(content.len() as u64);
        Ok(read.map(|_| content))
    }
}

impl ArchiveMember<'_> {
    /// True if both members are stored in the same bytes, with the same compression.
    fn has_stored_bytes_of(&self, other: &Self) -> Result<bool> {
        let bytes = |member: &Self| member.part.stored.end - member.part.stored.start;
        if self.part.compression != other.part.compression || bytes(self) != bytes(other) {
            return Ok(false);
        }
        let mut at = 0;
        while at < bytes(self) {
            let count = (bytes(self) - at).min(COMPARED_BYTES);
            let piece = |member: &Self| member.archive.read(member.part.stored.start + at, count);
            if piece(self)? != piece(other)? {
                return Ok(false);
            }
            at += count;
        }
        Ok(true)
    }
}

/// Archives around one that is opened: a jar in a war in a gzipped tar is.
const MOST_DEPTH: u32 = 3;

/// Members of one file that are listed, those of archives in it included.
const MOST_MEMBERS: u64 = 2000;

/// Content of members that one file may make the comparison inflate.
const MOST_INFLATED_BYTES: u64 = 128 << 20;

const COMPARED_BYTES: u64 = 256 << 10;
