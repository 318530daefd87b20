//! Ctrl-C and SIGTERM: the first one ends any command within a second.
//!
//! The command has a moment to end in good order; then the process ends, whatever it waits for.

use crate::stderr;
use imgdelta::{Error, Result};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// Starts to listen for signals. The first one sets the returned flag; `clear` removes what is drawn on
/// the terminal.
///
/// Work that does not notice in time, such as a call that waits for a registry or for the reader of a
/// pipe, is ended with the process: nothing half-written needs care.
pub fn listen(clear: impl Fn() + Send + 'static) -> Result<Arc<AtomicBool>> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancelled);
    let clear = Arc::new(std::sync::Mutex::new(clear));
    ctrlc::set_handler(move || {
        if flag.swap(true, Relaxed) {
            std::process::exit(130);
        }
        let clear = Arc::clone(&clear);
        thread::spawn(move || {
            thread::sleep(PATIENCE);
            // A full pipe on standard error must not keep the process.
            thread::spawn(move || {
                if let Ok(clear) = clear.lock() {
                    clear();
                }
                stderr::print_line("imgdelta: interrupted");
            });
            thread::sleep(LAST_WORDS);
            std::process::exit(130);
        });
    })
    .map_err(|error| Error::io("interrupt handler")(io::Error::other(error)))?;
    Ok(cancelled)
}

/// Time that a cancelled command has to end by itself.
const PATIENCE: Duration = Duration::from_millis(700);
/// Time for the last line on standard error.
const LAST_WORDS: Duration = Duration::from_millis(50);
