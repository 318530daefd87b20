//! Values that several commands take: sizes, rates, globs and choices.
//!
//! Parses; looks nothing up.

use clap::ValueEnum;
use globset::GlobMatcher;
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

/// Parses a glob. As in a shell, `*` stays within one directory and `**` does not.
pub fn glob(text: &str) -> Result<GlobMatcher, globset::Error> {
    let glob = globset::GlobBuilder::new(text).literal_separator(true).build()?;
    Ok(glob.compile_matcher())
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
