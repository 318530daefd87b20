//! The command line: commands, options and their help.
//!
//! Values are parsed to their types here, so that a mistake is a usage error before any work.

mod complete;
mod create;
mod delta;
mod deltas;
mod diff;
mod digest;
mod help;
mod history;
#[cfg(feature = "job")]
mod job;
mod manual;
#[cfg(not(all(feature = "job", feature = "node")))]
mod missing;
#[cfg(feature = "node")]
mod node;
mod outcome;
mod patch;
mod registry;
mod value;

pub use create::{CreateArgs, MakingOptions, is_stdout};
pub use delta::{ApplyArgs, DeltaArgs, InspectArgs, VerifyArgs};
pub use deltas::{DeltaChoice, DeltasAction, DeltasArgs};
pub use diff::{DiffArgs, SortOrder};
pub use digest::DigestOptions;
pub use history::HistoryArgs;
#[cfg(feature = "job")]
pub use job::{
    DropArgs, ExplainArgs, JobAction, JobArgs, JobAsk, PauseArgs, ReadyArgs, RetryArgs, RunArgs,
    ServeArgs, TasksArgs, WantArgs,
};
pub use manual::{ManualArgs, definition};
#[cfg(not(feature = "job"))]
pub use missing::MissingArgs as JobArgs;
#[cfg(not(feature = "node"))]
pub use missing::MissingArgs as NodeArgs;
#[cfg(feature = "node")]
pub use node::{CleanArgs, NodeAction, NodeArgs, StageArgs, StatusArgs, image_name};
pub use outcome::OutcomeArgs;
pub use patch::PatchArgs;
pub use registry::{FramesArgs, PullArgs, PushArgs, RegistryOptions};
pub use value::{ColorChoice, LayersChoice};

use crate::exit;
use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};
use clap_complete::ArgValueCompleter;
use imgdelta::{
    delta::FORMAT_VERSION,
    limits::{LimitChange, LimitName, Limits},
};
use std::{
    env,
    io::{self, IsTerminal},
    process::ExitCode,
    sync::LazyLock,
};

#[derive(Debug, Parser)]
#[command(
    name = "imgdelta",
    version,
    long_version = LONG_VERSION.as_str(),
    about,
    after_help = "`imgdelta COMMAND --help` describes every option, with examples.",
    after_long_help = EXIT_CODES,
    arg_required_else_help = true
)]
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

    /// Also print decisions, and requests to registries with their answers
    #[arg(long, short, global = true, conflicts_with = "quiet", help_heading = COMMON)]
    pub verbose: bool,

    /// Worker threads, at most 8 for each core; 0 is one per core
    #[arg(long, short, global = true, default_value_t = 0, value_name = "N", help_heading = COMMON)]
    pub jobs: usize,

    /// Colour the text; auto does so on a terminal, unless `NO_COLOR` is set
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t = ColorChoice::Auto,
        value_name = "WHEN",
        hide_short_help = true,
        help_heading = COMMON
    )]
    pub color: ColorChoice,

    #[arg(
        long = "limit",
        global = true,
        value_name = "NAME=SIZE",
        help = "Raise or lower a limit on images and deltas, such as layer-bytes=500GB (may be repeated)",
        long_help = limit_help(),
        hide_short_help = true,
        add = ArgValueCompleter::new(complete::limits),
        help_heading = COMMON
    )]
    pub limits: Vec<LimitChange>,

    #[command(flatten)]
    pub registry: RegistryOptions,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what changed from one image to another
    #[command(after_long_help = help::DIFF, visible_alias = "compare")]
    Diff(Box<DiffArgs>),
    /// Make a delta that rebuilds the new image from the old one
    #[command(after_long_help = help::CREATE)]
    Create(Box<CreateArgs>),
    /// Rebuild the new image from the old one and a delta
    #[command(after_long_help = help::APPLY)]
    Apply(Box<ApplyArgs>),
    /// Check that a delta and the old image make the new one; write nothing
    #[command(after_long_help = help::VERIFY)]
    Verify(Box<VerifyArgs>),
    /// Describe a delta: the image it makes, the layers it needs, the size of its parts
    #[command(after_long_help = help::INSPECT)]
    Inspect(InspectArgs),
    /// Upload a delta to the repository that holds the image it makes
    #[command(after_long_help = help::PUSH)]
    Push(PushArgs),
    /// Fetch an image the cheapest way: from local layers, deltas or whole layers
    #[command(after_long_help = help::PULL)]
    Pull(Box<PullArgs>),
    /// List the versions of an image in a registry: dates, sizes, deltas, the bytes of each way
    #[command(after_long_help = help::LOG)]
    Log(HistoryArgs),
    /// List, inspect, fetch or delete the deltas next to an image in a registry
    #[command(after_long_help = help::DELTAS)]
    Deltas(DeltasArgs),
    /// Publish the frames of an image, so that nodes that discard compressed layers can upgrade from
    /// it; or write them for an unpacked image
    #[command(after_long_help = help::FRAMES)]
    Frames(FramesArgs),
    /// Prepare deltas for the images of a registry, as a configuration file says
    #[cfg_attr(not(feature = "job"), command(about = "Prepare deltas (not in this build)"))]
    Job(JobArgs),
    /// Let the container runtime of this machine upgrade and roll back by delta
    #[cfg_attr(not(feature = "node"), command(about = "Serve a node (not in this build)"))]
    Node(NodeArgs),
    /// Print a completion script for a shell
    #[command(after_long_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, for `imgdelta man | man -l -`
    Man(ManualArgs),
}

