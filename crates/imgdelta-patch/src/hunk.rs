//! Hunks: the lines that differ between two texts, with their surroundings.
//! Never reads a file; never prints.
//!
//! The histogram takes quadratic time for some texts, and so does Myers' algorithm for others. So only
//! sections of bounded length are compared. Long texts are cut into sections at lines that each side
//! has once, in the longest order that both sides share. A longer section counts as replaced.

use imara_diff::{Algorithm, Diff, InternedInput};
use imgdelta_core::path::escaped;
use std::{borrow::Cow, collections::HashMap, fmt::Write as _, ops::Range};

/// The difference between two texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextChange {
    /// Groups of changed lines, in order.
    pub hunks: Vec<Hunk>,
    /// Lines that only the new text has, those that are not in `hunks` included.
    pub added_lines: u64,
    /// Lines that only the old text has.
    pub removed_lines: u64,
    /// Changed lines that are not in `hunks`, because there are too many.
    pub omitted_lines: u64,
}

/// A group of changed lines with three lines around it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hunk {
    /// Number of the first line in the old text, from 1; 0 if the old text is empty.
    pub old_start: u64,
    /// Lines of the old text.
    pub old_lines: u64,
    /// Number of the first line in the new text.
    pub new_start: u64,
    /// Lines of the new text.
    pub new_lines: u64,
    /// The lines.
    pub lines: Vec<HunkLine>,
}

/// One line of a hunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HunkLine {
    /// The side that has it.
    pub mark: LineMark,
    /// Its text without the line break, safe for a terminal.
    pub text: String,
    /// False for a last line without a line break.
    pub is_complete: bool,
}

/// The side that has a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineMark {
    /// Both texts.
    Both,
    /// The old text.
    Old,
    /// The new text.
    New,
}

impl LineMark {
    /// Returns the character before the line: a space, `-` or `+`.
    pub const fn sign(self) -> char {
        match self {
            Self::Both => ' ',
            Self::Old => '-',
            Self::New => '+',
        }
    }
}

impl TextChange {
    /// Compares two texts. The hunks have at most `most_lines` lines.
    pub(crate) fn between(old: &[u8], new: &[u8], most_lines: u64) -> Self {
        let (old, new): (Vec<&[u8]>, Vec<&[u8]>) = (lines(old).collect(), lines(new).collect());
        let changes = changes(&old, &new);
        let mut change = Self {
            added_lines: changes.iter().map(|change| change.after.len() as u64).sum(),
            removed_lines: changes.iter().map(|change| change.before.len() as u64).sum(),
            ..Self::default()
        };
        let mut left = most_lines;
        for group in grouped(changes, old.len(), new.len()) {
            let changed: u64 = group.changes.iter().map(changed_lines).sum();
            if change.omitted_lines > 0 || (group.old.len() + group.new.len()) as u64 > left {
                change.omitted_lines += changed;
                continue;
            }
            left -= (group.old.len() + group.new.len()) as u64;
            change.hunks.push(group.hunk(&old, &new));
        }
        change
    }

    /// Returns the bytes of the lines in the hunks.
    pub(crate) fn text_bytes(&self) -> u64 {
        let lines = self.hunks.iter().flat_map(|hunk| &hunk.lines);
        lines.map(|line| line.text.len() as u64 + 1).sum()
    }
}

/// Returns the ranges of lines that differ, in order.
fn changes(old: &[&[u8]], new: &[&[u8]]) -> Vec<imara_diff::Hunk> {
    let start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (rest_old, rest_new) = (&old[start..], &new[start..]);
    let ends = rest_old.iter().rev().zip(rest_new.iter().rev());
    let end = ends.take_while(|(old, new)| old == new).count();
    let (middle_old, middle_new) = (start..old.len() - end, start..new.len() - end);
    let mut changes = Vec::new();
    let (mut at_old, mut at_new) = (middle_old.start, middle_new.start);
    let is_short = middle_old.len().max(middle_new.len()) <= MOST_SECTION_LINES;
    let cuts = if is_short {
        Vec::new()
    } else {
        shared_lines(&old[middle_old.clone()], &new[middle_new.clone()])
    };
    let cuts = cuts.into_iter().map(|(old, new)| (start + old, start + new));
    for (cut_old, cut_new) in cuts.chain([(middle_old.end, middle_new.end)]) {
        let (section_old, section_new) = (at_old..cut_old, at_new..cut_new);
        compare_section(old, new, section_old, section_new, &mut changes);
        (at_old, at_new) = (cut_old, cut_new);
    }
    changes
}

