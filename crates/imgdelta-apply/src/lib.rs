//! A delta and a base image become the target image, verified before anything is visible.
//!
//! Never makes a delta and never compares images.

pub mod delta;
pub mod inspect;
pub mod rebuild;
pub mod sink;
