//! The base's archives opened: those that the target has not as they are.

use super::{
    Key, Look, Parts, Stored,
    parts::{Candidate, Gathering, Keeper, Kept, keep, stored_key},
};
use imgdelta_core::Result;
use imgdelta_format::recipe::StreamName;
use imgdelta_image::volume::{AddressSpace, SpillFile};
use imgdelta_layer::archive::{ArchiveKind, PartCompression};
use std::{collections::HashSet, ops::Range};

/// An archive of the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseArchive {
    pub(crate) at: At,
    pub(crate) kind: ArchiveKind,
    /// How long it is as it lies there.
    pub(crate) bytes: u64,
    /// Where its parts lie among all.
    pub(crate) plain: Range<u64>,
    /// Which of the parts are its.
    pub(crate) parts: Range<u32>,
}

/// Where an archive begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// In the stream of a layer.
    Layer(u32, u64),
    /// In a part of another archive, at its beginning.
    Part(u32),
}

pub(super) struct OpenedBase {
    pub(super) archives: Vec<BaseArchive>,
    pub(super) parts: Parts,
    pub(super) stored: Stored,
    pub(super) contents: HashSet<Key>,
}

/// What is known of a part: its content, and what it is known by as it is stored.
struct Found {
    kept: Kept,
    stored: Option<Key>,
}

impl Look<'_> {
    pub(super) fn open_base(&self) -> Result<Option<OpenedBase>> {
        let mut gathering = Gathering::new();
        let mut archives = Vec::new();
        let (mut stored, mut contents) = (Stored::new(), HashSet::new());
        let mut candidates = self.dropped()?;
        for depth in 1..=self.options.depth {
            if candidates.is_empty() || gathering.bytes() > MOST_BYTES {
                break;
            }
            let spill = SpillFile::new(self.scratch)?;
            let level = self.open_level(
                &candidates,
                || (),
                |(), candidate, part| {
                    let slice = candidate.slice();
                    let Some(kept) = keep(part, &slice, &spill, self.progress)? else {
                        return Ok(None);
                    };
                    let stored = match part.compression {
                        PartCompression::Deflate { .. } => {
                            Some(stored_key(part, &slice, self.progress)?)
                        }
                        PartCompression::Plain | PartCompression::Gzip => None,
                    };
                    Ok(Some(Found { kept, stored }))
                },
            )?;
            let mut nested = Vec::new();
            for (candidate, opening) in candidates.iter().zip(level.openings) {
                let Some((opening, found)) = opening else { continue };
                let (first, start) = (gathering.count(), gathering.bytes());
                for (part, found) in opening.parts.iter().zip(&found) {
                    let number = gathering.count();
                    gathering.push(&candidate.path, &part.name, &found.kept);
                    contents.insert(found.kept.key());
                    if let Some(key) = found.stored {
                        stored.entry(key).or_insert(number);
                    }
                    if let Some(kind) = found.kept.kind {
                        nested.push((number, kind));
                    }
                }
                if !opening.structure.is_empty() {
                    let mut keeper = Keeper::new(&spill);
                    keeper.push(&opening.structure)?;
                    gathering.push(&candidate.path, b"", &keeper.finish()?);
                }
                archives.push(BaseArchive {
                    at: candidate.owner,
                    kind: candidate.kind,
                    bytes: candidate.range.end - candidate.range.start,
                    plain: start..gathering.bytes(),
                    parts: first..gathering.count(),
                });
            }
            gathering.end_level(spill)?;
            let deeper = nested.into_iter().filter(|_| depth < self.options.depth);
            candidates = deeper
                .map(|(part, kind)| Candidate {
                    owner: At::Part(part),
                    kind,
                    path: gathering.path(part).clone(),
                    space: gathering.space().clone(),
                    range: gathering.range(part),
                })
                .collect();
        }
        let parts = gathering.finish();
        Ok(parts.map(|parts| OpenedBase { archives, parts, stored, contents }))
    }

    /// The archives that the target has not kept, each content once.
    fn dropped(&self) -> Result<Vec<Candidate<At>>> {
        let mut kept: HashSet<Key> = super::keys(&self.target.layers).collect();
        let mut candidates = Vec::new();
        for (layer, index) in (0..).zip(&self.base.layers) {
            let name = StreamName { diff_id: index.diff_id, bytes: index.stream_bytes };
            let space = match self.volume.stream(&index.diff_id) {
                Some(_) => AddressSpace::new(self.volume, &[name])?,
                None => continue,
            };
            for entry in &index.entries {
                let Some(key) = super::key(entry) else { continue };
                if kept.insert(key)
                    && let Some(kind) = self.recognise(index, entry)?
                {
                    candidates.push(Candidate {
                        owner: At::Layer(layer, entry.payload.start),
                        kind,
                        path: entry.path.clone(),
                        space: space.clone(),
                        range: entry.payload.clone(),
                    });
                }
            }
        }
        Ok(candidates)
    }
}

/// Inflated, of all archives together; what lies beyond is not looked into.
const MOST_BYTES: u64 = 8 << 30;
