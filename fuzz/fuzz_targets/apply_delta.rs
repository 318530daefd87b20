//! Any recipe, groups and base give an image whose digests are right, or an error.
//!
//! The input is a recipe's bytes, its groups' and a base, each behind its length; names of streams
//! are put right, so that the work begins, and the digests are compared at its end.
#![no_main]

use imgdelta_apply::{
    delta::{Delta, DeltaWriter, Envelope, LayerBody, LayerOutline, Outline, Recipe, StreamName},
    rebuild::verify,
};
use imgdelta_core::{
    Algorithm, Context, DiffId, Limits, parallel::Workers, scratch::Scratch, verify::Hasher,
};
use imgdelta_format::ReadLimits;
use imgdelta_image::{
    image::{Image, OpenOptions},
    store::layout::OciLayout,
};
use imgdelta_testkit::{Packing, TestImage};
use libfuzzer_sys::fuzz_target;
use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

/// The largest length of base and target.
const MOST_BYTES: u64 = 4 << 20;

static WORKERS: LazyLock<Arc<Workers>> =
    LazyLock::new(|| Arc::new(Workers::new(1).expect("a thread")));

fuzz_target!(|bytes: &[u8]| {
    let _ = run(bytes);
});

fn run(bytes: &[u8]) -> Option<()> {
    let (recipe, rest) = part(bytes)?;
    let (groups, base) = part(rest)?;
    let mut recipe = Recipe::from_bytes(recipe, &ReadLimits::default()).ok()?;
    let name = name_of(base);
    recipe.sources = vec![name];
    recipe.target.bytes = recipe.target.bytes.min(MOST_BYTES);
    if recipe.group_bytes() != groups.len() as u64 || name.bytes > MOST_BYTES {
        return None;
    }
    let image = TestImage::new(vec![base.to_vec()], Packing::Plain);
    let limits = Limits::default();
    let store = OciLayout::open_archive(Arc::new(image.blobs().archive()), "base".into(), &limits);
    let base = Image::open(Arc::new(store.ok()?), None, &OpenOptions::default()).ok()?;

    let delta = delta(&recipe, groups)?;
    let delta = Delta::open(Arc::new(delta), "fuzz", &limits).ok()?;
    let mut limits = Limits::default();
    limits.member_bytes = MOST_BYTES;
    limits.group_bytes = MOST_BYTES;
    let shared_memory = Path::new("/dev/shm");
    let temporary = std::env::temp_dir();
    let directory = if shared_memory.is_dir() { shared_memory } else { &temporary };
    let context = Context::new(Scratch::new(directory)).ok()?.limits(limits);
    let applied = verify(&delta, &[base], &context.workers(Arc::clone(&WORKERS))).ok()?;
    assert_eq!(applied.layers[0].diff_id, recipe.target.diff_id);
    Some(())
}

/// A delta of one layer that this recipe makes.
fn delta(recipe: &Recipe, groups: &[u8]) -> Option<Vec<u8>> {
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"diff_ids":["{}"]}}}}"#,
        recipe.target.diff_id
    );
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}}]}}"#,
        name_of(config.as_bytes()).diff_id,
        config.len(),
        recipe.target.diff_id,
        recipe.target.bytes,
    );
    let outline = Outline {
        algorithm: Algorithm::Sha256,
        media_type: String::new(),
        manifest: manifest.into_bytes(),
        config: config.into_bytes(),
        platform: String::new(),
        base: None,
        layers: vec![LayerOutline {
            stream_bytes: recipe.target.bytes,
            body: LayerBody::Recipe(0),
            envelope: Envelope::Stored,
            archive_milliseconds: 0,
        }],
    };
    let mut writer = DeltaWriter::new(Vec::new(), &outline).ok()?;
    writer.recipe(recipe, &mut &*groups).ok()?;
    Some(writer.finish().ok()?.0)
}

fn name_of(bytes: &[u8]) -> StreamName {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(bytes);
    let diff_id: DiffId = hasher.finish_diff_id();
    StreamName { diff_id, bytes: bytes.len() as u64 }
}

/// Two bytes of length, then as many bytes.
fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}
