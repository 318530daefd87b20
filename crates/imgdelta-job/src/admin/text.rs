//! Lists of tasks as text that fits 80 columns.
//!
//! Names and errors are text of strangers: control characters are escaped. Names are cut in the middle
//! of a line, errors are wrapped; the JSON documents have both in full.

use super::listed::TaskRow;
use crate::queue::TaskState;
use imgdelta::{path::escaped, size::Human};
use std::fmt::{self, Formatter, Write as _};

/// Writes tasks as a table, with errors below their tasks.
pub(super) fn table(f: &mut Formatter<'_>, rows: &[TaskRow], now_ms: i64) -> fmt::Result {
    writeln!(f, "{:13} {:7} {:>5} {:>7}  DELTA", "ID", "STATE", "TRIES", "FOR")?;
    for row in rows {
        let listed = &row.listed;
        let since = match listed.state {
            TaskState::Waiting => listed.added_ms,
            _ => listed.changed_ms,
        };
        let age = Age::between(since, now_ms).to_string();
        let (state, tries) = (listed.state.word(), listed.tries);
        let name = delta_name(row, WIDTH - DELTA);
        writeln!(f, "{:13} {state:7} {tries:>5} {age:>7}  {name}", row.id)?;
        if let Some(error) = row.error() {
            let reason = if listed.reason.is_empty() { "" } else { ": " };
            let text = format!("{}{reason}{error}", listed.reason);
            let text = escaped(text.as_bytes());
            for part in wrapped(&text, WIDTH - INDENT, ERROR_LINES) {
                writeln!(f, "{:INDENT$}{part}", "")?;
            }
        } else if let Some((delta, pull)) = row.bytes() {
            let outcome = row.outcome().unwrap_or_default();
            writeln!(f, "{:INDENT$}{outcome}: {} instead of {}", "", Human(delta), Human(pull))?;
        } else if let Some(outcome) = row.outcome() {
            writeln!(f, "{:INDENT$}{outcome}", "")?;
        } else if listed.state == TaskState::Running {
            let worker = escaped(listed.worker.as_bytes());
            writeln!(f, "{:INDENT$}by {}", "", end_of(&worker, WIDTH - INDENT - 3))?;
        }
    }
    Ok(())
}

/// Returns repository, tags and platform in at most `width` characters; the repository is shortened
/// first.
fn delta_name(row: &TaskRow, width: usize) -> String {
    let repository = escaped(row.listed.repository.as_bytes()).into_owned();
    let Some(task) = &row.task else { return end_of(&repository, width) };
    let way = task.way();
    let architecture = task.platform.strip_prefix("linux/").unwrap_or(&task.platform);
    let architecture = escaped(architecture.as_bytes());
    for rest in [format!(": {way}, {architecture}"), format!(": {way}")] {
        let room = width.saturating_sub(rest.chars().count());
        if room >= LEAST_NAME.min(repository.chars().count()) {
            return format!("{}{rest}", end_of(&repository, room));
        }
    }
    end_of(&way, width)
}

/// Returns the end of a text, with a sign for the part that is cut.
pub(crate) fn end_of(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let rest: String = text.chars().skip(count - width.saturating_sub(1)).collect();
    format!("…{rest}")
}

/// Breaks a text into lines of at most `width` characters; of more than `most` lines, the middle is
/// left out, since an error ends with its cause.
pub(crate) fn wrapped(text: &str, width: usize, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        loop {
            let line = lines.last_mut().expect("there is a line");
            let used = line.chars().count();
            let space = usize::from(used > 0);
            if used + space + word.len() <= width {
                let _ = write!(
                    line,
                    "{}{}",
                    if space == 1 { " " } else { "" },
                    word.iter().collect::<String>()
                );
                break;
            }
            if used > 0 {
                lines.push(String::new());
                continue;
            }
            // A word that fits no line.
            let rest = word.split_off(width);
            line.extend(word);
            word = rest;
            lines.push(String::new());
        }
    }
    if lines.len() > most {
        let tail = lines.split_off(lines.len() - most.div_ceil(2));
        lines.truncate(most / 2);
        if let Some(line) = lines.last_mut() {
            line.push_str(" …");
        }
        lines.extend(tail);
    }
    lines
}

/// An age in seconds, as people say it.
pub(super) struct Age(pub u64);

impl Age {
    pub fn between(then_ms: i64, now_ms: i64) -> Self {
        Self(u64::try_from(now_ms.saturating_sub(then_ms) / 1000).unwrap_or_default())
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..100 => write!(f, "{} s", self.0),
            100..6000 => write!(f, "{} min", self.0 / 60),
            6000..172_800 => write!(f, "{} h", self.0 / 3600),
            seconds => write!(f, "{} d", seconds / 86_400),
        }
    }
}

/// Columns of a terminal.
pub(super) const WIDTH: usize = 80;
/// Column of the name of a delta in a table.
const DELTA: usize = 37;
/// Column of results and errors in a table.
const INDENT: usize = 14;
/// Lines of an error.
const ERROR_LINES: usize = 4;
/// Characters of a repository's name that are shown at least.
const LEAST_NAME: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_and_lose_their_middle_only() {
        assert_eq!(wrapped("one two three", 7, 9), ["one two", "three"]);
        assert_eq!(wrapped("abcdefghij k", 4, 9), ["abcd", "efgh", "ij k"]);
        let long = wrapped("a b c d e f g", 1, 4);
        assert_eq!(long, ["a", "b …", "f", "g"]);
        assert_eq!(wrapped("", 5, 2), [""]);
        assert_eq!(end_of("team/application", 6), "…ation");
    }
}
