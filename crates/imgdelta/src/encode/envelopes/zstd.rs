//! Blobs of zstd: found by trial, read as often as there are trials that begin well.
//!
//! Never holds a blob.

use super::Seeker;
use crate::{Error, Result, image::Image, store::Descriptor, volume::Stream};
use imgdelta_zstd::{DetectOptions, Limits, Recipe, Source, detect};
use std::{cell::RefCell, io::Read};

/// The reference encoder at its highest usual level takes most of this; others a fifth.
pub(super) const SEARCH_BYTES: u64 = 192 << 20;

impl Seeker<'_> {
    /// Returns a recipe that has made the very blob; `None` if the blob is no zstd, or of an
    /// encoder that is not known.
    pub(super) fn zstd(&self) -> Result<Option<Vec<u8>>> {
        let Some(stream) = self.volume.stream(&self.layer.diff_id) else { return Ok(None) };
        let blob = Blob::new(self.image, &self.layer.descriptor);
        let plain = Plain { stream, seeker: self };
        let Some(recipe) = detect(&blob, &plain, DetectOptions::default())? else {
            return Ok(None);
        };
        let bytes = recipe.to_bytes();
        let read = Recipe::from_bytes(&bytes, Limits::default());
        let is_worth_it = bytes.len() as u64 <= self.most_bytes();
        Ok((is_worth_it && read == Ok(recipe)).then_some(bytes))
    }
}

/// A stream in the volume; asks now and then whether to go on.
struct Plain<'a> {
    stream: &'a Stream,
    seeker: &'a Seeker<'a>,
}

impl Source for Plain<'_> {
    type Error = Error;

    fn bytes(&self) -> u64 {
        self.stream.bytes()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.seeker.progress.check()?;
        self.stream.read_exact_at(offset, buffer)
    }
}

/// A blob that is opened again when what came before is asked for.
struct Blob<'a> {
    image: &'a Image,
    descriptor: &'a Descriptor,
    open: RefCell<Option<(Box<dyn Read + Send>, u64)>>,
}

impl<'a> Blob<'a> {
    fn new(image: &'a Image, descriptor: &'a Descriptor) -> Self {
        Self { image, descriptor, open: RefCell::new(None) }
    }
}

impl Source for Blob<'_> {
    type Error = Error;

    fn bytes(&self) -> u64 {
        self.descriptor.size_bytes
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut open = self.open.borrow_mut();
        if open.as_ref().is_none_or(|(_, position)| *position > offset) {
            *open = Some((self.image.store().open(self.descriptor)?, 0));
        }
        let Some((reader, position)) = open.as_mut() else { unreachable!("opened above") };
        let place = || format!("blob {}", self.descriptor.digest);
        let gap = offset - *position;
        let skipped = std::io::copy(&mut reader.by_ref().take(gap), &mut std::io::sink());
        let outcome = match skipped {
            Ok(bytes) if bytes < gap => Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => reader.read_exact(buffer),
            Err(error) => Err(error),
        };
        outcome.map_err(Error::io(place()))?;
        *position = offset + buffer.len() as u64;
        Ok(())
    }
}
