//! Xz files: one part, which is the content of all streams.
//! Never skips a byte: a file that does not end behind a stream is not opened.

use super::{
    ArchiveBytes, ArchiveOutput, InnerCoding, InnerPayloads,
    whole::{self, FileEncoder, STEP_BYTES},
};
use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_xz::{DecodeOptions, RemakeError, Remaker, XzDecoder};

/// Unpacks all streams, and returns the length of the content.
///
/// Returns `None` if a stream is damaged or has an unsupported feature, or if the content exceeds
/// `most_bytes`.
pub(super) fn unpack(
    slice: &ArchiveBytes<'_>,
    most_bytes: u64,
    progress: &dyn Progress,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Option<u64>> {
    let mut decoder = XzDecoder::new(DecodeOptions::default());
    let (mut plain_bytes, mut is_right, mut outcome) = (0, true, Ok(()));
    slice.pieces(0..slice.bytes(), progress, &mut |piece| {
        // A small piece may unpack to a lot, and every step looks at the limits.
        for piece in piece.chunks(STEP_BYTES) {
            let pushed = decoder.push(piece, &mut |plain| {
                plain_bytes += plain.len() as u64;
                if plain_bytes <= most_bytes && outcome.is_ok() {
                    outcome = sink(plain);
                }
            });
            std::mem::replace(&mut outcome, Ok(()))?;
            progress.check()?;
            is_right = pushed.is_ok() && plain_bytes <= most_bytes;
            if !is_right {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    Ok((is_right && decoder.finish().is_ok()).then_some(plain_bytes))
}

/// Writes an xz file from its one inner payload.
pub(super) fn close(
    inner: &dyn InnerPayloads,
    progress: &dyn Progress,
    out: &mut ArchiveOutput<'_>,
) -> Result<u64> {
    let (1, InnerCoding::Xz(recipe)) = (inner.count(), inner.coding(0)) else {
        let what = "an xz file needs exactly one inner payload, with a compression of xz";
        return Err(Error::bad_input(inner.place(), what));
    };
    whole::close(Remaker::new(recipe), inner, progress, out)
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
