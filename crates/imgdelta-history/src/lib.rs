//! The versions of a repository, and the bytes of each way between them.
//! Never downloads a layer, and changes nothing in a registry.
//!
//! # The idea
//!
//! A [`History`] is a value that prints as text, and gives a JSON document with [`History::json`]. It
//! has the newest versions of a repository, by the dates of their configs. A pull from one version to
//! another needs the blobs that the first one lacks; a delta needs its parts in the registry.
//!
//! # Cost and limits
//!
//! Three requests for each version, and one for each delta. A repository may have a million tags, so
//! only the last ones by number are read: see [`HistoryOptions::versions`].
//!
//! # Modules
//!
//! | level | modules | purpose |
//! |--:|---|---|
//! | 0 | `order`, `version` | the order of tags; a version, and the ways between versions |
//! | 1 | `history` | the versions of a repository, read |
//! | 2 | `json`, `text` | the document; the list for people |

mod history;
mod json;
mod order;
mod text;
mod version;

pub use history::{History, HistoryOptions};
pub use json::SCHEMA;
pub use version::{UpgradeWay, Version, VersionChange, VersionDelta};
