//! Any bytes as a gzip stream: a recipe that remakes them bit for bit, or none.
#![no_main]

use flate2::read::MultiGzDecoder;
use imgdelta_deflate::{DetectOptions, Recipe, RecipeLimits, Remaker, detect_gzip};
use libfuzzer_sys::fuzz_target;
use std::io::Read;

fuzz_target!(|bytes: &[u8]| {
    let _ = Recipe::from_bytes(bytes, RecipeLimits::default());
    // A short stream may promise gigabytes: what matters here is small enough to try.
    let mut plain = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(MAX_PLAIN_BYTES).read_to_end(&mut plain);
    if read.is_ok_and(|count| count as u64 == MAX_PLAIN_BYTES) {
        return;
    }
    let Some(recipe) = detect_gzip(bytes, DetectOptions::default()) else { return };
    // Another reader may see the end elsewhere where trailers are wrong.
    if recipe.members.iter().map(|member| member.plain_bytes).sum::<u64>() != plain.len() as u64 {
        return;
    }
    let stored = recipe.to_bytes();
    let recipe = Recipe::from_bytes(&stored, RecipeLimits::default()).expect("just written");
    let mut remade = Vec::new();
    let mut remaker = Remaker::new(&recipe);
    remaker.write(&plain, &mut remade).expect("the recipe was proved");
    remaker.finish(&mut remade).expect("the recipe was proved");
    assert_eq!(remade, bytes);
});

const MAX_PLAIN_BYTES: u64 = 1 << 20;
