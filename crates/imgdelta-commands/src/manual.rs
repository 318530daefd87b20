//! Manual pages, made from the definition of the command line.
//!
//! Prints them or writes them to a directory; the format is clap's.

use crate::{
    args::{self, definition},
    output,
};
use clap_mangen::Man;
use imgdelta::{Error, Result};
use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

/// Runs the command.
pub fn run(manual: &args::ManualArgs) -> Result<ExitCode> {
    if let Some(dir) = &manual.dir {
        return write(dir).map_err(Error::io(format!("manual pages in {}", dir.display())));
    }
    let mut page = Vec::new();
    let rendered = match &manual.command {
        Some(name) => render_one(&mut page, name),
        None => render_all(&mut page),
    };
    rendered.map_err(Error::io("manual page"))?;
    output::print(&page)
}

/// Writes a page for each command and for each of its subcommands.
fn write(dir: &Path) -> io::Result<ExitCode> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(definition(), dir)?;
    Ok(ExitCode::SUCCESS)
}

/// Renders the page of one command.
fn render_one(page: &mut Vec<u8>, name: &str) -> io::Result<()> {
    let mut definition = definition();
    definition.build();
    let command = definition.find_subcommand(name).expect("the name was parsed as a command's");
    Man::new(command.clone()).render(page)
}

/// Renders one page with the options of all commands.
fn render_all(page: &mut Vec<u8>) -> io::Result<()> {
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
