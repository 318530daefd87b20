//! Unpacks xz streams, finds their encoder, and remakes them bit for bit from their plain bytes.
//!
//! Never does I/O, never starts threads.
//!
//! - [`XzDecoder`] unpacks streams that come in pieces.
//! - [`detect`] finds the encoder of a file.
//! - [`Remaker`] remakes a file by a [`Recipe`].
#![doc = include_str!("../README.md")]
// A codec converts lengths, counts and positions between widths everywhere. The format limits the
// range of each value, so checked conversions would not find anything.
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod check;
mod container;
mod decoder;
mod detect;
mod encoder;
mod error;
mod filters;
mod lzma2;
mod model;
mod recipe;
mod remake;
mod state;

pub use check::CheckKind;
pub use container::MAGIC;
pub use decoder::{DecodeOptions, XzDecoder};
pub use detect::{DetectOptions, detect, memory_bytes};
pub use encoder::{EncoderSettings, Finder, SearchEffort};
pub use error::{RecipeError, RemakeError, XzError};
pub use filters::Filter;
pub use recipe::{BlockForm, BlockRun, Packing, Recipe, RecipeLimits, StreamRecipe};
pub use remake::Remaker;
pub use state::Properties;
