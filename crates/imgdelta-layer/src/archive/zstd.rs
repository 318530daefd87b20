//! Zstd files: one part, which is the content of all frames.
//! Never skips a byte: a file that does not end behind a frame is not opened.

use super::{
    ArchiveBytes, ArchiveOutput, InnerCoding, InnerPayloads,
    whole::{self, FileEncoder},
};
use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_zstd::{FileDecoder, RemakeError, Remaker};

/// First bytes of a frame.
pub(super) const START: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Decodes all frames, and returns the length of the content.
///
/// Returns `None` if a frame is damaged or has too large a window, or if the content exceeds
/// `most_bytes`.
pub(super) fn unpack(
    slice: &ArchiveBytes<'_>,
    most_bytes: u64,
    progress: &dyn Progress,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Option<u64>> {
    let Some(mut decoder) = FileDecoder::new() else { return Ok(None) };
    let (mut plain_bytes, mut is_right, mut outcome) = (0, true, Ok(()));
    slice.pieces(0..slice.bytes(), progress, &mut |piece| {
        is_right = decoder.push(piece, &mut |plain| {
            plain_bytes += plain.len() as u64;
            if plain_bytes <= most_bytes {
                outcome = progress.check().and_then(|()| sink(plain));
            }
            plain_bytes <= most_bytes && outcome.is_ok()
        });
        std::mem::replace(&mut outcome, Ok(()))?;
        Ok(is_right)
    })?;
    Ok((is_right && decoder.finish()).then_some(plain_bytes))
}

/// Writes a zstd file from its one inner payload.
pub(super) fn close(
    inner: &dyn InnerPayloads,
    progress: &dyn Progress,
    out: &mut ArchiveOutput<'_>,
) -> Result<u64> {
    let (1, InnerCoding::Zstd(recipe)) = (inner.count(), inner.coding(0)) else {
        let what = "a zstd file needs exactly one inner payload, with a compression of zstd";
        return Err(Error::bad_input(inner.place(), what));
    };
    let recipe = recipe.frames(inner.bytes(0));
    whole::close(Remaker::new(&recipe), inner, progress, out)
}

impl FileEncoder for Remaker<'_> {
    type Error = RemakeError;

    fn write(
        &mut self,
        plain: &[u8],
        packed: &mut Vec<u8>,
    ) -> std::result::Result<(), RemakeError> {
        self.write(plain, packed)
    }

    fn finish(self, packed: &mut Vec<u8>) -> std::result::Result<(), RemakeError> {
        self.finish(packed)
    }
}
