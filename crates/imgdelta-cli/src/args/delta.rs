//! What `apply`, `verify` and `inspect` take.

use super::{Layers, size};
use clap::Args;
use imgdelta::{Reference, image::Platform};
use std::path::PathBuf;

/// Which delta meets which base, and with what.
#[derive(Args, Debug)]
pub struct DeltaArgs {
    /// The delta; - is standard input
    pub file: PathBuf,

    /// Images that hold the old layers
    #[arg(long, required = true, num_args = 1.., value_name = "OLD")]
    pub base: Vec<Reference>,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Take this platform of a multi-platform base; the delta's by default
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,

    /// Keep temporary files here: up to the old and the new layers, uncompressed [default: /var/tmp]
    #[arg(long, value_name = "DIR", env = "IMGDELTA_SCRATCH", hide_env_values = true)]
    pub scratch: Option<PathBuf>,

    /// Memory for rebuilding files, such as 256MiB [default: 128MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,
}

#[derive(Args, Debug)]
pub struct Apply {
    #[command(flatten)]
    pub delta: DeltaArgs,

    /// Where the new image goes
    #[arg(long, short, value_name = "DEST")]
    pub output: Reference,

    /// What the layers are: exact keeps the image's digest
    #[arg(long, value_enum, default_value_t = Layers::Exact)]
    pub layers: Layers,
}

#[derive(Args, Debug)]
pub struct Verify {
    #[command(flatten)]
    pub delta: DeltaArgs,
}

#[derive(Args, Debug)]
pub struct Inspect {
    /// The delta; - is standard input
    pub file: PathBuf,

    /// Show every file that costs something, the dearest first
    #[arg(long)]
    pub files: bool,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
}
