//! Differences between two container images, and deltas that rebuild the newer one exactly.
//!
//! An [`Image`](image::Image) is opened from where it lies (an OCI layout, an archive), a
//! [`Survey`](survey::Survey) reads its layers once, in parallel and in bounded memory, and a
//! [`Diff`](diff::Diff) of two surveys says what changed: layers, config, files, packages. All are
//! values; nothing is unpacked, nothing is written but the cache one asks for.
//!
//! ```no_run
//! use imgdelta::{
//!     diff::{Diff, Ignore},
//!     image::{self, OpenOptions},
//!     parallel::Workers,
//!     progress::Silent,
//!     survey::{self, SurveyOptions},
//! };
//!
//! # fn main() -> imgdelta::Result<()> {
//! let images = image::open_pair(
//!     &"oci:images:old".parse()?,
//!     &"oci:images:new".parse()?,
//!     &OpenOptions::default(),
//! )?;
//! let workers = Workers::new(0)?;
//! let [base, target] = survey::both(images, &SurveyOptions::default(), &workers, &Silent)?;
//! let diff = Diff::between(&base, &target, &Ignore::default());
//! println!("{diff}");
//! for change in &diff.files {
//!     println!("{} {:?}", change.path, change.fate);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The core is synchronous and mute: no terminal, no network, no environment, no clock. The same
//! inputs give the same results for any number of threads.

pub mod apply;
mod archive;
mod chunked;
#[cfg(feature = "make")]
pub mod cost;
pub mod delta;
#[cfg(feature = "make")]
pub mod diff;
#[cfg(feature = "make")]
pub mod draft;
#[cfg(feature = "make")]
pub mod encode;
pub mod envelope;
pub mod error;
pub mod headers;
pub mod image;
#[cfg(feature = "make")]
pub mod index;
#[cfg(feature = "make")]
pub mod inside;
pub mod inspect;
#[cfg(feature = "make")]
mod landmarks;
pub mod limits;
pub mod note;
#[cfg(feature = "make")]
pub mod packages;
pub mod parallel;
pub mod path;
#[cfg(feature = "make")]
pub mod plan;
pub mod progress;
pub mod reference;
mod remake;
#[cfg(feature = "make")]
pub mod rootfs;
pub mod scratch;
pub mod sink;
pub mod size;
#[cfg(feature = "make")]
pub mod sources;
pub mod store;
#[cfg(feature = "make")]
pub mod survey;
pub mod tarscan;
pub mod verify;
pub mod volume;

pub use error::{Error, Result};
pub use imgdelta_format::{Algorithm, BlobDigest, DiffId, PayloadDigest};
pub use limits::Limits;
pub use note::Note;
pub use reference::Reference;

/// The README's example is compiled with the documentation tests.
#[cfg(all(doctest, feature = "make"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
