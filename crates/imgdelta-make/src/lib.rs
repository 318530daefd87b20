//! Deltas between two images.
//! Never publishes a delta that is not proved.
//!
//! The steps are values: [`pair::ImagePair`], [`plan::Plan`], [`draft::Draft`],
//! [`proof::ProvedDelta`]. Only a proved delta can be saved.

pub mod archives;
pub mod cost;
pub mod draft;
mod encode;
mod landmarks;
pub mod options;
pub mod pair;
pub mod plan;
pub mod proof;
pub mod sources;