/// Compares two ranges of lines; ranges that are too long count as replaced.
fn compare_section(
    old: &[&[u8]],
    new: &[&[u8]],
    section_old: Range<usize>,
    section_new: Range<usize>,
    changes: &mut Vec<imara_diff::Hunk>,
) {
    let (start_old, start_new) = (count(section_old.start), count(section_new.start));
    let mut found = Vec::new();
    if section_old.len().max(section_new.len()) > MOST_SECTION_LINES {
        let (end_old, end_new) = (count(section_old.end), count(section_new.end));
        found.push(imara_diff::Hunk { before: start_old..end_old, after: start_new..end_new });
    } else {
        let mut input = InternedInput::default();
        input.update_before(old[section_old].iter().copied());
        input.update_after(new[section_new].iter().copied());
        let mut diff = Diff::compute(Algorithm::Histogram, &input);
        diff.postprocess_lines(&input);
        found.extend(diff.hunks().map(|hunk| imara_diff::Hunk {
            before: start_old + hunk.before.start..start_old + hunk.before.end,
            after: start_new + hunk.after.start..start_new + hunk.after.end,
        }));
    }
    for hunk in found {
        match changes.last_mut() {
            Some(last)
                if last.before.end == hunk.before.start && last.after.end == hunk.after.start =>
            {
                last.before.end = hunk.before.end;
                last.after.end = hunk.after.end;
            }
            _ => changes.push(hunk),
        }
    }
}

/// Returns the places of lines that each side has once, in the longest order that both share.
fn shared_lines(old: &[&[u8]], new: &[&[u8]]) -> Vec<(usize, usize)> {
    // For each line: its count and last place in the old text, then in the new one.
    let mut places: HashMap<&[u8], [(u32, usize); 2]> = HashMap::new();
    for (side, lines) in [old, new].into_iter().enumerate() {
        for (at, line) in lines.iter().enumerate() {
            let place = &mut places.entry(line).or_default()[side];
            *place = (place.0.saturating_add(1), at);
        }
    }
    let unique: Vec<(usize, usize)> = (old.iter().enumerate())
        .filter_map(|(at, line)| match places[line] {
            [(1, _), (1, place)] => Some((at, place)),
            _ => None,
        })
        .collect();
    // Patience sorting: `tails[k]` ends the best run of length k + 1; `before` links back along it.
    let mut tails: Vec<usize> = Vec::new();
    let mut before = vec![usize::MAX; unique.len()];
    for (at, &(_, place)) in unique.iter().enumerate() {
        let length = tails.partition_point(|&tail| unique[tail].1 < place);
        if length > 0 {
            before[at] = tails[length - 1];
        }
        if length == tails.len() {
            tails.push(at);
        } else {
            tails[length] = at;
        }
    }
    let mut next = tails.last().copied().unwrap_or(usize::MAX);
    let mut shared = Vec::new();
    while let Some(&pair) = unique.get(next) {
        shared.push(pair);
        next = before[next];
    }
    shared.reverse();
    shared
}

/// Splits a text into lines, with their line breaks.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n')
}

fn changed_lines(change: &imara_diff::Hunk) -> u64 {
    (change.before.len() + change.after.len()) as u64
}

/// Changes that are so close that their surroundings meet.
struct ChangeGroup {
    old: Range<u32>,
    new: Range<u32>,
    changes: Vec<imara_diff::Hunk>,
}

