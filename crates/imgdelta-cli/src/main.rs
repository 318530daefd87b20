//! The command line: parse, call, print, exit.
//!
//! Nothing here that a user of the library would miss: decisions, formats and texts are the core's.

mod args;
mod create;
mod delta;
mod diff;
mod exit;
#[cfg(feature = "job")]
mod job;
mod manual;
mod registry;
mod session;
mod terminal;

use clap::{CommandFactory, Parser};
use std::{
    io::{self, Write},
    process::ExitCode,
};

// musl's own allocator takes one lock for all threads.
#[cfg(all(feature = "static-allocator", target_env = "musl"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let outcome = match &cli.command {
        args::Command::Diff(diff) => diff::run(diff, &cli.common),
        args::Command::Create(create) => create::run(create, &cli.common),
        args::Command::Apply(apply) => delta::apply(apply, &cli.common),
        args::Command::Verify(verify) => delta::verify(verify, &cli.common),
        args::Command::Inspect(inspect) => delta::inspect(inspect, &cli.common),
        args::Command::Push(push) => registry::run_push(push, &cli.common),
        args::Command::Pull(pull) => registry::run_pull(pull, &cli.common),
        #[cfg(feature = "job")]
        args::Command::Job(job) => job::run(job, &cli.common),
        #[cfg(not(feature = "job"))]
        args::Command::Job(_) => Ok(refuse_job()),
        args::Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut args::Cli::command(), "imgdelta", &mut script);
            print(&script)
        }
        args::Command::Man(man) => manual::run(man),
    };
    outcome.unwrap_or_else(exit::report)
}

/// Answers `imgdelta job` in a build that has no job.
#[cfg(not(feature = "job"))]
fn refuse_job() -> ExitCode {
    eprintln!(
        "imgdelta: this build has no job; \
         `cargo install --path crates/imgdelta-cli --features job` installs one that has"
    );
    ExitCode::from(2)
}

/// Prints a document for machines.
fn print_json(document: &serde_json::Value) -> imgdelta::Result<ExitCode> {
    let mut text = serde_json::to_vec_pretty(document).expect("a value is a document");
    text.push(b'\n');
    print(&text)
}

/// Writes a result to standard output. A reader that has seen enough (`| head`) is no failure.
fn print(bytes: &[u8]) -> imgdelta::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(imgdelta::Error::io("standard output")(error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
