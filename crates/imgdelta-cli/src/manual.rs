//! Manual pages, made from the definition of the command line.
//!
//! Prints them or writes them into a folder; formats nothing itself.

use crate::{args, print};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use imgdelta::{Error, Result};
use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

/// Runs the command.
pub fn run(manual: &args::Manual) -> Result<ExitCode> {
    if let Some(dir) = &manual.dir {
        return write(dir).map_err(Error::io(format!("manual pages in {}", dir.display())));
    }
    let mut page = Vec::new();
    let rendered = match &manual.command {
        Some(name) => one(&mut page, name),
        None => all(&mut page),
    };
    rendered.map_err(Error::io("manual page"))?;
    print(&page)
}

/// Writes a page for each command and for each of its subcommands.
fn write(dir: &Path) -> io::Result<ExitCode> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(definition(), dir)?;
    Ok(ExitCode::SUCCESS)
}

/// Renders the page of one command.
fn one(page: &mut Vec<u8>, name: &str) -> io::Result<()> {
    let mut definition = definition();
    definition.build();
    let command = definition.find_subcommand(name).expect("`command_name` has found it");
    Man::new(command.clone()).render(page)
}

/// Renders one page for everything: the options of all commands stand in it.
fn all(page: &mut Vec<u8>) -> io::Result<()> {
    let mut definition = definition();
    definition.build();
    Man::new(definition.clone()).render(page)?;
    for command in definition.get_subcommands() {
        writeln!(page, ".SH \"{}\"", command.get_name().to_uppercase())?;
        let man = Man::new(command.clone());
        man.render_description_section(page)?;
        man.render_options_section(page)?;
    }
    Ok(())
}

fn definition() -> Command {
    // A page for `imgdelta help` would repeat all others.
    args::Cli::command().disable_help_subcommand(true)
}

/// Parses the name of a command that has a page.
pub fn command_name(text: &str) -> std::result::Result<String, String> {
    let definition = definition();
    if definition.find_subcommand(text).is_some() {
        return Ok(text.into());
    }
    let names: Vec<_> = definition.get_subcommands().map(Command::get_name).collect();
    Err(format!("no such command; the commands are {}", names.join(", ")))
}
