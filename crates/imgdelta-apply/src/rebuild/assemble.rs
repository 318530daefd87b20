//! One layer, made from its recipe, from the base, or from a blob that the delta carries.
//! Never verifies: `output` and the blob's own check do that.

use super::{
    LoadedRecipes, bill,
    carried::{self, CancelOnly},
    output::{BUFFER_BYTES, ByteSink, LayerOutput},
    plan::{BlobJob, OutputEncoding},
    table::PayloadTable,
};
use crate::{
    delta::{Delta, LayerBody},
    sink::{BlobWriter, Sink},
};
use imgdelta_core::{
    Error, Limits, MissingLayer, Note, Result, parallel::Workers, progress::Progress,
    verify::BlobCheck, work::WorkMeter,
};
use imgdelta_deflate::DividedRecipe;
use imgdelta_image::{
    envelope::StreamCheck,
    image::{Image, Layer},
    volume::layers_of,
};
use imgdelta_layer::{
    chunked::{ChunkedRecipe, ChunkedRemaker},
    headers::HeaderReader,
    remake::{DeflateRemaker, Remake, ZstdRemaker},
};
use std::{
    io::{ErrorKind, Read},
    sync::Arc,
};

/// The inputs and tools for making layers.
pub(super) struct LayerMaker<'a> {
    pub delta: &'a Delta,
    pub base: &'a [Image],
    pub recipes: &'a LoadedRecipes<'a>,
    pub limits: &'a Limits,
    pub workers: &'a Workers,
    pub meter: &'a WorkMeter,
    pub progress: &'a dyn Progress,
}

