//! Container registries for [`imgdelta`]: pull images by deltas, push deltas, open `docker://` images.
//!
//! A delta is an OCI artifact whose subject is the new image. A pull finds it there, downloads only
//! the recipes of changed layers, and makes the registry's compressed layers again, byte for byte.
//! Without a delta, or with a damaged one, the pull downloads whole layers instead.
//!
//! # Pull
//!
//! [`Registries`] adds registries to a session:
//!
//! ```no_run
//! use imgdelta::Session;
//! use imgdelta_registry::{ClientOptions, PullOptions, Registries};
//!
//! # fn main() -> imgdelta::Result<()> {
//! let registries = Registries::new(ClientOptions::default())?;
//! let session = registries.attach(Session::new("/var/tmp")?);
//! let report = registries.pull(
//!     &session,
//!     &"docker://registry.example/app:1.1".parse()?,
//!     &["oci:node:1.0".parse()?],
//!     &"oci:node:1.1".parse()?,
//!     &PullOptions::default(),
//! )?;
//! println!("{} of {} bytes", report.received_bytes, report.plain_bytes);
//! # Ok(())
//! # }
//! ```
//!
//! [`Registries::plan_pull`] shows the downloads before they begin. `examples/pull.rs` is a complete
//! program with progress, cancellation and a report of fallbacks.
//!
//! # Push
//!
//! The delta goes into the repository of its target, which must be there already:
//!
//! ```no_run
//! # use imgdelta::Session;
//! # use imgdelta_registry::{ClientOptions, PushOptions, Registries};
//! # fn main() -> imgdelta::Result<()> {
//! # let registries = Registries::new(ClientOptions::default())?;
//! # let session = Session::new("/var/tmp")?;
//! let delta = session.open_delta("up.imgdelta")?;
//! let target = "docker://registry.example/app:1.1".parse()?;
//! println!("{}", registries.push(&delta, &target, &PushOptions::default())?);
//! # Ok(())
//! # }
//! ```
//!
//! # Images in registries
//!
//! An attached session opens `docker://` references wherever it opens images: `diff`, `plan`,
//! `create`, `verify` and `apply`.
//!
//! # Logins, certificates, proxies, retries
//!
//! [`ClientOptions`] holds [`Credentials`], [`Trust`], [`Proxies`] and [`Retry`]. By default requests
//! are anonymous and use no proxy; [`Credentials::of_user`] reads the auth files of docker, podman
//! and skopeo, [`Proxies::of_user`] the variables that name proxies.
//!
//! # Async programs
//!
//! [`Registries::pull_async`] and [`Registries::push_async`] do not block and work in any executor.
//! All other methods of [`Registries`] block; inside a task they work, too, and block its thread.
//! [`Client`] and [`Repository`] are the protocol itself: their methods are async and need tokio.
//!
//! # Errors
//!
//! Everything that handles images returns [`imgdelta::Error`]; [`advice`] returns advice for a
//! person. [`Repository`] returns [`RequestError`], which has the status and the registry's message.

pub mod artifact;
mod catalog;
mod client;
#[doc(hidden)]
pub mod dates;
mod download;
mod endpoint;
mod error;
mod frames;
mod lists;
pub mod pull;
mod push;
mod rate;
#[doc(hidden)]
pub mod recipes;
mod referrers;
mod registries;
mod repository;
mod runtime;
mod shared_blobs;
mod store;
mod token;
mod upload;

pub use catalog::RepositoryList;
pub use client::{
    Client, ClientEvent, ClientOptions, EventListener, ForwardRequest, ForwardedAnswer, Traffic,
};
pub use download::BlobStream;
pub use error::{RequestError, RequestErrorKind, advice, request_error};
pub use frames::{FRAMES_TYPE, FramesBlob, FramesReport, LAYER_FRAMES_TYPE};
pub use imgdelta_credentials::{Credential, Credentials, Secret, Trust};
#[doc(hidden)]
pub use imgdelta_http::is_this_machine;
pub use imgdelta_http::{Proxies, Retry};
pub use imgdelta_image::reference::{RepositoryName, TagName};
pub use pull::{PullOptions, PullPlan, PullReport};
pub use push::{PartUpload, PushOptions, PushReport};
pub use rate::Transfers;
pub use referrers::{Referrer, fallback_tag, is_digest_tag};
pub use registries::Registries;
pub use repository::{Manifest, ManifestReference, Repository};
pub use shared_blobs::SharedBlobs;
pub use store::RegistryStore;
pub use upload::UploadOutcome;

/// The example of the README is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
