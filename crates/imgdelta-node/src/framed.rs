//! A pull with bases whose frames lie in the registry, next to the base.
//!
//! The bytes of frames count in the decision. They are fetched with the login of the pull, and kept only
//! if they give the layer's stream.

use imgdelta::Session;
use imgdelta_core::{DiffId, Error, Limits, Result};
use imgdelta_image::{
    Reference,
    image::{Image, OpenOptions},
    reference::RegistryReference,
};
use imgdelta_registry::{
    FramesBlob, PullOptions, PullPlan, Registries, Repository, pull::PullDestination,
};
use imgdelta_runtimes::containerd::UnframedImage;
use std::collections::HashMap;

/// A pull whose bases lack blobs and frames.
pub struct FramedPull<'a> {
    /// Resources, limits and progress.
    pub session: &'a Session,
    /// Access to the registry.
    pub registries: &'a Registries,
    /// The image, at the address that is asked.
    pub source: &'a RegistryReference,
    /// Choices of the pull.
    pub options: &'a PullOptions,
}

/// A base with the frames that the registry has for it.
struct OfferedBase {
    image: UnframedImage,
    frames: HashMap<DiffId, FramesBlob>,
}

impl FramedPull<'_> {
    /// Plans the pull; `None` if the registry has no frames of the bases, or if they do not pay. The
    /// frames that the plan needs are fetched now. Blocks.
    pub fn plan(
        &self,
        bases: Vec<UnframedImage>,
        destination: &dyn Fn() -> PullDestination,
    ) -> Result<Option<PullPlan>> {
        let repository = Repository::of(self.registries.client(), self.source);
        let limits = &self.session.context().limits;
        let options = |image: &Image| {
            OpenOptions::default().limits(limits.clone()).platform(Some(image.platform.clone()))
        };
        let mut offered = Vec::new();
        for image in bases {
            let (at, digest) = (repository.clone(), image.image().digest);
            let most_bytes = layer_bytes(image.image()) / SEARCH_SHARE;
            let found =
                self.registries.wait(async move { at.find_frames(&digest, most_bytes).await });
            let found = found?.into_iter().map(|frames| (frames.diff_id, frames));
            let mut frames: HashMap<DiffId, FramesBlob> = found.collect();
            frames.retain(|diff_id, frames| {
                let mut layers = image.image().layers.iter();
                let layer = layers.find(|layer| layer.diff_id == *diff_id);
                let bytes = layer.map_or(0, |layer| layer.descriptor.size_bytes);
                image.lacks(diff_id) && is_likely(frames, bytes, limits)
            });
            if !frames.is_empty() {
                offered.push(OfferedBase { image, frames });
            }
        }
        if offered.is_empty() {
            return Ok(None);
        }
        let bases = offered.iter().map(|base| {
            let promised =
                base.frames.iter().map(|(diff_id, frames)| (*diff_id, frames.stream_bytes));
            base.image.open(promised.collect(), &options(base.image.image()))
        });
        let plan = self.registries.plan_pull_to(
            self.session,
            &Reference::Registry(self.source.clone()),
            bases.collect::<Result<_>>()?,
            destination(),
            self.options,
        )?;
        if plan.is_complete() {
            return Ok(Some(plan));
        }
        let Some(needed) = needed(&plan, &offered) else { return Ok(None) };
        let sum = |bytes: fn(&FramesBlob) -> u64| {
            needed.iter().map(|(_, frames)| bytes(frames)).fold(0, u64::saturating_add)
        };
        let frame_bytes = sum(|frames| frames.blob.size_bytes);
        let stream_bytes = sum(|frames| frames.stream_bytes);
        if plan.deltas.is_empty() || !plan.pays_with(frame_bytes, stream_bytes) {
            return Ok(None);
        }
        for (image, frames) in &needed {
            self.fetch(image, frames, &repository)?;
        }
        tracing::info!(image = %self.source, layers = needed.len(), frame_bytes, "fetched frames");
        drop(needed);
        Ok(Some(plan))
    }

    /// Downloads frames, and keeps them if they give the layer's stream.
    fn fetch(
        &self,
        image: &UnframedImage,
        frames: &FramesBlob,
        repository: &Repository,
    ) -> Result<()> {
        let mut received = image.receive(&frames.diff_id, frames.stream_bytes)?;
        let (repository, blob) = (repository.clone(), frames.blob.clone());
        let received = self.registries.wait(async move {
            let mut stream = repository.blob(&blob).await?;
            while let Some(piece) = stream.next().await? {
                received.write(&piece)?;
            }
            Ok::<_, Error>(received)
        })?;
        image.keep(&frames.diff_id, received, &*self.session.context().progress)
    }
}

/// Returns the frames that a plan needs; `None` if a stream that it reads has neither blob nor frames.
fn needed<'a>(
    plan: &PullPlan,
    offered: &'a [OfferedBase],
) -> Option<Vec<(&'a UnframedImage, &'a FramesBlob)>> {
    let mut needed = Vec::new();
    for diff_id in plan.base_streams() {
        let is_here = offered.iter().any(|OfferedBase { image, .. }| {
            let mut layers = image.image().layers.iter();
            !image.lacks(&diff_id) && layers.any(|layer| layer.diff_id == diff_id)
        });
        if is_here {
            continue;
        }
        let base = offered.iter().find(|base| base.frames.contains_key(&diff_id))?;
        needed.push((&base.image, &base.frames[&diff_id]));
    }
    Some(needed)
}

/// True if the claims about frames are plausible for a layer of so many compressed bytes.
fn is_likely(frames: &FramesBlob, compressed_bytes: u64, limits: &Limits) -> bool {
    let expanded = compressed_bytes.saturating_mul(limits.expansion);
    let most_stream_bytes = expanded.max(limits.expansion_free_bytes).min(limits.layer_bytes);
    frames.blob.size_bytes <= compressed_bytes / FRAME_SHARE + SMALL_FRAMES
        && frames.stream_bytes <= most_stream_bytes
}

fn layer_bytes(image: &Image) -> u64 {
    image.layers.iter().map(|layer| layer.descriptor.size_bytes).fold(0, u64::saturating_add)
}

/// The list of artifacts with frames may take this share of the base's layers.
const SEARCH_SHARE: u64 = 16;
/// Frames of a layer may take this share of its blob, and some bytes more. A thousandth is usual.
const FRAME_SHARE: u64 = 4;
const SMALL_FRAMES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_an_implausible_size_are_not_fetched() {
        let likely = |frame_bytes: usize, stream_bytes: u64, compressed_bytes: u64| {
            let diff_id = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
            let frames = FramesBlob::of(diff_id, stream_bytes, &vec![0; frame_bytes]);
            is_likely(&frames, compressed_bytes, &Limits::default())
        };
        assert!(likely(54_000, 257_264_640, 97_247_939));
        assert!(likely(400, 2048, 150), "frames of a small layer are larger than it");
        assert!(!likely(300_000, 1 << 20, 1_000_000));
        // No layer expands that far, and putting it together would take days.
        assert!(!likely(500, 1 << 40, 1 << 20));
        assert!(!likely(500, u64::MAX, u64::MAX));
    }
}
