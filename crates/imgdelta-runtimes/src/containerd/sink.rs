//! containerd as the destination of rebuilt layers, which are staged: unpacked without an image name.
//! Never creates an image, and never deletes a blob or snapshot of others.
//!
//! A lease with an expiry keeps everything that is staged. The pull that follows refers to the
//! snapshots, so that they outlive the lease. Without a pull, the expiry removes them. Blobs are
//! released as soon as they are unpacked, and a collection by containerd removes them: another image or
//! pull that uses the same blob keeps it.

use super::{
    ChainId, Containerd,
    connection::Connection,
    leases,
    messages::LeaseResource,
    pieces::{BlobPieces, stream_label},
    staging::{LayerState, StagedLayer, Staging, StagingStatus},
};
use crate::frames::{FrameStore, FrameWriter};
use imgdelta_apply::sink::{AcceptedForm, BlobWriter, OutgoingImage, Sink};
use imgdelta_core::{BlobDigest, DiffId, Error, Result, progress::Progress, verify::VerifiedBlob};
use imgdelta_image::store::Descriptor;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Options for staging.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StagingOptions {
    /// Time from the end of staging until layers that no image uses are removed. The default is a
    /// day, which covers a rollout that is prepared in the evening.
    pub lease_duration: Duration,
}

impl Default for StagingOptions {
    fn default() -> Self {
        Self { lease_duration: Duration::from_secs(24 * 60 * 60) }
    }
}

impl StagingOptions {
    /// Sets the time from the end of staging until layers that no image uses are removed.
    #[must_use]
    pub fn lease_duration(mut self, duration: Duration) -> Self {
        self.lease_duration = duration;
        self
    }
}

/// Stages the layers of one image in containerd. Takes uncompressed streams.
///
/// A sink that is dropped before it is finished removes what it staged.
#[derive(Debug)]
pub struct ContainerdSink {
    containerd: Containerd,
    options: StagingOptions,
    status: StagingStatus,
    frames: Option<FrameStore>,
    /// `None` before the image began and after it was finished.
    staging: Option<Mutex<Staging>>,
}

impl ContainerdSink {
    /// Makes a sink; sends nothing.
    pub fn new(containerd: Containerd, options: StagingOptions) -> Self {
        let status = StagingStatus::default();
        Self { containerd, options, status, frames: None, staging: None }
    }

    /// Keeps the frames of the staged layers, so that they can be bases without blobs.
    ///
    /// Frames are extra: a failure to keep them does not fail the layer.
    #[must_use]
    pub fn frames(mut self, frames: FrameStore) -> Self {
        self.frames = Some(frames);
        self
    }

    /// Returns the progress, which can be read after the sink was finished.
    pub fn status(&self) -> StagingStatus {
        self.status.clone()
    }

    fn begun(&self) -> &Mutex<Staging> {
        self.staging.as_ref().expect("`begin` comes first")
    }

    /// Runs the calls of one step; the lock is not held.
    fn advance(&self) -> Result<()> {
        loop {
            let (ordinal, step, connection) = {
                let mut staging = lock(self.begun());
                let Some(ordinal) = staging.next().filter(|_| !staging.is_busy) else {
                    return Ok(());
                };
                staging.is_busy = true;
                (ordinal, staging.step(ordinal), staging.connection.clone())
            };
            let outcome = connection.wait(|_| step.run());
            let mut staging = lock(self.begun());
            staging.is_busy = false;
            match outcome {
                Ok(is_new) => {
                    staging.layers[ordinal].state = LayerState::Staged;
                    let mut report = self.status.locked();
                    if is_new {
                        report.staged_layers += 1;
                    } else {
                        report.present_layers += 1;
                    }
                }
                Err(error) => {
                    // Only another blob makes another try, so that no thread repeats the failure.
                    let blob = staging.layers[ordinal].blob;
                    staging.set(&blob, LayerState::Missing);
                    return Err(error);
                }
            }
            if let Some(blob) = staging.unneeded_blob(ordinal) {
                let bytes = staging.layers[ordinal].stream_bytes;
                drop(staging);
                self.release(&connection, blob, bytes)?;
            }
        }
    }

    fn frame_writer(&self, blob: &Descriptor) -> Option<FrameWriter> {
        let frames = self.frames.as_ref()?;
        let staging = lock(self.begun());
        let layer = staging.layers.iter().find(|layer| layer.blob == blob.digest)?;
        let (diff_id, chain) = (layer.diff_id, layer.chain.to_string());
        drop(staging);
        frames.writer(&diff_id, &chain, blob.size_bytes).ok()
    }

