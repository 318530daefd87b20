//! The blobs to be written, with everything that can be refused before any work.
//! Never reads a layer, and reads a recipe only to name what is missing.

use super::{
    LayerForm,
    report::{ApplyReport, LayerReport, LayerSource},
};
use crate::{
    delta::{Delta, Envelope, LayerBody, StreamName, TargetLayer},
    sink::{AcceptedForm, OutgoingImage},
};
use imgdelta_core::{BlobDigest, DiffId, Error, MissingLayer, Result, verify::Hasher};
use imgdelta_image::{image::Image, store::Descriptor};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap, HashSet, hash_map::Entry};

#[derive(Debug)]
pub(super) struct ApplyPlan {
    pub outgoing: OutgoingImage,
    /// One for each blob to be written.
    pub jobs: Vec<BlobJob>,
    /// For each layer, the index of its job.
    by_layer: Vec<usize>,
}

/// A blob to be written.
#[derive(Clone, Debug)]
pub(super) struct BlobJob {
    /// The first layer that names it.
    pub ordinal: usize,
    pub stream: StreamName,
    pub body: LayerBody,
    /// Way from the stream to the written bytes.
    pub encoding: OutputEncoding,
    pub output: Descriptor,
    pub is_exact: bool,
    /// True if a base image has the output as a blob, which is copied instead of made.
    pub is_in_base: bool,
}

/// Way from a stream to the written bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OutputEncoding {
    /// The stream is written as it is.
    None,
    /// A recipe of imgdelta-deflate makes the blob.
    Deflate(Vec<u8>),
    /// A recipe of imgdelta-zstd makes the blob.
    Zstd(Vec<u8>),
    /// A recipe of a zstd:chunked layer makes the blob.
    Chunked(Vec<u8>),
    /// The blob cannot be made, only copied from the base or the delta.
    Copied,
}

impl OutputEncoding {
    /// Returns the way from a stream to its blob; `None` if the envelope makes no blob.
    pub(super) fn of(envelope: &Envelope) -> Option<Self> {
        match envelope {
            Envelope::Stored => Some(Self::None),
            Envelope::Deflate(recipe) => Some(Self::Deflate(recipe.clone())),
            Envelope::Zstd(recipe) => Some(Self::Zstd(recipe.clone())),
            Envelope::Chunked(recipe) => Some(Self::Chunked(recipe.clone())),
            Envelope::Unmade | Envelope::Base => None,
        }
    }
}

impl BlobJob {
    pub(super) fn recipe(&self) -> Option<u32> {
        if let LayerBody::Recipe(ordinal) = self.body { Some(ordinal) } else { None }
    }

    /// Returns a job for each layer whose blob the delta makes.
    pub(super) fn exact(delta: &Delta) -> Vec<Self> {
        let layers = delta.layers().iter().enumerate();
        layers
            .filter_map(|(ordinal, layer)| {
                Self::of(ordinal, layer, AcceptedForm::Blobs, LayerForm::Exact)
            })
            .collect()
    }

    fn of(
        ordinal: usize,
        layer: &TargetLayer,
        accepted: AcceptedForm,
        form: LayerForm,
    ) -> Option<Self> {
        let is_stream = accepted == AcceptedForm::Streams || form == LayerForm::Uncompressed;
        let exact = match (&layer.body, &layer.envelope) {
            (LayerBody::Carried(_), _) | (LayerBody::Kept, Envelope::Base) => {
                Some(OutputEncoding::Copied)
            }
            // A recipe makes a stream, and not a blob that only a base has.
            (_, envelope) => OutputEncoding::of(envelope),
        };
        let encoding = match exact {
            Some(encoding) if !is_stream => Some(encoding),
            None if accepted == AcceptedForm::Blobs && !is_stream => return None,
            _ => None,
        };
        let mut job = Self {
            ordinal,
            stream: layer.stream,
            body: layer.body,
            is_exact: encoding.is_some(),
            encoding: encoding.unwrap_or(OutputEncoding::None),
            output: Descriptor::new(Some(&layer.media_type), layer.blob, layer.blob_bytes),
            is_in_base: false,
        };
        if !job.is_exact {
            job.output = Descriptor::of_stream(&layer.stream.diff_id, layer.stream.bytes);
            job.is_exact = job.output.digest == layer.blob;
        }
        Some(job)
    }
}