/// Groups changes, and adds the lines around each group.
fn grouped(changes: Vec<imara_diff::Hunk>, old_lines: usize, new_lines: usize) -> Vec<ChangeGroup> {
    let (old_lines, new_lines) = (count(old_lines), count(new_lines));
    let mut groups: Vec<ChangeGroup> = Vec::new();
    for change in changes {
        let before = CONTEXT_LINES.min(change.before.start);
        let after = CONTEXT_LINES.min(old_lines - change.before.end);
        let after = after.min(new_lines - change.after.end);
        let old = change.before.start - before..change.before.end + after;
        let new = change.after.start - before.min(change.after.start)..change.after.end + after;
        match groups.last_mut() {
            Some(last) if last.old.end >= old.start => {
                last.old.end = old.end;
                last.new.end = new.end;
                last.changes.push(change);
            }
            _ => groups.push(ChangeGroup { old, new, changes: vec![change] }),
        }
    }
    groups
}

impl ChangeGroup {
    fn hunk(&self, old: &[&[u8]], new: &[&[u8]]) -> Hunk {
        let mut out = Vec::new();
        let old = |at: u32| old[at as usize];
        let new = |at: u32| new[at as usize];
        let mut at = self.old.start;
        for change in &self.changes {
            out.extend((at..change.before.start).map(|at| line(LineMark::Both, old(at))));
            out.extend(change.before.clone().map(|at| line(LineMark::Old, old(at))));
            out.extend(change.after.clone().map(|at| line(LineMark::New, new(at))));
            at = change.before.end;
        }
        out.extend((at..self.old.end).map(|at| line(LineMark::Both, old(at))));
        // An empty side is named by the line before it, as diff(1) does.
        let start = |range: &Range<u32>| u64::from(range.start) + u64::from(!range.is_empty());
        Hunk {
            old_start: start(&self.old),
            old_lines: self.old.len() as u64,
            new_start: start(&self.new),
            new_lines: self.new.len() as u64,
            lines: out,
        }
    }
}

fn line(mark: LineMark, bytes: &[u8]) -> HunkLine {
    let text = bytes.strip_suffix(b"\n");
    HunkLine { mark, text: shown(text.unwrap_or(bytes)), is_complete: text.is_some() }
}

/// Returns a line that cannot drive a terminal. Tabs and backslashes stay, since text has many.
fn shown(line: &[u8]) -> String {
    let start = &line[..line.len().min(MOST_LINE_BYTES)];
    let mut out = String::with_capacity(start.len());
    for part in start.split_inclusive(|byte| b"\t\\".contains(byte)) {
        match part.split_last() {
            Some((&last, before)) if b"\t\\".contains(&last) => {
                out.push_str(&escaped(before));
                out.push(last.into());
            }
            _ => out.push_str(&escaped(part)),
        }
    }
    if start.len() < line.len() {
        // Writing to a string cannot fail.
        let _ = write!(out, "… ({} bytes)", line.len());
    }
    out
}

/// True if bytes are a text: they contain no zero byte. The encoding may be any.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0)
}

/// Returns a stranger's name, at most this long, safe for a terminal.
pub(crate) fn short_name(name: &[u8]) -> Cow<'_, str> {
    if name.len() <= MOST_NAME_BYTES {
        return escaped(name);
    }
    Cow::Owned(format!("{}…", escaped(&name[..MOST_NAME_BYTES])))
}

fn count(lines: usize) -> u32 {
    u32::try_from(lines).expect("a text of bounded size has fewer lines")
}

/// Lines before and after a change, as in git.
const CONTEXT_LINES: u32 = 3;

/// A section takes at most about the square of this in steps.
const MOST_SECTION_LINES: usize = 2000;

