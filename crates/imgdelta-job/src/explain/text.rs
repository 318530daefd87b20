//! An explanation as text that fits 80 columns.
//!
//! Tags that are not versions are many and alike: of each reason, some are named.

use super::{Explanation, TagRole};
use crate::admin::text::{end_of, wrapped};
use imgdelta::{path::escaped, size::Human};
use std::{
    collections::BTreeMap,
    fmt::{self, Formatter, Write as _},
};

/// Writes the reasons of a repository's deltas.
pub(super) fn explanation(f: &mut Formatter<'_>, explanation: &Explanation) -> fmt::Result {
    let Explanation { registry, repository, rule, patterns, tags, pairs } = explanation;
    writeln!(f, "repository  {} at {registry}", end_of(repository.as_str(), WIDTH - 40))?;
    let Some(rule) = rule else {
        writeln!(f, "rule        none matches; the rules are for:")?;
        for (patterns, number) in patterns.iter().zip(1..) {
            let list = format!("{number}: {}", patterns.join(", "));
            indented(f, &list, TITLE)?;
        }
        return Ok(());
    };
    let text = format!(
        "{}: {} (order = {:?}, keep = {})",
        rule.number, rule.pattern, rule.order, rule.keep
    );
    for (at, part) in
        wrapped(&escaped(text.as_bytes()), WIDTH - TITLE, usize::MAX).iter().enumerate()
    {
        writeln!(f, "{:TITLE$}{part}", if at == 0 { "rule" } else { "" })?;
    }
    writeln!(f)?;
    if tags.is_empty() {
        return writeln!(f, "no tags");
    }
    let (versions, others): (Vec<_>, Vec<_>) =
        tags.iter().partition(|tag| !matches!(tag.role, TagRole::Ignored(_) | TagRole::Older));
    if !versions.is_empty() {
        writeln!(f, "{:24}  {:20}  WHY", "TAG", "PLATFORMS")?;
    }
    for tag in versions {
        let name = escaped(tag.tag.as_bytes());
        let platforms = tag.platforms.join(",");
        let platforms = escaped(platforms.as_bytes());
        let why = tag.role.to_string();
        let why = wrapped(&escaped(why.as_bytes()), WIDTH - WHY, usize::MAX);
        writeln!(f, "{:24}  {:20}  {}", end_of(&name, 24), end_of(&platforms, 20), why[0])?;
        for part in &why[1..] {
            writeln!(f, "{:WHY$}{part}", "")?;
        }
    }
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for tag in others {
        reasons.entry(tag.role.to_string()).or_default().push(&tag.tag);
    }
    for (reason, tags) in reasons {
        let more = tags.len().saturating_sub(SHOWN);
        let mut list = tags.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
        if more > 0 {
            let _ = write!(list, " and {more} more");
        }
        indented(f, &format!("{reason}:"), 0)?;
        indented(f, &list, 2)?;
    }
    if pairs.is_empty() {
        return writeln!(f, "\nno deltas are wanted");
    }
    writeln!(f, "\n{:13} {:8} DELTA", "ID", "STATE")?;
    for pair in pairs {
        let state = match (&pair.row, pair.artifact) {
            (Some(row), _) => row.listed.state.word(),
            (None, Some(_)) => "there",
            (None, None) => "next",
        };
        let task = &pair.task;
        let name = format!("{}, {}", task.way(), task.platform);
        let name = escaped(name.as_bytes());
        writeln!(f, "{:13} {state:8} {}", task.id(), end_of(&name, WIDTH - 23))?;
        let bytes = pair.row.as_ref().and_then(super::TaskRow::bytes);
        if let Some(row) = &pair.row
            && let Some(error) = row.error()
        {
            let colon = if row.listed.reason.is_empty() { "" } else { ": " };
            indented(f, &format!("{}{colon}{error}", row.listed.reason), INDENT)?;
        } else if let Some((delta, pull)) = bytes {
            let outcome = pair.row.as_ref().and_then(super::TaskRow::outcome).unwrap_or_default();
            let text = format!("{outcome}: {} instead of {}", Human(delta), Human(pull));
            indented(f, &text, INDENT)?;
        }
        match pair.artifact {
            Some(artifact) => indented(f, &artifact.to_string(), INDENT)?,
            None if pair.row.as_ref().is_some_and(is_published) => {
                indented(f, "published, and no longer listed in the registry", INDENT)?;
            }
            None => {}
        }
    }
    if pairs.iter().any(|pair| pair.row.is_none() && pair.artifact.is_none()) {
        writeln!(f, "The next scan adds those in state `next`.")?;
    }
    Ok(())
}

fn is_published(row: &super::TaskRow) -> bool {
    matches!(row.outcome(), Some("published" | "there"))
}

fn indented(f: &mut Formatter<'_>, text: &str, indent: usize) -> fmt::Result {
    for part in wrapped(&escaped(text.as_bytes()), WIDTH - indent, usize::MAX) {
        writeln!(f, "{:indent$}{part}", "")?;
    }
    Ok(())
}

/// Columns of a terminal.
const WIDTH: usize = 80;
/// Column of the text after a title.
const TITLE: usize = 12;
/// Column of the reason of a tag.
const WHY: usize = 48;
/// Column of results in the table of pairs.
const INDENT: usize = 14;
/// Tags of one reason that are named.
const SHOWN: usize = 12;
