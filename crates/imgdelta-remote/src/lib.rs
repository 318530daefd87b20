//! Deltas and images in a registry, as a person handles them: list, fetch, delete, write.
//!
//! Speaks the protocol through [`imgdelta_registry`] only. Never makes a delta.

mod deltas;
mod fetch;
mod report;
mod signature;
mod sink;

pub use deltas::{ImageDeltas, ListedDelta};
pub use fetch::save;
pub use report::{ImageDeltasText, SCHEMA};
pub use signature::SignatureKind;
pub use sink::RegistrySink;

/// The example of the README is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