impl LayerMaker<'_> {
    /// Makes one blob in the sink.
    pub(super) fn make(&self, job: &BlobJob, sink: &dyn Sink, notes: &mut Vec<Note>) -> Result<()> {
        if job.is_in_base {
            if let Some(blob) = self.open_in_base(job)? {
                return self.copy(job, blob, sink.blob(&job.output)?);
            }
            // The plan counted on a copy.
            bill::charge_compression_of(self.delta, job, self.meter)?;
        }
        let writer = sink.blob(&job.output)?;
        match (job.body, &job.encoding) {
            (LayerBody::Kept, OutputEncoding::Copied) => {
                let (digest, layers) = (job.output.digest, vec![job.ordinal + 1]);
                Err(self.missing(MissingLayer::Blob { digest, layers }))
            }
            (LayerBody::Carried(ordinal), OutputEncoding::Copied) => {
                self.read_carried(job, ordinal, &mut |_| Ok(()))?;
                self.copy(job, self.delta.carried(ordinal)?, writer)
            }
            (LayerBody::Recipe(_), OutputEncoding::Copied) => {
                unreachable!("a recipe makes streams")
            }
            _ => self.make_from_stream(job, writer, notes),
        }
    }

    fn make_from_stream(
        &self,
        job: &BlobJob,
        writer: Box<dyn BlobWriter + '_>,
        notes: &mut Vec<Note>,
    ) -> Result<()> {
        let (recipe, zstd, chunked);
        let remake: Option<Box<dyn Remake + '_>> = match &job.encoding {
            OutputEncoding::Deflate(bytes) => {
                let limits = imgdelta_deflate::RecipeLimits::default();
                let read = DividedRecipe::from_bytes(bytes, limits).map_err(|error| {
                    let place = format!("{}, layer {}", self.delta.place(), job.ordinal + 1);
                    Error::bad_input_because(place, "its compression cannot be remade", error)
                })?;
                recipe = Arc::new(read);
                Some(Box::new(DeflateRemaker::new(&recipe, self.workers)))
            }
            OutputEncoding::Zstd(bytes) => {
                let limits = imgdelta_zstd::RecipeLimits::default();
                zstd = imgdelta_zstd::Recipe::from_bytes(bytes, limits).map_err(|error| {
                    let place = format!("{}, layer {}", self.delta.place(), job.ordinal + 1);
                    Error::bad_input_because(place, "its compression cannot be remade", error)
                })?;
                Some(Box::new(ZstdRemaker::new(&zstd)))
            }
            OutputEncoding::Chunked(bytes) => {
                chunked = ChunkedRecipe::from_bytes(bytes).map_err(|error| {
                    let place = format!("{}, layer {}", self.delta.place(), job.ordinal + 1);
                    Error::bad_input_because(place, "its compression cannot be remade", error)
                })?;
                Some(Box::new(ChunkedRemaker::new(&chunked, self.limits)))
            }
            OutputEncoding::None | OutputEncoding::Copied => None,
        };
        let mut output = LayerOutput::new(job, remake, writer, self.progress);
        match job.body {
            LayerBody::Recipe(ordinal) => {
                let table = self.recipes.tables.get(&ordinal);
                let table = table.expect("loaded for this job");
                assemble(table, self.limits, &mut output)?;
            }
            LayerBody::Kept => match self.recipes.volume.stream(&job.stream.diff_id) {
                Some(stream) => {
                    output
                        .fill(stream.bytes(), &mut |at, piece| stream.read_exact_at(at, piece))?;
                }
                None => self.inflate_from_base(job, &mut output, notes)?,
            },
            LayerBody::Carried(ordinal) => {
                self.read_carried(job, ordinal, &mut |piece| output.push(piece))?;
            }
        }
        output.finish()
    }

    fn inflate_from_base(
        &self,
        job: &BlobJob,
        output: &mut LayerOutput<'_>,
        notes: &mut Vec<Note>,
    ) -> Result<()> {
        let images: Vec<&Image> = self.base.iter().collect();
        let candidates = layers_of(&images, &job.stream.diff_id);
        // The output counts the bytes.
        let progress = CancelOnly(self.progress);
        for (image, layer) in candidates {
            // The digest of the result is compared, so the stream's is not.
            let digest = StreamCheck::Assume(layer.diff_id);
            let mut push = |piece: &[u8]| output.push(piece);
            match image.read_layer_as(digest, layer, notes, &progress, &mut push) {
                // It fails so before the first piece; another image may have the layer.
                Err(Error::NotFound { .. }) => {}
                outcome => return outcome.map(drop),
            }
        }
        let (diff_id, layers) = (job.stream.diff_id, vec![job.ordinal + 1]);
        Err(self.missing(MissingLayer::Stream { diff_id, layers }))
    }

    /// Opens the blob in the first base image that has it.
    fn open_in_base(&self, job: &BlobJob) -> Result<Option<Box<dyn Read + Send>>> {
        let layers =
            self.base.iter().flat_map(|image| image.layers.iter().map(move |l| (image, l)));
        let has_blob =
            |layer: &Layer| layer.has_blob() && layer.descriptor.digest == job.output.digest;
        for (image, layer) in layers.filter(|(_, layer)| has_blob(layer)) {
            match image.store().open(&layer.descriptor) {
                // A non-distributable layer is often absent; another image may have it.
                Err(Error::NotFound { .. }) => {}
                opened => return opened.map(Some),
            }
        }
        Ok(None)
    }

    /// Copies a blob and verifies its digest.
    fn copy(
        &self,
        job: &BlobJob,
        mut blob: Box<dyn Read + Send>,
        mut writer: Box<dyn BlobWriter + '_>,
    ) -> Result<()> {
        let mut check = BlobCheck::new(job.output.digest, job.output.size_bytes);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            self.progress.check()?;
            let count = match blob.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                outcome => outcome.map_err(Error::io(check.place()))?,
            };
            if count == 0 {
                break;
            }
            check.update(&buffer[..count])?;
            writer.write(&buffer[..count])?;
        }
        self.progress.advance(job.stream.bytes);
        writer.finish(check.finish()?)
    }

    /// Reads a carried blob to its end, and verifies the digests of blob and stream.
    fn read_carried(
        &self,
        job: &BlobJob,
        ordinal: u32,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let head = &self.delta.layers()[job.ordinal];
        carried::read(self.delta, (ordinal, head), self.limits, self.progress, each)
    }

    fn missing(&self, layer: MissingLayer) -> Error {
        Error::BaseMissing { place: self.delta.place().to_owned(), missing: vec![layer] }
    }
}

/// Writes a stream in order: frames from the header columns, payloads from their sources.
pub(super) fn assemble(
    table: &PayloadTable,
    limits: &Limits,
    output: &mut dyn ByteSink,
) -> Result<()> {
    let PayloadTable { recipe, space, payloads, outer, .. } = table;
    let mut reader = HeaderReader::open(&recipe.headers, limits)?.metered(&table.charged);
    let mut base = |address, buffer: &mut [u8]| space.read_exact_at(address, buffer);
    let (mut frame, mut expected) = (Vec::new(), payloads[..*outer].iter());
    loop {
        let next = reader.next(&mut base, &mut frame)?;
        output.push(&frame)?;
        let Some(payload) = next else { return Ok(()) };
        if payload.bytes == 0 {
            continue;
        }
        let known = expected.next().filter(|known| known.bytes == payload.bytes);
        let known =
            known.ok_or_else(|| table.invalid("its headers gave other lengths when read again"))?;
        output.fill(known.bytes, &mut |at, piece| table.read_exact_at(known.source, at, piece))?;
    }
}
