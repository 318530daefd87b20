//! Progress and colour: what a person at a terminal sees besides the result.
//!
//! Progress goes to standard error only, so that results can be piped.

use crate::args::Color;
use imgdelta::{
    Error, Result,
    progress::{Progress, Stage},
    size::Human,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{self, IsTerminal},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// Returns whether text may be coloured.
pub fn has_color(when: Color) -> bool {
    match when {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            // https://no-color.org: set and not empty means no.
            let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            io::stdout().is_terminal() && !is_unwanted
        }
    }
}

/// Starts listening, and stops the work in good order at the first Ctrl-C.
pub fn progress(quiet: bool) -> Result<Arc<Told>> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancelled);
    ctrlc::set_handler(move || {
        // The second time the user means it: nothing is half-written that must be kept.
        if flag.swap(true, Relaxed) {
            std::process::exit(130);
        }
    })
    .map_err(|error| Error::io("interrupt handler")(io::Error::other(error)))?;
    let how = match (quiet, io::stderr().is_terminal()) {
        (true, _) => How::Silent,
        (false, true) => {
            How::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
        }
        (false, false) => How::Lines(Mutex::new(Instant::now())),
    };
    Ok(Arc::new(Told { how, cancelled, ..silent() }))
}

/// Listens to nothing, for commands that take no time.
pub fn silent() -> Told {
    Told {
        how: How::Silent,
        cancelled: Arc::default(),
        done_bytes: AtomicU64::new(0),
        total_bytes: AtomicU64::new(0),
    }
}

/// Tells of work on standard error.
#[derive(Debug)]
pub struct Told {
    how: How,
    cancelled: Arc<AtomicBool>,
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

#[derive(Debug)]
enum How {
    Silent,
    Bar(ProgressBar),
    /// When the last line was written.
    Lines(Mutex<Instant>),
}

impl Told {
    /// Says something before the work goes on.
    pub fn say(&self, line: &str) {
        match &self.how {
            How::Silent => {}
            How::Bar(bar) => bar.suspend(|| eprintln!("imgdelta: {line}")),
            How::Lines(_) => eprintln!("imgdelta: {line}"),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let How::Bar(bar) = &self.how {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Told {
    fn begin(&self, stage: Stage, total_bytes: u64) {
        self.total_bytes.store(total_bytes, Relaxed);
        self.done_bytes.store(0, Relaxed);
        if let How::Bar(bar) = &self.how {
            let style = ProgressStyle::with_template(BAR).expect("the template is a constant");
            bar.set_style(style);
            bar.set_message(stage_word(stage));
            bar.set_length(total_bytes);
            bar.reset();
        }
    }

    fn advance(&self, bytes: u64) {
        let done = self.done_bytes.fetch_add(bytes, Relaxed) + bytes;
        match &self.how {
            How::Silent => {}
            How::Bar(bar) => bar.inc(bytes),
            How::Lines(last) => {
                let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if last.elapsed().as_secs() >= SECONDS_BETWEEN_LINES {
                    *last = Instant::now();
                    let total = Human(self.total_bytes.load(Relaxed));
                    eprintln!("imgdelta: {} of {total} done", Human(done));
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
        Stage::Looking => "looking for layers",
        Stage::Fetching => "fetching recipes",
        Stage::Rebuilding => "rebuilding files",
        Stage::Writing => "writing layers",
        _ => "working",
    }
}

const BAR: &str =
    "{msg} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} ETA {eta}";

/// A log of a CI run is read afterwards: a line now and then shows that it lives.
const SECONDS_BETWEEN_LINES: u64 = 5;
