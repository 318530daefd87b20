//! What `create` takes, and how deltas are made.

use super::{Layers, size};
use clap::{Args, ValueEnum};
use imgdelta::{Reference, image::Platform};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Create {
    /// The image the receiver has
    pub old: Reference,

    /// The image the receiver is to get
    pub new: Reference,

    /// Write the delta to this file; `-` is standard output
    #[arg(long, short, value_name = "FILE", required_unless_present = "dry_run")]
    pub output: Option<PathBuf>,

    /// Write the delta that leads back as well, sharing the work
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub rollback: Option<PathBuf>,

    /// Say what the delta would cost, and write none
    #[arg(long, conflicts_with = "output")]
    pub dry_run: bool,

    /// Make the very blobs of the new image, or only their uncompressed content
    #[arg(long, value_enum, default_value_t = Layers::Exact, value_name = "WHICH")]
    pub layers: Layers,

    /// Do not apply the fresh delta into nothing and compare
    #[arg(long)]
    pub no_prove: bool,

    #[command(flatten)]
    pub making: Making,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Take this platform of a multi-platform image; the host's by default
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
}

/// How deltas are made.
#[derive(Args, Debug)]
pub struct Making {
    /// How much time to spend on a smaller delta
    #[arg(long, value_enum, default_value_t = Preset::Default, value_name = "PRESET")]
    pub preset: Preset,

    /// Memory for matching, such as 400MiB; more lets larger programs be matched whole
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "400MiB")]
    pub memory: u64,

    /// See into archives (gzip, zip, jar, wheel) that changed, this deep; 0 takes them as bytes
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub archive_depth: u32,

    /// What compressing a member again may cost who applies, in nanoseconds a byte; dearer ones
    /// travel compressed
    #[arg(long, value_name = "NS", default_value_t = 200)]
    pub remake_cost: u32,

    /// Keep temporary files here: both images, uncompressed [default: /var/tmp]
    #[arg(long, value_name = "DIR", env = "IMGDELTA_SCRATCH", hide_env_values = true)]
    pub scratch: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    Fast,
    Default,
    Best,
}
