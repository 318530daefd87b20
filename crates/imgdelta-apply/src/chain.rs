//! A chain of deltas: the target of each is the base of the next.
//! Never shows an image between the base and the last target.
//!
//! Images on the way exist as uncompressed layers in temporary files. A layer is made only if a
//! later delta reads it and no base image has it, and is not compressed. Its digest is compared
//! before the next delta reads it. The files of an image go away when no later delta reads them.
//!
//! A chain costs the work of all its deltas, and the room of two images on the way at a time. The
//! result equals that of one delta from the first base to the last target.

mod keeper;

use crate::{
    delta::{Delta, DeltaWriter, Envelope, LayerBody, LayerOutline, Outline, StoredRecipe},
    rebuild::{self, ApplyReport, LayerForm, MANIFEST_TYPE, manifest_document, missing_streams},
    sink::{AcceptedForm, NullSink, Sink},
};
use imgdelta_core::{Algorithm, BlobDigest, Context, DiffId, Error, Result, verify::Hasher};
use imgdelta_image::{
    image::{Image, Layer},
    store::{
        Descriptor,
        source::{RangeReader, ReadAt},
    },
};
use keeper::{ImageDocument, LayerKeeper};
use serde_json::json;
use std::{collections::HashSet, io::BufWriter, sync::Arc};

/// Applies deltas in this order, and makes the target of the last one in a sink.
///
/// A layer that a delta needs must be in a base image, or in the target of an earlier delta. One
/// [`Error::BaseMissing`] names all layers that a delta lacks, before anything is made.
pub fn apply(
    deltas: &[Delta],
    base: &[Image],
    sink: Box<dyn Sink>,
    layers: LayerForm,
    context: &Context,
) -> Result<ApplyReport> {
    let Some((last, before)) = deltas.split_last() else {
        return Err(Error::bad_input("chain", "no delta; a chain has at least one"));
    };
    check_sources(deltas, base)?;
    let copies_blobs = layers == LayerForm::Exact && sink.accepts() != AcceptedForm::Streams;
    let copied = if copies_blobs { copied_blobs(last, base) } else { HashSet::new() };
    let mut images = base.to_vec();
    for (ordinal, delta) in before.iter().enumerate() {
        drop_unread(&mut images, base.len(), &deltas[ordinal..]);
        images.extend(make_read_layers(delta, &deltas[ordinal + 1..], &copied, &images, context)?);
    }
    drop_unread(&mut images, base.len(), std::slice::from_ref(last));
    rebuild::apply(last, &images, sink, layers, context)
}

/// Applies deltas as [`apply`] does, without output, which shows that they and the base are intact.
pub fn verify(deltas: &[Delta], base: &[Image], context: &Context) -> Result<ApplyReport> {
    let report = apply(deltas, base, Box::new(NullSink), LayerForm::Exact, context)?;
    Ok(ApplyReport { place: None, ..report })
}

/// A recipe of a layer in a file of its own, whose digest the caller has compared.
#[derive(Clone, Debug)]
pub struct LayerRecipe {
    /// The stream that it should make.
    pub target: DiffId,
    /// The recipe.
    pub source: Arc<dyn ReadAt>,
}

/// Makes streams from recipes in temporary files, and returns an image that holds them.
///
/// Every stream that a recipe reads must be in `base`. The digest of each stream is compared.
/// `place` names the recipes in errors.
pub fn make_streams(
    recipes: &[LayerRecipe],
    base: &[Image],
    place: &str,
    context: &Context,
) -> Result<Image> {
    let mut names = Vec::new();
    for recipe in recipes {
        let stored = StoredRecipe::alone(&recipe.source, place, &context.limits)?;
        if stored.target.diff_id != recipe.target {
            let (found, expected) = (stored.target.diff_id, recipe.target);
            let what = format!("it makes the stream {found}, should be {expected}");
            return Err(Error::bad_input(format!("recipe {place}"), what));
        }
        names.push(stored.target);
    }
    let layers = names.iter().map(|name| Descriptor::of_stream(&name.diff_id, name.bytes));
    let layers: Vec<Descriptor> = layers.collect();
    let diff_ids: Vec<DiffId> = names.iter().map(|name| name.diff_id).collect();
    let (manifest, config) = documents(&layers, &diff_ids);
    let outlines = names.iter().zip(0..).map(|(name, ordinal)| LayerOutline {
        stream_bytes: name.bytes,
        body: LayerBody::Recipe(ordinal),
        envelope: Envelope::Stored,
        archive_milliseconds: 0,
    });
    let outline = Outline {
        algorithm: Algorithm::Sha256,
        media_type: MANIFEST_TYPE.to_owned(),
        manifest,
        config,
        platform: String::new(),
        base: None,
        layers: outlines.collect(),
    };
    let mut writer = DeltaWriter::new(BufWriter::new(context.scratch.file()?), &outline)?;
    for recipe in recipes {
        let bytes = recipe.source.size_bytes().map_err(Error::io(place))?;
        context.scratch.raise(bytes);
        let mut reader = RangeReader::new(Arc::clone(&recipe.source), 0, bytes);
        writer.stored_recipe(bytes, &mut reader)?;
    }
    let (out, _) = writer.finish()?;
    let file = out.into_inner().map_err(|error| Error::io(place)(error.into_error()))?;
    let delta = Delta::open(Arc::new(file), place, &context.limits)?;
    let wanted = layers.iter().map(|layer| layer.digest).collect();
    let keeper = LayerKeeper::new(AcceptedForm::Streams, wanted, &context.scratch);
    let kept = keeper.clone();
    rebuild::apply(&delta, base, Box::new(keeper), LayerForm::Exact, context)?;
    kept.image(&ImageDocument::of(&delta), context)
}

