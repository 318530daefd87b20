//! Archives of the target, closed from their inner payloads.
//! Never opens an archive.
//!
//! An archive is closed after all archives that it is made of; archives of one rank are closed in
//! parallel. The result is not verified here: the digest of the finished layer does that.

use super::table::{PayloadTable, TargetArchive};
use imgdelta_core::{Context, Error, Result, parallel::Budget, sort::SharedSort};
use imgdelta_layer::archive::{InnerCoding, InnerCompression, InnerPayloads, close};
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

/// Closes the archives of all recipes.
pub(super) fn close_all(
    recipes: &BTreeMap<u32, Arc<PayloadTable>>,
    budget: &Budget,
    context: &Context,
) -> Result<()> {
    let mut ranks: BTreeMap<u32, Vec<(u64, &PayloadTable, &TargetArchive)>> = BTreeMap::new();
    for table in recipes.values() {
        for archive in &table.archives {
            let bytes = table.payloads[archive.payload].bytes;
            ranks.entry(archive.rank).or_default().push((bytes, &**table, archive));
        }
    }
    for mut tasks in ranks.into_values() {
        tasks.shared_sort_by_key(|(bytes, ..)| Reverse(*bytes));
        let progress = &*context.progress;
        context.workers.map(tasks, |(bytes, table, archive)| {
            let content = ArchiveContent { table, archive };
            let _share = budget.take(content.memory_bytes());
            let file = table.archive_file();
            let closed_bytes = close(archive.kind, &content, progress, &mut |at, piece| {
                if at.checked_add(piece.len() as u64).is_none_or(|end| end > bytes) {
                    let what = format!("it has more than {bytes} bytes");
                    return Err(Error::bad_input(content.place(), what));
                }
                file.write_all_at(piece, archive.offset + at).map_err(Error::io(SCRATCH))
            })?;
            if closed_bytes != bytes {
                let what = format!("it has {closed_bytes} bytes, should be {bytes}");
                return Err(Error::bad_input(content.place(), what));
            }
            progress.advance(bytes);
            Ok(())
        })?;
    }
    Ok(())
}

/// The inner payloads of an archive.
struct ArchiveContent<'a> {
    table: &'a PayloadTable,
    archive: &'a TargetArchive,
}

impl ArchiveContent<'_> {
    /// Returns the most memory that an encoder of the archive takes.
    fn memory_bytes(&self) -> u64 {
        let table = self.table;
        let of_payload = |payload: usize| {
            let coder = table.recipe.nested.coders[payload - table.outer].checked_sub(1)?;
            let bytes = table.payloads[payload].bytes;
            Some(table.compressions[coder as usize].memory_bytes(bytes))
        };
        self.archive.inner.clone().filter_map(of_payload).max().unwrap_or(0)
    }
}

impl InnerPayloads for ArchiveContent<'_> {
    fn count(&self) -> usize {
        self.archive.inner.len()
    }

    fn bytes(&self, inner: usize) -> u64 {
        self.table.payloads[self.archive.inner.start + inner].bytes
    }

    fn read_exact_at(&self, inner: usize, at: u64, buffer: &mut [u8]) -> Result<()> {
        let payload = self.table.payloads[self.archive.inner.start + inner];
        self.table.read_exact_at(payload.source, at, buffer)
    }

    fn coding(&self, inner: usize) -> InnerCoding<'_> {
        let table = self.table;
        let inner = self.archive.inner.start + inner - table.outer;
        match table.recipe.nested.coders[inner].checked_sub(1) {
            Some(coder) => match &table.compressions[coder as usize] {
                InnerCompression::Deflate(recipe) => InnerCoding::Deflate(recipe),
                InnerCompression::Xz(recipe) => InnerCoding::Xz(recipe),
                InnerCompression::Zstd(recipe) => InnerCoding::Zstd(recipe),
                InnerCompression::Lz4(encoder) => InnerCoding::Lz4(*encoder),
            },
            None => match table.stated[inner] {
                Some((crc, bytes)) => InnerCoding::Packed(crc, bytes),
                None => InnerCoding::Plain,
            },
        }
    }

    fn place(&self) -> String {
        format!("{}, archive in payload {}", self.table.place, self.archive.payload)
    }
}

const SCRATCH: &str = "scratch file of target archives";
