//! Progress on standard error: a line that changes on a terminal, a line for each step in a file.
//!
//! Never writes to standard output, so that results can be piped.

mod bar_terminal;

use crate::{interrupt, stderr};
use bar_terminal::BarTerminal;
use imgdelta::{
    Result,
    progress::{Progress, Stage},
    size::Human,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    fmt::Write as _,
    io::{self, IsTerminal},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Makes a listener for progress, and lets the first Ctrl-C or SIGTERM cancel the command.
pub fn progress(is_quiet: bool) -> Result<Arc<TerminalProgress>> {
    let display = match (is_quiet, io::stderr().is_terminal()) {
        (true, _) => ProgressDisplay::Silent,
        (false, true) => {
            let target = ProgressDrawTarget::term_like_with_hz(Box::<BarTerminal>::default(), 20);
            let bar = ProgressBar::with_draw_target(None, target);
            let style = ProgressStyle::with_template(LINE).expect("the template is a constant");
            bar.set_style(style);
            ProgressDisplay::Bar(bar)
        }
        (false, false) => ProgressDisplay::Lines,
    };
    let bar = match &display {
        ProgressDisplay::Bar(bar) => Some(bar.clone()),
        _ => None,
    };
    let cancelled = interrupt::listen(move || {
        if let Some(bar) = &bar {
            bar.finish_and_clear();
        }
    })?;
    Ok(Arc::new(TerminalProgress::new(display, cancelled)))
}

/// Makes a listener that prints nothing, for commands that take no time.
pub fn silent() -> TerminalProgress {
    TerminalProgress::new(ProgressDisplay::Silent, Arc::default())
}

/// Listener that shows progress on standard error.
#[derive(Debug)]
pub struct TerminalProgress {
    display: ProgressDisplay,
    cancelled: Arc<AtomicBool>,
    counts: StepCounts,
    drawing: Mutex<Drawing>,
}

#[derive(Debug)]
enum ProgressDisplay {
    Silent,
    Bar(ProgressBar),
    Lines,
}

/// Bytes and items of the current step.
#[derive(Debug, Default)]
struct StepCounts {
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
    done_items: AtomicU64,
    total_items: AtomicU64,
}

#[derive(Debug)]
struct Drawing {
    step: &'static str,
    begun: Instant,
    /// Time of the last line; none before the first one of this step.
    drawn: Option<Instant>,
}

impl TerminalProgress {
    fn new(display: ProgressDisplay, cancelled: Arc<AtomicBool>) -> Self {
        let drawing = Mutex::new(Drawing { step: "", begun: Instant::now(), drawn: None });
        Self { display, cancelled, counts: StepCounts::default(), drawing }
    }

    /// Prints a line between progress.
    pub fn print_line(&self, line: &str) {
        let print = || stderr::print_line(format_args!("imgdelta: {line}"));
        match &self.display {
            ProgressDisplay::Silent => {}
            ProgressDisplay::Bar(bar) => bar.suspend(print),
            ProgressDisplay::Lines => print(),
        }
    }

    /// Removes the line that changes.
    pub fn finish(&self) {
        if let ProgressDisplay::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }

    /// Shows the current numbers, unless that was done a moment ago.
    fn show(&self) {
        // Another thread that shows them is as good.
        let Ok(mut drawing) = self.drawing.try_lock() else { return };
        let elapsed = drawing.begun.elapsed();
        match &self.display {
            ProgressDisplay::Silent => {}
            ProgressDisplay::Bar(bar) => {
                if drawing.drawn.is_none_or(|drawn| drawn.elapsed() >= BETWEEN_DRAWINGS) {
                    drawing.drawn = Some(Instant::now());
                    bar.set_message(self.counts.line(drawing.step, Some(elapsed)));
                }
            }
            ProgressDisplay::Lines => {
                if drawing.drawn.is_none() && elapsed >= LONG_STEP {
                    drawing.drawn = Some(Instant::now());
                    let line = self.counts.line(drawing.step, None);
                    stderr::print_line(format_args!("imgdelta: {line}"));
                }
            }
        }
    }
}

impl Drop for TerminalProgress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Progress for TerminalProgress {
    fn begin(&self, stage: Stage, total_bytes: u64) {
        self.counts.begin(total_bytes);
        let mut drawing = self.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        *drawing = Drawing { step: stage_words(stage), begun: Instant::now(), drawn: None };
        drop(drawing);
        if let ProgressDisplay::Bar(bar) = &self.display {
            bar.reset();
            bar.enable_steady_tick(BETWEEN_TICKS);
            self.show();
        }
    }

    fn expect_items(&self, count: u64) {
        self.counts.total_items.store(count, Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.counts.done_bytes.fetch_add(bytes, Relaxed);
        self.show();
    }

    fn finish_item(&self) {
        self.counts.done_items.fetch_add(1, Relaxed);
        self.show();
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }
}

impl StepCounts {
    fn begin(&self, total_bytes: u64) {
        self.total_bytes.store(total_bytes, Relaxed);
        for count in [&self.done_bytes, &self.done_items, &self.total_items] {
            count.store(0, Relaxed);
        }
    }

    /// Returns the line for a step: with rates after this time, or with totals only.
    ///
    /// A bar appears only between its ends: a step that still starts or already finishes says so.
    fn line(&self, step: &str, elapsed: Option<Duration>) -> String {
        let read = |count: &AtomicU64| count.load(Relaxed);
        let (done, total) = (read(&self.done_bytes), read(&self.total_bytes));
        let (done_items, items) = (read(&self.done_items), read(&self.total_items));
        let mut line = step.to_owned();
        let Some(elapsed) = elapsed else {
            let layers = if items > 0 { format!("{items} layers, ") } else { String::new() };
            if total > 0 {
                let _ = write!(line, " ({layers}{})", Human(total));
            }
            return line;
        };
        if items > 0 {
            let _ = write!(line, " {}/{items}", done_items.min(items));
        }
        if done >= total || done * CELLS < total {
            if total > 0 {
                let phase = if done >= total { "finishing" } else { "starting" };
                let _ = write!(line, "  {}, {phase}", Human(total));
            }
            return line;
        }
        let full = done * CELLS / total;
        let bar: String = (0..CELLS).map(|cell| if cell < full { '█' } else { '░' }).collect();
        let _ = write!(line, "  [{bar}] {} of {}", Human(done), Human(total));
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        if millis >= 1000 {
            let rate = (done / millis * 1000 + done % millis * 1000 / millis).max(1);
            let _ = write!(line, ", {}/s, {} left", Human(rate), TimeLeft((total - done) / rate));
        }
        line
    }
}

/// Seconds as people say them: `12 s`, `3 min`, `2 h`.
struct TimeLeft(u64);

impl std::fmt::Display for TimeLeft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0..100 => write!(f, "{} s", self.0),
            100..6000 => write!(f, "{} min", self.0.div_ceil(60)),
            seconds => write!(f, "{} h", seconds.div_ceil(3600)),
        }
    }
}

