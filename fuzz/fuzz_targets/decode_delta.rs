//! Any bytes are a delta whose parts can be read, or an error.
#![no_main]

use imgdelta_apply::delta::{Delta, LayerBody};
use imgdelta_core::Limits;
use libfuzzer_sys::fuzz_target;
use std::{io::Read, sync::Arc};

fuzz_target!(|bytes: &[u8]| {
    try_open(bytes.to_vec());
    if let Some(sealed) = sealed(bytes) {
        try_open(sealed);
    }
});

fn try_open(bytes: Vec<u8>) {
    let Ok(delta) = Delta::open(Arc::new(bytes), "fuzz", &Limits::default()) else { return };
    let _ = delta.cost();
    for layer in delta.layers() {
        match layer.body {
            LayerBody::Kept => {}
            LayerBody::Recipe(ordinal) => {
                let Ok(recipe) = delta.recipe(ordinal) else { continue };
                for group in 0..recipe.groups.len() {
                    let packed = recipe.group(group).expect("the section holds its groups");
                    assert_eq!(packed.len() as u64, recipe.groups[group].packed_bytes);
                }
            }
            LayerBody::Carried(ordinal) => {
                let mut blob = delta.carried(ordinal).expect("it was counted");
                let count = std::io::copy(&mut blob, &mut std::io::sink()).expect("memory");
                assert_eq!(count, layer.blob_bytes);
                assert_eq!(blob.read(&mut [0]).expect("memory"), 0);
            }
        }
    }
}

/// The digests keep mutations out of the sections: here they are made right, for the sections that
/// the input's heads claim, front to back.
fn sealed(bytes: &[u8]) -> Option<Vec<u8>> {
    use imgdelta_format::container::{self, HEAD_BYTES, SectionHead, SectionKind};
    let cut = |hash: blake3::Hash| hash.as_bytes()[..container::DIGEST_BYTES].to_vec();
    let (mut out, mut at) = (bytes.get(..HEAD_BYTES)?.to_vec(), HEAD_BYTES);
    let (mut whole, mut sections) = (blake3::Hasher::new(), Vec::new());
    whole.update(&out);
    loop {
        let (section, head_bytes) = SectionHead::read(bytes.get(at..)?).ok()?;
        if section.kind == SectionKind::End {
            break;
        }
        let count = usize::try_from(section.bytes).ok()?.checked_add(head_bytes)?;
        let told = bytes.get(at..at.checked_add(count)?)?;
        let digest = cut(blake3::hash(told));
        whole.update(&told[..head_bytes]).update(&digest);
        out.extend_from_slice(told);
        out.extend_from_slice(&digest);
        sections.push(section);
        at += count + container::DIGEST_BYTES;
    }
    let table = container::table(&sections);
    let mut end = SectionHead::new(SectionKind::End, table.len() as u64).to_bytes();
    end.extend_from_slice(&table);
    end.extend_from_slice(&cut(whole.update(&end).finalize()));
    out.extend_from_slice(&end);
    out.extend_from_slice(&container::trailer(u32::try_from(end.len()).ok()?));
    Some(out)
}
