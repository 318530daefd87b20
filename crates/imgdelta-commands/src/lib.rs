//! The command line: parse, call, print, exit.
//!
//! Decides nothing: a user of the library misses nothing that is here.

// A failed write to standard error would be a panic in the middle of the work: see `stderr`.
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod args;
mod comparison;
mod create;
mod delta;
mod deltas;
mod destination;
mod diff;
mod display;
mod environment;
mod exit;
mod frames;
mod history;
mod interrupt;
#[cfg(feature = "job")]
mod job;
mod manual;
#[cfg(feature = "node")]
mod node;
mod output;
mod registry;
mod runtimes;
#[cfg(any(feature = "job", feature = "node"))]
mod service;
mod session;
#[cfg(feature = "node")]
mod stage;
mod stderr;
mod terminal;

use clap::CommandFactory;
use clap_complete::env::{CompleteEnv, Shells};
use std::process::ExitCode;

/// Runs the command of this process's arguments, and returns its exit code.
pub fn main() -> ExitCode {
    CompleteEnv::with_factory(args::Cli::command).var(COMPLETE).complete();
    let cli = match args::Cli::of_process() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let outcome = run(&cli);
    outcome.unwrap_or_else(|failure| exit::report(failure, cli.command.is_json()))
}

fn run(cli: &args::Cli) -> Result<ExitCode, exit::Failure> {
    let outcome = match &cli.command {
        args::Command::Diff(diff) => diff::run(diff, &cli.common),
        args::Command::Create(create) => create::run(create, &cli.common),
        args::Command::Apply(apply) => return delta::apply(apply, &cli.common),
        args::Command::Verify(verify) => return delta::verify(verify, &cli.common),
        args::Command::Inspect(inspect) => delta::inspect(inspect, &cli.common),
        args::Command::Push(push) => registry::push(push, &cli.common),
        args::Command::Pull(pull) => registry::pull(pull, &cli.common),
        args::Command::Log(history) => history::run(history, &cli.common),
        args::Command::Deltas(deltas) => deltas::run(deltas, &cli.common),
        args::Command::Frames(frames) => frames::run(frames, &cli.common),
        #[cfg(feature = "job")]
        args::Command::Job(job) => return job::run(job, &cli.common),
        #[cfg(not(feature = "job"))]
        args::Command::Job(_) => Ok(refuse("job")),
        #[cfg(feature = "node")]
        args::Command::Node(node) => node::run(node, &cli.common),
        #[cfg(not(feature = "node"))]
        args::Command::Node(_) => Ok(refuse("node")),
        args::Command::Completions { shell } => print_completions(*shell),
        args::Command::Man(manual) => manual::run(manual),
    };
    outcome.map_err(exit::Failure::from)
}

/// Prints the script by which a shell asks this program for completions.
fn print_completions(shell: clap_complete::Shell) -> imgdelta::Result<ExitCode> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell.to_string()).expect("every shell has a script");
    let name = "imgdelta";
    let written = completer.write_registration(COMPLETE, name, name, name, &mut script);
    written.map_err(imgdelta::Error::io("completion script"))?;
    if shell == clap_complete::Shell::Bash {
        script.extend_from_slice(WORDS_WITH_COLONS.as_bytes());
    }
    output::print(&script)
}

/// Bash breaks words at colons, which names of images have. The functions of bash-completion join them
/// again, if they are there.
const WORDS_WITH_COLONS: &str = r#"
_imgdelta() {
    local cur=$2 words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n : cur words cword
    fi
    local COMP_WORDS=("${words[@]}") COMP_CWORD=$cword
    _clap_complete_imgdelta "$1" "$cur" "$3"
    if declare -F __ltrim_colon_completions >/dev/null; then
        __ltrim_colon_completions "$cur"
    fi
}
complete -o nospace -o bashdefault -o nosort -F _imgdelta imgdelta
"#;

/// Variable in which a shell asks for completions.
const COMPLETE: &str = "IMGDELTA_COMPLETE";

/// Answers a command that this build does not have.
#[cfg(not(all(feature = "job", feature = "node")))]
fn refuse(command: &str) -> ExitCode {
    stderr::print_line(format_args!(
        "imgdelta: this build has no {command}; install the package imgdelta-job, which has everything, \
         or build it: `cargo install --path crates/imgdelta-cli --features {command}`"
    ));
    ExitCode::from(2)
}
