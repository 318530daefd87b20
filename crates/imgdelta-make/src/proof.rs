//! A delta that was proved by applying it.
//! Never shows an incomplete file.
//!
//! A [`ProvedDelta`] is in a scratch file without a name. [`ProvedDelta::save`] renames a complete,
//! synced file into place.

use crate::draft::Draft;
use imgdelta_apply::{delta::Delta, rebuild};
use imgdelta_core::{
    Algorithm, BlobDigest, Context, Error, Result,
    destination::{OutputTarget, open_stream, unfinished_for},
    scratch::{Scratch, ScratchFile},
    unfinished::UnfinishedKind,
    verify::Hasher,
};
use imgdelta_image::store::source::ReadAt;
use std::{
    io::{BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

impl Draft {
    /// Applies the delta to the base, compares every byte with the target, and returns the delta
    /// ready to be saved.
    ///
    /// Fails without a result if a plain pull is not larger than the delta.
    pub fn prove(self) -> Result<ProvedDelta> {
        let unsaved = UnsavedDelta::write(&self)?;
        let envelopes = self.reused_envelopes();
        rebuild::prove(&unsaved.delta, &self.plan.volume, &envelopes, &self.plan.context)?;
        // A blob that changed after it was hashed is proved with bytes that the image does not have.
        self.plan.volume.check_unchanged()?;
        Ok(ProvedDelta(unsaved))
    }

    /// Saves the delta without proving it. Skips the check that finds faults of this program, of the
    /// disk and of the memory; use [`Draft::prove`] unless the caller verifies the file itself.
    pub fn save_unproved(self, path: impl AsRef<Path>) -> Result<SavedDelta> {
        UnsavedDelta::write(&self)?.save(path.as_ref())
    }

    /// Writes the delta to `out` without proving it; see [`Draft::save_unproved`].
    pub fn write_unproved(self, out: &mut dyn Write) -> Result<u64> {
        UnsavedDelta::write(&self)?.copy_to(out, "output").map(|(bytes, _)| bytes)
    }
}

/// A delta that makes the target byte for byte from the base it was made for.
#[derive(Debug)]
pub struct ProvedDelta(UnsavedDelta);

impl ProvedDelta {
    /// Returns the delta, to be inspected or pushed.
    pub fn delta(&self) -> &Delta {
        &self.0.delta
    }

    /// Returns the bytes of the delta file.
    pub fn source(&self) -> Arc<dyn ReadAt> {
        self.0.delta.source()
    }

    /// Saves the delta at `path`, atomically: the file appears complete and synced, or not at all.
    ///
    /// Replaces a file that is there, and follows a symbolic link to the file that it names. Writes
    /// into a pipe or a character device. Refuses directories, sockets and block devices.
    pub fn save(self, path: impl AsRef<Path>) -> Result<SavedDelta> {
        self.0.save(path.as_ref())
    }

    /// Writes the delta to `out` and returns its length.
    pub fn write_to(self, out: &mut dyn Write) -> Result<u64> {
        self.0.copy_to(out, "output").map(|(bytes, _)| bytes)
    }
}

/// A delta file that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedDelta {
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Digest of its bytes.
    pub digest: BlobDigest,
    /// Digest of the manifest that the delta makes.
    pub target: BlobDigest,
}

/// Checks that a delta can be saved at `path`, before the work of making it: the directory is there
/// and writable, and `path` is not a directory, socket or block device. Removes unfinished deltas of
/// earlier runs from the directory.
pub fn check_destination(path: &Path) -> Result<()> {
    OutputTarget::of(path)?.check(UnfinishedKind::Delta)
}

/// A delta file without a name.
#[derive(Debug)]
struct UnsavedDelta {
    file: ScratchFile,
    delta: Delta,
}

impl UnsavedDelta {
    fn write(draft: &Draft) -> Result<Self> {
        let Context { scratch, limits, .. } = &draft.plan.context;
        let file = write_to_scratch(draft, scratch)?;
        let source = file.try_clone().map_err(Error::io(scratch.place()))?;
        let place = format!("to {}", draft.plan.target.image.name);
        let delta = Delta::open(Arc::new(source), place, limits)?;
        Ok(Self { file, delta })
    }

    fn save(self, path: &Path) -> Result<SavedDelta> {
        let target = self.delta.digest();
        let place = path.display().to_string();
        let (bytes, digest) = match OutputTarget::of(path)? {
            OutputTarget::Stream(stream) => self.copy_to(&mut open_stream(&stream)?, &place)?,
            OutputTarget::Name(name) => {
                let unfinished = unfinished_for(&name, UnfinishedKind::Delta)?;
                let copied = self.copy_to(&mut unfinished.file(), &place)?;
                unfinished.publish(&name)?;
                copied
            }
        };
        Ok(SavedDelta { path: path.to_owned(), bytes, digest, target })
    }

    /// Copies the file and returns its length and digest.
    fn copy_to(mut self, out: &mut dyn Write, place: &str) -> Result<(u64, BlobDigest)> {
        self.file.rewind().map_err(Error::io("scratch file"))?;
        let mut buffer = vec![0; COPY_BYTES];
        let (mut bytes, mut hasher) = (0, Hasher::new(Algorithm::Sha256));
        loop {
            let count = self.file.read(&mut buffer).map_err(Error::io("scratch file"))?;
            if count == 0 {
                out.flush().map_err(Error::io(place))?;
                return Ok((bytes, hasher.finish_blob()));
            }
            hasher.update(&buffer[..count]);
            out.write_all(&buffer[..count]).map_err(Error::io(place))?;
            bytes += count as u64;
        }
    }
}

fn write_to_scratch(draft: &Draft, scratch: &Scratch) -> Result<ScratchFile> {
    let mut out = BufWriter::new(scratch.file()?);
    draft.write(&mut out)?;
    out.into_inner().map_err(|error| Error::io(scratch.place())(error.into_error()))
}

const COPY_BYTES: usize = 256 << 10;
