//! The command line: parse, call, print, exit.
//!
//! Nothing here that a user of the library would miss: decisions, formats and texts are the core's.

mod args;
mod create;
mod delta;
mod diff;
mod exit;
mod job;
mod output;
mod registry;
mod terminal;

use clap::{CommandFactory, Parser};
use std::{
    io::{self, Write},
    process::ExitCode,
};

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
        args::Command::Job(job) => job::run(job, &cli.common),
        args::Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut args::Cli::command(), "imgdelta", &mut script);
            print(&script)
        }
        args::Command::Man => manual().and_then(|page| print(&page)),
    };
    outcome.unwrap_or_else(exit::report)
}

/// One page for everything: the subcommands' options stand in it too.
fn manual() -> imgdelta::Result<Vec<u8>> {
    let mut page = Vec::new();
    let render = |page: &mut Vec<u8>| -> io::Result<()> {
        let mut command = args::Cli::command();
        command.build();
        clap_mangen::Man::new(command.clone()).render(page)?;
        for subcommand in command.get_subcommands().filter(|c| c.get_name() != "help") {
            writeln!(page, ".SH \"{}\"", subcommand.get_name().to_uppercase())?;
            let man = clap_mangen::Man::new(subcommand.clone());
            man.render_description_section(page)?;
            man.render_options_section(page)?;
        }
        Ok(())
    };
    render(&mut page).map_err(imgdelta::Error::io("manual page"))?;
    Ok(page)
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
