//! The state of a job as text that fits 80 columns.
//!
//! Names are text of strangers: control characters are escaped.

use super::{
    status::JobStatus,
    text::{Age, WIDTH, table, wrapped},
};
use crate::queue::{DaySavings, TaskState};
use imgdelta::{path::escaped, size::Human};
use std::fmt::{self, Formatter};

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_status(f, self)
    }
}

/// Writes the state of a job.
fn write_status(f: &mut Formatter<'_>, status: &JobStatus) -> fmt::Result {
    line(f, "registry", &status.registry)?;
    line(f, "queue", &status.queue)?;
    match &status.paused {
        None => line(f, "state", "workers take tasks")?,
        Some(pause) => {
            let since = Age::between(pause.since_ms, status.now_ms);
            let reason =
                if pause.reason.is_empty() { String::new() } else { format!(": {}", pause.reason) };
            line(f, "state", &format!("paused by {} for {since}{reason}", pause.who))?;
        }
    }
    let counts = status.counts;
    let oldest =
        status.oldest_waiting.map(|age| format!(" (the oldest for {})", Age(age.as_secs())));
    let tasks = format!(
        "{} waiting{}, {} running, {} failed, {} done",
        counts.waiting,
        oldest.unwrap_or_default(),
        counts.running,
        counts.failed,
        counts.done
    );
    line(f, "tasks", &tasks)?;
    line(f, "saved", &savings(&status.days))?;
    for (at, (reason, count)) in status.failures.iter().enumerate() {
        let reason = if reason.is_empty() { "unknown" } else { reason };
        line(f, if at == 0 { "failures" } else { "" }, &format!("{count} {reason}"))?;
    }
    let lists = [
        (
            TaskState::Failed,
            "Failed, the latest first; `imgdelta job retry --failed` retries them:",
        ),
        (TaskState::Running, "Running:"),
        (TaskState::Waiting, "Waiting:"),
    ];
    for (state, title) in lists {
        let rows = status.lists.get(state.word()).map_or(&[][..], Vec::as_slice);
        if !rows.is_empty() {
            writeln!(f, "\n{title}")?;
            table(f, rows, status.now_ms)?;
        }
    }
    Ok(())
}

/// Returns the savings of the last days in a sentence.
fn savings(days: &[DaySavings]) -> String {
    let published: u64 = days.iter().map(|day| day.published).sum();
    let saved = days.iter().map(|day| day.saved_bytes).fold(0, u64::saturating_add);
    let today = days.last().copied().unwrap_or_default();
    let deltas = if published == 1 { "delta" } else { "deltas" };
    format!(
        "{} for each receiver by {published} {deltas} in {} days; today {} by {}",
        Human(saved),
        days.len(),
        Human(today.saved_bytes),
        today.published
    )
}

/// Writes a line with a title of one column.
fn line(f: &mut Formatter<'_>, title: &str, text: &str) -> fmt::Result {
    let text = escaped(text.as_bytes());
    for (at, part) in wrapped(&text, WIDTH - TITLE, usize::MAX).iter().enumerate() {
        writeln!(f, "{:TITLE$}{part}", if at == 0 { title } else { "" })?;
    }
    Ok(())
}

/// Column of the text after a title.
const TITLE: usize = 10;
