//! The methods of a session that use a delta: open, inspect, verify, apply.
//! Never makes a delta.

use super::Session;
use imgdelta_apply::{
    chain,
    delta::Delta,
    inspect::Inspection,
    rebuild::{self, ApplyReport, LayerForm},
    sink::{self, Sink},
};
use imgdelta_core::{Error, Result, scratch::Scratch};
use imgdelta_image::{Reference, image::Image, store::source::ReadAt};
use std::{
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

impl Session {
    /// Opens a delta file and compares its digests. A pipe is copied to a scratch file first.
    pub fn open_delta(&self, path: impl AsRef<Path>) -> Result<Delta> {
        let path = path.as_ref();
        let place = path.display();
        let mut file = File::open(path).map_err(Error::io(&place))?;
        let metadata = file.metadata().map_err(Error::io(&place))?;
        if metadata.is_dir() {
            return Err(Error::bad_input(place, "a directory, not a delta file"));
        }
        if metadata.is_file() {
            return self.open_delta_from(Arc::new(file), place);
        }
        self.read_delta(&mut file, place)
    }

    /// Opens a delta in memory or in a file of the caller. `place` names it in errors.
    pub fn open_delta_from(&self, source: Arc<dyn ReadAt>, place: impl Display) -> Result<Delta> {
        Delta::open(source, place, &self.context.limits).map_err(damaged)
    }

    /// Reads a delta from a stream, such as standard input, into a scratch file and opens it.
    pub fn read_delta(&self, reader: &mut dyn Read, place: impl Display) -> Result<Delta> {
        let scratch = &self.context.scratch;
        let file = scratch.file()?;
        // Spooling has a limit of its own.
        let reader = &mut CountedReader { reader, scratch };
        Delta::spool(reader, file, place, &self.context.limits).map_err(damaged)
    }

    /// Describes a delta: its target, its requirements, the cost of its parts.
    pub fn inspect(&self, delta: impl AsRef<Path>) -> Result<Inspection> {
        Inspection::of(self.open_delta(delta)?)
    }

    /// Makes the target of a delta at `destination`, from images that have the base layers.
    ///
    /// A blob becomes visible after its digest was compared, and the image last. An interrupted call
    /// can be repeated; it keeps the finished blobs.
    pub fn apply(
        &self,
        delta: impl AsRef<Path>,
        base: &[Reference],
        destination: &Reference,
    ) -> Result<ApplyReport> {
        let delta = self.open_delta(delta)?;
        let base = self.open_base(&delta, base)?;
        let sink = sink::create(destination, &self.context)?;
        self.apply_to(&delta, &base, sink, LayerForm::Exact)
    }

    /// Makes the target of an open delta in any sink.
    pub fn apply_to(
        &self,
        delta: &Delta,
        base: &[Image],
        sink: Box<dyn Sink>,
        layers: LayerForm,
    ) -> Result<ApplyReport> {
        rebuild::apply(delta, base, sink, layers, &self.context)
    }

    /// Makes the target of the last delta at `destination`: the target of each delta is the base of the
    /// next one.
    ///
    /// ```no_run
    /// # fn main() -> imgdelta::Result<()> {
    /// let session = imgdelta::Session::new("/var/tmp")?;
    /// let base = ["oci:node:1.0".parse()?];
    /// session.apply_chain(&["1.0-1.1.imgdelta", "1.1-1.2.imgdelta"], &base, &"oci:node:1.2".parse()?)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn apply_chain(
        &self,
        deltas: &[impl AsRef<Path>],
        base: &[Reference],
        destination: &Reference,
    ) -> Result<ApplyReport> {
        let deltas: Vec<Delta> =
            deltas.iter().map(|delta| self.open_delta(delta)).collect::<Result<_>>()?;
        let base = match deltas.first() {
            Some(first) => self.open_base(first, base)?,
            None => Vec::new(),
        };
        let sink = sink::create(destination, &self.context)?;
        self.apply_chain_to(&deltas, &base, sink, LayerForm::Exact)
    }

    /// Makes the target of the last of several open deltas in any sink.
    ///
    /// Images between the base and that target exist as temporary files only, uncompressed; see
    /// [`imgdelta_apply::chain`].
    pub fn apply_chain_to(
        &self,
        deltas: &[Delta],
        base: &[Image],
        sink: Box<dyn Sink>,
        layers: LayerForm,
    ) -> Result<ApplyReport> {
        chain::apply(deltas, base, sink, layers, &self.context)
    }

    /// Applies a delta without output, and compares all digests.
    pub fn verify(&self, delta: impl AsRef<Path>, base: &[Reference]) -> Result<ApplyReport> {
        let delta = self.open_delta(delta)?;
        let base = self.open_base(&delta, base)?;
        self.verify_delta(&delta, &base)
    }

    /// Applies an open delta without output, and compares all digests.
    pub fn verify_delta(&self, delta: &Delta, base: &[Image]) -> Result<ApplyReport> {
        rebuild::verify(delta, base, &self.context)
    }

    /// Applies several open deltas in sequence without output, and compares all digests.
    pub fn verify_chain(&self, deltas: &[Delta], base: &[Image]) -> Result<ApplyReport> {
        chain::verify(deltas, base, &self.context)
    }

    /// Opens base images for the delta's platform, or for another one if they lack it.
    pub fn open_base(&self, delta: &Delta, base: &[Reference]) -> Result<Vec<Image>> {
        let open = |reference: &Reference| {
            if self.platform.is_some() {
                return self.open(reference);
            }
            match self.open_for(reference, Some(delta.platform().clone())) {
                // An image for another platform is a base if it has the streams.
                Err(Error::NotFound { .. }) => self.open(reference),
                outcome => outcome,
            }
        };
        base.iter().map(open).collect()
    }
}

/// Turns a wrong digest into damaged input: for an image it means a bad copy, for a delta it does not.
fn damaged(error: Error) -> Error {
    match error {
        Error::Mismatch { place, .. } => {
            Error::bad_input(place, "damaged: its bytes do not have their digest")
        }
        error => error,
    }
}

/// A reader whose bytes raise the ceiling of the scratch file that they are copied to.
struct CountedReader<'a> {
    reader: &'a mut dyn Read,
    scratch: &'a Scratch,
}

impl Read for CountedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.scratch.raise(count as u64);
        Ok(count)
    }
}
