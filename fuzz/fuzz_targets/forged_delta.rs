//! A real delta with changed numbers and right digests gives the image it names, or an error.
//!
//! The input chooses a golden delta and edits of its recipes: origins, members, windows, archives,
//! header columns, bytes of groups, compressions. The digests in the delta are computed afterwards,
//! so that the edits are what is judged. The limits on work and memory keep every input short.
#![no_main]

use imgdelta_apply::{
    delta::{
        BaseSource, Delta, DeltaWriter, DigestPlace, LayerBody, Outline, PayloadOrigin,
        PayloadWindow, Recipe,
    },
    rebuild::verify,
};
use imgdelta_coding::pack::{Packer, unpack};
use imgdelta_core::{Context, Limits, parallel::Workers, scratch::Scratch};
use imgdelta_image::image::{Image, OpenOptions, open};
use libfuzzer_sys::fuzz_target;
use std::{
    io::Read,
    path::Path,
    sync::{Arc, LazyLock},
};

/// A golden delta in parts, with its base.
struct Golden {
    base: Image,
    outline: Outline,
    recipes: Vec<(Recipe, Vec<u8>)>,
    carried: Vec<Vec<u8>>,
}

static GOLDEN: LazyLock<Vec<Golden>> = LazyLock::new(|| {
    let names =
        ["files", "archives", "headers", "deflate", "chunked", "kept", "siblings", "digests"];
    names.iter().map(|name| Golden::open(name)).collect()
});
static WORKERS: LazyLock<Arc<Workers>> =
    LazyLock::new(|| Arc::new(Workers::new(1).expect("a thread")));

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, edits)) = bytes.split_first() else { return };
    let golden = &GOLDEN[usize::from(first) % GOLDEN.len()];
    let _ = golden.judge(edits);
});

impl Golden {
    fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/deltas");
        let reference =
            format!("oci-archive:{}", folder.join(format!("{name}.base.tar")).display());
        let base = open(&reference.parse().expect("a path"), &OpenOptions::default());
        let bytes = std::fs::read(folder.join(format!("{name}.imgdelta"))).expect("a golden file");
        let delta = Delta::open(Arc::new(bytes), name, &Limits::default()).expect("a golden file");
        let ordinals = 0..u32::try_from(delta.recipe_count()).expect("few");
        let recipes = ordinals.map(|ordinal| {
            let stored = delta.recipe(ordinal).expect("a golden file");
            let groups = (0..stored.groups.len()).flat_map(|at| stored.group(at).expect("a group"));
            ((*stored).clone(), groups.collect())
        });
        let recipes = recipes.collect();
        let carried = delta.layers().iter().filter_map(|layer| match layer.body {
            LayerBody::Carried(ordinal) => Some(ordinal),
            _ => None,
        });
        let carried = carried.max().map_or(0, |most| most + 1);
        let carried = (0..carried).map(|ordinal| {
            let mut blob = Vec::new();
            delta.carried(ordinal).expect("a blob").read_to_end(&mut blob).expect("a blob");
            blob
        });
        let carried = carried.collect();
        Self {
            base: base.expect("a golden file"),
            outline: delta.outline().clone(),
            recipes,
            carried,
        }
    }

    /// Applies the delta with edits. `None` if it is refused.
    fn judge(&self, edits: &[u8]) -> Option<()> {
        let mut recipes = self.recipes.clone();
        let mut outline = self.outline.clone();
        for edit in edits.chunks_exact(EDIT_BYTES) {
            edit_delta(edit, &mut outline, &mut recipes);
        }
        if !recipes.iter().all(|(recipe, _)| can_be_written(recipe)) {
            return None;
        }
        let mut writer = DeltaWriter::new(Vec::new(), &outline).ok()?;
        for (recipe, groups) in &recipes {
            let bytes = [recipe.to_bytes(), groups.clone()].concat();
            writer.stored_recipe(bytes.len() as u64, &mut &bytes[..]).ok()?;
        }
        for blob in &self.carried {
            writer.carried(blob.len() as u64, &mut &blob[..]).ok()?;
        }
        let (bytes, _) = writer.finish().ok()?;
        let mut limits = Limits::default();
        limits.layer_bytes = 64 << 20;
        limits.free_work = 300_000_000;
        limits.recipe_memory = 64 << 20;
        let delta = Delta::open(Arc::new(bytes), "fuzz", &limits).ok()?;
        let shared_memory = Path::new("/dev/shm");
        let temporary = std::env::temp_dir();
        let directory = if shared_memory.is_dir() { shared_memory } else { &temporary };
        let context = Context::new(Scratch::new(directory)).ok()?.limits(limits);
        let context = context.workers(Arc::clone(&WORKERS));
        let report = verify(&delta, std::slice::from_ref(&self.base), &context).ok()?;
        for (layer, made) in delta.layers().iter().zip(&report.layers) {
            assert_eq!(layer.stream.diff_id, made.diff_id);
        }
        Some(())
    }
}

/// Bytes of an edit: the part, the place (two bytes), and the new number.
const EDIT_BYTES: usize = 5;

