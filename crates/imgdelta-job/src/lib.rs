//! Deltas prepared beside a registry: which to make, publish and retire.
//!
//! [`config`] is what an operator writes, [`policy`] decides what is wanted, [`queue`] keeps the
//! works, so that a kill loses none, and workers make, prove and publish deltas; [`Job`] ties them
//! together. docs/job.md is for operators. Nothing here matches, applies or speaks to registries
//! itself: the core and `imgdelta-registry` do.

pub mod config;
mod job;
mod look;
mod machine;
mod make;
pub mod metrics;
pub mod policy;
mod publish;
pub mod queue;
pub mod report;
pub mod retention;
mod reuse;
mod run;
mod serve;
pub mod stop;
mod webhook;
pub mod work;
mod worker;

pub use config::Config;
pub use job::Job;
pub use queue::advice;
pub use run::{Event, RunOptions, Teller};
pub use work::SCHEMA;
