//! Single values of a job's configuration: shares, patterns, presets.
//!
//! Each is checked by its parser, so that a mistake is reported at its own place.

use imgdelta::{create::Preset, image::Platform};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::fmt;

/// A share of a whole, written as `0.8` or `"80%"`; more than nothing, at most all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    per_mille: u16,
}

impl Share {
    /// Makes a share of thousandths; more than 1000 is 1000.
    pub fn per_mille(thousandths: u16) -> Self {
        Self { per_mille: thousandths.min(1000) }
    }

    /// Returns the thousandths.
    pub fn thousandths(self) -> u16 {
        self.per_mille
    }

    /// Returns true if `part` is less than this share of `whole`.
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
        enum NumberOrText {
            Number(f64),
            Text(String),
        }
        // The message of an untagged enum about other types does not help.
        let part = match NumberOrText::deserialize(deserializer) {
            Ok(NumberOrText::Number(part)) => Some(part),
            Ok(NumberOrText::Text(text)) => text
                .strip_suffix('%')
                .and_then(|number| number.trim_end().parse::<f64>().ok())
                .map(|percent| percent / 100.0),
            Err(_) => None,
        };
        part.and_then(Self::of).ok_or_else(|| {
            D::Error::custom("not a share: expected such as 0.8 or \"80%\", at most \"100%\"")
        })
    }
}

/// A glob over names: `*` stays between two `/`, `**` does not.
#[derive(Clone, Debug)]
pub struct NamePattern(String);

impl NamePattern {
    /// Makes a pattern that matches every name.
    pub fn everything() -> Self {
        Self::new("**").expect("a glob")
    }

    /// Makes a pattern; fails if the text is not a glob.
    pub fn new(text: &str) -> Result<Self, String> {
        // The matcher would take it for a negation.
        if text.starts_with('!') {
            return Err("a glob over names cannot start with `!`; exclude tags by `except`".into());
        }
        fast_glob::validate(text).map_err(|error| error.to_string())?;
        Ok(Self(text.to_owned()))
    }

    /// Returns true if a name matches.
    pub fn matches(&self, name: &str) -> bool {
        fast_glob::glob_match(&self.0, name)
    }

    /// Returns the only name that matches, if the pattern has no wildcard.
    pub fn name(&self) -> Option<&str> {
        (!self.0.contains(['*', '?', '[', '{', '\\'])).then_some(&self.0)
    }

    /// Returns the text of the pattern.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(D::Error::custom)
    }
}

/// Reads platforms.
pub(super) fn platforms<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Platform>, D::Error> {
    struct PlatformText(Platform);
    impl<'de> Deserialize<'de> for PlatformText {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
        }
    }
    let platforms = Vec::<PlatformText>::deserialize(deserializer)?;
    Ok(platforms.into_iter().map(|PlatformText(platform)| platform).collect())
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
    fn a_pattern_without_wildcards_is_a_name() {
        assert_eq!(NamePattern::new("team/app").unwrap().name(), Some("team/app"));
        assert_eq!(NamePattern::new("team/*").unwrap().name(), None);
        assert!(NamePattern::everything().matches("a/b/c"));
        let matches = |glob: &str, name: &str| NamePattern::new(glob).unwrap().matches(name);
        assert!(matches("team/*", "team/app") && !matches("team/*", "team/app/web"));
        assert!(matches("team/**", "team/app/web") && !matches("team/**", "team"));
        assert!(matches("**/app", "app") && matches("**/app", "a/b/app"));
        assert!(matches("v[0-9]*.{0,1}", "v12.1") && !matches("v[!0-9]*", "v12"));
        for wrong in ["[a", "{a", "a\\", "!a"] {
            assert!(NamePattern::new(wrong).is_err(), "{wrong}");
        }
    }
}
