//! Values of a configuration file, and the places of its mistakes.
//!
//! Each value is checked by its parser, so that a mistake is reported at its own place.

use imgdelta_core::{Error, limits::parse_size};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};
use toml::Spanned;

/// A mistake in a file: its byte range, and what is expected there.
pub type Mistake = (Range<usize>, String);

/// Opens a configuration. `mistake` returns the first mistake that parsing does not find.
pub fn open<C: DeserializeOwned>(
    path: &Path,
    mistake: impl FnOnce(&C) -> Option<Mistake>,
) -> imgdelta_core::Result<C> {
    let text = fs::read_to_string(path).map_err(Error::io(path.display()))?;
    parse(&text, &path.display().to_string(), mistake)
}

/// Parses the text of a configuration as [`open`] does; errors name it `place`.
pub fn parse<C: DeserializeOwned>(
    text: &str,
    place: &str,
    mistake: impl FnOnce(&C) -> Option<Mistake>,
) -> imgdelta_core::Result<C> {
    let config = toml::from_str(text)
        .map_err(|error| mistake_at(text, place, error.span(), error.message()))?;
    match mistake(&config) {
        Some((span, what)) => Err(mistake_at(text, place, Some(span), &what)),
        None => Ok(config),
    }
}

/// Returns the first value that is too small. Each has its place, the value, the least one, and the
/// unit.
pub fn too_small<'a>(
    values: impl IntoIterator<Item = (Range<usize>, u64, u64, &'a str)>,
) -> Option<Mistake> {
    let mut values = values.into_iter();
    values.find_map(|(span, found, least, unit)| {
        (found < least).then(|| (span, format!("expected at least {least} {unit}")))
    })
}

/// Returns the mistake of a text that is not the host of a registry.
pub fn not_a_host(host: &Spanned<String>) -> Option<Mistake> {
    let is_host = !host.get_ref().is_empty() && !host.get_ref().contains(['/', '@', ' ']);
    let what = "expected HOST[:PORT], without scheme, path or login";
    (!is_host).then(|| (host.span(), what.into()))
}

/// A number of bytes, written as `500MB` or `2 GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let size = parse_size(&text);
        size.map(Self).ok_or_else(|| D::Error::custom("not a size: expected such as \"2GiB\""))
    }
}

/// A span of time, written as `90s`, `15m`, `6h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(Duration);

impl TimeSpan {
    /// Makes a span of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Returns the span as a duration.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Returns the whole seconds.
    pub const fn whole_seconds(self) -> u64 {
        self.0.as_secs()
    }

    /// Parses a number with a unit: `ms`, `s`, `m`, `h` or `d`.
    pub fn parse(text: &str) -> Option<Self> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
        let unit = match text[unit_at..].trim_start() {
            "ms" => return Some(Self(Duration::from_millis(text[..unit_at].parse().ok()?))),
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        text[..unit_at].parse::<u64>().ok()?.checked_mul(unit).map(Self::seconds)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::custom("not a time span: expected such as \"90s\" or \"15m\""))
    }
}

/// One or several files: `"a.pem"` or `["a.pem", "b.pem"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileList(pub Vec<PathBuf>);

impl<'de> Deserialize<'de> for FileList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            One(PathBuf),
            Many(Vec<PathBuf>),
        }
        // The message of an untagged enum about other types does not help.
        match OneOrMany::deserialize(deserializer) {
            Ok(OneOrMany::One(file)) => Ok(Self(vec![file])),
            Ok(OneOrMany::Many(files)) => Ok(Self(files)),
            Err(_) => Err(D::Error::custom("expected a file, or a list of files")),
        }
    }
}

/// Reads files.
pub fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    FileList::deserialize(deserializer).map(|FileList(files)| files)
}

/// The log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LogConfig {
    /// Text or JSON.
    pub format: LogFormat,
    /// The least important messages that are logged.
    pub level: LogLevel,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// A JSON object per line.
    Json,
}

/// The importance of a log message.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// Also anything unusual.
    Warn,
    /// Also each finished step.
    #[default]
    Info,
    /// Also the reasons.
    Debug,
}

/// Makes the error for a mistake at a byte range of the text.
fn mistake_at(text: &str, place: &str, span: Option<Range<usize>>, what: &str) -> Error {
    let Some(span) = span else { return Error::bad_input(place, what) };
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Error::bad_input(format_args!("{place}:{line}:{column}"), what)
}

/// Makes a default value, which has no place in a file.
pub fn unspanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        assert_eq!(TimeSpan::parse("90s"), Some(TimeSpan::seconds(90)));
        assert_eq!(TimeSpan::parse("15 m"), Some(TimeSpan::seconds(900)));
        assert_eq!(TimeSpan::parse("2h"), Some(TimeSpan::seconds(7200)));
        assert_eq!(TimeSpan::parse("7d"), Some(TimeSpan::seconds(604_800)));
        assert_eq!(
            TimeSpan::parse("250ms").map(TimeSpan::duration),
            Some(Duration::from_millis(250))
        );
        for text in ["", "5", "s", "-5s", "5 weeks", "1.5h", "99999999999999999999s"] {
            assert_eq!(TimeSpan::parse(text), None, "{text}");
        }
        assert_eq!(TimeSpan::parse("999999999999999999d"), None, "overflow");
    }
}
