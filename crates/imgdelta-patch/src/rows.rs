//! The packages of a database that is not a text, as lines.
//!
//! Reads no database: the survey has read it.

use imgdelta_core::path::{LayerPath, escaped};
use imgdelta_diff::FileChange;
use imgdelta_image::survey::Survey;
use imgdelta_packages::{DatabaseKind, Inventory, interest};
use std::{fmt::Write as _, sync::OnceLock};

/// The packages of both images, collected when the first database is compared.
#[derive(Debug)]
pub(crate) struct PackageRows<'a> {
    surveys: [&'a Survey; 2],
    inventories: OnceLock<[Inventory; 2]>,
}

impl<'a> PackageRows<'a> {
    pub(crate) fn new(surveys: [&'a Survey; 2]) -> Self {
        Self { surveys, inventories: OnceLock::new() }
    }

    /// Returns the lines of a database before and after a change; `None` if the file is not such a
    /// database, or if one side has packages that were not read.
    pub(crate) fn of(&self, change: &FileChange) -> Option<[Vec<u8>; 2]> {
        if !matches!(interest(&change.path), Some(DatabaseKind::RpmSqlite | DatabaseKind::RpmNdb)) {
            return None;
        }
        let inventories = self.inventories.get_or_init(|| self.surveys.map(Inventory::of));
        let lines = [0, 1].map(|side| lines(&inventories[side], &change.path));
        let is_read = |there: bool, lines: &[u8]| there != lines.is_empty();
        let both = is_read(change.base.is_some(), &lines[0])
            && is_read(change.target.is_some(), &lines[1]);
        both.then_some(lines)
    }
}

/// Returns the packages of one database, in the order of their names: name, version, architecture.
fn lines(inventory: &Inventory, database: &LayerPath) -> Vec<u8> {
    let mut lines = String::new();
    for package in inventory.packages().iter().filter(|package| package.location == *database) {
        let architecture = package.architecture.as_deref().unwrap_or_default();
        let line = format!("{} {} {architecture}", package.name, package.version);
        let _ = writeln!(lines, "{}", escaped(line.trim_end().as_bytes()));
    }
    lines.into_bytes()
}
