//! Arguments of `apply`, `verify` and `inspect`.
//!
//! Holds values only.

use super::{LayersChoice, value::size};
use clap::Args;
use imgdelta::{Reference, image::Platform};
use std::path::PathBuf;

/// A delta, its base, and the resources to apply it with.
#[derive(Args, Debug)]
pub struct DeltaArgs {
    /// The delta; `-` is standard input
    pub file: PathBuf,

    /// The old image, or several images that hold its layers; FILE comes before this option
    #[arg(long, required = true, num_args = 1.., value_name = "OLD")]
    pub base: Vec<Reference>,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Choose this platform of a multi-platform base; the delta's by default
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,

    /// Directory for temporary files, as large as both images uncompressed [default: /var/tmp]
    #[arg(long, value_name = "DIR", env = "IMGDELTA_SCRATCH", hide_env_values = true)]
    pub scratch: Option<PathBuf>,

    /// Memory for rebuilding files, such as 256MiB [default: 128MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,
}

#[derive(Args, Debug)]
pub struct ApplyArgs {
    #[command(flatten)]
    pub delta: DeltaArgs,

    /// Destination of the new image
    #[arg(long, short, value_name = "DEST")]
    pub output: Reference,

    /// Form of the layers: exact keeps the image's digest
    #[arg(long, value_enum, default_value_t = LayersChoice::Exact, value_name = "FORM")]
    pub layers: LayersChoice,
}

#[derive(Args, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub delta: DeltaArgs,
}

#[derive(Args, Debug)]
pub struct InspectArgs {
    /// The delta; `-` is standard input
    pub file: PathBuf,

    /// List every file that adds to the delta, the largest share first
    #[arg(long)]
    pub files: bool,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
}
