//! Reads the packages of a container image from the package databases in its layers.
//! Never does I/O and never panics: a broken database becomes a warning.
//!
//! # The idea
//!
//! While a layer is indexed, [`interest`] picks the paths that are databases. [`FindingCollector`]
//! reads their payloads, within bounds for the whole layer. The [`Finding`]s are stored with the
//! layer's index, so that a cached index needs no layer bytes.
//!
//! For a comparison, the findings of all files that survive in the merged root file system make an
//! [`Inventory`]. [`compare`] compares two inventories.
//!
//! # Cost and limits
//!
//! The cost is a test of each path's last component, and one pass over the databases. Packages
//! outside of every database are not seen: files copied by hand, statically linked libraries,
//! modules bundled into one file.
//!
//! # Modules
//!
//! | level | modules | purpose |
//! |--:|---|---|
//! | 0 | `kind`, `package`, `path_list`, `blobs`, `directories` | kinds of database files; a package; bounded lists of paths; rpm's package headers; packages by directory |
//! | 1 | `finding`, `version`, `sqlite`, `ndb` | the content of a database; the order of versions; two file formats of rpm |
//! | 2 | `apk`, `dpkg`, `node`, `python`, `rpm`, `stored` | one parser for each ecosystem; findings as bytes |
//! | 3 | `database`, `inventory` | paths to databases to parsers; the packages of an image |
//! | 4 | `collector`, `compare` | the findings of a layer, bounded together; two inventories compared |
//! | 5 | `survey` | the reader that a survey calls |

mod apk;
mod blobs;
mod collector;
mod compare;
mod database;
mod directories;
mod dpkg;
mod finding;
mod inventory;
mod kind;
mod ndb;
mod node;
mod package;
mod path_list;
mod python;
mod rpm;
mod sqlite;
mod stored;
mod survey;
mod version;

pub use collector::FindingCollector;
pub use compare::{VersionChange, VersionChangeKind, compare};
pub use database::{interest, read};
pub use finding::{DatabaseContent, Finding};
pub use inventory::{InstalledPackage, Inventory};
pub use kind::DatabaseKind;
pub use package::{Ecosystem, Package, PackageFiles};
pub use stored::{read_findings, write_findings};
pub use survey::database_reader;
pub use version::order;
