//! Arguments of `push` and `pull`, and the options for registries that all commands have.
//!
//! Holds values only.

use super::value::{rate, size};
use clap::Args;
use imgdelta::{Reference, image::Platform};
use std::path::PathBuf;

/// Access to registries.
#[derive(Args, Debug)]
pub struct RegistryOptions {
    /// Use HTTP without TLS for registries on other machines, too
    #[arg(long, global = true, help_heading = HEADING)]
    pub plain_http: bool,

    /// Also trust the certificate authorities in this file (may be repeated)
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub ca: Vec<PathBuf>,

    /// Read logins from this file [default: the files of docker and podman]
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub authfile: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct PushArgs {
    /// The delta; `-` is standard input
    pub file: PathBuf,

    /// The repository; with a tag, push fails unless the tag names the image that the delta makes
    pub target: Reference,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Directory for a temporary copy of a delta from a pipe [default: /var/tmp]
    #[arg(long, value_name = "DIR", env = "IMGDELTA_SCRATCH", hide_env_values = true)]
    pub scratch: Option<PathBuf>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Args, Debug)]
pub struct PullArgs {
    /// The image in its registry
    pub source: Reference,

    /// Local images that share layers or files with it
    #[arg(long, num_args = 1.., value_name = "OLD")]
    pub base: Vec<Reference>,

    /// Destination of the image: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, or
    /// `docker-archive:FILE[:REF]` for uncompressed layers
    #[arg(long, short, value_name = "DEST")]
    pub output: Reference,

    /// Do not use deltas
    #[arg(long)]
    pub no_delta: bool,

    /// Go back to an older image; refuse one that is newer than the base
    #[arg(long)]
    pub rollback: bool,

    /// Minimise time on a link this fast, such as 1gbit, instead of bytes: recompressing a layer
    /// can take longer than fetching it
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub link: Option<u64>,

    /// Apply deltas even if that takes longer than fetching whole layers
    #[arg(long)]
    pub no_time_limit: bool,

    /// Report the bytes to fetch; fetch no layer
    #[arg(long)]
    pub dry_run: bool,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Choose this platform of a multi-platform image; the host's by default
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,

    /// Directory for temporary files, as large as both images uncompressed [default: /var/tmp]
    #[arg(long, value_name = "DIR", env = "IMGDELTA_SCRATCH", hide_env_values = true)]
    pub scratch: Option<PathBuf>,

    /// Memory for rebuilding files, at most 256MiB [default: 128MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,
}

const HEADING: &str = "Registry options";