fn edit_delta(edit: &[u8], outline: &mut Outline, recipes: &mut [(Recipe, Vec<u8>)]) {
    let place = usize::from(u16::from_le_bytes([edit[1], edit[2]]));
    // Small numbers, or powers of two with a small number below.
    let value = match edit[3] {
        shift @ 0..64 => (1_u64 << shift).wrapping_sub(u64::from(edit[4])),
        _ => u64::from(edit[4]),
    };
    if let Some(layer) = pick(&mut outline.layers, place) {
        match edit[0] {
            0 => return layer.stream_bytes = value & (u64::MAX >> 1),
            1 => {
                let bytes = match &mut layer.envelope {
                    imgdelta_apply::delta::Envelope::Deflate(bytes)
                    | imgdelta_apply::delta::Envelope::Zstd(bytes)
                    | imgdelta_apply::delta::Envelope::Chunked(bytes) => bytes,
                    _ => return,
                };
                return set(bytes, usize::from(edit[3]), edit[4]);
            }
            _ => {}
        }
    }
    let Some((recipe, groups)) = pick(recipes, usize::from(edit[0] >> 4)) else { return };
    let small = u32::try_from(value & 0xffff).expect("two bytes");
    match edit[0] & 15 {
        2 => set(groups, place, edit[4]),
        3 => edit_headers(recipe, usize::from(edit[3]), place, edit[4]),
        4 => {
            let last = recipe.origins.len().saturating_sub(1);
            let at = place.min(last);
            if let Some(origin) = recipe.origins.get_mut(at) {
                *origin = match edit[3] % 6 {
                    0 => PayloadOrigin::Own,
                    1 => PayloadOrigin::Base(value & (u64::MAX >> 8)),
                    2 if at > 0 => PayloadOrigin::Repeat(small.clamp(1, at as u32)),
                    3 => PayloadOrigin::Part(small),
                    4 => PayloadOrigin::Packed(small),
                    _ => return,
                };
            }
        }
        5 => {
            let members = recipe.groups.iter_mut().flat_map(|group| &mut group.members);
            if let Some(member) = members.into_iter().nth(place % 64) {
                member.window =
                    Some(PayloadWindow { offset: value & 0xffff_ffff, bytes: 1 + value % 5000 });
            }
        }
        6 => {
            let members = recipe.groups.iter_mut().flat_map(|group| &mut group.members);
            if let Some(member) = members.into_iter().nth(place % 64) {
                let slice = BaseSource::Slice {
                    address: value & 0xffff_ffff,
                    bytes: u64::from(edit[4]) << 4,
                };
                member.sources = vec![slice; 1 + usize::from(edit[4] & 3)];
            }
        }
        7 => {
            if let Some(opened) = pick(&mut recipe.nested.opened, place) {
                match edit[3] % 3 {
                    0 => opened.address = value & (u64::MAX >> 8),
                    1 => opened.bytes = value & (u64::MAX >> 8),
                    _ => opened.plain_bytes = value & (u64::MAX >> 8),
                }
            }
        }
        8 => {
            if let Some(bytes) = pick(&mut recipe.nested.inner_bytes, place) {
                *bytes = value & (u64::MAX >> 8);
            }
        }
        9 => {
            if let Some(coder) = pick(&mut recipe.nested.coders, place) {
                *coder = small;
            }
        }
        10 => {
            if let Some(bytes) = pick(&mut recipe.nested.compressions, place) {
                set(bytes, usize::from(edit[3]), edit[4]);
            }
        }
        11 => {
            if let Some(closed) = pick(&mut recipe.nested.closed, place) {
                closed.inner = small;
            }
        }
        12 => recipe.target.bytes = value & (u64::MAX >> 8),
        13 => {
            if let Some(group) = pick(&mut recipe.groups, place) {
                group.packed_bytes = 1 + value % 5000;
            }
        }
        14 => {
            if let Some(digest) = pick(&mut recipe.digests, place) {
                match edit[3] % 3 {
                    0 => digest.offset = value & 0xffff,
                    1 => digest.content = small,
                    _ => digest.holder = small,
                }
            }
        }
        _ => {}
    }
}

/// True if a writer can spell the recipe: members make rebuilt payloads only, digests lie in such
/// payloads in order, and lengths do not overflow.
fn can_be_written(recipe: &Recipe) -> bool {
    let members = recipe.groups.iter().flat_map(|group| &group.members);
    let holders = recipe.digests.iter().map(|digest| digest.holder);
    let mut made = members.map(|member| member.payload).chain(holders);
    let is_before = |one: &DigestPlace, other: &DigestPlace| {
        one.holder < other.holder || one.holder == other.holder && one.end() <= other.offset
    };
    made.all(|payload| recipe.origins.get(payload as usize) == Some(&PayloadOrigin::Rebuilt))
        && recipe.digests.is_sorted_by(is_before)
}

/// Sets a byte of an unpacked header column.
fn edit_headers(recipe: &mut Recipe, column: usize, place: usize, byte: u8) {
    let Ok(mut columns) = unpack(&recipe.headers, 32, 1 << 20) else { return };
    if let Some(column) = pick(&mut columns, column) {
        set(column, place, byte);
    }
    recipe.headers = Packer::new(1).pack(&columns);
}

fn pick<T>(list: &mut [T], place: usize) -> Option<&mut T> {
    let count = list.len();
    if count == 0 { None } else { list.get_mut(place % count) }
}

fn set(bytes: &mut [u8], place: usize, byte: u8) {
    if let Some(found) = pick(bytes, place) {
        *found = byte;
    }
}
