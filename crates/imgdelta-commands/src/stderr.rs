//! Lines on standard error: progress, notes, errors.
//! Never fails: a reader that went away or a full disk must not end the work.

use std::{
    fmt::Display,
    io::{self, Write},
};

/// Prints a line, and ignores an error.
pub fn print_line(line: impl Display) {
    write_line(&mut io::stderr().lock(), line);
}

fn write_line(out: &mut dyn Write, line: impl Display) {
    // One call, so that lines of several processes do not mix.
    let _ = out.write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_cannot_be_written_is_dropped() {
        let mut full = [0_u8; 4];
        write_line(&mut full.as_mut_slice(), "longer than the rest");
        assert_eq!(&full, b"long");
    }
}
