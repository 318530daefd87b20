//! A text as an edit of a candidate: bytes kept at its front and end, and new bytes between.
//! Knows nothing of the texts' meaning.
//!
//! The caller lists the candidates, in the same order for reading and writing.

use super::columns::{Column, ColumnReader, broken};
use imgdelta_core::Result;

/// Reads a text of at most `limit` bytes.
pub(super) fn read<C: AsRef<[u8]>>(
    cursor: &mut ColumnReader<C>,
    candidates: &[&[u8]],
    limit: usize,
) -> Result<Vec<u8>> {
    let choice = cursor.number(Column::Choices)?;
    let whole = usize::try_from(choice / 2).ok().and_then(|at| candidates.get(at));
    let whole = *whole.ok_or_else(|| broken(Column::Choices, "names an unknown text"))?;
    if choice % 2 == 0 {
        return Ok(whole.to_vec());
    }
    let front = cursor.number(Column::Fronts)?;
    let back = cursor.number(Column::Backs)?;
    let middle = cursor.number(Column::Middles)?;
    let total = front.saturating_add(back);
    if total > whole.len() as u64 {
        return Err(broken(Column::Fronts, "keeps more bytes than the text has"));
    }
    if total.saturating_add(middle) > limit as u64 {
        return Err(broken(Column::Middles, "makes a text that exceeds the limit"));
    }
    let cut = |bytes: u64| usize::try_from(bytes).expect("not more than a text in memory");
    let middle = cursor.bytes(Column::Text, middle)?;
    Ok([&whole[..cut(front)], middle, &whole[whole.len() - cut(back)..]].concat())
}

/// Writes a text as the cheapest edit.
pub(super) fn write(columns: &mut super::columns::ColumnWriter, candidates: &[&[u8]], text: &[u8]) {
    let edits = candidates.iter().enumerate().map(|(choice, whole)| {
        let front = whole.iter().zip(text).take_while(|(a, b)| a == b).count();
        let room = whole.len().min(text.len()) - front;
        let ends = whole.iter().rev().zip(text.iter().rev()).take(room);
        let back = ends.take_while(|(a, b)| a == b).count();
        // A short end costs less as new bytes, which compress with other texts.
        let back = if back < MIN_BACK_BYTES && front + back < text.len() { 0 } else { back };
        let is_exact = front == text.len() && whole.len() == text.len();
        (choice, front, back, is_exact)
    });
    let cost = |&(_, front, back, is_exact): &(usize, usize, usize, bool)| {
        (!is_exact, text.len() - front - back + usize::from(back > 0))
    };
    let best = edits.min_by_key(cost).expect("callers pass a candidate");
    let (choice, front, back, is_exact) = best;
    columns.number(Column::Choices, (choice as u64) * 2 + u64::from(!is_exact));
    if !is_exact {
        columns.number(Column::Fronts, front as u64);
        columns.number(Column::Backs, back as u64);
        let middle = &text[front..text.len() - back];
        columns.number(Column::Middles, middle.len() as u64);
        columns.bytes(Column::Text, middle);
    }
}

/// Shortest end that is kept.
const MIN_BACK_BYTES: usize = 4;
