//! A delta file from the parts in a registry.
//!
//! Every part is compared with its digest, and the whole file like any delta.

use crate::{ImageDeltas, ListedDelta};
use imgdelta::Session;
use imgdelta_apply::delta::{Delta, SectionKind};
use imgdelta_core::{
    Error, Result,
    destination::{OutputTarget, open_stream, unfinished_for},
    progress::Stage,
    unfinished::UnfinishedKind,
};
use imgdelta_image::store::source::{RangeReader, ReadAt};
use imgdelta_registry::recipes;
use std::{
    io::{self, BufWriter, Read, Write},
    path::Path,
    sync::Arc,
};

impl ImageDeltas {
    /// Downloads a delta to a temporary file. Blocks.
    pub fn fetch(&self, delta: &ListedDelta, session: &Session) -> Result<Delta> {
        let context = session.context();
        context.progress.begin(Stage::Fetching, delta.bytes);
        let artifact = Arc::new(delta.artifact.clone());
        let (of, wanted) = (self.repository.clone(), Arc::clone(&artifact));
        let front = self.registries.wait(async move { recipes::front(&of, &wanted).await })?;
        let mut part = |kind, ordinal: usize| {
            let blob = match kind {
                SectionKind::Recipe => artifact.recipes.get(ordinal).map(|recipe| &recipe.blob),
                _ => artifact.carried.get(ordinal),
            };
            let blob = blob.cloned().ok_or_else(|| {
                let what = "its front has more parts than its manifest";
                Error::bad_input(recipes::place(&self.repository, &artifact), what)
            })?;
            let (of, scratch) = (self.repository.clone(), context.scratch.clone());
            let progress = Arc::clone(&context.progress);
            let bytes = blob.size_bytes;
            let fetched = async move { recipes::fetch(&of, &blob, &scratch, &*progress).await };
            let file = self.registries.wait(fetched)?;
            Ok(Box::new(RangeReader::new(file, 0, bytes)) as Box<dyn Read>)
        };
        context.scratch.raise(delta.bytes);
        let mut file = BufWriter::new(context.scratch.file()?);
        front.join(&mut part, &mut file)?;
        let place = context.scratch.place();
        let file = file.into_inner().map_err(|error| Error::io(&place)(error.into_error()))?;
        let place = recipes::place(&self.repository, &artifact);
        let opened = session.open_delta_from(Arc::new(file), &place)?;
        if opened.digest() != self.image.digest {
            return Err(Error::bad_input(place, "it makes another image than its subject"));
        }
        Ok(opened)
    }
}

/// Saves a delta file at a path: complete, or not at all.
pub fn save(delta: &Delta, path: &Path) -> Result<()> {
    let copy = |out: &mut dyn Write| {
        let source: Arc<dyn ReadAt> = delta.source();
        let mut reader = RangeReader::new(source, 0, delta.size_bytes());
        io::copy(&mut reader, out).and_then(|_| out.flush()).map_err(Error::io(path.display()))
    };
    match OutputTarget::of(path)? {
        OutputTarget::Stream(stream) => copy(&mut open_stream(&stream)?),
        OutputTarget::Name(name) => {
            let unfinished = unfinished_for(&name, UnfinishedKind::Delta)?;
            copy(&mut unfinished.file())?;
            unfinished.publish(&name)
        }
    }
}
