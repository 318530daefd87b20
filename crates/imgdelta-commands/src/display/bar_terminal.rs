//! The terminal that the progress bar draws on: standard error, a little narrower than it is.
//!
//! A bar fills its line. Behind a full line, the `^C` that a terminal shows for Ctrl-C would begin
//! another line, and the bar would stay above it when it is removed.

use crate::terminal;
use indicatif::TermLike;
use std::{
    fmt::Display,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

/// Standard error as a terminal. Output waits for a flush, so that a line does not flicker.
#[derive(Debug, Default)]
pub(super) struct BarTerminal {
    unwritten: Mutex<Vec<u8>>,
}

impl BarTerminal {
    fn push(&self, text: impl Display) -> io::Result<()> {
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        write!(unwritten, "{text}")
    }

    fn move_cursor(&self, count: usize, direction: char) -> io::Result<()> {
        if count == 0 { Ok(()) } else { self.push(format_args!("\x1b[{count}{direction}")) }
    }
}

impl TermLike for BarTerminal {
    fn width(&self) -> u16 {
        let columns = terminal::width_of(&io::stderr()).unwrap_or(DEFAULT_COLUMNS);
        // A terminal without this room has no place for a bar either.
        u16::try_from(columns.saturating_sub(FREE_COLUMNS)).unwrap_or(u16::MAX).max(1)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.push(format_args!("{s}\n"))
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.push(s)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        let written = io::stderr().lock().write_all(&unwritten);
        unwritten.clear();
        written
    }
}

/// Columns that stay free: two for `^C`, and the last one, behind which lines break.
const FREE_COLUMNS: usize = 3;
const DEFAULT_COLUMNS: usize = 80;
