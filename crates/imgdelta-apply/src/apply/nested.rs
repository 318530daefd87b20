//! Archives of the base opened, and archives of the target closed.
//!
//! Both side by side, nested ones in their turn: an archive in another is opened after it and
//! closed before it. What comes out is not trusted; the digest of the stream is compared when the
//! layer is put together.

use super::table::{Lies, Prepared};
use crate::delta::{ArchiveSource, ArchiveTarget, Recipe};
use imgdelta_core::{Context, Error, Result, progress::Progress, scratch::write_all_at};
use imgdelta_image::{
    store::source::ReadAt,
    volume::{AddressSpace, FileExtent},
};
use imgdelta_layer::archive::{
    ArchiveBytes, InnerCoding, InnerPayloads, OpenedArchive, PartCompression, close,
};
use std::{cmp::Reverse, collections::BTreeMap, fs::File, sync::Arc};

/// A part of an opened archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Where it lies in the address space, as it is when opened.
    pub address: u64,
    /// Its length there.
    pub bytes: u64,
    /// Where it lies as it is stored; none for a structure.
    pub stored: Option<(u64, u64)>,
    /// Checksum and length that its archive tells, if it is stored as deflate.
    pub told: Option<(u32, u64)>,
}

/// Opens the archives of a recipe's base: their parts are laid behind the sources.
pub(super) fn open(
    space: &mut AddressSpace,
    recipe: &Recipe,
    place: &str,
    context: &Context,
) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut left = &recipe.nested.opened[..];
    let mut depth = 0;
    while !left.is_empty() {
        if depth == MOST_DEPTH {
            let what = format!("archives in archives, more than {MOST_DEPTH} deep");
            return Err(Error::bad_input(place, what));
        }
        depth += 1;
        // The format has held each against what is opened before it.
        let is_there = |opened: &&ArchiveSource| opened.address + opened.bytes <= space.bytes();
        let count = left.iter().take_while(is_there).count();
        let (now, later) = left.split_at(count);
        left = later;
        let file = context.scratch.file()?;
        let mut offset = 0;
        let mut works = Vec::new();
        for opened in now {
            works.push((*opened, offset));
            offset += opened.plain_bytes;
        }
        file.set_len(offset).map_err(Error::io(SCRATCH))?;
        let start = space.bytes();
        let opening = Archives { space, file: &file, start, place };
        let progress = &*context.progress;
        let found = context.workers.map(works, |(opened, offset)| {
            progress.check()?;
            opening.open(&opened, offset, progress)
        })?;
        parts.extend(found.into_iter().flatten());
        let extent = FileExtent::new(SCRATCH.to_owned(), file, space.is_mapped())?;
        space.push(&Arc::new(extent), 0..offset)?;
    }
    Ok(parts)
}

/// Archives that are opened into one file.
struct Archives<'a> {
    space: &'a AddressSpace,
    file: &'a File,
    /// The address at which the file will begin.
    start: u64,
    place: &'a str,
}

