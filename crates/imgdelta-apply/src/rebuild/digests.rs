//! Digests inside rebuilt payloads, computed and laid in.
//! Never verifies the result: the digest of the finished layer does that.
//!
//! Groups are decoded and archives closed before. No digest depends on another one.

use super::table::{PayloadTable, PlacedDigest};
use imgdelta_core::{Context, Error, Result, sort::SharedSort};
use imgdelta_layer::digests::SpelledHasher;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Computes the digests of all recipes, each content once for each spelling.
pub(super) fn lay_all(recipes: &BTreeMap<u32, Arc<PayloadTable>>, context: &Context) -> Result<()> {
    let mut tasks: Vec<(&PayloadTable, Vec<&PlacedDigest>)> = Vec::new();
    for table in recipes.values() {
        let mut by_content: HashMap<_, Vec<&PlacedDigest>> = HashMap::new();
        for digest in &table.digests {
            by_content.entry((digest.content, digest.spelling)).or_default().push(digest);
        }
        tasks.extend(by_content.into_values().map(|digests| (&**table, digests)));
    }
    tasks.shared_sort_by_key(|(_, digests)| (Reverse(digests[0].content.bytes), digests[0].offset));
    let progress = &*context.progress;
    context.workers.map(tasks, |(table, digests)| {
        let content = digests[0].content;
        let mut hasher = SpelledHasher::new(digests[0].spelling);
        let mut buffer = Vec::new();
        let mut at = 0;
        while at < content.bytes {
            progress.check()?;
            let count = usize::try_from(content.bytes - at).unwrap_or(usize::MAX);
            buffer.resize(count.min(PIECE_BYTES), 0);
            table.read_exact_at(content.source, at, &mut buffer)?;
            hasher.update(&buffer);
            at += buffer.len() as u64;
        }
        let spelled = hasher.finish();
        for digest in digests {
            if let Some(file) = &table.scratch {
                file.write_all_at(&spelled, digest.offset).map_err(Error::io(SCRATCH))?;
            }
        }
        Ok(())
    })?;
    Ok(())
}

const PIECE_BYTES: usize = 128 << 10;
const SCRATCH: &str = "scratch file of rebuilt payloads";
