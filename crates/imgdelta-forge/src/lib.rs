//! Hostile deltas, whose digests are right and whose demands are not.
//! Panics on every failure: it runs in tests only.
//!
//! A few bytes of a delta can name billions: members, frames, texts, archives, lengths. Each
//! [`Forgery`] asks for far more than it gives, in one way. `tests/table.rs` applies them all and
//! compares outcome, work and memory. A new number in a format needs a new forgery here.

mod base;
mod delta;
mod forgeries;

pub use base::{BASE_MEMBERS, base_image};
pub use delta::{ForgedBody, ForgedDelta, ForgedLayer};
pub use forgeries::{Forgery, Outcome, all, beside};
