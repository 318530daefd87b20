//! Arguments of `push`, `pull` and `frames`, and the options for registries that all commands have.
//!
//! Holds values only.

use super::{
    DigestOptions, complete,
    value::{PushTarget, destination, push_target, rate, registry_image, size},
};
use clap::Args;
use clap_complete::ArgValueCompleter;
use imgdelta::{Reference, image::Platform};
use std::path::PathBuf;

/// Access to registries.
#[derive(Args, Debug)]
pub struct RegistryOptions {
    /// Use HTTP without TLS for registries on other machines, too
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING)]
    pub plain_http: bool,

    /// Also trust the certificates in this file: of authorities, or of a registry that signs its own
    /// (may be repeated)
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true, help_heading = HEADING)]
    pub ca: Vec<PathBuf>,

    /// With `false`, accept any certificate of a registry. Then anybody on the way can read logins and
    /// send other images; use it for a short test only
    #[arg(
        long,
        global = true,
        action = clap::ArgAction::Set,
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        value_name = "BOOL",
        hide_short_help = true,
        help_heading = HEADING
    )]
    pub tls_verify: bool,

    /// Read logins from this file [default: the files of docker and podman]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true, help_heading = HEADING)]
    pub authfile: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct PushArgs {
    /// The delta; `-` is standard input
    pub file: PathBuf,

    #[command(flatten)]
    pub digest: DigestOptions,

    /// The repository; with a tag, push fails unless the tag names the image that the delta makes
    #[arg(value_parser = push_target)]
    pub target: PushTarget,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Directory for a temporary copy of a delta from a pipe [default: /var/tmp]
    #[arg(long, value_name = "DIR", env = "IMGDELTA_SCRATCH", hide_env_values = true)]
    pub scratch: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct FramesArgs {
    /// The image in its registry; with `--output`, any image
    #[arg(add = ArgValueCompleter::new(complete::images))]
    pub image: Reference,

    /// Write a folder for `rootfs:DIR:FOLDER`, instead of publishing
    #[arg(long, short, value_name = "FOLDER")]
    pub output: Option<PathBuf>,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Choose this platform of a multi-platform image; the host's by default
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
}

impl FramesArgs {
    /// Returns the mistake if frames are to be published next to an image that is in no registry.
    pub fn conflict(&self) -> Option<&'static str> {
        let is_published = self.output.is_none() && !matches!(self.image, Reference::Registry(_));
        is_published.then_some(
            "the image is not in a registry; expected docker://HOST[:PORT]/REPO[:TAG], or a folder \
             with --output",
        )
    }
}

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Args, Debug)]
pub struct PullArgs {
    /// The image in its registry
    #[arg(value_parser = registry_image)]
    pub source: Reference,

    /// A local image that shares layers or files with it (may be repeated)
    #[arg(long, value_name = "OLD", add = ArgValueCompleter::new(complete::images))]
    pub base: Vec<Reference>,

    /// Destination of the image: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, or
    /// `docker-archive:FILE[:REF]` for uncompressed layers
    #[arg(long, short, value_name = "DEST", value_parser = destination, add = ArgValueCompleter::new(complete::images))]
    pub output: Reference,

    #[command(flatten)]
    pub digest: DigestOptions,

    /// Do not use deltas
    #[arg(long)]
    pub no_delta: bool,

    /// Use at most this many deltas in sequence, from the old image over other versions to the new one
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub chain: u8,

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
