//! Zstd files: one part, which is the content of all frames.
//! Never skips a byte: a file that does not end behind a frame is not opened.

use super::{
    ArchiveBytes, ArchiveOutput, ArchivePart, InnerCoding, InnerPayloads, OpenedArchive,
    PartCompression, pieces,
};
use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_zstd::{FileDecoder, RemakeError, Remaker};

/// First bytes of a frame.
pub(super) const START: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Returns the one part, unchecked: only decoding shows damage.
pub(super) fn read(slice: &ArchiveBytes<'_>) -> OpenedArchive {
    let part = ArchivePart {
        name: Vec::new(),
        stored: 0..slice.bytes(),
        compression: PartCompression::Zstd,
    };
    OpenedArchive { parts: vec![part], structure: Vec::new() }
}

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
    let wrong = |error: RemakeError| {
        Error::bad_input_because(inner.place(), "its compression cannot be remade", error)
    };
    let recipe = recipe.frames(inner.bytes(0));
    let mut remaker = Remaker::new(&recipe);
    let (mut packed, mut at) = (Vec::new(), 0);
    pieces(inner, 0, progress, &mut |piece| {
        // Compressing is slow; a caller that wants to stop should not wait long.
        for piece in piece.chunks(STEP_BYTES) {
            progress.check()?;
            remaker.write(piece, &mut packed).map_err(wrong)?;
            out(at, &packed)?;
            at += packed.len() as u64;
            packed.clear();
        }
        Ok(())
    })?;
    remaker.finish(&mut packed).map_err(wrong)?;
    out(at, &packed)?;
    Ok(at + packed.len() as u64)
}

const STEP_BYTES: usize = 64 << 10;
