//! Pulling an image at the lowest cost for each layer: local blobs, recipes of deltas, whole blobs.
//!
//! Versions are a graph, and deltas lead from one to the next: a layer may come by the recipes of
//! several deltas, one after another.
//!
//! A [`PullPlan`] states the downloads before they begin. To carry it out, the recipes of all chosen
//! deltas become one delta, and the image in the registry is its last base. So every layer takes
//! the same way through the same checks. A recipe that is missing, damaged or hostile costs its
//! bytes, which are fewer than those of a plain pull; its layer comes from another source.

mod compose;
mod cost;
mod deadline;
mod deltas;
mod destination;
mod execute;
mod fallback;
mod layers;
mod links;
mod local;
mod made;
mod material;
mod options;
mod plan;
mod report;
mod source;
mod streams;
mod ways;

pub use cost::LinkSpeed;
pub use deadline::Clock;
pub use destination::PullDestination;
pub use layers::{LayerSource, PullDelta, PullLayer};
pub use material::PullMaterial;
pub use options::PullOptions;
pub use plan::PullPlan;
pub use report::{PULL_SCHEMA, PullReport};
pub(crate) use source::PullSource;
pub use ways::ChainStep;
