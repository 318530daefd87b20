//! Frames of layers: everything of a layer's stream except the content of files.
//! Never talks to a runtime or a registry.
//!
//! A runtime that discards blobs keeps unpacked files only. The files do not give the stream back:
//! headers, their order, padding and extensions are lost. The frames keep those. Frames and files
//! together are the exact stream, which its digest shows afterwards.
//!
//! [`FrameEncoder`] takes frames while a stream passes, and [`FrameReader`] puts the stream together
//! again, or places it: [`PlacedStream`] reads files at any offset where they lie. [`FrameStore`] keeps the frames of many layers. For merged layers, [`ReplacedFiles`] keeps the files that
//! higher layers replace.
//!
//! # Form
//!
//! Integers are little-endian. `docs/format-headers.md` describes header columns; those of frames
//! have no base.
//!
//! | bytes | content |
//! |--:|---|
//! | 18 | `imgdelta frames 2` and a line end |
//! | 4, columns | for each part of the stream: the length of its packed header columns, and the columns |
//! | 4 | 0: no further part |
//! | 8 | length of the stream |
//!
//! The gaps of all parts are the stream without its payloads. A payload is the content of the file to
//! which the header before it belongs, as a scan of the stream finds it. All other content travels
//! in the gaps: of sparse files, and of members that are not files.
//!
//! A path that occurs twice, and a file that is removed again, have no content in the snapshot. Such a
//! layer gets no frames.

mod encoder;
mod files;
mod members;
mod placed;
mod reader;
mod replaced;
mod store;
mod take;
#[cfg(test)]
mod tests;

pub use encoder::FrameEncoder;
pub use files::{DiskFiles, LayerFiles, open_file};
pub use placed::{PlacedStream, PlacedStreamBuilder};
pub use reader::{AssembledStream, FrameReader};
pub use replaced::{ReplacedFiles, replaced_directory};
pub use store::{FRAMES_DIRECTORY, FrameLimits, FrameStore, FrameWriter, UnprovedFrames};
pub use take::{LayerFrames, frames_of};

/// Limits for the columns of one part.
fn part_limits() -> imgdelta_core::Limits {
    let mut limits = imgdelta_core::Limits::default();
    limits.layer_text_bytes = MOST_COLUMN_BYTES;
    limits
}

/// First bytes of frames.
const MAGIC: &[u8; 18] = b"imgdelta frames 2\n";
/// Header bytes of one part, after which another begins. A part is held in memory on both sides.
const PART_BYTES: usize = 32 << 20;
/// Most bytes of packed columns that a reader accepts. Columns are hardly larger than the headers.
const MOST_PACKED_BYTES: u32 = 48 << 20;
/// Most bytes of the columns of one part that a reader unpacks.
const MOST_COLUMN_BYTES: u64 = 64 << 20;
