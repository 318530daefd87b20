//! Any bytes are an artifact's manifest, a front that fits it, and a file put together, or an error.
//!
//! The input is the manifest behind its length, then the front.
#![no_main]

use imgdelta_apply::delta::{Delta, LayerBody};
use imgdelta_core::Limits;
use imgdelta_image::store::Descriptor;
use imgdelta_registry::{
    Manifest,
    artifact::{Artifact, Front, config_blob},
};
use libfuzzer_sys::fuzz_target;
use std::{
    io::{Read, repeat},
    sync::Arc,
};

fuzz_target!(|bytes: &[u8]| {
    let _ = run(bytes);
});

/// The most bytes that a part is given: larger ones are then cut, which is an error.
const MOST_PART_BYTES: u64 = 64 << 10;

fn run(bytes: &[u8]) -> Option<()> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (manifest, front) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let artifact = read(manifest);
    let front_bytes = front.len() as u64;
    let front = Front::parse(front.to_vec(), "fuzz").ok()?;
    if let Some(artifact) = artifact
        && front.check(&artifact, "fuzz").is_ok()
    {
        assert_eq!(front.recipe_bytes().len(), artifact.recipes.len());
        for layer in &front.outline.layers {
            if let LayerBody::Recipe(ordinal) = layer.body {
                assert!((ordinal as usize) < artifact.recipes.len());
            }
        }
    }
    let (mut joined, mut parts) = (Vec::new(), 0_u64);
    let mut part = |_, _| {
        parts += 1;
        Ok(Box::new(repeat(7).take(MOST_PART_BYTES)) as Box<dyn Read>)
    };
    front.join(&mut part, &mut joined).ok()?;
    let most = front_bytes + parts * MOST_PART_BYTES;
    assert!((front_bytes..=most).contains(&(joined.len() as u64)));
    let recipes_bytes: u64 = front.recipe_bytes().iter().sum();
    assert!(joined.len() as u64 >= front_bytes + recipes_bytes);
    let _ = Delta::open(Arc::new(joined), "fuzz", &Limits::default());
    Some(())
}

fn read(manifest: &[u8]) -> Option<Artifact> {
    let size = manifest.len() as u64;
    let descriptor = Descriptor::new(None, config_blob().digest, size);
    let manifest = Manifest { descriptor, bytes: manifest.to_vec() };
    let artifact = Artifact::parse(&manifest, "fuzz").ok()?;
    assert!(artifact.recipes.len() + artifact.carried.len() < 4096);
    Some(artifact)
}
