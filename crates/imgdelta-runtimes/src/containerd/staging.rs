//! Layers on their way into snapshots: which are there, which come next, and the steps of one.
//! Never receives a byte of a layer.
//!
//! A snapshot needs the snapshot below it, so layers become snapshots in the image's order, although
//! their blobs arrive in any order. A layer is prepared, unpacked by containerd, compared, and then
//! committed under the name of its chain. A failure removes what was prepared.

use super::{
    ChainId,
    connection::{CallError, Connection},
    diff, leases,
    messages::{BlobReference, LeaseResource},
    snapshots::Snapshots,
};
use imgdelta_core::{BlobDigest, DiffId, Difference, Error, Result};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Progress of staging, which outlives the sink. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct StagingStatus(Arc<Mutex<StagedReport>>);

impl StagingStatus {
    /// Returns the work done so far.
    pub fn report(&self) -> StagedReport {
        self.locked().clone()
    }

    /// True if the sink is gone and this is the last clone: the report does not change any more.
    pub fn is_final(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(super) fn locked(&self) -> MutexGuard<'_, StagedReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work done by a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StagedReport {
    /// Layers that were unpacked.
    pub staged_layers: usize,
    /// Layers that were there already.
    pub present_layers: usize,
    /// Uncompressed bytes that were written into the content store.
    pub written_bytes: u64,
    /// Streams whose frames were kept.
    pub kept_frames: usize,
    /// The lease that keeps the layers until an image refers to them; none before the image began and
    /// after a failure.
    pub lease: Option<String>,
    /// The config of the image; none before the image began.
    pub config: Option<BlobDigest>,
    /// The snapshot of the whole image; none before the image began and for one without layers.
    pub chain: Option<ChainId>,
}

impl fmt::Display for StagedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { staged_layers, present_layers, written_bytes, .. } = self;
        write!(
            f,
            "{staged_layers} layers staged ({written_bytes} bytes), {present_layers} were there"
        )
    }
}

/// One layer of the image.
#[derive(Clone, Debug)]
pub(super) struct StagedLayer {
    pub diff_id: DiffId,
    /// Digest of the stream as a blob: the diff id again.
    pub blob: BlobDigest,
    pub stream_bytes: u64,
    pub chain: ChainId,
    pub state: LayerState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LayerState {
    /// Its blob is not there.
    Missing,
    /// Its blob is in the content store.
    Written,
    /// Its snapshot is there.
    Staged,
}

/// The layers of an image, and the calls that make them snapshots.
#[derive(Debug)]
pub(super) struct Staging {
    pub connection: Connection,
    pub snapshots: Snapshots,
    pub lease: String,
    pub layers: Vec<StagedLayer>,
    /// True while a thread unpacks a layer.
    pub is_busy: bool,
    /// Bytes of blobs that were released since the last collection.
    pub released_bytes: u64,
}

impl Staging {
    /// Returns the lowest layer that is not a snapshot, if its blob is there.
    pub(super) fn next(&self) -> Option<usize> {
        let next = self.layers.iter().position(|layer| layer.state != LayerState::Staged)?;
        (self.layers[next].state == LayerState::Written).then_some(next)
    }

    /// Sets the state of all layers with this blob that are not staged.
    pub(super) fn set(&mut self, blob: &BlobDigest, state: LayerState) {
        for layer in &mut self.layers {
            if layer.blob == *blob && layer.state != LayerState::Staged {
                layer.state = state;
            }
        }
    }

    /// Returns the calls that make a layer a snapshot.
    pub(super) fn step(&self, ordinal: usize) -> StagingStep {
        StagingStep {
            connection: self.connection.clone(),
            snapshots: self.snapshots.clone(),
            lease: self.lease.clone(),
            layer: self.layers[ordinal].clone(),
            parent: ordinal.checked_sub(1).map(|below| self.layers[below].chain),
        }
    }

