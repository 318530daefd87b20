//! Parts that tests of whole deltas share: where they work, and the layouts that they write.
//!
//! Never decides what a test is about.

use imgdelta_core::{Context, parallel::Workers, scratch::Scratch};
use imgdelta_image::image::{self, Image, OpenOptions};
use std::{path::Path, sync::Arc};

/// Returns a context that keeps its scratch files in `directory` and has this many threads.
pub fn context(directory: &Path, threads: usize) -> Context {
    let workers = Arc::new(Workers::new(threads).unwrap());
    Context::new(Scratch::in_dir(directory).unwrap()).unwrap().workers(workers)
}

/// Opens the only image of a layout.
pub fn open(layout: &Path) -> Image {
    image::open(&format!("oci:{}", layout.display()).parse().unwrap(), &OpenOptions::default())
        .unwrap()
}
