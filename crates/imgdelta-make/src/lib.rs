//! Deltas between two images: sources chosen, layers planned, groups encoded, costs reported.
//!
//! The steps are values: [`pair::ImagePair`], [`plan::Plan`], [`draft::Draft`],
//! [`proof::ProvedDelta`]. Only a proved delta can be saved.

pub mod cost;
pub mod draft;
mod encode;
pub mod inside;
mod landmarks;
pub mod options;
pub mod pair;
pub mod plan;
pub mod proof;
pub mod sources;
