//! Compares two container images: layers, config, files and packages.
//! Never reads a blob: [`Diff::between`] takes two surveys, which `imgdelta-image` makes.
//!
//! # The idea
//!
//! A [`Diff`] is a value. It prints as text with [`Diff::text`], and gives a JSON document with
//! [`Diff::json`]. Layers are paired by content, not by position. Files are compared in the merged
//! root file systems, by the digests of their content. A package has the changed files that belong
//! to it.
//!
//! # Cost and limits
//!
//! The cost is one pass over the indexes of both images. Equal content that is stored sparse in one
//! image and not in the other counts as modified.
//!
//! # Modules
//!
//! | level | modules | purpose |
//! |--:|---|---|
//! | 0 | `config`, `ignore`, `layers` | config fields; ignored differences; pairs of layers |
//! | 1 | `files` | paths of two root file systems |
//! | 2 | `packages` | packages, with their changed files |
//! | 3 | `diff` | the differences of two images, as a value |
//! | 4 | `text`, `json`, `rule` | the report for people; the document for machines; checks of a CI step |

mod config;
mod diff;
mod files;
mod ignore;
mod json;
mod layers;
mod moves;
mod packages;
mod rule;
mod text;

pub use config::ConfigChange;
pub use diff::{Diff, FileCount, FileTotals, ImageFacts, ImageNote, ImageSide};
pub use files::{FileChange, FileChangeKind, FileFacts, MetadataChange, MetadataField};
pub use ignore::{Ignore, UnknownIgnoreWord};
pub use json::SCHEMA;
pub use layers::{LayerChange, LayerFacts, LayerRelation, ReshippedFiles};
pub use packages::{PackageChange, PackageChangeKind};
pub use rule::{DiffRule, RuleFinding, UnknownRuleWord};
pub use text::{DiffText, FileOrder, TextOptions};
