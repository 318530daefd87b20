//! Names in a registry: repositories and tags, checked once by their parsers.
//!
//! A name of these types is safe in the path of a request. The grammar is that of the OCI
//! distribution specification.

use imgdelta_core::{Error, Result, path::escaped};
use std::{fmt, str::FromStr};

/// The name of a repository in its registry, such as `team/app`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// Parses the name of a repository on a host. Host and name have at most 255 bytes together.
    pub fn parse(host: &str, text: &str) -> Result<Self> {
        // The separator counts, too.
        let host_bytes = if host.is_empty() { 0 } else { host.len() + 1 };
        let invalid = |what: &str| Err(Error::bad_input(shown("repository", text), what));
        if text.len().saturating_add(host_bytes) > MAX_REPOSITORY_BYTES {
            return invalid("it is longer than 255 bytes, host included");
        }
        if !text.split('/').all(is_component) {
            return invalid(
                "not a repository name; its parts have lower-case letters and digits, with . _ __ \
                 or - between them, and / between the parts",
            );
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = Error;

    /// Parses a name whose host is not known.
    fn from_str(text: &str) -> Result<Self> {
        Self::parse("", text)
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for RepositoryName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for RepositoryName {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// A tag of an image in a repository, such as `v1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TagName(String);

impl TagName {
    /// Parses a tag.
    pub fn parse(text: &str) -> Result<Self> {
        if is_tag(text) {
            return Ok(Self(text.to_owned()));
        }
        let what = "not a tag; it has letters, digits and . _ -, at most 128 characters";
        Err(Error::bad_input(shown("tag", text), what))
    }

    /// Returns the tag of a reference that names none.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }

    /// Returns the tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TagName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for TagName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for TagName {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// Returns true for `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    if !ends.iter().all(|end| end.is_some_and(|byte| is_word(*byte))) {
        return false;
    }
    let mut separators = bytes.split(|byte| is_word(*byte)).filter(|between| !between.is_empty());
    separators.all(|between| {
        matches!(between, b"." | b"_" | b"__") || between.iter().all(|byte| *byte == b'-')
    })
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&tag.len())
        && is_word(tag.as_bytes()[0])
        && tag.bytes().all(|byte| is_word(byte) || b".-".contains(&byte))
}

/// Returns a stranger's text for a message: quoted, escaped and cut.
fn shown(kind: &str, text: &str) -> String {
    let start: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    format!("{kind} {:?}", escaped(start.as_bytes()))
}

/// Limit of the specification for host and name together.
const MAX_REPOSITORY_BYTES: usize = 255;
/// Long enough to recognise a name, short enough for a log line.
const MAX_SHOWN_CHARS: usize = 100;