/// A longer line belongs to a program, not to a reader.
const MOST_LINE_BYTES: usize = 2000;
const MOST_NAME_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::RangeInclusive;

    fn text(change: &TextChange) -> String {
        let mut out = String::new();
        for hunk in &change.hunks {
            let (old, new) = (hunk.old_start, hunk.new_start);
            let (old_lines, new_lines) = (hunk.old_lines, hunk.new_lines);
            writeln!(out, "@@ -{old},{old_lines} +{new},{new_lines} @@").unwrap();
            for line in &hunk.lines {
                writeln!(out, "{}{}", line.mark.sign(), line.text).unwrap();
            }
        }
        out
    }

    fn lines(numbers: RangeInclusive<u32>, line: impl Fn(u32) -> String) -> String {
        numbers.map(line).collect::<Vec<_>>().concat()
    }

    #[test]
    fn changes_have_three_lines_around_them_and_meet_if_they_are_close() {
        let old = lines(1..=30, |n| format!("{n}\n"));
        let new =
            old.replace("\n5\n", "\nfive\n").replace("\n9\n", "\n").replace("\n25\n", "\n25\nx\n");
        let change = TextChange::between(old.as_bytes(), new.as_bytes(), 1000);
        assert_eq!((change.added_lines, change.removed_lines, change.omitted_lines), (2, 2, 0));
        assert_eq!(
            text(&change),
            "@@ -2,11 +2,10 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n-9\n 10\n 11\n 12\n\
             @@ -23,6 +22,7 @@\n 23\n 24\n 25\n+x\n 26\n 27\n 28\n"
        );
    }

    #[test]
    fn a_new_text_and_a_missing_line_break_are_shown_as_git_does() {
        let change = TextChange::between(b"", b"a\nb", 1000);
        assert_eq!(text(&change), "@@ -0,0 +1,2 @@\n+a\n+b\n");
        let complete: Vec<bool> =
            change.hunks[0].lines.iter().map(|line| line.is_complete).collect();
        assert_eq!(complete, [true, false]);
        assert_eq!(TextChange::between(b"a\n", b"a\n", 1000), TextChange::default());
    }

    #[test]
    fn long_changes_are_counted_and_not_kept() {
        let new = lines(0..=99, |n| format!("{n}\n"));
        let change = TextChange::between(b"", new.as_bytes(), 50);
        assert!(change.hunks.is_empty());
        assert_eq!((change.added_lines, change.omitted_lines), (100, 100));
    }

    #[test]
    fn lines_cannot_drive_a_terminal_and_keep_tabs_and_backslashes() {
        let change = TextChange::between(b"", "\tC:\\x \x1b[31m\u{202e}\n".as_bytes(), 9);
        assert_eq!(change.hunks[0].lines[0].text, "\tC:\\x \\x1b[31m\\u{202e}");
        let long = TextChange::between(b"", &[b'a'; 5000], 9);
        assert!(long.hunks[0].lines[0].text.ends_with("a… (5000 bytes)"));
    }

    #[test]
    fn long_texts_are_compared_in_sections_of_bounded_length() {
        // Every second line changed.
        let side = |word: &str| lines(0..=19_999, |n| format!("{n}\n{word}{n}\n"));
        let change = TextChange::between(side("a").as_bytes(), side("b").as_bytes(), 100);
        assert_eq!((change.added_lines, change.removed_lines), (20_000, 20_000));
        // Two changes that are far apart stay two.
        let old = lines(0..=49_999, |n| format!("{n}\n"));
        let new = old.replace("\n7\n", "\nseven\n").replace("\n49000\n", "\n");
        let change = TextChange::between(old.as_bytes(), new.as_bytes(), 100);
        assert_eq!((change.hunks.len(), change.added_lines, change.removed_lines), (2, 1, 2));
        // One line in other orders and counts.
        let one = "x\n".repeat(200_000) + &"y\n".repeat(100_000);
        let other = "y\n".repeat(100_000) + &"x\n".repeat(200_000);
        assert!(TextChange::between(one.as_bytes(), other.as_bytes(), 100).added_lines > 0);
    }
}
