//! The command line: parse, call, print, exit.
//!
//! Decides nothing: a user of the library misses nothing that is here.

// A failed write to standard error would be a panic in the middle of the work: see `stderr`.
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod args;
mod create;
mod delta;
mod diff;
mod environment;
mod exit;
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
mod stderr;
mod terminal;

use clap::CommandFactory;
use std::process::ExitCode;

// musl's own allocator takes one lock for all threads.
#[cfg(all(feature = "static-allocator", target_env = "musl"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = args::Cli::of_process();
    let outcome = match &cli.command {
        args::Command::Diff(diff) => diff::run(diff, &cli.common),
        args::Command::Create(create) => create::run(create, &cli.common),
        args::Command::Apply(apply) => delta::apply(apply, &cli.common),
        args::Command::Verify(verify) => delta::verify(verify, &cli.common),
        args::Command::Inspect(inspect) => delta::inspect(inspect, &cli.common),
        args::Command::Push(push) => registry::push(push, &cli.common),
        args::Command::Pull(pull) => registry::pull(pull, &cli.common),
        #[cfg(feature = "job")]
        args::Command::Job(job) => job::run(job, &cli.common),
        #[cfg(not(feature = "job"))]
        args::Command::Job(_) => Ok(refuse("job")),
        #[cfg(feature = "node")]
        args::Command::Node(node) => node::run(node, &cli.common),
        #[cfg(not(feature = "node"))]
        args::Command::Node(_) => Ok(refuse("node")),
        args::Command::Completions { shell } => print_completions(*shell),
        args::Command::Man(manual) => manual::run(manual),
    };
    outcome.unwrap_or_else(|error| exit::report(&error))
}

fn print_completions(shell: clap_complete::Shell) -> imgdelta::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::Cli::command(), "imgdelta", &mut script);
    output::print(&script)
}

/// Answers a command that this build does not have.
#[cfg(not(all(feature = "job", feature = "node")))]
fn refuse(command: &str) -> ExitCode {
    stderr::print_line(format_args!(
        "imgdelta: this build has no {command}; install one that has it: \
         `cargo install --path crates/imgdelta-cli --features {command}`"
    ));
    ExitCode::from(2)
}
