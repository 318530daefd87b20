//! Differences between two container images, and deltas that rebuild the newer one exactly.
//!
//! When version 2 of an image follows version 1, a node that has version 1 fetches only the bytes
//! that really changed. A delta reproduces the compressed blobs of the registry byte for byte. So the
//! image's digest, its signatures and every pinned digest stay valid.
//!
//! # The short path
//!
//! Add the crate with `cargo add imgdelta`, or `cargo add imgdelta --path DIR` from a clone (the crate is in its folder
//! `crates/imgdelta`). It needs a C compiler, for zstd.
//!
//! A [`Session`] holds scratch space, worker threads and limits. Its methods are the product:
//!
//! ```no_run
//! use imgdelta::Session;
//!
//! # fn main() -> imgdelta::Result<()> {
//! let session = Session::new("/var/tmp")?;
//! let (old, new) = ("oci:images:1.0".parse()?, "oci:images:1.1".parse()?);
//!
//! // What changed: layers, config, files, packages.
//! println!("{}", session.diff(&old, &new)?);
//!
//! // Make a delta, prove it by applying it, save it atomically.
//! session.create(&old, &new, "up.imgdelta")?;
//!
//! // On the node: the new image from the old one and the delta.
//! session.apply("up.imgdelta", &["oci:node:1.0".parse()?], &"oci:node:1.1".parse()?)?;
//! # Ok(())
//! # }
//! ```
//!
//! Images are OCI layouts (`oci:DIR[:TAG]`), OCI archives (`oci-archive:FILE[:TAG]`) and archives of
//! `docker save` (`docker-archive:FILE[:REF]`); see [`Reference`]. The crate `imgdelta-registry` adds
//! registries (`docker://`), `push` and `pull`.
//!
//! # Step by step
//!
//! Each step is a value that prints and can be dropped. A delta is proved before it is saved:
//!
#![cfg_attr(feature = "make", doc = "```no_run")]
#![cfg_attr(not(feature = "make"), doc = "```ignore")]
//! use imgdelta::{Session, create::CreateOptions};
//!
//! # fn main() -> imgdelta::Result<()> {
//! # let session = Session::new("/var/tmp")?;
//! # let (old, new) = ("oci:images:1.0".parse()?, "oci:images:1.1".parse()?);
//! let plan = session.plan(&old, &new, &CreateOptions::default())?;
//! let draft = plan.encode()?;
//! let cost = draft.cost()?;
//! println!("{cost}");
//! if cost.delta_bytes < cost.pull_bytes / 2 {
//!     let saved = draft.prove()?.save("up.imgdelta")?;
//!     println!("{} bytes", saved.bytes);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Rolling back
//!
//! A rollback is a delta in the other direction. Both are made from one reading of the images:
//!
#![cfg_attr(feature = "make", doc = "```no_run")]
#![cfg_attr(not(feature = "make"), doc = "```ignore")]
//! use imgdelta::{Session, create::CreateOptions, diff::DiffOptions};
//!
//! # fn main() -> imgdelta::Result<()> {
//! # let session = Session::new("/var/tmp")?;
//! # let (old, new) = ("oci:images:1.0".parse()?, "oci:images:1.1".parse()?);
//! let pair = session.read_pair(session.open_pair(&old, &new)?, &DiffOptions::default())?;
//! let up = pair.plan(&CreateOptions::default())?.encode()?.prove()?;
//! let down = pair.reversed().plan(&CreateOptions::default())?.encode()?.prove()?;
//! up.save("up.imgdelta")?;
//! down.save("down.imgdelta")?;
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! Each variant of [`Error`] is a different next step and carries digests and limits as values. A
//! delta that does not fit its base, for example, names the missing layers:
//!
//! ```
//! use imgdelta::{Error, MissingLayer};
//!
//! fn layers_to_fetch(error: &Error) -> Vec<String> {
//!     let Error::BaseMissing { missing, .. } = error else { return Vec::new() };
//!     missing
//!         .iter()
//!         .map(|layer| match layer {
//!             MissingLayer::Blob { digest, .. } => digest.to_string(),
//!             MissingLayer::Stream { diff_id, .. } => diff_id.to_string(),
//!             _ => "another layer".to_owned(),
//!         })
//!         .collect()
//! }
//! ```
//!
//! # Stores and sinks of your own
//!
//! Images come from a [`store::Store`] and go to a [`sink::Sink`]. The guide to implementing them is in
//! [`store`] and [`sink`]; `examples/custom_store.rs` is a complete program.
//!
//! # Async programs
//!
//! Everything here blocks and may use many threads. In an async program call it from a thread that
//! may block (`tokio::task::spawn_blocking`). `imgdelta-registry` has async forms of `push` and
//! `pull`.
//!
//! # Features
//!
//! | feature | default | effect |
//! |---|---|---|
//! | `make` | yes | [`Session::diff`](Session) and [`Session::create`](Session); without it, a program can apply, verify and inspect |
//! | `parallel` | yes | worker threads; without it, the caller's thread does all work |
//! | `assembly` | yes | SHA-256 in assembly (ring); without it, portable Rust (sha2) |
//! | `internals` | no | the crates behind this one, without any promise of stability |
//!
//! # Promises
//!
//! The same images, options and version give the same delta with any number of threads. No image or
//! delta is trusted: every size meets [`Limits`] before memory is taken, and no byte is visible before
//! its digest was compared. The library uses no terminal, network, environment or clock.

