//! Arguments of `deltas`.
//!
//! Holds values only.

use super::value::registry_image;
use clap::{Args, Subcommand};
use imgdelta::{Reference, image::Platform};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct DeltasArgs {
    #[command(subcommand)]
    pub action: DeltasAction,
}

#[derive(Debug, Subcommand)]
pub enum DeltasAction {
    /// List the deltas that make an image, and the bytes that each saves
    List(ListArgs),
    /// Describe one delta, as `imgdelta inspect` does for a file
    Inspect(InspectRemoteArgs),
    /// Save one delta as a file
    Fetch(FetchArgs),
    /// Delete one delta from the registry; the image stays
    Delete(DeleteArgs),
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// The image that the deltas make
    #[arg(value_parser = registry_image)]
    pub image: Reference,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Choose this platform of a multi-platform image; the host's by default
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
}

/// One delta of an image.
#[derive(Args, Debug)]
pub struct DeltaChoice {
    #[command(flatten)]
    pub list: ListArgs,

    /// The first digits of the delta's digest, as `deltas list` shows them; not needed for an only
    /// delta
    pub delta: Option<String>,

    /// Directory for temporary files, as large as the delta [default: /var/tmp]
    #[arg(long, value_name = "DIR", env = "IMGDELTA_SCRATCH", hide_env_values = true)]
    pub scratch: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct InspectRemoteArgs {
    #[command(flatten)]
    pub choice: DeltaChoice,

    /// List every file that adds to the delta, the largest share first
    #[arg(long)]
    pub files: bool,
}

#[derive(Args, Debug)]
pub struct FetchArgs {
    #[command(flatten)]
    pub choice: DeltaChoice,

    /// Write the delta to this file, pipe or character device
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Args, Debug)]
pub struct DeleteArgs {
    #[command(flatten)]
    pub choice: DeltaChoice,
}

impl DeltasArgs {
    /// True if the user asked for JSON.
    pub fn is_json(&self) -> bool {
        match &self.action {
            DeltasAction::List(list) => list.json,
            DeltasAction::Inspect(inspect) => inspect.choice.list.json,
            DeltasAction::Fetch(fetch) => fetch.choice.list.json,
            DeltasAction::Delete(delete) => delete.choice.list.json,
        }
    }
}