impl Cli {
    /// Parses the command line. Help and usage errors are printed here, and end the process with the
    /// returned code.
    pub fn of_process() -> Result<Self, ExitCode> {
        let parsed = Self::try_parse().and_then(|cli| {
            let conflict = match &cli.command {
                Command::Create(create) => create.conflict(io::stdout().is_terminal()),
                Command::Frames(frames) => frames.conflict(),
                Command::Apply(apply) => apply.delta.conflict(),
                Command::Verify(verify) => verify.delta.conflict(),
                _ => None,
            };
            let Some(conflict) = conflict else { return Ok(cli) };
            let name = match &cli.command {
                Command::Frames(_) => "frames",
                Command::Apply(_) => "apply",
                Command::Verify(_) => "verify",
                _ => "create",
            };
            let mut definition = Self::command();
            definition.build();
            let command = definition.find_subcommand_mut(name).expect("a command of this program");
            Err(command.error(ErrorKind::ArgumentConflict, conflict))
        });
        parsed.map_err(|error| {
            let is_mistake = error.exit_code() == 2;
            if is_mistake && env::args_os().any(|arg| arg == "--json") {
                return exit::report_usage(&error.render().to_string());
            }
            // A closed output is not worth another error.
            let _ = error.print();
            ExitCode::from(if is_mistake { 2 } else { 0 })
        })
    }
}

impl Command {
    /// True if the user asked for JSON.
    pub fn is_json(&self) -> bool {
        match self {
            Self::Diff(args) => args.json,
            Self::Create(args) => args.json,
            Self::Apply(args) => args.delta.json,
            Self::Verify(args) => args.delta.json,
            Self::Inspect(args) => args.json,
            Self::Push(args) => args.json,
            Self::Pull(args) => args.json,
            Self::Log(args) => args.json,
            Self::Frames(args) => args.json,
            Self::Deltas(args) => args.is_json(),
            #[cfg(feature = "job")]
            Self::Job(args) => args.is_json(),
            #[cfg(feature = "node")]
            Self::Node(args) => args.is_json(),
            _ => false,
        }
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

static LONG_VERSION: LazyLock<String> = LazyLock::new(long_version);

/// Returns the text of `--version`: version, commit, format of deltas, optional parts.
fn long_version() -> String {
    let commit = option_env!("IMGDELTA_COMMIT").filter(|commit| !commit.is_empty());
    let (major, minor) = FORMAT_VERSION;
    let parts = [("job", cfg!(feature = "job")), ("node", cfg!(feature = "node"))];
    let present: Vec<&str> =
        parts.iter().filter(|(_, is_present)| *is_present).map(|(name, _)| *name).collect();
    format!(
        "{}\ncommit        {}\ndelta format  {major}.{minor}\nfeatures      {}",
        env!("CARGO_PKG_VERSION"),
        commit.unwrap_or("unknown"),
        if present.is_empty() { "none".to_owned() } else { present.join(", ") }
    )
}

/// Heading of the options that every command has.
const COMMON: &str = "Common options";

const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    `diff --exit-code` found differences, or --max-delta or --fail-on failed
  2    wrong usage
  3    bad input: not an image or a delta, damaged, or a tag that does not exist
  4    the base lacks layers that the delta needs
  5    verification failed: bytes do not have the promised digest
  6    input, output or network error
  130  interrupted";

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
