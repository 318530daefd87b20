//! The service of differences: unpacks a layer into a snapshot.
//! Never compares the result with anything.

use super::{
    connection::{CallError, Connection, LONG_CALL},
    messages::{ApplyDiffRequest, ApplyDiffResponse, BlobReference, MountPoint},
};

/// Unpacks a blob of the content store into mounts. Returns digest and size of its uncompressed
/// stream, which containerd computed while it unpacked.
pub(super) async fn apply(
    connection: &Connection,
    blob: BlobReference,
    mounts: Vec<MountPoint>,
) -> Result<BlobReference, CallError> {
    let request = ApplyDiffRequest { diff: Some(blob), mounts };
    let answer: ApplyDiffResponse = connection.unary(APPLY, request, LONG_CALL).await?;
    answer.applied.ok_or_else(|| CallError::incomplete(APPLY, "the applied digest"))
}

const APPLY: &str = "/containerd.services.diff.v1.Diff/Apply";
