//! Values that several commands take: sizes, rates, globs and choices.
//!
//! Parses; looks nothing up.

use clap::ValueEnum;
use imgdelta::{apply::LayerForm, limits::parse_size};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LayersChoice {
    Exact,
    Uncompressed,
}

impl From<LayersChoice> for LayerForm {
    fn from(layers: LayersChoice) -> Self {
        match layers {
            LayersChoice::Exact => Self::Exact,
            LayersChoice::Uncompressed => Self::Uncompressed,
        }
    }
}

/// A glob over paths. As in a shell, `*` stays within one directory and `**` does not.
#[derive(Clone, Debug)]
pub struct PathGlob(String);

impl PathGlob {
    /// Returns true if the glob matches a path, whose bytes need not be text.
    pub fn matches(&self, path: &[u8]) -> bool {
        fast_glob::glob_match(&self.0, path)
    }
}

/// Parses a glob.
pub fn glob(text: &str) -> Result<PathGlob, fast_glob::Error> {
    fast_glob::validate(text)?;
    // A leading `!` is part of the name; the matcher would negate the glob.
    let escape = if text.starts_with('!') { "\\" } else { "" };
    Ok(PathGlob(format!("{escape}{text}")))
}

/// Parses a size in bytes.
pub fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| format!("{text:?} is not a size: expected such as 256MiB"))
}

/// Parses bits per second, as `tc` writes them: `20mbit`.
pub fn rate(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let unit: Option<u64> = match lower[digits..].trim() {
        "kbit" => Some(1000),
        "mbit" => Some(1_000_000),
        "gbit" => Some(1_000_000_000),
        _ => None,
    };
    let number = lower[..digits].parse::<u64>().ok().filter(|number| *number > 0);
    let bits = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    bits.ok_or_else(|| format!("{text:?} is not a rate: expected such as 20mbit or 1gbit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_bytes_and_mistakes_are_named() {
        let matches = |text: &str, path: &[u8]| glob(text).unwrap().matches(path);
        assert!(matches("/etc/*", b"/etc/shadow") && !matches("/etc/*", b"/etc/ssl/cert"));
        assert!(matches("app/**/*.png", b"app/logo.png") && matches("app/**", b"app/a/b"));
        assert!(matches("**/l?b[0-9]{,.so}", b"usr/lib7.so") && matches("**", b"a/b"));
        assert!(matches("a/*\u{e9}", "a/caf\u{e9}".as_bytes()));
        // A name that is not text, and names with the matcher's own characters.
        assert!(matches("a/*", b"a/\xff\xfe") && matches("*b", b"\xffb"));
        assert!(matches("!a", b"!a") && !matches("!a", b"b") && matches("\\*", b"*"));
        for (wrong, reason) in [("[a", "class"), ("{a", "brace"), ("a\\", "backslash")] {
            let error = glob(wrong).unwrap_err().to_string();
            assert!(error.contains(reason), "{wrong}: {error}");
        }
    }

    #[test]
    fn rates_are_whole_numbers_of_bits() {
        assert_eq!(rate("20mbit"), Ok(20_000_000));
        assert_eq!(rate("1 Gbit"), Ok(1_000_000_000));
        assert_eq!(rate("56kbit"), Ok(56_000));
        for wrong in ["", "0mbit", "20", "20MB", "mbit", "-1mbit", "1.5gbit", "99999999999gbit"] {
            let error = rate(wrong).unwrap_err();
            assert!(error.contains("expected such as 20mbit"), "{wrong}: {error}");
        }
    }
}
