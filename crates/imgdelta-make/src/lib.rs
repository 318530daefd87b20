//! Deltas between two images.
//! Never saves a delta that is not proved, unless the caller skips the proof.
//!
//! The steps are values: [`pair::ImagePair`], [`plan::Plan`], [`draft::Draft`],
//! [`proof::ProvedDelta`].

pub mod archives;
pub mod cost;
pub mod draft;
mod encode;
mod envelopes;
mod landmarks;
pub mod options;
pub mod pair;
pub mod plan;
pub mod proof;
pub mod report;
pub mod sources;
pub mod spill;
