//! The service of snapshots: unpacked layers, by name.
//! Never mounts one.

use super::{
    connection::{CallError, Connection, LONG_CALL, SHORT_CALL, if_there},
    messages::{
        CommitSnapshotRequest, Empty, MountPoint, MountsResponse, PrepareSnapshotRequest,
        SnapshotRequest, StatSnapshotResponse,
    },
};
use std::collections::HashMap;

/// Snapshots of one snapshotter.
#[derive(Clone, Debug)]
pub(super) struct Snapshots {
    connection: Connection,
    snapshotter: String,
}

impl Snapshots {
    pub(super) fn new(connection: Connection, snapshotter: &str) -> Self {
        Self { connection, snapshotter: snapshotter.to_owned() }
    }

    /// Returns the type that leases give to these snapshots.
    pub(super) fn resource_kind(&self) -> String {
        format!("snapshots/{}", self.snapshotter)
    }

    /// True if a snapshot has this name.
    pub(super) async fn has(&self, name: &str) -> Result<bool, CallError> {
        let method = "/containerd.services.snapshots.v1.Snapshots/Stat";
        let request = self.request(name);
        let answer = self.connection.unary(method, request, SHORT_CALL).await;
        Ok(if_there(answer)?.is_some_and(|answer: StatSnapshotResponse| answer.info.is_some()))
    }

    /// Starts a snapshot on top of a parent; returns its mounts.
    pub(super) async fn prepare(
        &self,
        key: &str,
        parent: &str,
        labels: HashMap<String, String>,
    ) -> Result<Vec<MountPoint>, CallError> {
        let method = "/containerd.services.snapshots.v1.Snapshots/Prepare";
        let request = PrepareSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels,
        };
        let answer: MountsResponse = self.connection.unary(method, request, SHORT_CALL).await?;
        Ok(answer.mounts)
    }

    /// Opens a snapshot for reading under another name; returns its mounts.
    pub(super) async fn view(&self, key: &str, name: &str) -> Result<Vec<MountPoint>, CallError> {
        let method = "/containerd.services.snapshots.v1.Snapshots/View";
        let request = PrepareSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
            parent: name.to_owned(),
            labels: HashMap::new(),
        };
        let answer: MountsResponse = self.connection.unary(method, request, SHORT_CALL).await?;
        Ok(answer.mounts)
    }

    /// Makes a started snapshot visible under its name.
    pub(super) async fn commit(
        &self,
        name: &str,
        key: &str,
        labels: HashMap<String, String>,
    ) -> Result<(), CallError> {
        let method = "/containerd.services.snapshots.v1.Snapshots/Commit";
        let request = CommitSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            name: name.to_owned(),
            key: key.to_owned(),
            labels,
        };
        let Empty {} = self.connection.unary(method, request, LONG_CALL).await?;
        Ok(())
    }

    /// Removes a snapshot.
    pub(super) async fn remove(&self, key: &str) -> Result<(), CallError> {
        let method = "/containerd.services.snapshots.v1.Snapshots/Remove";
        let Empty {} = self.connection.unary(method, self.request(key), SHORT_CALL).await?;
        Ok(())
    }

    fn request(&self, key: &str) -> SnapshotRequest {
        SnapshotRequest { snapshotter: self.snapshotter.clone(), key: key.to_owned() }
    }
}
