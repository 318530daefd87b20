//! Arguments of `log`.
//!
//! Holds values only.

use super::value::registry_image;
use clap::Args;
use imgdelta::{Reference, image::Platform};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct HistoryArgs {
    /// The repository in its registry
    #[arg(value_parser = registry_image)]
    pub repository: Reference,

    /// Read this many versions; those with the highest numbers in their tags
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub last: usize,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Also write a page with the bytes of every upgrade to this file; it needs no network
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Choose this platform of multi-platform images; the host's by default
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
}
