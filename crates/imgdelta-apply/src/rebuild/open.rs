//! Archives of the base, opened behind the sources of a recipe.
//! Never closes an archive.
//!
//! An archive inside another is opened after it. All archives that are already in the address space
//! are opened in parallel. Parts are not verified here: the digest of the finished layer does that.

use crate::delta::{ArchiveSource, Recipe};
use imgdelta_core::{Context, Error, Result, progress::Progress, scratch::ScratchFile};
use imgdelta_image::volume::{AddressSpace, FileExtent};
use imgdelta_layer::archive::{ArchiveBytes, OpenedArchive, PartCompression};
use std::sync::Arc;

/// A part of an opened archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct BasePart {
    /// Address of the inflated part.
    pub address: u64,
    /// Length of the inflated part.
    pub bytes: u64,
    /// Address and length in the archive; none for a structure.
    pub stored: Option<(u64, u64)>,
    /// Checksum and length that the archive states for a deflated part.
    pub stated: Option<(u32, u64)>,
}

/// Opens the archives of a recipe's base and appends their parts to the address space.
pub(super) fn open(
    space: &mut AddressSpace,
    recipe: &Recipe,
    place: &str,
    context: &Context,
) -> Result<Vec<BasePart>> {
    let mut parts = Vec::new();
    let mut left = &recipe.nested.opened[..];
    let mut depth = 0;
    while !left.is_empty() {
        if depth == MOST_DEPTH {
            let what = format!("archives in archives, more than {MOST_DEPTH} deep");
            return Err(Error::bad_input(place, what));
        }
        depth += 1;
        // Reading the recipe has checked that each archive ends before its own parts.
        let is_in_space = |opened: &&ArchiveSource| opened.address + opened.bytes <= space.bytes();
        let count = left.iter().take_while(is_in_space).count();
        let (now, later) = left.split_at(count);
        left = later;
        let file = context.scratch.file()?;
        let mut offset = 0;
        let mut tasks = Vec::new();
        for opened in now {
            tasks.push((*opened, offset));
            offset += opened.plain_bytes;
        }
        file.reserve(offset).map_err(Error::io(SCRATCH))?;
        let start = space.bytes();
        let opener = ArchiveOpener { space, file: &file, start, place };
        let progress = &*context.progress;
        let opened = context.workers.map(tasks, |(opened, offset)| {
            progress.check()?;
            opener.open(&opened, offset, progress)
        })?;
        parts.extend(opened.into_iter().flatten());
        let extent = FileExtent::new(SCRATCH.to_owned(), file.into())?;
        space.push(&Arc::new(extent), 0..offset)?;
    }
    Ok(parts)
}

/// Opens archives into one file.
struct ArchiveOpener<'a> {
    space: &'a AddressSpace,
    file: &'a ScratchFile,
    /// Address that the file will begin at.
    start: u64,
    place: &'a str,
}

impl ArchiveOpener<'_> {
    fn open(
        &self,
        opened: &ArchiveSource,
        offset: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<BasePart>> {
        let place = || format!("{}, archive of the base at {}", self.place, opened.address);
        let slice = ArchiveBytes::new(self.space, opened.address, opened.bytes);
        let Some(archive) = OpenedArchive::read(opened.kind, &slice)? else {
            return Err(Error::bad_input(place(), "it cannot be opened"));
        };
        let (mut parts, mut done) = (Vec::new(), 0);
        for part in &archive.parts {
            let begin = done;
            let most = opened.plain_bytes - done;
            let inflated = part.inflate(&slice, most, progress, &mut |piece| {
                self.write(piece, offset + done)?;
                done += piece.len() as u64;
                Ok(())
            })?;
            let Some(bytes) = inflated else {
                return Err(Error::bad_input(place(), "a member cannot be opened"));
            };
            let stated = match part.compression {
                PartCompression::Deflate { crc, bytes } => Some((crc, bytes)),
                PartCompression::Plain
                | PartCompression::Gzip
                | PartCompression::Sections
                | PartCompression::Xz
                | PartCompression::Zstd
                | PartCompression::Hollow
                | PartCompression::Index
                | PartCompression::Lz4 { .. } => None,
            };
            let stored = &part.stored;
            parts.push(BasePart {
                address: self.start + offset + begin,
                bytes,
                stored: Some((opened.address + stored.start, stored.end - stored.start)),
                stated,
            });
        }
        if !archive.structure.is_empty() {
            let bytes = archive.structure.len() as u64;
            let address = self.start + offset + done;
            parts.push(BasePart { address, bytes, stored: None, stated: None });
            if done + bytes <= opened.plain_bytes {
                self.write(&archive.structure, offset + done)?;
            }
            done += bytes;
        }
        if done != opened.plain_bytes {
            let what = format!("its parts have {done} bytes, should be {}", opened.plain_bytes);
            return Err(Error::bad_input(place(), what));
        }
        Ok(parts)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(Error::io(SCRATCH))
    }
}

const SCRATCH: &str = "scratch file of base archives";
/// Most levels of archives inside archives. imgdelta's own deltas have three.
const MOST_DEPTH: u32 = 8;