    /// Puts the snapshots under a new lease that ends sooner, and ends the lease of the staging: the end
    /// of a lease cannot be changed.
    fn shorten_lease(&self, staging: &Staging) -> Result<()> {
        let Some(chain) = staging.layers.last().map(|layer| layer.chain.to_string()) else {
            return Ok(());
        };
        // The snapshots below are kept by the uppermost one.
        let resource = LeaseResource { id: chain, kind: staging.snapshots.resource_kind() };
        let duration = self.options.lease_duration;
        let old = staging.lease.clone();
        let purpose = old.trim_start_matches(leases::PREFIX).chars().take(PURPOSE_CHARS);
        let purpose = purpose.collect::<String>();
        let lease = self.containerd.connection.call(|connection| async move {
            let lease = leases::create(connection.clone(), &purpose, duration).await?;
            leases::add(&connection, &lease, resource).await?;
            leases::end(&connection, old).await?;
            Ok(lease)
        })?;
        self.status.locked().lease = Some(lease);
        Ok(())
    }

    /// Releases an unpacked blob. Garbage is collected when much was released.
    fn release(&self, connection: &Connection, blob: BlobDigest, bytes: u64) -> Result<()> {
        let is_much = {
            let mut staging = lock(self.begun());
            staging.released_bytes = staging.released_bytes.saturating_add(bytes);
            let is_much = staging.released_bytes >= MOST_RELEASED_BYTES;
            if is_much {
                staging.released_bytes = 0;
            }
            is_much
        };
        let lease = lock(self.begun()).lease.clone();
        connection.call(|connection| async move {
            leases::release(&connection, &lease, content_resource(&blob)).await?;
            if is_much { leases::collect(connection).await } else { Ok(()) }
        })
    }
}

impl Sink for ContainerdSink {
    fn place(&self) -> String {
        self.containerd.connection.place().to_owned()
    }

    fn accepts(&self) -> AcceptedForm {
        AcceptedForm::Streams
    }

    fn has_layers(&self, diff_ids: &[DiffId]) -> Result<Vec<bool>> {
        let chains = ChainId::of_layers(diff_ids);
        chains.iter().map(|chain| self.containerd.has_snapshot(chain)).collect()
    }

    fn begin(&mut self, image: OutgoingImage) -> Result<()> {
        let layers = staged_layers(&image, &self.place())?;
        let connection = self.containerd.connection.clone();
        let purpose = image.config.digest.hex().chars().take(PURPOSE_CHARS).collect::<String>();
        // Staging takes as long as it takes; only a kill leaves this lease to its end.
        let duration = self.options.lease_duration.max(LONGEST_STAGING);
        let lease = connection.call(|connection| async move {
            leases::create(connection, &purpose, duration).await
        })?;
        {
            let mut report = self.status.locked();
            report.lease = Some(lease.clone());
            report.config = Some(image.config.digest);
            report.chain = layers.last().map(|layer| layer.chain);
        }
        let connection = connection.with_lease(&lease);
        self.staging = Some(Mutex::new(Staging {
            snapshots: self.containerd.snapshots(&connection),
            connection,
            lease,
            layers,
            is_busy: false,
            released_bytes: 0,
        }));
        Ok(())
    }

    fn has(&self, blob: &Descriptor, progress: &dyn Progress) -> Result<bool> {
        progress.check()?;
        let steps: Vec<_> = {
            let staging = lock(self.begun());
            let same =
                (0..staging.layers.len()).filter(|&at| staging.layers[at].blob == blob.digest);
            same.map(|ordinal| (ordinal, staging.step(ordinal))).collect()
        };
        let connection = &self.containerd.connection;
        let there: Vec<(usize, bool)> = connection.call(|_| async move {
            let mut there = Vec::with_capacity(steps.len());
            for (ordinal, step) in steps {
                there.push((ordinal, step.is_there().await?));
            }
            Ok(there)
        })?;
        let mut staging = lock(self.begun());
        let mut report = self.status.locked();
        for (ordinal, is_there) in &there {
            if *is_there && staging.layers[*ordinal].state != LayerState::Staged {
                staging.layers[*ordinal].state = LayerState::Staged;
                report.present_layers += 1;
            }
        }
        Ok(there.iter().all(|(_, is_there)| *is_there))
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        let connection = lock(self.begun()).connection.clone();
        let pieces = BlobPieces::open(connection.clone(), blob)?;
        let (frames, blob) = (self.frame_writer(blob), blob.digest);
        Ok(Box::new(StreamWriter { sink: self, blob, connection, pieces, frames }))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let staging = self.staging.take().expect("`begin` comes first");
        let staging = staging.into_inner().unwrap_or_else(PoisonError::into_inner);
        let missing = staging.layers.iter().position(|layer| layer.state != LayerState::Staged);
        if let Some(ordinal) = missing {
            let what = format!("layer {} was not written", ordinal + 1);
            // Dropping the sink removes the rest.
            self.staging = Some(Mutex::new(staging));
            return Err(Error::bad_input(self.place(), what));
        }
        if self.options.lease_duration < LONGEST_STAGING
            && let Err(error) = self.shorten_lease(&staging)
        {
            self.staging = Some(Mutex::new(staging));
            return Err(error);
        }
        if staging.released_bytes > 0 {
            self.containerd.connection.call(leases::collect)?;
        }
        Ok(())
    }
}

