//! What `push` and `pull` take, and how registries are spoken to.

use super::{rate, size};
use clap::Args;
use imgdelta::{Reference, image::Platform};
use std::path::PathBuf;

/// How registries are spoken to.
#[derive(Args, Debug)]
pub struct Registry {
    /// Speak without TLS to registries on other machines too
    #[arg(long, global = true, help_heading = "Registries")]
    pub plain_http: bool,

    /// Trust the certificate authorities in this file too (may be repeated)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Registries")]
    pub ca: Vec<PathBuf>,

    /// Take logins from this file [default: those of docker and podman]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Registries")]
    pub authfile: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Push {
    /// The delta; - is standard input
    pub file: PathBuf,

    /// The repository, with the tag of the image that the delta makes if that is to be checked
    pub target: Reference,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Keep a delta from standard input or a pipe here meanwhile [default: /var/tmp]
    #[arg(long, value_name = "DIR", env = "IMGDELTA_SCRATCH", hide_env_values = true)]
    pub scratch: Option<PathBuf>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Args, Debug)]
pub struct Pull {
    /// The image in its registry
    pub source: Reference,

    /// Images that lie here and share layers or files with it
    #[arg(long, num_args = 1.., value_name = "OLD")]
    pub base: Vec<Reference>,

    /// Where the image goes: `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`
    #[arg(long, short, value_name = "DEST")]
    pub output: Reference,

    /// Do not look for deltas
    #[arg(long)]
    pub no_delta: bool,

    /// Go back to an older image: refuse one that is newer than what lies here
    #[arg(long)]
    pub rollback: bool,

    /// Choose by the time it takes on a link this fast, such as 1gbit, not by bytes: compressing
    /// a layer again may take longer than fetching it
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub link: Option<u64>,

    /// Say what would be fetched, and fetch no layer
    #[arg(long)]
    pub dry_run: bool,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Take this platform of a multi-platform image; the host's by default
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,

    /// Keep temporary files here: up to the old and the new layers, uncompressed [default: /var/tmp]
    #[arg(long, value_name = "DIR", env = "IMGDELTA_SCRATCH", hide_env_values = true)]
    pub scratch: Option<PathBuf>,

    /// Memory for rebuilding files, such as 256MiB [default: 128MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,
}
