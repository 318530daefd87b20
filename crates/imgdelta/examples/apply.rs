//! Applies a delta, shows its progress, and stops cleanly after a number of bytes if asked to.
//!
//! `cargo run --example apply -- DELTA BASE DESTINATION [STOP_AFTER_BYTES]`

use imgdelta::{
    Error, Session,
    progress::{Progress, Stage},
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Prints each stage, and cancels when more than `most` bytes were processed.
struct Meter {
    done: AtomicU64,
    most: u64,
}

impl Progress for Meter {
    fn begin(&self, stage: Stage, total_bytes: u64) {
        eprintln!("{stage:?}: {total_bytes} bytes");
    }

    fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.done.load(Relaxed) > self.most
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (delta, base, destination, most) = match &arguments[..] {
        [delta, base, destination] => (delta, base, destination, u64::MAX),
        [delta, base, destination, most] => (delta, base, destination, most.parse()?),
        _ => return Err("usage: apply DELTA BASE DESTINATION [STOP_AFTER_BYTES]".into()),
    };
    let meter = Meter { done: AtomicU64::new(0), most };
    let session = Session::new(std::env::temp_dir())?.progress(Arc::new(meter));
    match session.apply(delta, &[base.parse()?], &destination.parse()?) {
        Ok(applied) => println!("{applied}"),
        // The destination is valid at any time: blobs that were finished stay for the next call.
        Err(Error::Cancelled) => println!("stopped"),
        Err(Error::BaseMissing { missing, .. }) => {
            for layer in missing {
                println!("missing: {layer}");
            }
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