impl Drop for ContainerdSink {
    fn drop(&mut self) {
        let Some(staging) = self.staging.take() else { return };
        let lease = staging.into_inner().unwrap_or_else(PoisonError::into_inner).lease;
        self.status.locked().lease = None;
        // Best effort: the lease ends by itself.
        let _ = self.containerd.connection.call(|connection| leases::delete(connection, lease));
    }
}

/// Writes one stream into the content store, and stages the layers that are complete then.
struct StreamWriter<'a> {
    sink: &'a ContainerdSink,
    blob: BlobDigest,
    connection: Connection,
    pieces: BlobPieces,
    /// `None` without a place for frames, and after a failure.
    frames: Option<FrameWriter>,
}

impl BlobWriter for StreamWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.frames.take_if(|frames| frames.feed(bytes).is_err());
        let sent_bytes = self.pieces.write(bytes)?;
        self.sink.status.locked().written_bytes += sent_bytes;
        Ok(())
    }

    fn finish(mut self: Box<Self>, proof: VerifiedBlob) -> Result<()> {
        assert_eq!(proof.digest(), self.blob, "the proof is of another blob");
        let (sink, blob) = (self.sink, self.blob);
        let sent_bytes = self.pieces.commit(HashMap::from([stream_label(&blob)]))?;
        sink.status.locked().written_bytes += sent_bytes;
        let lease = lock(sink.begun()).lease.clone();
        // A blob that was there may not be under this lease.
        self.connection.call(|connection| async move {
            leases::add(&connection, &lease, content_resource(&blob)).await
        })?;
        lock(sink.begun()).set(&blob, LayerState::Written);
        // The proof shows that the frames are those of the whole stream.
        if let (Some(frames), Some(store)) = (self.frames.take(), &sink.frames)
            && frames.finish().is_ok_and(|is_kept| is_kept)
        {
            let _ = store.trim();
            sink.status.locked().kept_frames += 1;
        }
        sink.advance()
    }
}

/// Returns the layers of an image with the names of their snapshots.
fn staged_layers(image: &OutgoingImage, place: &str) -> Result<Vec<StagedLayer>> {
    let diff_ids = image.layers.iter().map(|layer| layer.digest.to_string().parse::<DiffId>());
    let diff_ids = diff_ids.collect::<std::result::Result<Vec<DiffId>, _>>();
    let diff_ids = diff_ids.map_err(|error| Error::bad_input(place, error))?;
    let chains = ChainId::of_layers(&diff_ids);
    let layers = image.layers.iter().zip(diff_ids).zip(chains);
    Ok(layers
        .map(|((layer, diff_id), chain)| StagedLayer {
            diff_id,
            blob: layer.digest,
            stream_bytes: layer.size_bytes,
            chain,
            state: LayerState::Missing,
        })
        .collect())
}

fn content_resource(blob: &BlobDigest) -> LeaseResource {
    LeaseResource { id: blob.to_string(), kind: "content".to_owned() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Released blobs stay on the disk until garbage is collected, which takes a scan of all metadata.
const MOST_RELEASED_BYTES: u64 = 1 << 30;
/// Time after which a staging that was killed is removed: a layer of 10 GB takes a quarter of an hour.
const LONGEST_STAGING: Duration = Duration::from_secs(60 * 60);
/// Part of the config's digest in the lease's id.
const PURPOSE_CHARS: usize = 12;
