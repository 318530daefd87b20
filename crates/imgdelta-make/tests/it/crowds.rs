//! Plans for images with many alike entries ask for cancellation in proportion to the entries, and end
//! when they are cancelled.

use imgdelta_core::{
    Context, Error, Limits, Result,
    parallel::Workers,
    progress::{Checkpoint, Progress},
    scratch::Scratch,
};
use imgdelta_image::{
    image::{Image, OpenOptions},
    store::layout::OciLayout,
    survey::SurveyOptions,
};
use imgdelta_make::{options::CreateOptions, pair::ImagePair, plan::Plan};
use imgdelta_testkit::{Crowd, Packing, TestImage};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Counts questions after a start, and cancels after some of them.
#[derive(Default)]
struct CancelAfter {
    most: AtomicU64,
    asked: AtomicU64,
}

impl CancelAfter {
    fn start(&self, most: u64) {
        self.most.store(most, Relaxed);
        self.asked.store(0, Relaxed);
    }
}

impl Progress for CancelAfter {
    fn is_cancelled(&self) -> bool {
        self.asked.fetch_add(1, Relaxed) >= self.most.load(Relaxed)
    }
}

struct CrowdPair {
    pair: ImagePair,
    listener: Arc<CancelAfter>,
}

impl CrowdPair {
    fn new(crowd: Crowd, entries: usize) -> Self {
        let images = crowd.layers(entries).map(|layer| {
            let archive = TestImage::new(vec![layer], Packing::Zstd).blobs().archive();
            let layout =
                OciLayout::open_archive(Arc::new(archive), "a.tar".into(), &Limits::default());
            Image::open(Arc::new(layout.unwrap()), None, &OpenOptions::default()).unwrap()
        });
        let listener = Arc::new(CancelAfter::default());
        listener.start(u64::MAX);
        let context = Context::new(Scratch::new(std::env::temp_dir()))
            .unwrap()
            .workers(Arc::new(Workers::new(1).unwrap()))
            .progress(Arc::clone(&listener) as Arc<dyn Progress>);
        let pair = ImagePair::read(images, &SurveyOptions::default(), &context).unwrap();
        Self { pair, listener }
    }

    /// Plans, and returns the number of questions.
    fn plan(&self, most: u64) -> (Result<Plan>, u64) {
        self.listener.start(most);
        let outcome = self.pair.plan(&CreateOptions::default());
        (outcome, self.listener.asked.load(Relaxed))
    }
}

#[test]
fn a_plan_for_many_entries_ends_at_the_first_answer_to_stop() {
    for crowd in Crowd::ALL {
        let pair = CrowdPair::new(crowd, 3000);
        let (plan, questions) = pair.plan(u64::MAX);
        plan.unwrap();
        assert!(questions >= 4 * 3000 / u64::from(Checkpoint::STEPS), "{crowd:?}: {questions}");
        for most in [0, 1, questions / 2, questions - 1] {
            let (outcome, asked) = pair.plan(most);
            assert!(matches!(outcome, Err(Error::Cancelled)), "{crowd:?} after {most}");
            assert_eq!(asked, most + 1, "{crowd:?}: asked again");
        }
    }
}

#[test]
fn encoding_many_entries_ends_at_the_first_answer_to_stop() {
    for crowd in [Crowd::NamesByDigits, Crowd::HardLinks, Crowd::Directories] {
        let pair = CrowdPair::new(crowd, 3000);
        let questions = |most: u64| {
            let plan = pair.plan(u64::MAX).0.unwrap();
            pair.listener.start(most);
            (plan.encode().map(drop), pair.listener.asked.load(Relaxed))
        };
        let (outcome, all) = questions(u64::MAX);
        outcome.unwrap();
        // Each header is encoded, and each payload that changed.
        assert!(all >= 3000 / u64::from(Checkpoint::STEPS), "{crowd:?}: {all}");
        // The pair remembers the compressions that were found.
        let all = questions(u64::MAX).1;
        for most in [0, all / 2, all - 1] {
            let (outcome, asked) = questions(most);
            assert!(matches!(outcome, Err(Error::Cancelled)), "{crowd:?} after {most}");
            assert_eq!(asked, most + 1, "{crowd:?}: asked again");
        }
    }
}

#[test]
fn a_plan_asks_in_proportion_to_the_entries() {
    for crowd in Crowd::ALL {
        let [few, many] = [1500, 6000].map(|entries| {
            let (plan, questions) = CrowdPair::new(crowd, entries).plan(u64::MAX);
            plan.unwrap();
            questions
        });
        assert!(many * 10 <= few * 45, "{crowd:?}: {few} questions, then {many}");
    }
}
