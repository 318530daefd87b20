//! Any bytes are a recipe, an outline or costs that can be written again, or an error.
#![no_main]

use imgdelta_coding::pack::Packer;
use imgdelta_format::{
    Algorithm, DiffId, ReadLimits, cost,
    outline::Outline,
    recipe::{NestedArchives, Recipe, RecipeFront, StreamName},
};
use imgdelta_wire::varint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    try_read(bytes);
    // Packing and fronts keep mutations out of the columns: here the input is the columns.
    let pack = Packer::new(1).pack(&columns(bytes));
    try_read(&pack);
    try_read(&with_front(&pack));
});

fn try_read(bytes: &[u8]) {
    let limits = ReadLimits::default();
    if let Ok(recipe) = Recipe::from_bytes(bytes, &limits) {
        let again = recipe.to_bytes();
        assert_eq!(Recipe::from_bytes(&again, &limits).expect("just written"), recipe);
        let front = RecipeFront::from_bytes(&again, &limits).expect("just written");
        assert_eq!((front.target, front.sources), (recipe.target, recipe.sources));
    }
    if let Ok(outline) = Outline::from_bytes(bytes, &limits) {
        let again = outline.to_bytes();
        assert_eq!(Outline::from_bytes(&again, &limits).expect("just written"), outline);
    }
    if let Ok(costs) = cost::from_bytes(bytes, &limits) {
        let again = cost::to_bytes(&costs);
        assert_eq!(cost::from_bytes(&again, &limits).expect("just written"), costs);
    }
}

/// Each column is a byte that says how long it is, and its bytes.
fn columns(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut columns = Vec::new();
    while let Some((&len, rest)) = bytes.split_first()
        && columns.len() < 26
    {
        let (column, rest) = rest.split_at(usize::from(len).min(rest.len()));
        columns.push(column);
        bytes = rest;
    }
    columns
}

/// A recipe of two sources, no header columns, and this pack.
fn with_front(pack: &[u8]) -> Vec<u8> {
    let diff_id = DiffId::new(Algorithm::Sha256, &[7; 32]).expect("its length");
    let stream = StreamName { diff_id, bytes: 100_000 };
    let bare = Recipe {
        target: stream,
        sources: vec![stream, stream],
        headers: Vec::new(),
        origins: Vec::new(),
        nested: NestedArchives::default(),
        digests: Vec::new(),
        groups: Vec::new(),
    };
    let bytes = bare.to_bytes();
    // Magic, version and a length of some bytes; the empty pack is the last byte.
    let (_, length_bytes) = varint::read(&bytes[5..]).expect("just written");
    let rest = [&bytes[5 + length_bytes..bytes.len() - 1], pack].concat();
    let mut out = bytes[..5].to_vec();
    varint::write(&mut out, rest.len() as u64);
    out.extend_from_slice(&rest);
    out
}
