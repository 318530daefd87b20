//! Tables and paragraphs that fit a width.
//!
//! Columns are as wide as their cells. If a table is too wide, its least important columns are left
//! out, and the last column continues on further lines. Never cuts a cell.

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    is_number: bool,
    /// Columns with the highest number are left out first; those with 0 always stay.
    spare: u8,
    /// Width below which it does not continue on further lines, if it is the last one.
    least: usize,
}

impl Column {
    /// A column of words, aligned to the left.
    pub const fn words(title: &'static str) -> Self {
        Self { title, is_number: false, spare: 0, least: LEAST_LAST }
    }

    /// A column of numbers, aligned to the right.
    pub const fn number(title: &'static str) -> Self {
        Self { title, is_number: true, spare: 0, least: LEAST_LAST }
    }

    /// Leaves the column out of narrow tables, before columns with a lower number.
    #[must_use]
    pub const fn spare(mut self, order: u8) -> Self {
        self.spare = order;
        self
    }

    /// Leaves spare columns out before this one, the last, becomes narrower than `width`.
    #[must_use]
    pub const fn at_least(mut self, width: usize) -> Self {
        self.least = width;
        self
    }
}

/// A table: columns, and rows with a cell for each.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    /// Makes a table whose lines begin after `indent` spaces.
    pub fn new(columns: &[Column], indent: usize) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), indent }
    }

    /// Adds a row. Cells that are missing at its end are empty.
    pub fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    /// Returns the line with the titles.
    pub fn title(&self, width: Option<usize>) -> String {
        let titles: Vec<String> =
            self.columns.iter().map(|column| column.title.to_owned()).collect();
        self.line(&titles, &self.shown(width), None)
    }

    /// Returns the text of each row, whose lines are at most `width` characters long if that is
    /// possible.
    pub fn rows(&self, width: Option<usize>) -> Vec<String> {
        let shown = self.shown(width);
        self.rows.iter().map(|row| self.line(row, &shown, width)).collect()
    }

    /// Returns the columns that a table of this width has, and their widths.
    fn shown(&self, width: Option<usize>) -> Vec<(usize, usize)> {
        let cells = |at: usize| self.rows.iter().map(move |row| row[at].chars().count());
        let wide = |at: usize| cells(at).max().unwrap_or(0).max(self.columns[at].title.len());
        let mut shown: Vec<(usize, usize)> =
            (0..self.columns.len()).map(|at| (at, wide(at))).collect();
        // A column without any cell says nothing.
        shown.retain(|(at, _)| self.columns[*at].spare == 0 || cells(*at).any(|cell| cell > 0));
        let Some(width) = width else { return shown };
        while self.least_width(&shown) > width {
            let spare = shown.iter().max_by_key(|(at, _)| self.columns[*at].spare);
            match spare.copied() {
                Some((at, _)) if self.columns[at].spare > 0 => shown.retain(|one| one.0 != at),
                _ => break,
            }
        }
        shown
    }

    /// Returns the width that columns need if the last one continues on further lines.
    fn least_width(&self, shown: &[(usize, usize)]) -> usize {
        let (last, others) = shown.split_last().expect("a table has columns");
        let column = &self.columns[last.0];
        let least = if column.is_number { last.1 } else { last.1.min(column.least) };
        self.indent + others.iter().map(|(_, width)| width + GAP.len()).sum::<usize>() + least
    }

    fn line(&self, cells: &[String], shown: &[(usize, usize)], width: Option<usize>) -> String {
        let (last, others) = shown.split_last().expect("a table has columns");
        let mut line = " ".repeat(self.indent);
        for (at, wide) in others {
            let cell = &cells[*at];
            let space = " ".repeat(wide.saturating_sub(cell.chars().count()));
            if self.columns[*at].is_number {
                line.extend([&space, cell.as_str(), GAP]);
            } else {
                line.extend([cell.as_str(), &space, GAP]);
            }
        }
        let cell = &cells[last.0];
        if self.columns[last.0].is_number {
            line.push_str(&" ".repeat(last.1.saturating_sub(cell.chars().count())));
            line.push_str(cell);
        } else {
            let indent = line.chars().count();
            line.push_str(&wrapped(cell, width, indent));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Breaks a text into lines at its spaces. The first line begins after `indent` characters of
/// others; further lines begin after as many spaces.
pub fn wrapped(text: &str, width: Option<usize>, indent: usize) -> String {
    let Some(width) = width.filter(|width| *width > indent) else { return text.to_owned() };
    let (mut out, mut column) = (String::with_capacity(text.len()), indent);
    for (at, word) in words(text).enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > width && column > indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if at > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// Returns the words of a text; a number and its unit are one.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut end = text.find(' ').unwrap_or(text.len());
        if text[..end].ends_with(|c: char| c.is_ascii_digit())
            && let Some(after) = text.get(end + 1..)
        {
            let next = &after[..after.find(' ').unwrap_or(after.len())];
            if UNITS.contains(&next.trim_end_matches([',', ';', ')'])) {
                end += 1 + next.len();
            }
        }
        rest = text.get(end + 1..);
        Some(&text[..end])
    })
}

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "%", "bytes"];
const GAP: &str = "  ";
/// Width of a last column that continues on further lines: a version, or a few words.
const LEAST_LAST: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns = [
            Column::number("bytes"),
            Column::number("files").spare(1),
            Column::words("package").spare(0),
            Column::words("version"),
        ];
        let mut table = Table::new(&columns, 2);
        let row = ["1,000", "3", "perl-base", "5.36.0-7+deb12u1 -> 5.36.0-7+deb12u2"];
        table.push(row.map(str::to_owned));
        table
    }

    #[test]
    fn a_wide_table_has_one_line_for_each_row() {
        let table = table();
        assert_eq!(table.title(None), "  bytes  files  package    version");
        let row = "  1,000      3  perl-base  5.36.0-7+deb12u1 -> 5.36.0-7+deb12u2";
        assert_eq!(table.rows(None), [row]);
        assert_eq!(table.rows(Some(80)), [row]);
    }

    #[test]
    fn a_narrow_table_leaves_columns_out_and_continues_the_last() {
        let table = table();
        let rows = table.rows(Some(44));
        let lines = "  1,000  perl-base  5.36.0-7+deb12u1 ->\n                    5.36.0-7+deb12u2";
        assert_eq!(rows, [lines]);
        assert!(rows[0].lines().all(|line| line.len() <= 44));
        assert_eq!(table.title(Some(44)), "  bytes  package    version");
    }

    #[test]
    fn a_last_column_may_be_worth_more_than_a_spare_one() {
        let columns = [Column::number("bytes").spare(1), Column::words("why").at_least(30)];
        let mut table = Table::new(&columns, 0);
        table.push(["1,000".to_owned(), "because there is a longer text".to_owned()]);
        assert_eq!(table.title(Some(36)), "why");
        assert_eq!(table.title(Some(37)), "bytes  why");
    }

    #[test]
    fn a_column_without_cells_is_left_out() {
        let columns = [Column::words("a"), Column::number("b").spare(9), Column::words("c")];
        let mut table = Table::new(&columns, 0);
        table.push(["x".to_owned(), String::new(), "z".to_owned()]);
        assert_eq!(table.title(None), "a  c");
        assert_eq!(table.rows(None), ["x  z"]);
    }

    #[test]
    fn words_that_are_too_long_are_not_cut() {
        assert_eq!(wrapped("one two three", Some(9), 2), "one two\n  three");
        assert_eq!(wrapped("a long-long-long word", Some(8), 2), "a\n  long-long-long\n  word");
        assert_eq!(wrapped("one two", None, 2), "one two");
        assert_eq!(wrapped("of 97.2 MB, 5 %", Some(8), 0), "of\n97.2 MB,\n5 %");
        assert_eq!(wrapped("a  b 1 ", Some(2), 0), "a \nb\n1 ");
        assert_eq!(wrapped("one two", Some(2), 2), "one two");
    }
}
