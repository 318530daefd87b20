//! Finds the encoder of a zstd stream or an LZ4 block, and remakes it bit for bit from its plain bytes.
//!
//! Never does I/O: callers hand bytes in through [`ByteSource`]. Never starts threads, except for
//! the one of the reference encoder for frames in jobs.
//!
//! - [`detect`] finds the encoder of a blob, from the blob and its plain bytes; [`detect_file`] that of
//!   a file among many.
//! - [`Remaker`] remakes a stream by a [`Recipe`], or by a [`FileRecipe`], which needs no length.
//! - [`FileDecoder`] decodes a file in pieces.
//! - [`FrameWriter`] writes frames one by one, for formats that define their own frames.
//! - [`lz4`] does the same for LZ4 blocks.
//!
#![doc = include_str!("../README.md")]
// A codec converts lengths, counts and positions between widths everywhere. The format limits the
// range of each value, so checked conversions would not find anything.
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod bits;
mod decoder;
mod detect;
mod encoder;
mod error;
mod file;
mod frame;
mod fse;
mod huffman;
mod klauspost;
mod libzstd;
pub mod lz4;
mod model;
mod recipe;
mod remake;
mod source;
mod xxh64;

pub use decoder::FileDecoder;
pub use detect::{DetectOptions, detect, detect_file, frame_ends};
pub use error::{RecipeError, RemakeError};
pub use file::{FileRecipe, MOST_FILE_WINDOW};
pub use klauspost::{KlauspostLevel, KlauspostVersion};
pub use libzstd::{LibzstdCall, LibzstdInput};
pub use model::EncoderModel;
pub use recipe::{FrameRecipe, Recipe, RecipeLimits, RecipePart};
pub use remake::{FrameWriter, Remaker};
pub use source::ByteSource;
