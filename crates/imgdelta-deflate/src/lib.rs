//! Finds the encoder of a deflate stream, and remakes the stream bit for bit from its plain bytes.
//!
//! Never does I/O, never starts threads, and never trusts a recipe: a damaged one gives an error or
//! wrong bytes, and no panic.
//!
//! - [`detect_gzip`] and [`detect_raw`] take a whole stream, [`Detector`] takes many of them, and
//!   [`ModelCandidates`] with [`MemberScan`] takes a stream in pieces.
//! - [`Remaker`] remakes a stream in order, and [`DividedRecipe`] in spans, in parallel.
//! - [`inflate`] is a decoder of its own, which also reports blocks and tokens.
//!
#![doc = include_str!("../README.md")]
// A codec converts lengths, counts and positions between widths everywhere. The format limits the
// range of each value, so checked conversions would not find anything.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]

pub mod inflate;

mod alphabet;
mod bits;
mod detect;
mod divided;
mod encoders;
mod error;
mod fallback;
mod golang;
mod gzip;
mod huffman;
mod join;
mod klauspost;
mod mid_stream;
mod miniz;
mod model;
mod recipe;
mod remake;
mod spans;
mod token;
mod window;
mod zlib;
mod zlib_ng;

// For tests of other crates, without any promise of stability.
#[doc(hidden)]
pub use bits::BitWriter;
#[doc(hidden)]
pub use remake::pgzip_segment;

pub use detect::{
    DetectOptions, DetectWork, Detector, MemberScan, MemberScanResult, MemberTrial,
    ModelCandidates, TrialBudget, TrialCredit, TrialProgress, detect_gzip, detect_raw,
};
pub use divided::{
    DividedRecipe, LAST_SPAN_BYTES, MAX_LITERALS, MAX_SPAN_BYTES, MIN_SPAN_BYTES, RestartPoint,
};
pub use encoders::EncoderCache;
pub use error::{RecipeError, RemakeError};
pub use fallback::ReplayError;
pub use gzip::{GZIP_TRAILER_BYTES, GzipChecksum, GzipHeader, GzipHeaderError};
pub use join::SpanJoiner;
pub use klauspost::KlauspostVersion;
pub use model::EncoderModel;
pub use recipe::{MemberTrailer, Recipe, RecipeLimits, RecipeMember};
pub use remake::Remaker;
pub use spans::{RemakeStep, RemakeSteps, Span, SpanOutput};
pub use token::Token;
pub use zlib::{ChromiumHash, PigzBlocks, ZlibStrategy};
pub use zlib_ng::{CallSizes, ZlibNgVersion};
