//! What a reproducibility check chooses not to see.

use std::{fmt, str::FromStr};

/// Differences left out of a diff. Nothing is ignored by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "a set of words, each on or off")]
pub struct Ignore {
    /// Modification times.
    pub mtime: bool,
    /// Permission bits.
    pub mode: bool,
    /// Users and groups.
    pub owner: bool,
    /// Extended attributes.
    pub attributes: bool,
    /// Which paths are hard links of each other.
    pub links: bool,
    /// When the image was made.
    pub created: bool,
    /// How the image was made.
    pub history: bool,
}

impl Ignore {
    /// Returns whether nothing is ignored.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the words [`FromStr`] takes.
    pub const fn words() -> &'static [&'static str] {
        &["mtime", "mode", "owner", "xattrs", "links", "created", "history"]
    }
}

/// A word that names nothing to ignore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIgnore(String);

impl fmt::Display for UnknownIgnore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot ignore {:?}: expected some of {}", self.0, Ignore::words().join(","))
    }
}

impl std::error::Error for UnknownIgnore {}

impl FromStr for Ignore {
    type Err = UnknownIgnore;

    /// Reads words separated by commas.
    fn from_str(text: &str) -> Result<Self, UnknownIgnore> {
        let mut ignore = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let field = match word {
                "mtime" => &mut ignore.mtime,
                "mode" => &mut ignore.mode,
                "owner" => &mut ignore.owner,
                "xattrs" => &mut ignore.attributes,
                "links" => &mut ignore.links,
                "created" => &mut ignore.created,
                "history" => &mut ignore.history,
                other => return Err(UnknownIgnore(other.to_owned())),
            };
            *field = true;
        }
        Ok(ignore)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_known_and_others_are_refused() {
        let all: Ignore = Ignore::words().join(",").parse().unwrap();
        assert!(all.mtime && all.mode && all.owner && all.attributes);
        assert!(all.links && all.created && all.history);
        assert!("".parse::<Ignore>().unwrap().is_nothing());
        assert_eq!(
            "mtime,size".parse::<Ignore>().unwrap_err().to_string(),
            "cannot ignore \"size\": expected some of mtime,mode,owner,xattrs,links,created,history"
        );
    }
}
