//! What can be written on the command line, and its help.
//!
//! Values are parsed to their types here, so that a mistake is a usage error before any work.

mod create;
mod delta;
#[cfg(feature = "job")]
mod job;
#[cfg(not(feature = "job"))]
mod job {
    /// Takes anything, so that every `imgdelta job …` gets the same answer.
    #[derive(clap::Args, Debug)]
    pub struct Job {
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<std::ffi::OsString>,
    }
}
mod registry;

pub use create::{Create, Making, Preset};
pub use delta::{Apply, DeltaArgs, Inspect, Verify};
pub use job::Job;
#[cfg(feature = "job")]
pub use job::JobAction;
pub use registry::{Pull, Push, Registry};

use clap::{Args, Parser, Subcommand, ValueEnum};
use globset::GlobMatcher;
use imgdelta::diff::Ignore;
use imgdelta::limits::{LimitChange, Limits, parse_size};
use imgdelta::{Reference, image::Platform};
use std::path::PathBuf;

/// Differences between container images.
#[derive(Debug, Parser)]
#[command(name = "imgdelta", version, about, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,

    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
pub struct Common {
    /// Say nothing but results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// Worker threads; 0 is one per core
    #[arg(long, short, global = true, default_value_t = 0, value_name = "N")]
    pub jobs: usize,

    /// Colour the text: auto is for a terminal without `NO_COLOR`
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,

    /// Raise or lower what an image may ask for, such as layer-bytes=500GB (may be repeated)
    #[arg(long = "limit", global = true, value_name = "NAME=SIZE")]
    pub limits: Vec<LimitChange>,

    #[command(flatten)]
    pub registry: Registry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what changed from one image to another
    #[command(after_help = REFERENCES, visible_alias = "compare")]
    Diff(Box<Diff>),
    /// Make a delta that rebuilds the new image from the old one
    #[command(after_help = REFERENCES)]
    Create(Box<Create>),
    /// Make the new image from the old one and a delta
    #[command(after_help = DESTINATIONS)]
    Apply(Box<Apply>),
    /// Check that a delta and the old image make the new one, and keep nothing
    #[command(after_help = REFERENCES)]
    Verify(Box<Verify>),
    /// Show what a delta makes, what it needs and where its bytes go
    Inspect(Inspect),
    /// Bring a delta into the repository that holds the image it makes
    #[command(after_help = REPOSITORIES)]
    Push(Push),
    /// Fetch an image by whatever is cheapest: what lies here, a delta, whole layers
    #[command(after_help = REPOSITORIES)]
    Pull(Box<Pull>),
    /// Prepare deltas next to a registry, as a configuration says
    #[cfg_attr(not(feature = "job"), command(about = "Prepare deltas (not in this build)"))]
    Job(Job),
    /// Print a completion script for a shell
    Completions {
        /// The shell that will read it
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, for `imgdelta man | man -l -`
    Man(Manual),
}

#[derive(Args, Debug)]
pub struct Manual {
    /// Print the page of this command only
    #[arg(value_parser = crate::manual::command_name)]
    pub command: Option<String>,

    /// Write a page for each command into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Diff {
    /// The image one has
    pub old: Reference,

    /// The image one wants
    pub new: Reference,

    /// Show the summary and the layers only
    #[arg(long, conflicts_with = "files")]
    pub layers: bool,

    /// Show every file that differs, with its metadata
    #[arg(long)]
    pub files: bool,

    /// Show only files whose path matches, such as '/usr/lib/**' (may be repeated)
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    pub filter: Vec<GlobMatcher>,

    /// Order of files and packages
    #[arg(long, value_enum, default_value_t = Sort::Size)]
    pub sort: Sort,

    /// Leave out differences in: mtime, mode, owner, xattrs, links, created, history
    #[arg(long, value_name = "WORD,...", default_value = "", hide_default_value = true)]
    pub ignore: Ignore,

    /// Exit with 1 when the images differ
    #[arg(long)]
    pub exit_code: bool,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Take this platform of a multi-platform image; the host's by default
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,

    /// Compare also images for different platforms
    #[arg(long)]
    pub any_platform: bool,

    /// Say what the upgrade would cost as a delta, per layer, package and file, and why
    #[arg(long)]
    pub cost: bool,

    #[command(flatten)]
    pub making: Making,

    /// Keep layer indexes here, so that a layer seen before is not read again
    #[arg(long, value_name = "DIR", env = "IMGDELTA_CACHE")]
    pub cache: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layers {
    Exact,
    Uncompressed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    Size,
    Path,
}

impl Common {
    /// Returns the default limits with the user's changes.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for change in &self.limits {
            limits.change(change);
        }
        limits
    }
}

fn glob(text: &str) -> Result<GlobMatcher, globset::Error> {
    // `*` stays within one directory, `**` crosses them, as in a shell.
    let glob = globset::GlobBuilder::new(text).literal_separator(true).build()?;
    Ok(glob.compile_matcher())
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| format!("{text:?} is no size: expected such as 256MiB"))
}

/// Bits per second, as `tc` writes them: `20mbit`.
fn rate(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let unit: Option<u64> = match lower[digits..].trim() {
        "kbit" => Some(1000),
        "mbit" => Some(1_000_000),
        "gbit" => Some(1_000_000_000),
        _ => None,
    };
    let number = lower[..digits].parse::<u64>().ok().filter(|number| *number > 0);
    let bits = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    bits.ok_or_else(|| format!("{text:?} is no rate: expected such as 20mbit or 1gbit"))
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    `diff --exit-code` found differences
  2    usage
  3    bad input: not an image, broken, or the tag is not there
  4    the base lacks what the delta was made against
  5    verification failed: bytes are not those their digest promised
  6    input, output or network
  130  interrupted";

const REPOSITORIES: &str = "\
Registries:
  docker://HOST[:PORT]/REPO[:TAG][@DIGEST], with TLS unless on this machine. Logins are those of
  docker, podman and skopeo.

Exit codes: see `imgdelta --help`.";

const DESTINATIONS: &str = "\
Destinations:
  oci:DIR[:TAG]             an OCI layout, a new one or one that is there
  oci-archive:FILE[:TAG]    an OCI layout in a tar
  docker-archive:FILE[:REF] what `docker load` and `podman load` read; layers uncompressed

Exit codes: see `imgdelta --help`.";

const REFERENCES: &str = "\
Images:
  oci:DIR[:TAG]             an OCI layout
  oci-archive:FILE[:TAG]    an OCI layout in a tar
  docker-archive:FILE[:REF] what `docker save` and `podman save` write
  docker://HOST/REPO[:TAG]  an image in a registry; also REPO@DIGEST
  PATH[:TAG]                any of the files, recognised by looking

Exit codes: see `imgdelta --help`.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_whole_numbers_of_bits() {
        assert_eq!(rate("20mbit"), Ok(20_000_000));
        assert_eq!(rate("1 Gbit"), Ok(1_000_000_000));
        assert_eq!(rate("56kbit"), Ok(56_000));
        for wrong in ["", "0mbit", "20", "20MB", "mbit", "-1mbit", "1.5gbit", "99999999999gbit"] {
            let error = rate(wrong).unwrap_err();
            assert!(error.contains("expected such as 20mbit"), "{wrong}: {error}");
        }
    }
}
