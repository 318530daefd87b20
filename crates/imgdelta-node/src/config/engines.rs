//! Settings for runtimes other than containerd.

use serde::Deserialize;
use std::path::PathBuf;

/// The runtime whose store has the bases and takes the layers.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeKind {
    /// containerd, and with it Kubernetes.
    #[default]
    Containerd,
    /// podman, CRI-O or buildah: a storage of containers-storage.
    Podman,
    /// docker with the driver overlay2. Its containerd store is a containerd.
    Docker,
}

/// A storage of podman, CRI-O or buildah.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PodmanConfig {
    /// Its directory. By default that of `storage.conf`.
    pub root: Option<PathBuf>,
    /// Its driver, `overlay` or `vfs`. By default the one that has images. Counts with `root`.
    pub driver: Option<String>,
    /// The directory of its state, with `root`. By default that of skopeo.
    pub run_root: Option<PathBuf>,
    /// The program that writes into the storage. `skopeo`.
    pub skopeo: Option<PathBuf>,
}

/// A docker daemon.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct DockerConfig {
    /// Its directory. By default that of `/etc/docker/daemon.json`.
    pub root: Option<PathBuf>,
    /// Its address, such as `unix:///run/docker.sock`. By default that of the program `docker`.
    pub host: Option<String>,
    /// The program that loads images. `docker`.
    pub program: Option<PathBuf>,
}
