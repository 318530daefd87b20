//! Container runtimes of this machine: their images for the session, and the one of a node's configuration.
//!
//! Speaks no protocol. Without the feature `node`, such an image is an error that names the feature.

use crate::display::TerminalProgress;
#[cfg(feature = "node")]
use crate::{args::PullArgs, environment};
use imgdelta::{Error, Reference, Session};
#[cfg(feature = "node")]
use imgdelta::{Result, image::OpenOptions};
#[cfg(feature = "node")]
use imgdelta_node::{
    Config, ContainerdRuntime, DockerRuntime, FramedPull, PodmanRuntime, Runtime,
    config::RuntimeKind,
};
#[cfg(feature = "node")]
use imgdelta_registry::{
    Registries,
    pull::{PullDestination, PullOptions, PullPlan},
};
#[cfg(feature = "node")]
use imgdelta_runtimes::{
    containerd::{Containerd, ContainerdStore, UnframedImage},
    containers_storage::{ContainersStorageStore, StorageOptions},
    docker::{DockerOptions, DockerStore},
    frames::{FrameLimits, FrameStore},
    rootfs::RootfsStore,
};
#[cfg(feature = "node")]
use std::path::{Path, PathBuf};
use std::sync::Arc;
#[cfg(feature = "node")]
use tempfile::TempDir;

/// Returns a session that also opens images of containerd, podman and docker, and unpacked ones.
/// Layers that an unpacked image lacks are named on the standard error output.
pub fn attach(session: Session, progress: &Arc<TerminalProgress>) -> Session {
    #[cfg(feature = "node")]
    let progress = Arc::clone(progress);
    #[cfg(not(feature = "node"))]
    let _ = progress;
    let others = session.store_opener();
    session.stores(move |reference, limits| match reference {
        #[cfg(feature = "node")]
        Reference::Containerd(image) => {
            let store = containerd(image.namespace.as_deref())?;
            Ok((Arc::new(store), image.name.clone()))
        }
        #[cfg(feature = "node")]
        Reference::ContainersStorage(image) => {
            let options = match &image.root {
                Some(root) => StorageOptions::new(root).driver(image.driver.clone()),
                None => environment::storage()?,
            };
            Ok((Arc::new(ContainersStorageStore::open(&options)?), image.name.clone()))
        }
        #[cfg(feature = "node")]
        Reference::DockerDaemon(image) => {
            let options = match &image.root {
                Some(root) => DockerOptions::new(root),
                None => DockerOptions::of_machine()?,
            };
            Ok((Arc::new(DockerStore::open(&options)?), image.name.clone()))
        }
        #[cfg(feature = "node")]
        Reference::Rootfs { directory, frames } => {
            let store = RootfsStore::open(directory, frames.as_deref(), limits)?;
            store.notes().iter().for_each(|note| progress.print_line(&note.to_string()));
            Ok((Arc::new(store), None))
        }
        #[cfg(not(feature = "node"))]
        Reference::Containerd(_)
        | Reference::ContainersStorage(_)
        | Reference::DockerDaemon(_)
        | Reference::Rootfs { .. } => {
            let engine = match reference {
                Reference::Containerd(_) => "containerd",
                Reference::Rootfs { .. } => "root file systems",
                Reference::ContainersStorage(_) => "storages of podman",
                _ => "docker's store",
            };
            let what = format!(
                "this build does not open {engine}; install one that does: \
                 `cargo install --path crates/imgdelta-cli --features node`"
            );
            Err(Error::bad_input(reference, what))
        }
        reference => others(reference, limits),
    })
}

/// Bases of containerd that lack blobs and frames, with a temporary place for frames of the registry.
#[cfg(feature = "node")]
pub struct UnframedBases {
    scratch: PathBuf,
    frames: Option<TempDir>,
}

#[cfg(feature = "node")]
impl UnframedBases {
    /// Prepares; looks for nothing.
    pub fn new(scratch: Option<&Path>) -> Self {
        Self { scratch: environment::scratch_directory(scratch), frames: None }
    }

    /// Plans a pull with frames of the registry; `None` if no base needs them, or if they do not pay.
    /// The frames stay until this is dropped.
    pub fn plan(
        &mut self,
        session: &Session,
        registries: &Registries,
        args: &PullArgs,
        destination: &dyn Fn() -> PullDestination,
        options: &PullOptions,
    ) -> Result<Option<PullPlan>> {
        let Reference::Registry(source) = &args.source else { return Ok(None) };
        let open = OpenOptions::default()
            .limits(session.context().limits.clone())
            .platform(args.platform.clone());
        let mut images = Vec::new();
        for base in &args.base {
            let Reference::Containerd(base) = base else { continue };
            let Some(name) = &base.name else { continue };
            let frames = match &self.frames {
                Some(frames) => frames,
                None => self.frames.insert(self.directory()?),
            };
            let frames = FrameStore::open(frames.path(), FrameLimits::default())?;
            let store = Arc::new(containerd(base.namespace.as_deref())?.frames(frames));
            images.extend(UnframedImage::find(&store, name, &open)?);
        }
        FramedPull { session, registries, source, options }.plan(images, destination)
    }

    fn directory(&self) -> Result<TempDir> {
        let place = self.scratch.display();
        tempfile::Builder::new()
            .prefix("imgdelta-frames-")
            .tempdir_in(&self.scratch)
            .map_err(Error::io(place))
    }
}

/// Opens the images of containerd.
#[cfg(feature = "node")]
fn containerd(namespace: Option<&str>) -> Result<ContainerdStore> {
    let mut options = environment::containerd();
    if let Some(namespace) = namespace {
        options = options.namespace(namespace);
    }
    Ok(ContainerdStore::new(Containerd::connect(options)?))
}

/// Opens the store of the runtime that a node's configuration names.
#[cfg(feature = "node")]
pub fn of_node(config: &Config) -> Result<Arc<dyn Runtime>> {
    Ok(match config.runtime {
        RuntimeKind::Containerd => Arc::new(ContainerdRuntime::connect(config)?),
        RuntimeKind::Podman => Arc::new(PodmanRuntime::connect(config, environment::storage()?)?),
        RuntimeKind::Docker => Arc::new(DockerRuntime::connect(config)?),
    })
}
