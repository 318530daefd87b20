//! Every forgery is refused, or made within bounds.
//!
//! One test, since the allocator counts the memory of the whole process.

use imgdelta_apply::{delta::Delta, rebuild::verify};
use imgdelta_core::{Context, Error, LimitName, Limits, parallel::Workers, scratch::Scratch};
use imgdelta_forge::{Outcome, all, base_image};
use imgdelta_image::image::{Image, OpenOptions, open};
use peak_alloc::PeakAlloc;
use std::{path::Path, sync::Arc};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Memory that a reader may take for any forgery, beyond the delta's own bytes.
const MOST_MEMORY: usize = 256 << 20;

fn base(directory: &Path) -> Image {
    base_image().write_layout(directory);
    let reference = format!("oci:{}", directory.display()).parse().unwrap();
    open(&reference, &OpenOptions::default()).unwrap()
}

fn outcome(error: &Error) -> Option<Outcome> {
    match error {
        Error::OverLimit { name: Some(LimitName::WorkPerByte), .. } => Some(Outcome::TooMuchWork),
        Error::OverLimit { .. } => Some(Outcome::OverLimit),
        Error::BadInput { .. } => Some(Outcome::BadInput),
        Error::BaseMissing { .. } => Some(Outcome::BaseMissing),
        _ => None,
    }
}

#[test]
fn forgeries_are_refused_or_made_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let base = [base(&dir.path().join("base"))];
    let scratch = Scratch::new(dir.path());
    let workers = Arc::new(Workers::new(2).unwrap());
    let context = Context::new(scratch).unwrap().workers(workers);
    let mut wrong = Vec::new();
    for forgery in all() {
        let name = forgery.name;
        let bytes = forgery.delta.len();
        let delta = Arc::new(forgery.delta);
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        let made = Delta::open(delta, "forged", &Limits::default())
            .and_then(|delta| verify(&delta, &base, &context));
        let memory = ALLOCATOR.peak_usage() - before;
        let (found, text) = match made {
            Ok(_) => (Some(Outcome::Made), "made".to_owned()),
            Err(error) => (outcome(&error), error.to_string()),
        };
        println!("{name}: {bytes} bytes, {} MiB of memory: {text}", memory >> 20);
        if found != Some(forgery.outcome) || memory > MOST_MEMORY {
            wrong.push(format!(
                "{name}: expected {:?}, {} MiB: {text}",
                forgery.outcome,
                memory >> 20
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