impl Archives<'_> {
    fn open(
        &self,
        opened: &ArchiveSource,
        offset: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<Part>> {
        let place = || format!("{}, archive of the base at {}", self.place, opened.address);
        let slice = ArchiveBytes::new(self.space, opened.address, opened.bytes);
        let Some(opening) = OpenedArchive::read(opened.kind, &slice)? else {
            return Err(Error::bad_input(place(), "it cannot be opened"));
        };
        let (mut parts, mut done) = (Vec::new(), 0);
        for part in &opening.parts {
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
            let told = match part.compression {
                PartCompression::Deflate { crc, bytes } => Some((crc, bytes)),
                PartCompression::Plain | PartCompression::Gzip => None,
            };
            let stored = &part.stored;
            parts.push(Part {
                address: self.start + offset + begin,
                bytes,
                stored: Some((opened.address + stored.start, stored.end - stored.start)),
                told,
            });
        }
        if !opening.structure.is_empty() {
            let bytes = opening.structure.len() as u64;
            let address = self.start + offset + done;
            parts.push(Part { address, bytes, stored: None, told: None });
            if done + bytes <= opened.plain_bytes {
                self.write(&opening.structure, offset + done)?;
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
        write_all_at(self.file, bytes, offset).map_err(Error::io(SCRATCH))
    }
}

/// An archive of the target, with its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    /// What it is.
    pub closed: ArchiveTarget,
    /// How many archives it lies in.
    pub depth: u32,
    /// Which payload it is.
    pub payload: usize,
    /// Its first inner payload.
    pub first: usize,
    /// Where among the closed archives it begins.
    pub offset: u64,
}

/// Closes all archives of all recipes, the deepest first, those of one depth side by side.
pub(super) fn close_all(recipes: &BTreeMap<u32, Prepared>, context: &Context) -> Result<()> {
    let mut depths: BTreeMap<Reverse<u32>, Vec<(u64, &Prepared, &Closing)>> = BTreeMap::new();
    for prepared in recipes.values() {
        for closing in &prepared.closings {
            let bytes = prepared.payloads[closing.payload].bytes;
            depths.entry(Reverse(closing.depth)).or_default().push((bytes, prepared, closing));
        }
    }
    for mut works in depths.into_values() {
        works.sort_by_key(|(bytes, ..)| Reverse(*bytes));
        let progress = &*context.progress;
        context.workers.map(works, |(bytes, prepared, closing)| {
            let made = Made { prepared, closing };
            let Some(file) = &prepared.closed else { return Err(prepared.wrong(NO_FILE)) };
            let made_bytes = close(closing.closed.kind, &made, progress, &mut |at, piece| {
                if at.checked_add(piece.len() as u64).is_none_or(|end| end > bytes) {
                    let what = format!("it comes to more than its {bytes} bytes");
                    return Err(Error::bad_input(made.place(), what));
                }
                write_all_at(file, piece, closing.offset + at).map_err(Error::io(SCRATCH))
            })?;
            if made_bytes != bytes {
                let what = format!("it comes to {made_bytes} bytes, should be {bytes}");
                return Err(Error::bad_input(made.place(), what));
            }
            progress.advance(bytes);
            Ok(())
        })?;
    }
    Ok(())
}

/// What an archive is closed from.
struct Made<'a> {
    prepared: &'a Prepared,
    closing: &'a Closing,
}

impl InnerPayloads for Made<'_> {
    fn count(&self) -> usize {
        self.closing.closed.inner as usize
    }

    fn bytes(&self, inner: usize) -> u64 {
        self.prepared.payloads[self.closing.first + inner].bytes
    }

    fn read_exact_at(&self, inner: usize, at: u64, buffer: &mut [u8]) -> Result<()> {
        let lies = self.prepared.payloads[self.closing.first + inner].lies;
        self.prepared.read_exact_at(lies, at, buffer)
    }

    fn coding(&self, inner: usize) -> InnerCoding<'_> {
        let prepared = self.prepared;
        let inner = self.closing.first + inner - prepared.outer;
        match prepared.recipe.nested.coders[inner].checked_sub(1) {
            Some(coder) => InnerCoding::Deflate(&prepared.compressions[coder as usize]),
            None => match prepared.told[inner] {
                Some((crc, bytes)) => InnerCoding::Packed(crc, bytes),
                None => InnerCoding::Plain,
            },
        }
    }

    fn place(&self) -> String {
        format!("{}, archive in payload {}", self.prepared.place, self.closing.payload)
    }
}

impl Prepared {
    /// Fills `buffer` with bytes of a payload from `at` on, wherever they lie.
    pub(super) fn read_exact_at(&self, lies: Lies, at: u64, buffer: &mut [u8]) -> Result<()> {
        let (file, offset) = match lies {
            Lies::Base(address) => return self.space.read_exact_at(address + at, buffer),
            Lies::Scratch(offset) => (&self.scratch, offset),
            Lies::Closed(offset) => (&self.closed, offset),
        };
        let Some(file) = file else { return Err(self.wrong(NO_FILE)) };
        file.fill_at(buffer, offset + at).map_err(Error::io(SCRATCH))
    }
}

const SCRATCH: &str = "scratch file of archives";
const NO_FILE: &str = "nothing was rebuilt";
/// Archives in archives in archives; what is made goes three deep.
const MOST_DEPTH: u32 = 8;
