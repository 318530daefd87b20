//! Arguments of `job`.
//!
//! Holds values only.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct JobArgs {
    #[command(subcommand)]
    pub action: JobAction,
}

#[derive(Debug, Subcommand)]
pub enum JobAction {
    /// Scan the repositories once, make the missing deltas, then exit
    Run(RunArgs),
    /// Make deltas as images are pushed, until SIGTERM
    Serve(ServeArgs),
}

#[derive(Args, Debug)]
pub struct RunArgs {
    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE", env = "IMGDELTA_JOB_CONFIG")]
    pub config: PathBuf,

    /// List the deltas to make and those to remove; change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Retry the tasks that failed for good
    #[arg(long)]
    pub retry_failed: bool,

    /// Print one JSON document per line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE", env = "IMGDELTA_JOB_CONFIG")]
    pub config: PathBuf,

    /// Print one JSON document per line for each delta
    #[arg(long)]
    pub json: bool,
}
