//! The locks of a storage's documents, as its own library takes them.
//! Never writes a lock file.
//!
//! They are record locks, which belong to the process: closing a lock file releases the locks that
//! other threads hold on it. So one thread of this process at a time reads documents.

use imgdelta_core::{Error, Result};
use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
};
use std::{
    fs::File,
    io::ErrorKind,
    path::Path,
    sync::{Mutex, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

/// Runs `read` under the shared lock of a lock file. A storage without this file is read-only, and is
/// read without a lock.
pub(super) fn with_shared<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    static READER: Mutex<()> = Mutex::new(());
    let _reader = READER.lock().unwrap_or_else(PoisonError::into_inner);
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return read(),
        outcome => outcome.map_err(Error::io(path.display()))?,
    };
    let deadline = Instant::now() + MOST_WAIT;
    loop {
        match fcntl_lock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => break,
            Err(Errno::AGAIN | Errno::ACCESS) if Instant::now() < deadline => sleep(PAUSE),
            Err(Errno::AGAIN | Errno::ACCESS) => {
                let what = "another process holds this lock; wait until podman or CRI-O is done, \
                            and try again";
                return Err(Error::bad_input(path.display(), what));
            }
            Err(error) => return Err(Error::io(path.display())(error.into())),
        }
    }
    // Closing the file releases the lock.
    read()
}

/// Writers hold the lock while they unpack a layer.
const MOST_WAIT: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(20);
