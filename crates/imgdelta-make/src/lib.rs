//! Deltas between two images: sources chosen, layers planned, groups encoded, costs reported.
//!
//! Publishes nothing that was not proved.

pub mod cost;
pub mod draft;
pub mod encode;
pub mod inside;
mod landmarks;
pub mod plan;
pub mod sources;
