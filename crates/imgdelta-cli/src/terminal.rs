//! Progress and colour for a person at a terminal.
//!
//! Never writes to standard output, so that results can be piped.

use crate::{args::ColorChoice, stderr};
use imgdelta::{
    Error, Result,
    progress::{Progress, Stage},
    size::Human,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{self, IsTerminal},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// Returns true if text may be coloured.
pub fn has_color(when: ColorChoice) -> bool {
    match when {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            // https://no-color.org: set and not empty means no.
            let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            io::stdout().is_terminal() && !is_unwanted
        }
    }
}

/// Makes a listener for progress, and lets the first Ctrl-C or SIGTERM cancel the command in good
/// order.
///
/// Work that does not notice in time, such as a call that waits for the reader of a pipe, is ended
/// with the process: nothing half-written needs care.
pub fn progress(is_quiet: bool) -> Result<Arc<TerminalProgress>> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancelled);
    ctrlc::set_handler(move || {
        if flag.swap(true, Relaxed) {
            std::process::exit(130);
        }
        thread::spawn(|| {
            thread::sleep(PATIENCE);
            stderr::print_line("imgdelta: interrupted");
            std::process::exit(130);
        });
    })
    .map_err(|error| Error::io("interrupt handler")(io::Error::other(error)))?;
    let display = match (is_quiet, io::stderr().is_terminal()) {
        (true, _) => ProgressDisplay::Silent,
        (false, true) => {
            ProgressDisplay::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
        }
        (false, false) => ProgressDisplay::Lines(Mutex::new((Instant::now(), ""))),
    };
    Ok(Arc::new(TerminalProgress { display, cancelled, ..silent() }))
}

/// Makes a listener that prints nothing, for commands that take no time.
pub fn silent() -> TerminalProgress {
    TerminalProgress {
        display: ProgressDisplay::Silent,
        cancelled: Arc::default(),
        done_bytes: AtomicU64::new(0),
        total_bytes: AtomicU64::new(0),
    }
}

/// Listener that shows progress on standard error.
#[derive(Debug)]
pub struct TerminalProgress {
    display: ProgressDisplay,
    cancelled: Arc<AtomicBool>,
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

#[derive(Debug)]
enum ProgressDisplay {
    Silent,
    Bar(ProgressBar),
    /// Time of the last line, and the stage.
    Lines(Mutex<(Instant, &'static str)>),
}

impl TerminalProgress {
    /// Prints a line between progress.
    pub fn print_line(&self, line: &str) {
        let print = || stderr::print_line(format_args!("imgdelta: {line}"));
        match &self.display {
            ProgressDisplay::Silent => {}
            ProgressDisplay::Bar(bar) => bar.suspend(print),
            ProgressDisplay::Lines(_) => print(),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let ProgressDisplay::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}

impl Progress for TerminalProgress {
    fn begin(&self, stage: Stage, total_bytes: u64) {
        self.total_bytes.store(total_bytes, Relaxed);
        self.done_bytes.store(0, Relaxed);
        match &self.display {
            ProgressDisplay::Silent => {}
            ProgressDisplay::Bar(bar) => {
                let style = ProgressStyle::with_template(BAR).expect("the template is a constant");
                bar.set_style(style);
                bar.set_message(stage_word(stage));
                bar.set_length(total_bytes);
                bar.reset();
            }
            ProgressDisplay::Lines(last) => {
                last.lock().unwrap_or_else(PoisonError::into_inner).1 = stage_word(stage);
            }
        }
    }

    fn advance(&self, bytes: u64) {
        let done = self.done_bytes.fetch_add(bytes, Relaxed) + bytes;
        match &self.display {
            ProgressDisplay::Silent => {}
            ProgressDisplay::Bar(bar) => bar.inc(bytes),
            ProgressDisplay::Lines(last) => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.0.elapsed().as_secs() >= SECONDS_BETWEEN_LINES {
                    last.0 = Instant::now();
                    let total = Human(self.total_bytes.load(Relaxed));
                    let done = Human(done);
                    stderr::print_line(format_args!("imgdelta: {}: {done} of {total}", last.1));
                }
            }
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }
}

fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Reading => "reading layers",
        Stage::Matching => "matching files",
        Stage::Looking => "checking layers",
        Stage::Proving => "verifying",
        Stage::Fetching => "fetching recipes",
        Stage::Rebuilding => "rebuilding files",
        Stage::Writing => "writing layers",
        _ => "working",
    }
}

/// Fits into 80 columns.
const BAR: &str =
    "{msg:16} [{bar:14}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";

/// Interval of progress lines in a log.
const SECONDS_BETWEEN_LINES: u64 = 5;

/// Time that a cancelled command has to end by itself.
const PATIENCE: Duration = Duration::from_millis(1500);
