//! Arguments of `diff`.
//!
//! Holds values only.

use super::{
    MakingOptions, OutcomeArgs, PatchArgs, complete,
    value::{PathGlob, glob},
};
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use imgdelta::{Reference, diff::Ignore, image::Platform};
use std::path::PathBuf;

#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct DiffArgs {
    /// The old image
    #[arg(add = ArgValueCompleter::new(complete::images))]
    pub old: Reference,

    /// The new image
    #[arg(add = ArgValueCompleter::new(complete::images))]
    pub new: Reference,

    /// Show the summary and the layers only
    #[arg(long, conflicts_with_all = ["files", "no_files"])]
    pub layers: bool,

    /// Show every file that differs, with its metadata
    #[arg(long)]
    pub files: bool,

    /// Show no files
    #[arg(long, conflicts_with = "files")]
    pub no_files: bool,

    #[command(flatten)]
    pub patch: PatchArgs,

    /// Show only files whose path matches, such as '/usr/lib/**' (may be repeated)
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    pub filter: Vec<PathGlob>,

    /// Order of files and packages
    #[arg(long, value_enum, default_value_t = SortOrder::Size)]
    pub sort: SortOrder,

    /// Ignore differences in: mtime, mode, owner, xattrs, links, created, history
    #[arg(long, value_name = "WORD,...", default_value = "", hide_default_value = true,
        add = ArgValueCompleter::new(complete::ignored))]
    pub ignore: Ignore,

    /// Exit with 1 if the images differ; see also --fail-on
    #[arg(long)]
    pub exit_code: bool,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Choose this platform of multi-platform images; the host's by default
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,

    /// Compare images even if their platforms differ
    #[arg(long)]
    pub any_platform: bool,

    /// Report the size of a delta by layer, package and file, with the reasons
    #[arg(long)]
    pub cost: bool,

    #[command(flatten)]
    pub outcome: OutcomeArgs,

    #[command(flatten)]
    pub making: MakingOptions,

    /// Keep layer indexes in this directory; a layer whose index is there is not read again
    #[arg(long, value_name = "DIR", env = "IMGDELTA_CACHE")]
    pub cache: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SortOrder {
    Size,
    Path,
}
