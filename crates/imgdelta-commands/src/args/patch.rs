//! Arguments of `diff` for the changes inside files.
//!
//! Holds values only.

use super::value::{PathGlob, glob};
use clap::Args;
use imgdelta::path::LayerPath;

#[derive(Args, Debug)]
pub struct PatchArgs {
    /// Print the changes inside files whose path matches, as git does; all files without GLOB.
    /// GLOB comes after OLD and NEW, such as --patch '/etc/**' (may be repeated)
    #[arg(
        long,
        value_name = "GLOB",
        num_args = 0..=1,
        default_missing_value = "**",
        value_parser = glob,
        conflicts_with_all = ["layers", "no_files"]
    )]
    pub patch: Vec<PathGlob>,

    /// Print the change inside this file, such as /etc/os-release (may be repeated)
    #[arg(long, value_name = "PATH", value_parser = path, conflicts_with_all = ["layers", "no_files"])]
    pub file: Vec<LayerPath>,

    /// Print the number of changed lines of each file instead
    #[arg(long, conflicts_with_all = ["layers", "no_files", "json", "ndjson", "markdown"])]
    pub stat: bool,
}

impl PatchArgs {
    /// True if files have to be looked into.
    pub fn is_wanted(&self) -> bool {
        self.stat || !self.patch.is_empty() || !self.file.is_empty()
    }

    /// True if the changes inside this file are wanted.
    pub fn chooses(&self, path: &LayerPath) -> bool {
        let is_everything = self.stat && self.patch.is_empty() && self.file.is_empty();
        is_everything
            || self.file.contains(path)
            || self.patch.iter().any(|glob| glob.matches_path(path))
    }
}

/// Parses a path; only the root is refused, since it is not a file.
fn path(text: &str) -> Result<LayerPath, String> {
    let path = LayerPath::parse(text.as_bytes());
    if path == LayerPath::root() { Err("expected the path of a file".to_owned()) } else { Ok(path) }
}
