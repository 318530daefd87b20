//! A mirror on a node, through which unmodified container runtimes upgrade and roll back by delta.
//!
//! docs/node.md is the page for operators.

pub mod config;
pub mod range;
pub mod request;

mod answer;
mod bases;
mod blobs;
mod body;
mod clean;
mod complete;
mod containerd;
mod directory;
mod engines;
mod failures;
mod framed;
mod holds;
mod hosts;
mod leases;
mod manifest;
mod metrics;
mod mirror;
mod pull;
mod rate;
mod rebuild;
mod runtime;
mod serve;
mod stage;
mod staged;
mod status;
mod stop_progress;

pub use clean::clean;
pub use config::Config;
pub use containerd::ContainerdRuntime;
pub use engines::{DockerRuntime, PodmanRuntime};
pub use framed::FramedPull;
pub use metrics::{STATUS_SCHEMA, Status};
pub use runtime::{ImageState, Runtime};
pub use serve::serve;
pub use stage::ImageStager;
pub use status::status;
