//! Arguments of `man`, and the definition that manual pages are made from.
//!
//! Writes no page.

use super::Cli;
use clap::{Args, Command, CommandFactory};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct ManualArgs {
    /// Print the page of this command only
    #[arg(value_parser = command_name)]
    pub command: Option<String>,

    /// Write a page for each command to this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

/// Returns the command line without `help`, whose page would repeat all others.
pub fn definition() -> Command {
    Cli::command().disable_help_subcommand(true)
}

/// Parses the name of a command.
fn command_name(text: &str) -> Result<String, String> {
    let definition = definition();
    if definition.find_subcommand(text).is_some() {
        return Ok(text.into());
    }
    let names: Vec<_> = definition.get_subcommands().map(Command::get_name).collect();
    Err(format!("no such command; the commands are {}", names.join(", ")))
}
