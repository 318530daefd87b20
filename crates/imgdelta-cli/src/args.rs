//! The command line: commands, options and their help.
//!
//! Values are parsed to their types here, so that a mistake is a usage error before any work.

mod create;
mod delta;
mod diff;
#[cfg(feature = "job")]
mod job;
mod manual;
#[cfg(not(all(feature = "job", feature = "node")))]
mod missing;
#[cfg(feature = "node")]
mod node;
mod registry;
mod value;

pub use create::{CreateArgs, MakingOptions, is_stdout};
pub use delta::{ApplyArgs, DeltaArgs, InspectArgs, VerifyArgs};
pub use diff::{DiffArgs, SortOrder};
#[cfg(feature = "job")]
pub use job::{JobAction, JobArgs};
pub use manual::{ManualArgs, definition};
#[cfg(not(feature = "job"))]
pub use missing::MissingArgs as JobArgs;
#[cfg(not(feature = "node"))]
pub use missing::MissingArgs as NodeArgs;
#[cfg(feature = "node")]
pub use node::{NodeAction, NodeArgs, StageArgs, StatusArgs};
pub use registry::{PullArgs, PushArgs, RegistryOptions};
pub use value::{ColorChoice, LayersChoice};

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};
use imgdelta::limits::{LimitChange, LimitName, Limits};
use std::io::{self, IsTerminal};

#[derive(Debug, Parser)]
#[command(name = "imgdelta", version, about, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub common: CommonOptions,

    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
pub struct CommonOptions {
    /// Print results and errors only
    #[arg(long, short, global = true, help_heading = COMMON)]
    pub quiet: bool,

    /// Worker threads; 0 is one per core
    #[arg(long, short, global = true, default_value_t = 0, value_name = "N", help_heading = COMMON)]
    pub jobs: usize,

    /// Colour the text; auto does so on a terminal, unless `NO_COLOR` is set
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t = ColorChoice::Auto,
        value_name = "WHEN",
        help_heading = COMMON
    )]
    pub color: ColorChoice,

    #[arg(
        long = "limit",
        global = true,
        value_name = "NAME=SIZE",
        help = limit_help(),
        help_heading = COMMON
    )]
    pub limits: Vec<LimitChange>,

    #[command(flatten)]
    pub registry: RegistryOptions,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what changed from one image to another
    #[command(after_help = REFERENCES, visible_alias = "compare")]
    Diff(Box<DiffArgs>),
    /// Make a delta that rebuilds the new image from the old one
    #[command(after_help = REFERENCES)]
    Create(Box<CreateArgs>),
    /// Rebuild the new image from the old one and a delta
    #[command(after_help = DESTINATIONS)]
    Apply(Box<ApplyArgs>),
    /// Check that a delta and the old image make the new one; write nothing
    #[command(after_help = REFERENCES)]
    Verify(Box<VerifyArgs>),
    /// Describe a delta: the image it makes, the layers it needs, the size of its parts
    Inspect(InspectArgs),
    /// Upload a delta to the repository that holds the image it makes
    #[command(after_help = REPOSITORIES)]
    Push(PushArgs),
    /// Fetch an image the cheapest way: from local layers, deltas or whole layers
    #[command(after_help = REPOSITORIES)]
    Pull(Box<PullArgs>),
    /// Prepare deltas for the images of a registry, as a configuration file says
    #[cfg_attr(not(feature = "job"), command(about = "Prepare deltas (not in this build)"))]
    Job(JobArgs),
    /// Let the container runtime of this machine upgrade and roll back by delta
    #[cfg_attr(not(feature = "node"), command(about = "Serve a node (not in this build)"))]
    Node(NodeArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, for `imgdelta man | man -l -`
    Man(ManualArgs),
}

impl Cli {
    /// Parses the command line. Help and usage errors are printed here, and end the process.
    pub fn of_process() -> Self {
        let cli = Self::parse();
        if let Command::Create(create) = &cli.command
            && let Some(conflict) = create.conflict(io::stdout().is_terminal())
        {
            let mut definition = Self::command();
            definition.build();
            let create =
                definition.find_subcommand_mut("create").expect("a command of this program");
            create.error(ErrorKind::ArgumentConflict, conflict).exit();
        }
        cli
    }
}

impl CommonOptions {
    /// Returns the default limits with the user's changes.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for change in &self.limits {
            limits.change(change);
        }
        limits
    }
}

fn limit_help() -> String {
    let names: Vec<&str> = LimitName::ALL.iter().map(|name| name.as_str()).collect();
    format!(
        "Raise or lower a limit on images and deltas, such as layer-bytes=500GB (may be \
         repeated). Names: {}",
        names.join(", ")
    )
}

/// Heading of the options that every command has.
const COMMON: &str = "Common options";

const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    `diff --exit-code` found differences
  2    wrong usage
  3    bad input: not an image or a delta, damaged, or a tag that does not exist
  4    the base lacks layers that the delta needs
  5    verification failed: bytes do not have the promised digest
  6    input, output or network error
  130  interrupted";

const REPOSITORIES: &str = "\
Registry images:
  docker://HOST[:PORT]/REPO[:TAG][@DIGEST]
  TLS is required, except on this machine. Logins of docker, podman and skopeo are used.

Exit codes: see `imgdelta --help`.";

const DESTINATIONS: &str = "\
Destinations:
  oci:DIR[:TAG]             an OCI layout, new or existing
  oci-archive:FILE[:TAG]    an OCI layout in a tar file
  docker-archive:FILE[:REF] for `docker load` and `podman load`; layers are uncompressed
  FILE may be a pipe or a character device, which receives the complete archive.

Exit codes: see `imgdelta --help`.";

const REFERENCES: &str = "\
Images:
  oci:DIR[:TAG]             an OCI layout
  oci-archive:FILE[:TAG]    an OCI layout in a tar file
  docker-archive:FILE[:REF] a file of `docker save` or `podman save`
  docker://HOST/REPO[:TAG]  an image in a registry; also REPO@DIGEST
  containerd:[NS//]NAME     an image of containerd here, such as k8s.io//docker.io/library/nginx:1
  PATH[:TAG]                any of these files; the kind is detected

Exit codes: see `imgdelta --help`.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_of_limit_lists_every_name() {
        let help = limit_help();
        for name in LimitName::ALL {
            assert!(help.contains(name.as_str()), "{name} in {help}");
        }
    }
}
