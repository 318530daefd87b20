//! The bytes of a file in a surveyed image, read from the streams of its layers.
//! Never compares.

use imgdelta_core::{DiffId, Result, path::LayerPath};
use imgdelta_format::recipe::StreamName;
use imgdelta_image::{
    index::EntryKind,
    survey::Survey,
    volume::{AddressSpace, Volume},
};
use std::ops::Range;

/// The content of a file: a range of a layer's stream, or the target of a symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileContent {
    /// Bytes of a stream.
    Stored { stream: StreamName, range: Range<u64> },
    /// The file is stored sparse: its bytes in the stream are not its content.
    Sparse,
    /// Target of a symbolic link.
    Link(Vec<u8>),
}

impl FileContent {
    /// Finds the content at a path; `None` if nothing with content is there.
    pub(crate) fn of(survey: &Survey, path: &LayerPath) -> Option<Self> {
        let place = survey.rootfs.find(path)?.content?;
        let entry = survey.entry(place)?;
        let index = survey.layers.get(place.0 as usize)?;
        match entry.kind {
            EntryKind::Symlink => Some(Self::Link(entry.link?.to_vec())),
            EntryKind::File if entry.is_sparse => Some(Self::Sparse),
            EntryKind::File => {
                let stream = StreamName { diff_id: index.diff_id, bytes: index.stream_bytes };
                Some(Self::Stored { stream, range: entry.payload })
            }
            _ => None,
        }
    }

    /// Returns the stream that has the bytes.
    pub(crate) fn stream(&self) -> Option<DiffId> {
        match self {
            Self::Stored { stream, .. } => Some(stream.diff_id),
            _ => None,
        }
    }
}

/// The streams of both images, in one or two volumes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamSet<'a>(pub(crate) &'a [&'a Volume]);

impl StreamSet<'_> {
    /// True if a volume has the stream.
    pub(crate) fn has(&self, diff_id: &DiffId) -> bool {
        self.0.iter().any(|volume| volume.stream(diff_id).is_some())
    }

    /// Returns the address space of one stream.
    pub(crate) fn space(&self, name: StreamName) -> Result<AddressSpace> {
        let holder = self.0.iter().find(|volume| volume.stream(&name.diff_id).is_some());
        let holder = holder.or(self.0.first()).copied();
        AddressSpace::new(holder.unwrap_or(&Volume::default()), &[name])
    }
}
