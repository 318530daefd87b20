//! Compressed files, whose one part is the content of the whole file.
//! Never knows a compression: the module of each passes its encoder.

use super::{
    ArchiveBytes, ArchiveOutput, ArchivePart, InnerPayloads, OpenedArchive, PartCompression, pieces,
};
use imgdelta_core::{Error, Result, progress::Progress};

/// Returns the one part, unchecked: only unpacking shows damage.
pub(super) fn read(slice: &ArchiveBytes<'_>, compression: PartCompression) -> OpenedArchive {
    let part = ArchivePart { name: Vec::new(), stored: 0..slice.bytes(), compression };
    OpenedArchive { parts: vec![part], structure: Vec::new() }
}

/// An encoder that makes a file from its content.
pub(super) trait FileEncoder {
    /// An error of a recipe that no encoder wrote.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Takes content, and appends the bytes that are ready to `packed`.
    fn write(&mut self, plain: &[u8], packed: &mut Vec<u8>)
    -> std::result::Result<(), Self::Error>;

    /// Appends the last bytes.
    fn finish(self, packed: &mut Vec<u8>) -> std::result::Result<(), Self::Error>;
}

/// Makes a file from its one inner payload, and returns its length.
pub(super) fn close<E: FileEncoder>(
    mut encoder: E,
    inner: &dyn InnerPayloads,
    progress: &dyn Progress,
    out: &mut ArchiveOutput<'_>,
) -> Result<u64> {
    let wrong = |error: E::Error| {
        Error::bad_input_because(inner.place(), "its compression cannot be remade", error)
    };
    let (mut packed, mut at) = (Vec::new(), 0);
    pieces(inner, 0, progress, &mut |piece| {
        // Packing is slow; a caller that wants to stop should not wait long.
        for piece in piece.chunks(STEP_BYTES) {
            progress.check()?;
            encoder.write(piece, &mut packed).map_err(wrong)?;
            out(at, &packed)?;
            at += packed.len() as u64;
            packed.clear();
        }
        Ok(())
    })?;
    encoder.finish(&mut packed).map_err(wrong)?;
    out(at, &packed)?;
    Ok(at + packed.len() as u64)
}

/// Bytes between two looks at the caller's wish to stop.
pub(super) const STEP_BYTES: usize = 64 << 10;
