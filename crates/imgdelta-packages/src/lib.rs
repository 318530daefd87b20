//! Which packages an image holds, read from the databases that lie in its layers.
//!
//! Nothing here does I/O, fails or panics: a database is a stranger's bytes, and a broken one
//! becomes a warning beside the packages that could still be read.
//!
//! While a layer's stream is indexed, [`interest`] says of each path whether it is a database;
//! such payloads go through [`read`] (best by [`Findings::take`], which bounds a whole layer), and
//! the [`Finding`]s are stored with the layer's index, so that a cached index needs no layer bytes.
//! At diff time the findings whose file survives in the merged root file system make an
//! [`Inventory`], and two inventories [`compare`].
//!
//! The cost is a look at the last part of each path, and one pass over the caught payloads. It is
//! blind to what no database records: files copied in by hand, statically linked libraries,
//! modules bundled into one file.

mod apk;
mod compare;
mod database;
mod dpkg;
mod finding;
mod inventory;
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

pub use compare::{VersionChange, VersionChangeKind, compare};
pub use database::{Database, interest, read};
pub use finding::{Content, Finding, Findings};
pub use inventory::{Installed, Inventory};
pub use package::{Ecosystem, Files, Package};
pub use stored::{read_findings, write_findings};
pub use survey::database_reader;
pub use version::order;
