//! The differences that a reproducibility check ignores.
//! Never compares anything itself.

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
    /// Hard links between paths.
    pub links: bool,
    /// The image's creation time.
    pub created: bool,
    /// The image's history.
    pub history: bool,
}

impl Ignore {
    /// True if nothing is ignored.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the words that [`FromStr`] accepts.
    pub const fn words() -> &'static [&'static str] {
        &["mtime", "mode", "owner", "xattrs", "links", "created", "history"]
    }
}

/// A word that is not one of [`Ignore::words`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIgnoreWord(String);

impl fmt::Display for UnknownIgnoreWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot ignore {:?}; choose from {}", self.0, Ignore::words().join(","))
    }
}

impl std::error::Error for UnknownIgnoreWord {}

impl FromStr for Ignore {
    type Err = UnknownIgnoreWord;

    /// Reads words separated by commas.
    fn from_str(text: &str) -> Result<Self, UnknownIgnoreWord> {
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
                other => return Err(UnknownIgnoreWord(other.to_owned())),
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
    fn every_word_sets_its_field_and_others_are_refused() {
        let all: Ignore = Ignore::words().join(",").parse().unwrap();
        assert!(all.mtime && all.mode && all.owner && all.attributes);
        assert!(all.links && all.created && all.history);
        assert!("".parse::<Ignore>().unwrap().is_nothing());
        assert_eq!(
            "mtime,size".parse::<Ignore>().unwrap_err().to_string(),
            "cannot ignore \"size\"; choose from mtime,mode,owner,xattrs,links,created,history"
        );
    }
}
