//! What applying a delta will do, layer by layer, and all that can be refused before doing it.
//!
//! Reads the delta's outline and the base's manifests, no layer and no recipe unless something is
//! missing.

use super::{Applied, AppliedLayer, Came, LayerForm};
use crate::{
    delta::{Delta, Envelope, LayerBody, LayerHead, StreamName},
    sink::{Outgoing, Wants},
};
use imgdelta_core::{BlobDigest, Error, MissingLayer, Result, verify::Hasher};
use imgdelta_image::{image::Image, store::Descriptor};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};

#[derive(Debug)]
pub(super) struct Plan {
    pub outgoing: Outgoing,
    /// One for each blob to be written.
    pub jobs: Vec<Job>,
    /// Of each layer, which job makes it.
    by_layer: Vec<usize>,
}

/// A blob to be written.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The first layer that names it.
    pub ordinal: usize,
    pub stream: StreamName,
    pub body: LayerBody,
    /// How the stream becomes what is written.
    pub wrapping: Wrapping,
    pub output: Descriptor,
    pub is_exact: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrapping {
    /// The stream is written.
    None,
    /// A recipe of imgdelta-deflate makes the blob.
    Deflate(Vec<u8>),
    /// A recipe of imgdelta-zstd makes the blob.
    Zstd(Vec<u8>),
    /// A recipe of a zstd:chunked layer makes the blob.
    Chunked(Vec<u8>),
    /// The blob is copied from where the body lies, base or delta.
    Copied,
}

impl Job {
    pub(super) fn recipe(&self) -> Option<u32> {
        if let LayerBody::Recipe(ordinal) = self.body { Some(ordinal) } else { None }
    }

    /// Returns a job for each layer whose blob the delta makes.
    pub(super) fn exact(delta: &Delta) -> Vec<Self> {
        let layers = delta.layers().iter().enumerate();
        layers
            .filter_map(|(ordinal, layer)| Self::of(ordinal, layer, Wants::Blobs, LayerForm::Exact))
            .collect()
    }

    fn of(ordinal: usize, layer: &LayerHead, wants: Wants, layers: LayerForm) -> Option<Self> {
        let wants_streams = wants == Wants::Streams || layers == LayerForm::Uncompressed;
        let exact = match (&layer.body, &layer.envelope) {
            (LayerBody::Carried(_), _) | (LayerBody::Kept, Envelope::Base) => {
                Some(Wrapping::Copied)
            }
            (_, Envelope::Stored) => Some(Wrapping::None),
            (_, Envelope::Deflate(recipe)) => Some(Wrapping::Deflate(recipe.clone())),
            (_, Envelope::Zstd(recipe)) => Some(Wrapping::Zstd(recipe.clone())),
            (_, Envelope::Chunked(recipe)) => Some(Wrapping::Chunked(recipe.clone())),
            // A recipe makes a stream; where the base has the blob, nothing needs a recipe.
            (_, Envelope::Unmade | Envelope::Base) => None,
        };
        let wrapping = match exact {
            Some(wrapping) if !wants_streams => Some(wrapping),
            None if wants == Wants::Blobs && !wants_streams => return None,
            _ => None,
        };
        let mut job = Self {
            ordinal,
            stream: layer.stream,
            body: layer.body,
            is_exact: wrapping.is_some(),
            wrapping: wrapping.unwrap_or(Wrapping::None),
            output: Descriptor::new(Some(&layer.media_type), layer.blob, layer.blob_bytes),
        };
        if !job.is_exact {
            let digest = blob_of(layer.stream);
            job.is_exact = digest == layer.blob;
            job.output = Descriptor::new(Some(STREAM_TYPE), digest, layer.stream.bytes);
        }
        Some(job)
    }
}

impl Plan {
    pub(super) fn make(
        delta: &Delta,
        base: &[Image],
        wants: Wants,
        form: LayerForm,
    ) -> Result<Self> {
        let (mut jobs, mut by_layer) = (Vec::<Job>::new(), Vec::new());
        let mut unmade = Vec::new();
        for (ordinal, layer) in delta.layers().iter().enumerate() {
            let Some(job) = Job::of(ordinal, layer, wants, form) else {
                unmade.push((ordinal + 1).to_string());
                continue;
            };
            let known = jobs.iter().position(|known| known.output.digest == job.output.digest);
            by_layer.push(known.unwrap_or(jobs.len()));
            if known.is_none() {
                jobs.push(job);
            }
        }
        if !unmade.is_empty() {
            let what = format!(
                "it makes layers {} uncompressed only, not the blobs that the manifest names",
                unmade.join(", ")
            );
            return Err(Error::bad_input(delta.place(), what));
        }
        check_base(delta, base, &jobs)?;
        let layers: Vec<Descriptor> =
            by_layer.iter().map(|&job| jobs[job].output.clone()).collect();
        let is_exact = by_layer.iter().all(|&job| jobs[job].is_exact);
        let outgoing = outgoing(delta, layers, is_exact && form == LayerForm::Exact)?;
        Ok(Self { outgoing, jobs, by_layer })
    }

