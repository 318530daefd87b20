//! Arguments of `apply`, `verify` and `inspect`.
//!
//! Holds values only.

use super::{
    DigestOptions, LayersChoice, complete,
    value::{destination, size},
};
use clap::Args;
use clap_complete::ArgValueCompleter;
use imgdelta::{Reference, image::Platform};
use std::path::{Path, PathBuf};

/// Deltas, their base, and the resources to apply them with.
#[derive(Args, Debug)]
pub struct DeltaArgs {
    /// The delta; `-` is standard input. Several deltas are applied in this order: each makes the old
    /// image of the next
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The old image, or another image that holds its layers (may be repeated); none for a delta that
    /// was made with --no-base
    #[arg(long, value_name = "OLD", add = ArgValueCompleter::new(complete::images))]
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

impl DeltaArgs {
    /// Returns the mistake if standard input is to be read twice.
    pub fn conflict(&self) -> Option<&'static str> {
        let inputs = self.files.iter().filter(|file| *file == Path::new("-")).count();
        (inputs > 1).then_some("only one delta can be `-`; write the others to files")
    }
}

#[derive(Args, Debug)]
pub struct ApplyArgs {
    #[command(flatten)]
    pub delta: DeltaArgs,

    /// Destination of the new image
    #[arg(long, short, value_name = "DEST", value_parser = destination, add = ArgValueCompleter::new(complete::images))]
    pub output: Reference,

    #[command(flatten)]
    pub digest: DigestOptions,

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
