//! Any bytes as a file that looks like an archive, on both sides: the target comes out.
//!
//! The input is two files, the first behind its length. What is no archive is bytes; what is one
//! must come back as it was, whatever it says of itself.
#![no_main]

use imgdelta::{
    Limits,
    apply::{ApplyOptions, prove},
    delta::Delta,
    encode::{EncodeOptions, encode},
    image::{Image, OpenOptions},
    parallel::Workers,
    plan::{Plan, PlanOptions, Preset},
    progress::Silent,
    scratch::Scratch,
    store::layout::OciLayout,
    survey::{SurveyOptions, both_with_streams},
};
use imgdelta_testkit::{Packing, TestImage, tar_of};
use libfuzzer_sys::fuzz_target;
use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

static WORKERS: LazyLock<Workers> = LazyLock::new(|| Workers::new(1).expect("a thread"));

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length));
    let Some((base, target)) = rest.split_at_checked(length) else { return };
    let shared_memory = Path::new("/dev/shm");
    let temporary = std::env::temp_dir();
    let directory = if shared_memory.is_dir() { shared_memory } else { &temporary };
    let scratch = Scratch::in_dir(directory).expect("a directory");
    let images = [base, target].map(image);
    let options = SurveyOptions::default();
    let ([base, target], volume) =
        both_with_streams(images, &options, &scratch, &WORKERS, &Silent).expect("sound images");
    let options = PlanOptions::default().preset(Preset::Fast);
    let plan = Plan::of(&base, &target, &volume, options, &scratch, &WORKERS, &Silent);
    let plan = plan.expect("archives are never at fault");
    let draft = encode(&plan, &EncodeOptions::default(), &scratch, &WORKERS, &Silent);
    let mut bytes = Vec::new();
    // Small images gain nothing and are refused.
    if draft.expect("a plan of our own").write(&mut bytes).is_err() {
        return;
    }
    let delta = Delta::open(Arc::new(bytes), "fuzz", &Limits::default()).expect("just written");
    let options = ApplyOptions::new(scratch);
    prove(&delta, &volume, &options, &WORKERS, &Silent).expect("what was made is right");
});

/// An image of one layer with the file, and enough beside it for a delta to be smaller.
fn image(file: &[u8]) -> Image {
    let noise: Vec<u8> =
        (0..40_000_u32).map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()[3]).collect();
    let layer = tar_of(&[("file", file), ("other", &noise)]);
    let image = TestImage::new(vec![layer], Packing::Plain);
    let limits = Limits::default();
    let store = OciLayout::open_archive(Arc::new(image.blobs().archive()), "image".into(), &limits);
    let store = store.expect("just written");
    Image::open(Arc::new(store), None, &OpenOptions::default()).expect("just written")
}
