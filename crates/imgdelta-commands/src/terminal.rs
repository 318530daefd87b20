//! The terminal: colour and width of results.
//!
//! Writes nothing.

use crate::args::ColorChoice;
use std::{
    io::{self, IsTerminal},
    os::fd::AsFd,
};

/// Returns true if text may be coloured.
pub fn has_color(when: ColorChoice) -> bool {
    match when {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            // https://no-color.org: set and not empty means no.
            let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            io::stdout().is_terminal() && !is_unwanted
        }
    }
}

/// Returns the characters of a line: `COLUMNS` if it is set, else the width of the terminal. A file or
/// pipe has no width.
pub fn width() -> Option<usize> {
    let chosen = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width = chosen.filter(|width| *width > 0).or_else(|| width_of(&io::stdout()));
    width.map(|width| width.max(LEAST_WIDTH))
}

/// Returns the columns of a terminal; `None` for a file or pipe.
pub fn width_of(terminal: &impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    // A terminal of unknown size reports 0 columns.
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// Nobody reads a table in fewer columns.
const LEAST_WIDTH: usize = 40;
