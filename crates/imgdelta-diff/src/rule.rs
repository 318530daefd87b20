//! Rules that a CI step holds an upgrade to.
//! Never prints, and never decides on an exit code.

use crate::{
    diff::Diff,
    files::{FileChange, FileFacts},
    packages::PackageChangeKind,
};
use imgdelta_core::{path::escaped, size::Exact};
use imgdelta_image::index::EntryKind;
use std::{fmt, str::FromStr};

/// A kind of change that an upgrade must not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DiffRule {
    /// Any file differs, its metadata included.
    Files,
    /// A file is gone.
    Removed,
    /// A config field differs.
    Config,
    /// A package differs in version or files.
    Packages,
    /// A package has an earlier version, or is gone.
    Downgrades,
    /// A file has a set-user-id or set-group-id bit that it did not have.
    SetId,
    /// Every user may write a file that only some could write.
    WorldWritable,
    /// A pull fetches unchanged files again.
    Waste,
}

/// One change that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleFinding {
    /// The rule.
    pub rule: DiffRule,
    /// The change, as text that is safe for a terminal.
    pub what: String,
}

impl DiffRule {
    /// Every rule.
    pub const ALL: [Self; 8] = [
        Self::Files,
        Self::Removed,
        Self::Config,
        Self::Packages,
        Self::Downgrades,
        Self::SetId,
        Self::WorldWritable,
        Self::Waste,
    ];

    /// Returns the word that [`FromStr`] accepts.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Removed => "removed",
            Self::Config => "config",
            Self::Packages => "packages",
            Self::Downgrades => "downgrades",
            Self::SetId => "set-id",
            Self::WorldWritable => "world-writable",
            Self::Waste => "waste",
        }
    }
}

/// A word that names no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRuleWord(String);

impl fmt::Display for UnknownRuleWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = DiffRule::ALL.iter().map(|rule| rule.word()).collect();
        write!(f, "no rule is called {:?}; choose from {}", self.0, words.join(","))
    }
}

impl std::error::Error for UnknownRuleWord {}

impl FromStr for DiffRule {
    type Err = UnknownRuleWord;

    fn from_str(word: &str) -> Result<Self, UnknownRuleWord> {
        let rule = Self::ALL.into_iter().find(|rule| rule.word() == word.trim());
        rule.ok_or_else(|| UnknownRuleWord(word.to_owned()))
    }
}

impl Diff {
    /// Returns the changes that break any of `rules`, rule by rule.
    pub fn findings(&self, rules: &[DiffRule]) -> Vec<RuleFinding> {
        let all = rules.iter().flat_map(|&rule| {
            self.breaches(rule).into_iter().map(move |what| RuleFinding { rule, what })
        });
        all.collect()
    }

    fn breaches(&self, rule: DiffRule) -> Vec<String> {
        match rule {
            DiffRule::Files => paths(&self.files, |_| true),
            DiffRule::Removed => paths(&self.files, |change| change.target.is_none()),
            DiffRule::SetId => paths(&self.files, |change| has_new_mode(change, 0o6000)),
            DiffRule::WorldWritable => paths(&self.files, |change| has_new_mode(change, 0o0002)),
            DiffRule::Config => self
                .config
                .iter()
                .map(|change| {
                    let key = change.key.as_deref().unwrap_or_default();
                    let name = format!("{} {key}", change.field);
                    escaped(name.trim_end().as_bytes()).into_owned()
                })
                .collect(),
            DiffRule::Packages => self.package_lines(|_| true),
            DiffRule::Downgrades => self.package_lines(|change| {
                matches!(change, PackageChangeKind::Downgraded | PackageChangeKind::Removed)
            }),
            DiffRule::Waste => match self.reshipped() {
                reshipped if reshipped.files == 0 => Vec::new(),
                reshipped => vec![format!(
                    "{} unchanged files ({}) are pulled again",
                    reshipped.files,
                    Exact(reshipped.bytes)
                )],
            },
        }
    }

    fn package_lines(&self, breaks: impl Fn(PackageChangeKind) -> bool) -> Vec<String> {
        let broken = self.packages.iter().filter(|package| breaks(package.change));
        broken
            .map(|package| {
                let line = format!("{} {} {}", package.ecosystem, package.name, package.versions());
                escaped(line.as_bytes()).into_owned()
            })
            .collect()
    }
}

fn paths(changes: &[FileChange], breaks: impl Fn(&FileChange) -> bool) -> Vec<String> {
    changes.iter().filter(|change| breaks(change)).map(|change| change.path.to_string()).collect()
}

/// True if a file of the target has a bit of `mask` that the base's file does not have.
fn has_new_mode(change: &FileChange, mask: u32) -> bool {
    let bits = |facts: &Option<FileFacts>| {
        let file = facts.as_ref().filter(|facts| facts.kind == EntryKind::File);
        file.map_or(0, |facts| facts.mode & mask)
    };
    bits(&change.target) & !bits(&change.base) != 0
}
