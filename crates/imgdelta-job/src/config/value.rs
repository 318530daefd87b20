//! Single values of a configuration: sizes, spans of time, shares, patterns.
//!
//! Each is checked where it is read, so that a mistake is told at its own place.

use globset::{GlobBuilder, GlobMatcher};
use imgdelta_core::limits::parse_size;
use imgdelta_image::image::Platform;
use imgdelta_make::options::Preset;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{fmt, path::PathBuf, time::Duration};

/// A number of bytes, written as `500MB` or `2 GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let size = parse_size(&text);
        size.map(Self).ok_or_else(|| D::Error::custom("no size: expected such as \"2GiB\""))
    }
}

/// A span of time, written as `90s`, `15m`, `6h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// Makes one of seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Returns it.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Returns its seconds.
    pub const fn whole_seconds(self) -> u64 {
        self.0.as_secs()
    }

    fn parse(text: &str) -> Option<Self> {
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

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::custom("no span of time: expected such as \"90s\" or \"15m\""))
    }
}

/// A part of a whole, written as `0.8` or `"80%"`; more than nothing, at most all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    per_mille: u16,
}

impl Share {
    /// Makes one of thousandths; more than 1000 is 1000.
    pub fn per_mille(thousandths: u16) -> Self {
        Self { per_mille: thousandths.min(1000) }
    }

    /// Returns its thousandths.
    pub fn thousandths(self) -> u16 {
        self.per_mille
    }

    /// Whether `part` is less than this share of `whole`.
    pub fn is_above(self, part: u64, whole: u64) -> bool {
        u128::from(part) * 1000 < u128::from(whole) * u128::from(self.per_mille)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
    fn of(part: f64) -> Option<Self> {
        // A NaN is in no range.
        let is_share = (0.001..=1.0).contains(&part);
        is_share.then(|| Self { per_mille: (part * 1000.0).round() as u16 })
    }
}

impl Default for Share {
    fn default() -> Self {
        Self { per_mille: 800 }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per_mille % 10 {
            0 => write!(f, "{} %", self.per_mille / 10),
            rest => write!(f, "{}.{rest} %", self.per_mille / 10),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        // What untagged says of other types is no help.
        let part = match Written::deserialize(deserializer) {
            Ok(Written::Number(part)) => Some(part),
            Ok(Written::Text(text)) => text
                .strip_suffix('%')
                .and_then(|number| number.trim_end().parse::<f64>().ok())
                .map(|percent| percent / 100.0),
            Err(_) => None,
        };
        part.and_then(Self::of).ok_or_else(|| {
            D::Error::custom("no share: expected such as 0.8 or \"80%\", at most \"100%\"")
        })
    }
}

/// A glob over names: `*` stays between two `/`, `**` does not.
#[derive(Clone, Debug)]
pub struct Pattern(GlobMatcher);

impl Pattern {
    /// Matches every name.
    pub fn everything() -> Self {
        Self::new("**").expect("a glob")
    }

    /// Makes one, if the text is a glob.
    pub fn new(text: &str) -> Result<Self, globset::Error> {
        let glob = GlobBuilder::new(text).literal_separator(true).build()?;
        Ok(Self(glob.compile_matcher()))
    }

    /// Whether a name matches.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }

    /// Returns the one name that matches, if it is a name and no glob.
    pub fn name(&self) -> Option<&str> {
        let text = self.0.glob().glob();
        (!text.contains(['*', '?', '[', '{', '\\'])).then_some(text)
    }

    /// Returns what was written.
    pub fn text(&self) -> &str {
        self.0.glob().glob()
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(|error| D::Error::custom(error.kind()))
    }
}

/// Some files: `"a.pem"` or `["a.pem", "b.pem"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(pub Vec<PathBuf>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            One(PathBuf),
            Some(Vec<PathBuf>),
        }
        // What untagged says of other types is no help.
        match Written::deserialize(deserializer) {
            Ok(Written::One(file)) => Ok(Self(vec![file])),
            Ok(Written::Some(files)) => Ok(Self(files)),
            Err(_) => Err(D::Error::custom("expected a file, or a list of files")),
        }
    }
}

/// Reads files.
pub(super) fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    Files::deserialize(deserializer).map(|Files(files)| files)
}

/// Reads platforms.
pub(super) fn platforms<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Platform>, D::Error> {
    struct One(Platform);
    impl<'de> Deserialize<'de> for One {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
        }
    }
    Ok(Vec::<One>::deserialize(deserializer)?.into_iter().map(|One(platform)| platform).collect())
}

/// Reads a preset.
pub(super) fn preset<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Preset, D::Error> {
    let text = String::deserialize(deserializer)?;
    preset_of(&text).ok_or_else(|| D::Error::custom("expected \"fast\", \"default\" or \"best\""))
}

/// Returns the preset of a word.
pub(crate) fn preset_of(word: &str) -> Option<Preset> {
    match word {
        "fast" => Some(Preset::Fast),
        "default" => Some(Preset::Default),
        "best" => Some(Preset::Best),
        _ => None,
    }
}

/// Returns the word of a preset.
pub(crate) fn preset_word(preset: Preset) -> &'static str {
    match preset {
        Preset::Fast => "fast",
        Preset::Default => "default",
        Preset::Best => "best",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        assert_eq!(Span::parse("90s"), Some(Span::seconds(90)));
        assert_eq!(Span::parse("15 m"), Some(Span::seconds(900)));
        assert_eq!(Span::parse("2h"), Some(Span::seconds(7200)));
        assert_eq!(Span::parse("7d"), Some(Span::seconds(604_800)));
        assert_eq!(Span::parse("250ms").map(Span::get), Some(Duration::from_millis(250)));
        for text in ["", "5", "s", "-5s", "5 weeks", "1.5h", "99999999999999999999s"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
        assert_eq!(Span::parse("999999999999999999d"), None, "overflow");
    }

    #[test]
    fn a_share_is_strict() {
        let share = Share::per_mille(800);
        assert!(share.is_above(799, 1000) && !share.is_above(800, 1000));
        assert!(!share.is_above(0, 0), "nothing to save is not worth it");
        assert!(Share::per_mille(1000).is_above(u64::MAX - 1, u64::MAX));
        assert_eq!(Share::of(f64::NAN), None);
        assert_eq!(Share::of(0.0), None);
        assert_eq!(Share::of(0.805).map(|share| share.to_string()).as_deref(), Some("80.5 %"));
    }

    #[test]
    fn patterns_know_whether_they_are_names() {
        assert_eq!(Pattern::new("team/app").unwrap().name(), Some("team/app"));
        assert_eq!(Pattern::new("team/*").unwrap().name(), None);
        assert!(Pattern::everything().matches("a/b/c"));
    }
}
