//! ELF files with compressed programs for graphics processors, in the containers of CUDA: one part
//! for the file in which these programs are zeros, then one for each program, unpacked.
//! Holds the section headers and one program in memory, never the file.
//!
//! The first part has the length of the file, so that a view of code finds every address in it. All
//! headers are in it, too: closing finds the places of the programs as opening does, and needs no
//! structure. The programs are LZ4 blocks; those that zstd packs stay as they are.

mod containers;

use super::{
    ArchiveBytes, ArchiveOutput, ArchivePart, InnerCoding, InnerPayloads, OpenedArchive,
    PartCompression, bytes::length, pieces, pieces_of,
};
use containers::{PackedProgram, programs};
use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_zstd::lz4::{self, Lz4Encoder, MOST_PLAIN_BYTES};
use std::{collections::HashMap, ops::Range};

/// Reads the headers of an ELF file and of its containers; `None` if no program is compressed.
pub(super) fn read(slice: &ArchiveBytes<'_>) -> Result<Option<OpenedArchive>> {
    let Some(programs) = programs_of(slice)? else { return Ok(None) };
    let mut parts = vec![ArchivePart {
        name: HOST_NAME.to_vec(),
        stored: 0..slice.bytes(),
        compression: PartCompression::Hollow,
    }];
    let mut ordinals: HashMap<(u16, u32), u32> = HashMap::new();
    for program in programs {
        let PackedProgram { stored, plain_bytes, kind, architecture } = program;
        // Programs of another architecture come and go between releases; the others keep their names.
        let ordinal = ordinals.entry((kind, architecture)).or_default();
        let name = format!("{kind}-sm_{architecture}-{ordinal}").into_bytes();
        *ordinal += 1;
        let compression = PartCompression::Lz4 { bytes: plain_bytes };
        parts.push(ArchivePart { name, stored, compression });
    }
    Ok(Some(OpenedArchive { parts, structure: Vec::new() }))
}

/// Passes the file with zeros for its programs to `sink`, and returns its length.
pub(super) fn hollow(
    slice: &ArchiveBytes<'_>,
    most_bytes: u64,
    progress: &dyn Progress,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Option<u64>> {
    let Some(programs) = programs_of(slice)?.filter(|_| slice.bytes() <= most_bytes) else {
        return Ok(None);
    };
    let zeros = [0; ZEROS];
    let mut at = 0;
    for PackedProgram { stored, .. } in programs {
        slice.pieces(at..stored.start, progress, &mut |piece| sink(piece).map(|()| true))?;
        let mut left = stored.end - stored.start;
        while left > 0 {
            let count = length(left).min(ZEROS);
            sink(&zeros[..count])?;
            left -= count as u64;
        }
        at = stored.end;
    }
    slice.pieces(at..slice.bytes(), progress, &mut |piece| sink(piece).map(|()| true))?;
    Ok(Some(slice.bytes()))
}

/// Passes the content of an LZ4 block to `sink`, and returns its length; `None` if it is damaged or
/// not `plain_bytes` long.
pub(super) fn unpack(
    slice: &ArchiveBytes<'_>,
    stored: Range<u64>,
    plain_bytes: u64,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Option<u64>> {
    let Some(block) = slice.read(stored.start, stored.end - stored.start)? else {
        return Ok(None);
    };
    let Some(plain) = lz4::decode(&block, length(plain_bytes)) else { return Ok(None) };
    sink(&plain)?;
    Ok(Some(plain_bytes))
}

/// Writes an ELF file. Its inner payloads are the file with zeros for its programs, and the
/// programs, each with a compression of LZ4 or as it is stored.
pub(super) fn close(
    inner: &dyn InnerPayloads,
    progress: &dyn Progress,
    out: &mut ArchiveOutput<'_>,
) -> Result<u64> {
    let wrong = |what: &str| Error::bad_input(inner.place(), what);
    if inner.count() == 0 || !matches!(inner.coding(0), InnerCoding::Plain) {
        return Err(wrong("its first inner payload is not an ELF file without a compression"));
    }
    let bytes = inner.bytes(0);
    let found = programs(bytes, &mut |at, count| {
        if at.checked_add(count).is_none_or(|end| end > bytes) {
            return Ok(None);
        }
        let mut buffer = vec![0; length(count)];
        inner.read_exact_at(0, at, &mut buffer)?;
        Ok(Some(buffer))
    })?;
    let found = found.ok_or_else(|| wrong("its containers are not valid"))?;
    if found.len() != inner.count() - 1 {
        return Err(wrong("it has another number of programs"));
    }
    let mut from = 0;
    for (PackedProgram { stored, .. }, ordinal) in found.into_iter().zip(1..) {
        copy(inner, from..stored.start, progress, out)?;
        let end = program(inner, ordinal, stored.start, progress, out)?;
        if end != stored.end {
            return Err(wrong("a program is not as long as its header says"));
        }
        from = end;
    }
    copy(inner, from..bytes, progress, out)?;
    Ok(bytes)
}

/// Writes a range of the first inner payload.
fn copy(
    inner: &dyn InnerPayloads,
    range: Range<u64>,
    progress: &dyn Progress,
    out: &mut ArchiveOutput<'_>,
) -> Result<()> {
    let mut at = range.start;
    pieces_of(inner, 0, range, progress, &mut |piece| {
        out(at, piece)?;
        at += piece.len() as u64;
        Ok(())
    })
}

/// Writes the stored bytes of a program, and returns the offset behind them.
fn program(
    inner: &dyn InnerPayloads,
    ordinal: usize,
    start: u64,
    progress: &dyn Progress,
    out: &mut ArchiveOutput<'_>,
) -> Result<u64> {
    let mut at = start;
    match inner.coding(ordinal) {
        InnerCoding::Lz4(encoder) => {
            let block = compressed(inner, ordinal, encoder, progress)?;
            out(at, &block)?;
            at += block.len() as u64;
        }
        InnerCoding::Plain => pieces(inner, ordinal, progress, &mut |piece| {
            out(at, piece)?;
            at += piece.len() as u64;
            Ok(())
        })?,
        InnerCoding::Packed(..)
        | InnerCoding::Deflate(_)
        | InnerCoding::Xz(_)
        | InnerCoding::Zstd(_) => {
            let what = "a program for a graphics processor has a compression other than LZ4";
            return Err(Error::bad_input(inner.place(), what));
        }
    }
    Ok(at)
}

fn compressed(
    inner: &dyn InnerPayloads,
    ordinal: usize,
    encoder: Lz4Encoder,
    progress: &dyn Progress,
) -> Result<Vec<u8>> {
    progress.check()?;
    let bytes = inner.bytes(ordinal);
    if bytes > MOST_PLAIN_BYTES {
        return Err(Error::bad_input(inner.place(), lz4::Lz4Error::TooLong));
    }
    let mut plain = vec![0; length(bytes)];
    inner.read_exact_at(ordinal, 0, &mut plain)?;
    encoder.encode(&plain).map_err(|error| {
        Error::bad_input_because(inner.place(), "its compression cannot be remade", error)
    })
}

fn programs_of(slice: &ArchiveBytes<'_>) -> Result<Option<Vec<PackedProgram>>> {
    programs(slice.bytes(), &mut |at, count| slice.read(at, count))
}

/// Name of the part that is the file.
const HOST_NAME: &[u8] = b"host";
const ZEROS: usize = 4096;
