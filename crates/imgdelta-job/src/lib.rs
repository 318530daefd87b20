//! Deltas prepared for the images of a registry: which to make, publish and remove.
//!
//! The crate decides, queues and publishes. Comparing, encoding and the registry protocol belong to
//! `imgdelta` and `imgdelta-registry`.
//!
//! - [`config`] is the operator's TOML file.
//! - [`policy`] computes the wanted deltas from versions and rules.
//! - [`queue`] keeps tasks, so that a kill loses none.
//! - [`QueueAdmin`] answers questions to the queue: status, tasks, retries, pauses.
//! - [`explain`] has the reasons of a repository's deltas.
//! - [`Job`] scans the registry and runs workers that make, prove and publish deltas.
//!
//! ```no_run
//! use imgdelta_job::{Config, Job, RunOptions, Stop};
//! use imgdelta_registry::{Credentials, Proxies};
//! use std::{path::Path, sync::Arc};
//!
//! # async fn run() -> imgdelta::Result<()> {
//! let config = Config::open(Path::new("job.toml"))?;
//! let job = Job::open(config, Credentials::none(), Proxies::none()).await?;
//! job.run(RunOptions::default(), &Stop::default(), Arc::new(|event| println!("{event:?}"))).await
//! # }
//! ```
//!
//! docs/job.md is the page for operators.

pub mod admin;
pub mod config;
pub mod explain;
mod frames;
mod job;
mod log;
mod made;
mod make;
mod meter;
pub mod metrics;
mod outage;
mod pace;
pub mod pairs;
pub mod policy;
mod publish;
mod pushed;
pub mod report;
pub mod retention;
mod reuse;
mod run;
mod running;
mod scan;
mod serve;
pub mod task;
pub mod warning;
mod webhook;
mod worker;

pub use admin::QueueAdmin;
pub use config::Config;
#[doc(inline)]
pub use imgdelta_queue as queue;
pub use imgdelta_service::{Stop, StopPhase};
pub use job::Job;
pub use queue::advice;
pub use run::{Event, EventHandler, RunOptions};
pub use task::SCHEMA;

/// Reads a notification: the repositories that were pushed to, and the number of ignored pushes.
/// For the fuzz target, without any promise of stability.
#[doc(hidden)]
pub fn notified_repositories(
    host: &str,
    body: &[u8],
) -> Option<(std::collections::BTreeSet<imgdelta_registry::RepositoryName>, u64)> {
    let notified = webhook::pushed_tags(host, body)?;
    Some((notified.tags.into_keys().collect(), notified.ignored))
}
