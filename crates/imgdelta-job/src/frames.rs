//! Frames of the images that deltas start from, published next to those images.
//!
//! A layer's frames are made once: the queue remembers the artifacts that have them, and other images
//! with the layer take them from there. Publishes no frames of an image that has some.

use crate::{job::Job, meter::CpuMeter, task::Task};
use imgdelta::{
    BlobDigest, DiffId, Error, Result,
    image::{Image, Layer, OpenOptions},
    store::ImageName,
};
use imgdelta_frames::frames_of;
use imgdelta_registry::{FramesBlob, FramesReport, ManifestReference, RegistryStore, Repository};
use std::{collections::BTreeSet, sync::Arc};
use tokio::runtime::Handle;

/// Frames that are to be pushed.
type PreparedFrames = Vec<(FramesBlob, Vec<u8>)>;

/// Publishes the frames of a task's base, unless the registry has them. Returns the artifact; `None`
/// without a base, or if no layer of it can have frames.
pub(crate) async fn publish(
    job: &Arc<Job>,
    task: &Task,
    meter: &Arc<CpuMeter>,
) -> Result<Option<BlobDigest>> {
    let Some(base) = task.base else { return Ok(None) };
    let repository = job.scanner.repository(&task.repository);
    for artifact in repository.frames_artifacts(&base).await? {
        // A list may contain deleted artifacts.
        if repository.head(&ManifestReference::Digest(artifact)).await?.is_some() {
            return Ok(Some(artifact));
        }
    }
    let frames = {
        let (job, task, meter) = (Arc::clone(job), task.clone(), Arc::clone(meter));
        let handle = Handle::current();
        tokio::task::spawn_blocking(move || make(&job, (&task, &base), &meter, &handle))
    };
    let frames = frames.await.unwrap_or_else(|error| {
        Err(Error::bad_input(task, format_args!("the program failed: {error}")))
    })?;
    if frames.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = frames.iter().map(|(blob, _)| frames_name(&blob.diff_id)).collect();
    let pushed = repository.push_frames(&base, frames).await?;
    let place = format!("{} {}", task.repository, pushed.artifact);
    if let Err(error) = job.queue.offer(&place, &names).await {
        tracing::warn!(%task, %error, "its frames will not be reused");
    }
    let FramesReport { artifact, sent_bytes, .. } = pushed;
    tracing::info!(%task, %artifact, layers = names.len(), sent_bytes, "frames published");
    Ok(Some(pushed.artifact))
}

/// Makes the frames of all layers of a base, or takes those of other images with the same layer.
fn make(
    job: &Job,
    (task, base): (&Task, &BlobDigest),
    meter: &CpuMeter,
    handle: &Handle,
) -> Result<PreparedFrames> {
    let repository = job.scanner.repository(&task.repository);
    let blobs = job.maker.blobs.clone();
    let store = Arc::new(RegistryStore::sharing(repository, handle.clone(), blobs));
    let name = ImageName::Digest(*base);
    let image = Image::open(store, Some(&name), &OpenOptions::default())?;
    let mut seen = BTreeSet::new();
    let mut frames = PreparedFrames::new();
    for layer in image.layers.iter().filter(|layer| seen.insert(layer.diff_id)) {
        let reused = handle.block_on(reuse(job, &layer.diff_id)).unwrap_or_else(|error| {
            tracing::warn!(%task, %error, "no frames can be reused");
            None
        });
        frames.extend(match reused {
            Some(reused) => Some(reused),
            None => made(&image, layer, meter)?,
        });
    }
    Ok(frames)
}

fn made(image: &Image, layer: &Layer, meter: &CpuMeter) -> Result<Option<(FramesBlob, Vec<u8>)>> {
    let frames = frames_of(image, layer, meter)?;
    Ok(frames.map(|frames| {
        (FramesBlob::of(frames.diff_id, frames.stream_bytes, &frames.bytes), frames.bytes)
    }))
}

/// Returns frames that were published for another image. A failure costs making them again.
async fn reuse(job: &Job, diff_id: &DiffId) -> Result<Option<(FramesBlob, Vec<u8>)>> {
    for place in job.queue.offers(&[frames_name(diff_id)], MAX_PLACES).await? {
        let Some((repository, artifact)) = place.split_once(' ') else { continue };
        let (Ok(repository), Ok(artifact)) = (repository.parse(), artifact.parse()) else {
            continue;
        };
        let repository: Repository = job.scanner.repository(&repository);
        let listed = match repository.frames_in(&artifact).await {
            Ok(listed) => listed,
            Err(error) => {
                if error.is_not_found() {
                    job.queue.retract(&place).await?;
                }
                continue;
            }
        };
        let Some(found) = listed.into_iter().find(|frames| frames.diff_id == *diff_id) else {
            continue;
        };
        match repository.blob_bytes(&found.blob, MAX_FRAME_BYTES).await {
            Ok(bytes) => return Ok(Some((found, bytes))),
            Err(error) => tracing::debug!(place, %error, "its frames cannot be reused"),
        }
    }
    Ok(None)
}

/// Returns the name of a layer's frames in the queue.
fn frames_name(diff_id: &DiffId) -> String {
    format!("frames {diff_id}")
}

/// Artifacts that are tried for a layer's frames.
const MAX_PLACES: u32 = 4;
/// Frames that were made by this program are not larger.
const MAX_FRAME_BYTES: u64 = 64 << 20;