    /// Returns the blob of a layer if no other layer waits for it.
    pub(super) fn unneeded_blob(&self, ordinal: usize) -> Option<BlobDigest> {
        let blob = self.layers[ordinal].blob;
        let waits = |layer: &StagedLayer| layer.blob == blob && layer.state != LayerState::Staged;
        (!self.layers.iter().any(waits)).then_some(blob)
    }
}

/// The way of one layer from its blob to its snapshot.
#[derive(Debug)]
pub(super) struct StagingStep {
    connection: Connection,
    snapshots: Snapshots,
    lease: String,
    layer: StagedLayer,
    parent: Option<ChainId>,
}

impl StagingStep {
    /// True if the snapshot is there. It is then under the lease.
    pub(super) async fn is_there(&self) -> std::result::Result<bool, CallError> {
        let name = self.layer.chain.to_string();
        if !self.snapshots.has(&name).await? {
            return Ok(false);
        }
        let resource = LeaseResource { id: name.clone(), kind: self.snapshots.resource_kind() };
        leases::add(&self.connection, &self.lease, resource).await?;
        // A collection may have come first.
        self.snapshots.has(&name).await
    }

    /// Unpacks the blob, compares the unpacked digest, and commits the snapshot. Returns false if
    /// the snapshot was there.
    pub(super) async fn run(self) -> Result<bool> {
        let error = |error| self.connection.error(error);
        let parent = self.parent.map_or_else(String::new, |parent| parent.to_string());
        let chain = self.layer.chain.to_string();
        for _ in 0..PREPARE_TRIES {
            if self.is_there().await.map_err(error)? {
                return Ok(false);
            }
            let key = format!("extract-imgdelta-{} {chain}", leases::unique());
            let prepared = self.snapshots.prepare(&key, &parent, self.labels()).await;
            let mounts = match prepared {
                // A snapshotter may find the snapshot elsewhere and answer so.
                Err(error) if error.is_already_there() => continue,
                prepared => prepared.map_err(error)?,
            };
            let blob = BlobReference {
                media_type: STREAM_TYPE.to_owned(),
                digest: self.layer.blob.to_string(),
                size: i64::try_from(self.layer.stream_bytes).unwrap_or(i64::MAX),
            };
            let outcome = match diff::apply(&self.connection, blob, mounts).await {
                Ok(applied) => match admit(&self.layer.diff_id, &applied.digest) {
                    Ok(()) => {
                        let committed = self.snapshots.commit(&chain, &key, self.labels());
                        committed.await.map_err(StepError::Call)
                    }
                    Err(error) => Err(StepError::Other(error)),
                },
                Err(error) => Err(StepError::Call(error)),
            };
            let Err(failure) = outcome else { return Ok(true) };
            // The first failure is reported; the end of the lease removes what stays.
            let _ = self.snapshots.remove(&key).await;
            match failure {
                // Another pull was faster.
                StepError::Call(error) if error.is_already_there() => {}
                StepError::Call(error) => return Err(self.connection.error(error)),
                StepError::Other(error) => return Err(error),
            }
        }
        let what = format!("snapshot {chain} is reported as present and is not there");
        Err(Error::bad_input(self.connection.place(), what))
    }

    /// Returns the labels that containerd's own unpacker gives a snapshot.
    fn labels(&self) -> HashMap<String, String> {
        HashMap::from([(SNAPSHOT_LABEL.to_owned(), self.layer.chain.to_string())])
    }
}

enum StepError {
    Call(CallError),
    Other(Error),
}

/// Compares the digest that containerd computed while it unpacked with the layer's.
fn admit(expected: &DiffId, applied: &str) -> Result<()> {
    let place = "the unpacked layer";
    let found: DiffId =
        applied.parse().map_err(|error| Error::bad_input_because(place, "no digest", error))?;
    if found == *expected {
        return Ok(());
    }
    let difference = Difference::DiffId { expected: *expected, found };
    Err(Error::Mismatch { place: place.to_owned(), difference })
}

pub(super) const STREAM_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
const SNAPSHOT_LABEL: &str = "containerd.io/snapshot.ref";
/// Each try has a key of its own; a second one is needed if another pull is at the same layer.
const PREPARE_TRIES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unpacked_layer_of_another_digest_is_refused() {
        let diff_id = |byte: &str| format!("sha256:{}", byte.repeat(32)).parse::<DiffId>().unwrap();
        let (wanted, other) = (diff_id("0a"), diff_id("0b"));
        admit(&wanted, &wanted.to_string()).unwrap();
        let Err(Error::Mismatch { difference, .. }) = admit(&wanted, &other.to_string()) else {
            panic!("must be refused")
        };
        assert_eq!(difference, Difference::DiffId { expected: wanted, found: other });
        assert!(matches!(admit(&wanted, ""), Err(Error::BadInput { .. })));
    }
}