impl ApplyPlan {
    pub(super) fn make(
        delta: &Delta,
        base: &[Image],
        accepted: AcceptedForm,
        form: LayerForm,
    ) -> Result<Self> {
        let (mut jobs, mut by_layer) = (Vec::<BlobJob>::new(), Vec::new());
        let mut unmade = Vec::new();
        for (ordinal, layer) in delta.layers().iter().enumerate() {
            let Some(job) = BlobJob::of(ordinal, layer, accepted, form) else {
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
        let layers = base.iter().flat_map(|image| &image.layers);
        let with_blob = layers.filter(|layer| layer.has_blob() && !layer.is_absent());
        let blobs: HashSet<_> = with_blob.map(|layer| layer.descriptor.digest).collect();
        for job in &mut jobs {
            job.is_in_base = job.body == LayerBody::Kept && blobs.contains(&job.output.digest);
        }
        check_base(delta, base, &jobs)?;
        let layers: Vec<Descriptor> =
            by_layer.iter().map(|&job| jobs[job].output.clone()).collect();
        let is_exact = by_layer.iter().all(|&job| jobs[job].is_exact);
        let outgoing = outgoing(delta, layers, is_exact && form == LayerForm::Exact)?;
        Ok(Self { outgoing, jobs, by_layer })
    }

    /// Returns the report of a successful run.
    pub(super) fn report(&self, delta: &Delta, place: String) -> ApplyReport {
        let layers = self.by_layer.iter().map(|&job| {
            let job = &self.jobs[job];
            LayerReport {
                digest: job.output.digest,
                bytes: job.output.size_bytes,
                diff_id: job.stream.diff_id,
                is_exact: job.is_exact,
                source: match job.body {
                    LayerBody::Kept => LayerSource::Kept,
                    LayerBody::Recipe(_) => LayerSource::Rebuilt,
                    LayerBody::Carried(_) => LayerSource::Carried,
                },
            }
        });
        ApplyReport {
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

/// Fails with all streams and blobs that no base image has, each with the layers that need it.
fn check_base(delta: &Delta, base: &[Image], jobs: &[BlobJob]) -> Result<()> {
    let layers = || base.iter().flat_map(|image| &image.layers).filter(|layer| !layer.is_absent());
    let streams: HashSet<_> = layers().map(|layer| layer.diff_id).collect();
    let mut missing = missing_streams(delta, &streams)?;
    for job in jobs {
        let must_be_copied = job.body == LayerBody::Kept && job.encoding == OutputEncoding::Copied;
        let has_stream = streams.contains(&job.stream.diff_id);
        if must_be_copied && has_stream && !job.is_in_base {
            let digest = job.output.digest;
            missing.push(MissingLayer::Blob { digest, layers: vec![job.ordinal + 1] });
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::BaseMissing { place: delta.place().to_owned(), missing })
}

/// Returns the streams that a delta needs and that are not among `streams`.
pub(crate) fn missing_streams(
    delta: &Delta,
    streams: &HashSet<DiffId>,
) -> Result<Vec<MissingLayer>> {
    let is_absent = |stream: &&StreamName| !streams.contains(&stream.diff_id);
    let absent: Vec<&StreamName> = delta.base().streams.iter().filter(is_absent).collect();
    let users = if absent.is_empty() { HashMap::new() } else { users(delta)? };
    let missing = absent.into_iter().map(|&StreamName { diff_id, .. }| {
        let layers = users.get(&diff_id).into_iter().flatten().copied().collect();
        MissingLayer::Stream { diff_id, layers }
    });
    Ok(missing.collect())
}

/// Returns, for each base stream, the layers that need it, counted from 1.
fn users(delta: &Delta) -> Result<HashMap<DiffId, BTreeSet<usize>>> {
    let mut users: HashMap<DiffId, BTreeSet<usize>> = HashMap::new();
    let mut sources: HashMap<u32, Vec<StreamName>> = HashMap::new();
    for (layer, ordinal) in delta.layers().iter().zip(1..) {
        let needed = match layer.body {
            LayerBody::Kept => vec![layer.stream],
            LayerBody::Recipe(recipe) => match sources.entry(recipe) {
                Entry::Occupied(read) => read.get().clone(),
                Entry::Vacant(vacant) => vacant.insert(delta.recipe_sources(recipe)?).clone(),
            },
            LayerBody::Carried(_) => Vec::new(),
        };
        for stream in needed {
            users.entry(stream.diff_id).or_default().insert(ordinal);
        }
    }
    Ok(users)
}

/// Returns the target's documents; for uncompressed layers, with a new manifest.
fn outgoing(delta: &Delta, layers: Vec<Descriptor>, is_exact: bool) -> Result<OutgoingImage> {
    let wrong = |error| Error::bad_input_because(delta.place(), "its manifest is not JSON", error);
    let mut document: Value = serde_json::from_slice(delta.manifest()).map_err(wrong)?;
    let config_size = delta.config_bytes().len() as u64;
    let stated = |value: &Value| value["mediaType"].as_str().map(str::to_owned);
    let (media_type, config_type, manifest_bytes) = if is_exact {
        let media_type = Some(delta.media_type().to_owned()).filter(|known| !known.is_empty());
        let media_type = media_type.or_else(|| stated(&document));
        (media_type, stated(&document["config"]), delta.manifest().to_vec())
    } else {
        document = rewritten(delta, &document, &layers);
        let bytes = document.to_string().into_bytes();
        (Some(MANIFEST_TYPE.to_owned()), Some(CONFIG_TYPE.to_owned()), bytes)
    };
    let mut hasher = Hasher::new(delta.digest().algorithm());
    hasher.update(&manifest_bytes);
    let media_type = media_type.unwrap_or_else(|| MANIFEST_TYPE.to_owned());
    let size = manifest_bytes.len() as u64;
    Ok(OutgoingImage {
        manifest: Descriptor::new(Some(&media_type), hasher.finish_blob(), size),
        manifest_bytes,
        config: Descriptor::new(config_type.as_deref(), delta.config_digest(), config_size),
        config_bytes: delta.config_bytes().to_vec(),
        layers,
    })
}

/// Returns a manifest with the same config and annotations and other layers.
///
/// Annotations of the original layers, such as tables of contents, do not describe the new ones.
fn rewritten(delta: &Delta, document: &Value, layers: &[Descriptor]) -> Value {
    let config = (delta.config_digest(), delta.config_bytes().len());
    let mut made = manifest_document(config, layers);
    if let Some(annotations) = document.get("annotations") {
        made["annotations"] = annotations.clone();
    }
    made
}

/// Returns the manifest of an image with a config, of which it has digest and size, and layers.
pub(crate) fn manifest_document(config: (BlobDigest, usize), layers: &[Descriptor]) -> Value {
    let (digest, size) = config;
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
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": CONFIG_TYPE,
            "digest": digest.to_string(),
            "size": size,
        },
        "layers": layers,
    })
}

pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
