//! Results on standard output, as text or as JSON.
//!
//! Knows no command.

use crate::args::{self, DigestOptions};
use imgdelta::{BlobDigest, Error, Result, create::check_destination};
use std::{
    fs,
    io::{self, Write},
    path::Path,
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

/// Writes the digest of a result where the user wants it, and prints the result, or only its digest.
pub fn print_with_digest(
    options: &DigestOptions,
    digest: Option<&BlobDigest>,
    print_all: impl FnOnce() -> Result<ExitCode>,
) -> Result<ExitCode> {
    if let Some(digest) = digest {
        options.save(digest)?;
    }
    match digest {
        Some(digest) if options.print_digest => print(format!("{digest}\n").as_bytes()),
        _ => print_all(),
    }
}

/// Prints a document for programs.
pub fn print_json(document: &serde_json::Value) -> Result<ExitCode> {
    let mut text = serde_json::to_vec_pretty(document).expect("a value is a document");
    text.push(b'\n');
    print(&text)
}

/// Checks that a page can be written to a file, before the work.
pub fn check(path: Option<&Path>) -> Result<()> {
    path.filter(|path| !args::is_stdout(path)).map_or(Ok(()), check_destination)
}

/// Writes a page to a file, which is complete or not there; `-` is standard output.
pub fn write(path: &Path, bytes: &[u8]) -> Result<ExitCode> {
    if args::is_stdout(path) {
        return print(bytes);
    }
    let place = path.display().to_string();
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        // A pipe or a device takes the bytes as they come.
        fs::write(path, bytes).map_err(Error::io(&place))?;
        return Ok(ExitCode::SUCCESS);
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let written = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(parent.unwrap_or(Path::new(".")))
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.persist(path).map_err(|error| error.error)
        });
    written.map_err(Error::io(&place))?;
    Ok(ExitCode::SUCCESS)
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
