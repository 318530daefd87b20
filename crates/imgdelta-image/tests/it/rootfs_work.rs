//! The work of a merge, counted: alike entries take steps in proportion.

use imgdelta_core::{Algorithm, Limits, progress::Silent, verify::Hasher};
use imgdelta_image::{
    index::{IndexBuilder, LayerIndex},
    rootfs::Rootfs,
};
use imgdelta_testkit::{Crowd, tar_stream::Tar};
use std::sync::Arc;

fn index(stream: &[u8]) -> LayerIndex {
    let mut builder = IndexBuilder::new(&Limits::default(), None);
    builder.feed(stream).unwrap();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(stream);
    builder.finish(hasher.finish_diff_id()).unwrap()
}

/// Merges both layers of a crowd; returns the number of steps.
fn steps(crowd: Crowd, entries: usize) -> u64 {
    let layers = crowd.layers(entries).map(|stream| Arc::new(index(&stream)));
    let (rootfs, steps) = Rootfs::merge_counted(&layers, &Silent).unwrap();
    assert!(rootfs.notes().is_empty(), "{crowd:?}: {:?}", rootfs.notes());
    steps
}

#[test]
fn the_merge_of_alike_entries_takes_steps_in_proportion() {
    for crowd in Crowd::ALL {
        let (few, many) = (steps(crowd, 1000), steps(crowd, 4000));
        assert!(many * 10 <= few * 45, "{crowd:?}: {few} steps, then {many}");
    }
}

#[test]
fn links_that_change_all_the_time_meet_a_bound() {
    let deep = "a/".repeat(2000);
    let mut layer = Tar::new().long(b'K', deep.as_bytes()).symlink("l", "");
    for n in 0..3000 {
        // A removed link may change every resolved directory.
        layer = layer.symlink("x", "y").file(".wh.x", b"").file(&format!("l/{n}"), b"");
    }
    let layers = [Arc::new(index(&layer.0))];
    let (rootfs, steps) = Rootfs::merge_counted(&layers, &Silent).unwrap();
    assert!(steps < 3_000_000, "{steps} steps for 9,000 entries");
    assert!(
        rootfs.notes().iter().any(|note| note.what.contains("too many parts in symbolic links"))
    );
}