    /// What will have been made, if all goes well.
    pub(super) fn applied(&self, delta: &Delta, place: String) -> Applied {
        let layers = self.by_layer.iter().map(|&job| {
            let job = &self.jobs[job];
            AppliedLayer {
                digest: job.output.digest,
                bytes: job.output.size_bytes,
                diff_id: job.stream.diff_id,
                is_exact: job.is_exact,
                came: match job.body {
                    LayerBody::Kept => Came::Kept,
                    LayerBody::Recipe(_) => Came::Rebuilt,
                    LayerBody::Carried(_) => Came::Carried,
                },
            }
        });
        Applied {
            place: Some(place),
            target: delta.digest(),
            manifest: Some(self.outgoing.manifest.digest),
            config: delta.config_digest(),
            platform: delta.platform().clone(),
            layers: layers.collect(),
            notes: delta.notes().to_vec(),
        }
    }
}

/// Tells all that the delta needs and the base lacks, with the layers that need it.
fn check_base(delta: &Delta, base: &[Image], jobs: &[Job]) -> Result<()> {
    let layers = || base.iter().flat_map(|image| &image.layers);
    let streams: HashSet<_> = layers().map(|layer| layer.diff_id).collect();
    let blobs: HashSet<_> = layers().map(|layer| layer.descriptor.digest).collect();
    let mut missing = Vec::new();
    let absent = |stream: &&StreamName| !streams.contains(&stream.diff_id);
    for stream in delta.base().streams.iter().filter(absent) {
        let mut needed = BTreeSet::new();
        for (ordinal, layer) in delta.layers().iter().enumerate() {
            let needs = match layer.body {
                LayerBody::Kept => layer.stream == *stream,
                LayerBody::Recipe(recipe) => delta.recipe(recipe)?.sources.contains(stream),
                LayerBody::Carried(_) => false,
            };
            if needs {
                needed.insert(ordinal + 1);
            }
        }
        let layers = needed.into_iter().collect();
        missing.push(MissingLayer::Stream { diff_id: stream.diff_id, layers });
    }
    for job in jobs {
        let is_copied = job.body == LayerBody::Kept && job.wrapping == Wrapping::Copied;
        let has_stream = streams.contains(&job.stream.diff_id);
        if is_copied && has_stream && !blobs.contains(&job.output.digest) {
            let digest = job.output.digest;
            missing.push(MissingLayer::Blob { digest, layers: vec![job.ordinal + 1] });
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::BaseMissing { place: delta.place().to_owned(), missing })
}

/// The documents as they are, or with a manifest for what the layers have become.
fn outgoing(delta: &Delta, layers: Vec<Descriptor>, is_exact: bool) -> Result<Outgoing> {
    let wrong = |error| Error::bad_input_because(delta.place(), "its manifest is none", error);
    let mut document: Value = serde_json::from_slice(delta.manifest()).map_err(wrong)?;
    let config_size = delta.config_bytes().len() as u64;
    let told = |value: &Value| value["mediaType"].as_str().map(str::to_owned);
    let (media_type, config_type, manifest_bytes) = if is_exact {
        let media_type = Some(delta.media_type().to_owned()).filter(|known| !known.is_empty());
        let media_type = media_type.or_else(|| told(&document));
        (media_type, told(&document["config"]), delta.manifest().to_vec())
    } else {
        document = rewritten(delta, &document, &layers);
        let bytes = document.to_string().into_bytes();
        (Some(MANIFEST_TYPE.to_owned()), Some(CONFIG_TYPE.to_owned()), bytes)
    };
    let mut hasher = Hasher::new(delta.digest().algorithm());
    hasher.update(&manifest_bytes);
    let media_type = media_type.unwrap_or_else(|| MANIFEST_TYPE.to_owned());
    let size = manifest_bytes.len() as u64;
    Ok(Outgoing {
        manifest: Descriptor::new(Some(&media_type), hasher.finish_blob(), size),
        manifest_bytes,
        config: Descriptor::new(config_type.as_deref(), delta.config_digest(), config_size),
        config_bytes: delta.config_bytes().to_vec(),
        layers,
    })
}

/// A manifest of the same config and annotations over other layers. What was said of the old
/// blobs (tables of contents, digests of pieces) is not said of the new ones.
fn rewritten(delta: &Delta, document: &Value, layers: &[Descriptor]) -> Value {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| {
            json!({
                "mediaType": layer.media_type(),
                "digest": layer.digest.to_string(),
                "size": layer.size_bytes,
            })
        })
        .collect();
    let mut made = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": CONFIG_TYPE,
            "digest": delta.config_digest().to_string(),
            "size": delta.config_bytes().len(),
        },
        "layers": layers,
    });
    if let Some(annotations) = document.get("annotations") {
        made["annotations"] = annotations.clone();
    }
    made
}

/// The name of a stream that is stored as it is.
fn blob_of(stream: StreamName) -> BlobDigest {
    let digest = stream.diff_id;
    BlobDigest::new(digest.algorithm(), digest.as_bytes()).expect("as long as it was")
}

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const STREAM_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
