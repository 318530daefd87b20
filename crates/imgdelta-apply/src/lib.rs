//! Rebuilds the target image of a delta from base images.
//! Never makes a delta.
//!
//! Every blob is verified before it becomes visible.

pub mod chain;
pub mod delta;
pub mod inspect;
pub mod rebuild;
pub mod sink;
