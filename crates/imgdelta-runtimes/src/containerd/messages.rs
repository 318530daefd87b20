//! Messages of containerd's services, with the fields that are used here.
//! Never sends one.
//!
//! Numbers are those of `api/services` and `api/types` of containerd 1.6 to 2.1. Unknown fields of an
//! answer are skipped, as protobuf prescribes.

use bytes::Bytes;
use std::collections::HashMap;

/// A message without fields.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Empty {}

/// A file system to mount.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MountPoint {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub source: String,
    #[prost(string, tag = "3")]
    pub target: String,
    #[prost(string, repeated, tag = "4")]
    pub options: Vec<String>,
}

/// A blob with its media type.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct BlobReference {
    #[prost(string, tag = "1")]
    pub media_type: String,
    #[prost(string, tag = "2")]
    pub digest: String,
    #[prost(int64, tag = "3")]
    pub size: i64,
}

// Content.

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContentInfo {
    #[prost(string, tag = "1")]
    pub digest: String,
    #[prost(int64, tag = "2")]
    pub size: i64,
    #[prost(map = "string, string", tag = "5")]
    pub labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContentInfoRequest {
    #[prost(string, tag = "1")]
    pub digest: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContentInfoResponse {
    #[prost(message, optional, tag = "1")]
    pub info: Option<ContentInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReadContentRequest {
    #[prost(string, tag = "1")]
    pub digest: String,
    #[prost(int64, tag = "2")]
    pub offset: i64,
    #[prost(int64, tag = "3")]
    pub size: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReadContentResponse {
    #[prost(int64, tag = "1")]
    pub offset: i64,
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WriteContentRequest {
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub action: i32,
    #[prost(string, tag = "2")]
    pub r#ref: String,
    #[prost(int64, tag = "3")]
    pub total: i64,
    #[prost(string, tag = "4")]
    pub expected: String,
    #[prost(int64, tag = "5")]
    pub offset: i64,
    #[prost(bytes = "bytes", tag = "6")]
    pub data: Bytes,
    #[prost(map = "string, string", tag = "7")]
    pub labels: HashMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum WriteAction {
    Stat = 0,
    Write = 1,
    Commit = 2,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WriteContentResponse {
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub action: i32,
    #[prost(int64, tag = "4")]
    pub offset: i64,
    #[prost(string, tag = "6")]
    pub digest: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AbortRequest {
    #[prost(string, tag = "1")]
    pub r#ref: String,
}

// Snapshots.

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PrepareSnapshotRequest {
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    #[prost(string, tag = "2")]
    pub key: String,
    #[prost(string, tag = "3")]
    pub parent: String,
    #[prost(map = "string, string", tag = "4")]
    pub labels: HashMap<String, String>,
}

/// Answer to Prepare, View and Mounts.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MountsResponse {
    #[prost(message, repeated, tag = "1")]
    pub mounts: Vec<MountPoint>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CommitSnapshotRequest {
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub key: String,
    #[prost(map = "string, string", tag = "4")]
    pub labels: HashMap<String, String>,
}

/// Request of Stat and Remove.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SnapshotRequest {
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    #[prost(string, tag = "2")]
    pub key: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SnapshotInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub parent: String,
    #[prost(int32, tag = "3")]
    pub kind: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StatSnapshotResponse {
    #[prost(message, optional, tag = "1")]
    pub info: Option<SnapshotInfo>,
}

// Images.

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ImageRecord {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "3")]
    pub target: Option<BlobReference>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetImageRequest {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetImageResponse {
    #[prost(message, optional, tag = "1")]
    pub image: Option<ImageRecord>,
}

/// Request of every List, with filters in containerd's language.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FilterRequest {
    #[prost(string, repeated, tag = "1")]
    pub filters: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListImagesResponse {
    #[prost(message, repeated, tag = "1")]
    pub images: Vec<ImageRecord>,
}

// Leases.

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CreateLeaseRequest {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(map = "string, string", tag = "3")]
    pub labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DeleteLeaseRequest {
    #[prost(string, tag = "1")]
    pub id: String,
    /// True to wait for the garbage collection that follows.
    #[prost(bool, tag = "2")]
    pub sync: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListLeasesResponse {
    #[prost(message, repeated, tag = "1")]
    pub leases: Vec<LeaseRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LeaseRecord {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LeaseResource {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub kind: String,
}

/// Request to add a resource to a lease, or to release it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LeaseResourceRequest {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, optional, tag = "2")]
    pub resource: Option<LeaseResource>,
}

// Diff.

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ApplyDiffRequest {
    #[prost(message, optional, tag = "1")]
    pub diff: Option<BlobReference>,
    #[prost(message, repeated, tag = "2")]
    pub mounts: Vec<MountPoint>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ApplyDiffResponse {
    #[prost(message, optional, tag = "1")]
    pub applied: Option<BlobReference>,
}

// Introspection and version.

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PluginRecord {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub id: String,
    #[prost(map = "string, string", tag = "5")]
    pub exports: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PluginsResponse {
    #[prost(message, repeated, tag = "1")]
    pub plugins: Vec<PluginRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VersionResponse {
    #[prost(string, tag = "1")]
    pub version: String,
}
