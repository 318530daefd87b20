//! Comparisons of images with many alike entries end when they are cancelled.

use imgdelta_core::{
    Context, Error, Limits,
    parallel::Workers,
    progress::{Checkpoint, Progress},
    scratch::Scratch,
};
use imgdelta_diff::{Diff, Ignore};
use imgdelta_image::{
    image::{Image, OpenOptions},
    store::layout::OciLayout,
    survey::{self, Survey, SurveyOptions},
};
use imgdelta_testkit::{Crowd, Packing, TestImage};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Counts questions, and cancels after some of them.
struct CancelAfter {
    most: u64,
    asked: AtomicU64,
}

impl CancelAfter {
    fn new(most: u64) -> Self {
        Self { most, asked: AtomicU64::new(0) }
    }
}

impl Progress for CancelAfter {
    fn is_cancelled(&self) -> bool {
        self.asked.fetch_add(1, Relaxed) >= self.most
    }
}

fn surveyed(crowd: Crowd, entries: usize) -> [Survey; 2] {
    let images = crowd.layers(entries).map(|layer| {
        let archive = TestImage::new(vec![layer], Packing::Zstd).blobs().archive();
        let layout = OciLayout::open_archive(Arc::new(archive), "a.tar".into(), &Limits::default());
        Image::open(Arc::new(layout.unwrap()), None, &OpenOptions::default()).unwrap()
    });
    let workers = Arc::new(Workers::new(1).unwrap());
    let context = Context::new(Scratch::new(std::env::temp_dir())).unwrap().workers(workers);
    survey::both(images, &SurveyOptions::default(), &context).unwrap()
}

fn compare([base, target]: &[Survey; 2], listener: &CancelAfter) -> Result<Diff, Error> {
    Diff::between(base, target, &Ignore::default(), listener)
}

#[test]
fn a_comparison_of_many_entries_ends_at_the_first_answer_to_stop() {
    for crowd in Crowd::ALL {
        let surveys = surveyed(crowd, 3000);
        let counter = CancelAfter::new(u64::MAX);
        compare(&surveys, &counter).unwrap();
        let questions = counter.asked.into_inner();
        // Both layers and both trees are walked at least once.
        assert!(questions >= 4 * 3000 / u64::from(Checkpoint::STEPS), "{crowd:?}: {questions}");
        for most in [0, 1, questions / 2, questions - 1] {
            let listener = CancelAfter::new(most);
            let outcome = compare(&surveys, &listener);
            assert!(matches!(outcome, Err(Error::Cancelled)), "{crowd:?} after {most}");
            assert_eq!(listener.asked.into_inner(), most + 1, "{crowd:?}: asked again");
        }
    }
}

#[test]
fn files_of_one_content_are_moves() {
    let diff = compare(&surveyed(Crowd::OneContent, 500), &CancelAfter::new(u64::MAX)).unwrap();
    assert_eq!((diff.totals.moved.files, diff.totals.added.files), (500, 1));
}
