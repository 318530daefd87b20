//! Removing everything that a mirror keeps on a node.

use crate::{
    config::{Config, RuntimeKind},
    containerd::ContainerdRuntime,
    directory::WorkDirectory,
    hosts::HostFiles,
};
use imgdelta_core::Result;

/// Removes temporary files, kept blobs, the files that direct containerd to the mirror, and the
/// leases of staged layers; returns the number of leases.
/// Layers that an image uses stay. Fails while a mirror runs. Blocks.
pub fn clean(config: &Config) -> Result<usize> {
    WorkDirectory::lock(&config.rebuild.directory)?.clean()?;
    if let Some(files) = HostFiles::of(config) {
        files.remove()?;
    }
    match config.runtime {
        RuntimeKind::Containerd => ContainerdRuntime::connect(config)?.remove_staged(),
        // Staged images have no leases there, and are removed as others without a name.
        RuntimeKind::Podman | RuntimeKind::Docker => Ok(0),
    }
}