mod session;

pub use imgdelta_core::{
    Algorithm, BlobDigest, DiffId, Difference, Error, LimitName, Limits, MissingLayer, Note, Result,
};
pub use imgdelta_image::Reference;
pub use session::{Session, StoreOpener};

/// Delta files, opened and described.
pub mod delta {
    pub use imgdelta_apply::{
        delta::{Delta, FORMAT_VERSION},
        inspect::{Inspection, SCHEMA},
    };
}

/// Results of applying a delta.
pub mod apply {
    pub use imgdelta_apply::rebuild::{ApplyReport, LayerForm, LayerReport, LayerSource};
}

/// Comparing two images.
#[cfg(feature = "make")]
pub mod diff {
    pub use crate::session::DiffOptions;
    pub use imgdelta_diff::*;
}

/// The changes inside the files of two images: see [`Session::read_images`].
#[cfg(feature = "make")]
pub mod patch {
    pub use imgdelta_patch::*;
}

/// Making deltas, step by step: `ImagePair`, `Plan`, `Draft`, `ProvedDelta`, `SavedDelta`.
#[cfg(feature = "make")]
pub mod create {
    pub use imgdelta_make::{
        archives::ArchiveOptions,
        cost::Cost,
        draft::{Draft, LayerDraft, WindowedProgram},
        options::{CreateOptions, KeptEnvelopes, Preset, ReusableRecipe},
        pair::ImagePair,
        plan::{LayerPlan, Plan},
        proof::{ProvedDelta, SavedDelta, check_destination},
        report::{CreateReport, CreatedDelta, DeltaImage, Direction},
    };
}

/// Images: manifest, config, ordered layers.
pub mod image {
    pub use imgdelta_image::image::{Image, ImageConfig, Layer, OpenOptions, Platform};
}

pub mod sink;
pub mod store;

/// Limits for images and deltas that are not trusted.
pub mod limits {
    pub use imgdelta_core::limits::{LimitChange, LimitName, Limits, parse_size};
}

/// Paths inside layers, and escaping of untrusted text.
pub mod path {
    pub use imgdelta_core::path::{LayerPath, escaped};
}

/// Sizes as text.
pub mod size {
    pub use imgdelta_core::size::{Exact, Human};
}

/// Progress and cancellation.
pub mod progress {
    pub use imgdelta_core::progress::{Progress, Silent, Stage};
}

/// The crates behind this one, which may change in any version.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub use imgdelta_apply as apply;
    pub use imgdelta_core as core;
    #[cfg(feature = "make")]
    pub use imgdelta_diff as diff;
    pub use imgdelta_image as image;
    pub use imgdelta_layer as layer;
    #[cfg(feature = "make")]
    pub use imgdelta_make as make;
}

/// The examples of the README are compiled with the documentation tests.
#[cfg(all(doctest, feature = "make"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