fn stage_words(stage: Stage) -> &'static str {
    match stage {
        Stage::Reading => "reading layers",
        Stage::Matching => "matching files",
        Stage::Packing => "packing",
        Stage::Looking => "checking layers",
        Stage::Proving => "proving",
        Stage::Fetching => "fetching deltas",
        Stage::Rebuilding => "rebuilding files",
        Stage::Writing => "writing layers",
        _ => "working",
    }
}

/// The line is cut at the width of the terminal.
const LINE: &str = "{spinner} {wide_msg}";
/// Cells of the bar: with the longest words and numbers, a line fits into 80 columns.
const CELLS: u64 = 8;
const BETWEEN_DRAWINGS: Duration = Duration::from_millis(100);
const BETWEEN_TICKS: Duration = Duration::from_millis(200);
/// A step that takes longer has a line in a file.
const LONG_STEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(bytes: (u64, u64), items: (u64, u64)) -> StepCounts {
        let counts = StepCounts::default();
        counts.done_bytes.store(bytes.0, Relaxed);
        counts.total_bytes.store(bytes.1, Relaxed);
        counts.done_items.store(items.0, Relaxed);
        counts.total_items.store(items.1, Relaxed);
        counts
    }

    #[test]
    fn a_line_has_step_items_bytes_rate_and_time_left() {
        let counts = counts((81_000_000, 203_000_000), (2, 4));
        let line = counts.line("reading layers", Some(Duration::from_secs(9)));
        let expected = "reading layers 2/4  [███░░░░░] 81.0 MB of 203 MB, 9.00 MB/s, 13 s left";
        assert_eq!(line, expected);
        assert_eq!(counts.line("reading layers", None), "reading layers (4 layers, 203 MB)");
    }

    #[test]
    fn no_bar_stands_at_its_ends() {
        let line = |done| counts((done, 1000), (0, 0)).line("packing", Some(Duration::ZERO));
        assert_eq!(line(0), "packing  1.00 kB, starting");
        assert_eq!(line(1000), "packing  1.00 kB, finishing");
        assert_eq!(counts((0, 0), (0, 0)).line("packing", Some(Duration::ZERO)), "packing");
    }

    #[test]
    fn the_longest_line_fits_80_columns() {
        let counts = counts((88_800_000_000, 888_000_000_000), (88, 128));
        let line = counts.line(stage_words(Stage::Rebuilding), Some(Duration::from_millis(1500)));
        // The spinner has two columns, and three stay free.
        assert!(line.chars().count() <= 75, "{} {line}", line.chars().count());
    }
}