/// Returns an error if a delta reads a stream that neither the base nor an earlier target has.
fn check_sources(deltas: &[Delta], base: &[Image]) -> Result<()> {
    let mut streams = streams_of(base);
    for delta in deltas {
        let missing = missing_streams(delta, &streams)?;
        if !missing.is_empty() {
            return Err(Error::BaseMissing { place: delta.place().to_owned(), missing });
        }
        streams.extend(delta.layers().iter().map(|layer| layer.stream.diff_id));
    }
    Ok(())
}

/// Returns the blobs that a delta copies from its base, and no base image has.
fn copied_blobs(delta: &Delta, base: &[Image]) -> HashSet<BlobDigest> {
    let layers = base.iter().flat_map(|image| &image.layers);
    let blobs = layers.filter(|layer| layer.has_blob()).map(|layer| layer.descriptor.digest);
    let there: HashSet<BlobDigest> = blobs.collect();
    let copied = delta.layers().iter().filter(|layer| {
        layer.body == LayerBody::Kept
            && !layer.envelope.makes_blob()
            && !there.contains(&layer.blob)
    });
    copied.map(|layer| layer.blob).collect()
}

/// Drops images on the way, which follow the base images, that none of these deltas reads.
fn drop_unread(images: &mut Vec<Image>, base_count: usize, deltas: &[Delta]) {
    let read = read_streams(deltas);
    let mut ordinal = 0;
    images.retain(|image| {
        ordinal += 1;
        let is_read = |layer: &Layer| layer.has_blob() || read.contains(&layer.diff_id);
        ordinal <= base_count || image.layers.iter().any(is_read)
    });
}

/// Makes the layers of a delta's target that later deltas read and no image has: streams, and the
/// blobs that are copied into the last target. Returns images that hold them.
fn make_read_layers(
    delta: &Delta,
    later: &[Delta],
    copied: &HashSet<BlobDigest>,
    images: &[Image],
    context: &Context,
) -> Result<Vec<Image>> {
    let (read, there) = (read_streams(later), streams_of(images));
    let is_wanted = |diff_id: &DiffId| read.contains(diff_id) && !there.contains(diff_id);
    let streams = delta.layers().iter().map(|layer| layer.stream);
    let streams = streams.filter(|stream| is_wanted(&stream.diff_id));
    let streams: HashSet<BlobDigest> =
        streams.map(|stream| Descriptor::of_stream(&stream.diff_id, stream.bytes).digest).collect();
    // A blob that this delta only copies is in the base, or an earlier delta has made it.
    let blobs = delta.layers().iter().filter(|layer| {
        copied.contains(&layer.blob)
            && (layer.envelope.makes_blob() || matches!(layer.body, LayerBody::Carried(_)))
    });
    let blobs: HashSet<BlobDigest> = blobs.map(|layer| layer.blob).collect();
    let mut made = Vec::new();
    for (accepted, wanted) in [(AcceptedForm::Streams, streams), (AcceptedForm::Either, blobs)] {
        if wanted.is_empty() {
            continue;
        }
        let keeper = LayerKeeper::new(accepted, wanted, &context.scratch);
        let kept = keeper.clone();
        rebuild::apply(delta, images, Box::new(keeper), LayerForm::Exact, context)?;
        made.push(kept.image(&ImageDocument::of(delta), context)?);
    }
    Ok(made)
}

/// Returns the streams that deltas read from their bases.
fn read_streams(deltas: &[Delta]) -> HashSet<DiffId> {
    let streams = deltas.iter().flat_map(|delta| &delta.base().streams);
    streams.map(|stream| stream.diff_id).collect()
}

fn streams_of(images: &[Image]) -> HashSet<DiffId> {
    images.iter().flat_map(|image| &image.layers).map(|layer| layer.diff_id).collect()
}

/// Returns the manifest and the config of an image with these layers, which no registry has.
fn documents(layers: &[Descriptor], diff_ids: &[DiffId]) -> (Vec<u8>, Vec<u8>) {
    let diff_ids: Vec<String> = diff_ids.iter().map(DiffId::to_string).collect();
    let config =
        json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).to_string().into_bytes();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&config);
    let manifest = manifest_document((hasher.finish_blob(), config.len()), layers);
    (manifest.to_string().into_bytes(), config)
}
