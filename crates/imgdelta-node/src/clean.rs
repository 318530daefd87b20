//! Removing everything that a mirror keeps on a node.

use crate::{config::Config, containerd::ContainerdRuntime, directory::WorkDirectory};
use imgdelta_core::Result;

/// Removes temporary files and kept blobs, and the leases of staged layers; returns their number.
/// Layers that an image uses stay. Fails while a mirror runs. Blocks.
pub fn clean(config: &Config) -> Result<usize> {
    WorkDirectory::lock(&config.rebuild.directory)?.clean()?;
    ContainerdRuntime::connect(&config.containerd)?.remove_staged()
}
