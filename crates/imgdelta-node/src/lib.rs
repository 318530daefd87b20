//! A mirror on a node, through which unmodified container runtimes upgrade and roll back by delta.
//!
//! docs/node.md is the page for operators.

pub mod config;

mod answer;
mod blobs;
mod body;
mod clean;
mod containerd;
mod directory;
mod holds;
mod hosts;
mod manifest;
mod metrics;
mod mirror;
mod range;
mod rate;
mod rebuild;
mod request;
mod runtime;
mod serve;
mod stage;
mod status;

pub use clean::clean;
pub use config::Config;
pub use containerd::ContainerdRuntime;
pub use metrics::{STATUS_SCHEMA, Status};
pub use runtime::Runtime;
pub use serve::serve;
pub use stage::stage;
pub use status::status;
