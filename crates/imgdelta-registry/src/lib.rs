//! Registries as stores of imgdelta, and deltas as artifacts beside their images.
//!
//! [`Client`] sends requests, [`Repository`] knows manifests, blobs and referrers; both are
//! asynchronous. docs/registry.md tells the protocol, the layout of a delta in a registry, and what
//! real registries do otherwise. Nothing here makes or applies deltas, reads the environment, or
//! shows a secret.

pub mod artifact;
mod catalog;
mod client;
pub mod credentials;
mod download;
mod endpoint;
pub mod failure;
pub mod pull;
pub mod push;
pub mod recipes;
mod referrers;
mod registries;
mod repository;
mod retry;
mod secret;
mod store;
mod token;
mod trust;
mod upload;
mod wait;

pub use client::{Client, ClientOptions, Traffic};
pub use credentials::Credentials;
pub use download::BlobStream;
pub use endpoint::is_this_machine;
pub use failure::{Failure, Why, advice};
pub use push::{PushOptions, Pushed, push};
pub use referrers::{Referrer, fallback_tag, is_digest_tag};
pub use registries::Registries;
pub use repository::{Manifest, Named, Repository};
pub use retry::Retry;
pub use secret::{Credential, Secret};
pub use store::RegistryStore;
pub use trust::Trust;
pub use upload::Uploaded;
