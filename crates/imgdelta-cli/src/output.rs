//! Results on standard output, as text or as JSON.
//!
//! Knows no command.

use imgdelta::{Error, Result};
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Prints a result as the options ask: a document, text, or nothing when quiet.
pub fn print_result(
    document: impl FnOnce() -> serde_json::Value,
    text: &impl ToString,
    as_json: bool,
    is_quiet: bool,
) -> Result<ExitCode> {
    match (as_json, is_quiet) {
        (true, _) => print_json(&document()),
        (false, true) => Ok(ExitCode::SUCCESS),
        (false, false) => print(text.to_string().as_bytes()),
    }
}

/// Prints a document for programs.
pub fn print_json(document: &serde_json::Value) -> Result<ExitCode> {
    let mut text = serde_json::to_vec_pretty(document).expect("a value is a document");
    text.push(b'\n');
    print(&text)
}

/// Writes to standard output. A reader that stops early (`| head`) is not a failure.
pub fn print(bytes: &[u8]) -> Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("standard output")(error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
