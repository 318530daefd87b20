//! Any bytes as a file that looks like an archive, on both sides: the target comes out.
//!
//! The input is two files, the first after its length. A file that is not an archive is plain bytes;
//! an archive must come back byte for byte, however damaged.
#![no_main]

use imgdelta_core::{Context, Limits, parallel::Workers, scratch::Scratch};
use imgdelta_image::{
    image::{Image, OpenOptions},
    store::layout::OciLayout,
    survey::SurveyOptions,
};
use imgdelta_make::{
    options::{CreateOptions, Preset},
    pair::ImagePair,
};
use imgdelta_testkit::{Packing, TestImage, tar_of};
use libfuzzer_sys::fuzz_target;
use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

static WORKERS: LazyLock<Arc<Workers>> =
    LazyLock::new(|| Arc::new(Workers::new(1).expect("a thread")));

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length));
    let Some((base, target)) = rest.split_at_checked(length) else { return };
    let shared_memory = Path::new("/dev/shm");
    let temporary = std::env::temp_dir();
    let directory = if shared_memory.is_dir() { shared_memory } else { &temporary };
    let context = Context::new(Scratch::new(directory)).expect("threads");
    let context = context.workers(Arc::clone(&WORKERS));
    let images = [base, target].map(image);
    let pair = ImagePair::read(images, &SurveyOptions::default(), &context).expect("sound images");
    let options = CreateOptions::default().preset(Preset::Fast);
    let draft = pair.plan(&options).expect("archives are never at fault").encode();
    let draft = draft.expect("a plan of our own");
    let cost = draft.cost().expect("a draft of our own");
    // Small images save nothing and are refused.
    if cost.delta_bytes < cost.pull_bytes {
        drop(draft.prove().expect("a delta of our own is right"));
    }
});

/// An image of one layer with the file, and enough noise for a delta to be smaller.
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
