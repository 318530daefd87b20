//! Arguments of `diff` for its outputs, and for the checks of a CI step.
//!
//! Holds values only.

use super::value::size;
use clap::Args;
use imgdelta::diff::DiffRule;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct OutcomeArgs {
    /// Print one JSON document for each file, one a line
    #[arg(long, conflicts_with_all = ["json", "markdown", "layers", "no_files", "cost"])]
    pub ndjson: bool,

    /// Print Markdown for a comment on a pull request
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,

    /// Also write a page with pictures to this file; it needs no network
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Also report the size of a delta back to the old image
    #[arg(long, requires = "cost")]
    pub rollback: bool,

    /// Exit with 1 if the delta is larger, such as 10MB
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "cost")]
    pub max_delta: Option<u64>,

    /// Exit with 1 if there are changes of a kind: files, removed, config, packages, downgrades,
    /// set-id, world-writable, waste
    #[arg(long, value_name = "WORD,...", value_delimiter = ',')]
    pub fail_on: Vec<DiffRule>,
}
