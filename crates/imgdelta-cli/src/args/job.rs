//! What `job` takes.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Job {
    #[command(subcommand)]
    pub action: JobAction,
}

#[derive(Debug, Subcommand)]
pub enum JobAction {
    /// Look through the repositories once, make what is wanted, and end
    Run(Once),
    /// Make deltas as images are pushed, until SIGTERM
    Serve(Serve),
}

#[derive(Args, Debug)]
pub struct Once {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE", env = "IMGDELTA_JOB_CONFIG")]
    pub config: PathBuf,

    /// Say which deltas are wanted and which would be removed, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Try again what was set aside
    #[arg(long)]
    pub retry_failed: bool,

    /// Print one JSON document a line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Serve {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE", env = "IMGDELTA_JOB_CONFIG")]
    pub config: PathBuf,

    /// Print one JSON document a line for each delta
    #[arg(long)]
    pub json: bool,
}
