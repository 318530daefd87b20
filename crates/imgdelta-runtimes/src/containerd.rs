//! containerd: its images as bases, and layers staged in its store.
//! Never creates an image name, and never deletes what it did not create.
//!
//! Calls go to containerd's gRPC services through its socket. Messages are declared by hand, since
//! code generators need protoc. Versions 1.6, 1.7 and 2.1 have the same services.

mod blob_sink;
mod codec;
mod connection;
mod content;
mod diff;
mod images;
mod leases;
mod messages;
mod pieces;
mod references;
mod sink;
mod snapshots;
mod staging;
mod store;
mod sweep;
mod unframed;
mod view;

pub use crate::chain::ChainId;
pub use blob_sink::ContainerdBlobSink;
pub use images::NodeImage;
pub use sink::{ContainerdSink, StagingOptions};
pub use staging::{StagedReport, StagingStatus};
pub use store::ContainerdStore;
pub use unframed::UnframedImage;

use connection::{Connection, SHORT_CALL};
use imgdelta_core::{Result, sort::SharedSort};
use messages::{Empty, VersionResponse};
use snapshots::Snapshots;
use std::path::PathBuf;

/// Options for connecting to containerd.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContainerdOptions {
    /// Its socket. The default is `/run/containerd/containerd.sock`, as for its own tools.
    pub socket: PathBuf,
    /// The setting that names the socket, for errors. The default is the variable
    /// `CONTAINERD_ADDRESS`, which containerd's own tools read.
    pub socket_setting: String,
    /// The namespace of images and layers. The default is `default`, as for `ctr`; Kubernetes uses
    /// `k8s.io`, and Docker `moby`.
    pub namespace: String,
    /// The snapshotter that holds unpacked layers. The default is `overlayfs`, which Kubernetes uses
    /// unless it was configured otherwise.
    pub snapshotter: String,
}

impl Default for ContainerdOptions {
    fn default() -> Self {
        Self {
            socket: "/run/containerd/containerd.sock".into(),
            socket_setting: "CONTAINERD_ADDRESS".into(),
            namespace: "default".into(),
            snapshotter: "overlayfs".into(),
        }
    }
}

impl ContainerdOptions {
    /// Sets the socket.
    #[must_use]
    pub fn socket(mut self, socket: impl Into<PathBuf>) -> Self {
        self.socket = socket.into();
        self
    }

    /// Sets the name of the setting that names the socket.
    #[must_use]
    pub fn socket_setting(mut self, name: impl Into<String>) -> Self {
        self.socket_setting = name.into();
        self
    }

    /// Sets the namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets the snapshotter.
    #[must_use]
    pub fn snapshotter(mut self, snapshotter: impl Into<String>) -> Self {
        self.snapshotter = snapshotter.into();
        self
    }
}

/// A connection to containerd, in one namespace. Cloning is cheap.
///
/// A connection survives a restart of containerd: the next call opens the socket again.
#[derive(Clone, Debug)]
pub struct Containerd {
    connection: Connection,
    options: ContainerdOptions,
}

impl Containerd {
    /// Connects, and asks for the version, so that a wrong socket is reported now.
    pub fn connect(options: ContainerdOptions) -> Result<Self> {
        let connection = Connection::open(&options)?;
        let containerd = Self { connection, options };
        containerd.version()?;
        Ok(containerd)
    }

    /// Returns the version of containerd.
    pub fn version(&self) -> Result<String> {
        self.connection.call(|connection| async move {
            let method = "/containerd.services.version.v1.Version/Version";
            let answer = connection.unary(method, Empty {}, SHORT_CALL).await;
            answer.map(|answer: VersionResponse| answer.version)
        })
    }

    /// Returns the options of this connection.
    pub fn options(&self) -> &ContainerdOptions {
        &self.options
    }

    /// Returns all images of the namespace, in the order of their names.
    pub fn images(&self) -> Result<Vec<NodeImage>> {
        let mut images = self.connection.call(images::list)?;
        images.shared_sort_by(|a, b| a.name.cmp(&b.name));
        Ok(images)
    }

    /// Returns the image of an exact name; `None` if there is none.
    pub fn image(&self, name: &str) -> Result<Option<NodeImage>> {
        let name = name.to_owned();
        self.connection.call(|connection| images::find(connection, name))
    }

    /// True if the layers of a chain are unpacked here.
    pub fn has_snapshot(&self, chain: &ChainId) -> Result<bool> {
        let (snapshots, name) = (self.snapshots(&self.connection), chain.to_string());
        self.connection.call(|_| async move { snapshots.has(&name).await })
    }

    fn snapshots(&self, connection: &Connection) -> Snapshots {
        Snapshots::new(connection.clone(), &self.options.snapshotter)
    }
}
