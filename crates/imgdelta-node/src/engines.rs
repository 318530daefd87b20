//! podman, CRI-O and docker as runtimes.
//!
//! Their stores are read again for each question. Staging runs skopeo or docker.

use crate::{
    config::{Config, DockerConfig, PodmanConfig},
    directory::STAGING,
    runtime::{Runtime, is_in_repository, open_bases},
};
use imgdelta_apply::sink::Sink;
use imgdelta_core::Result;
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::{ImageName, RepositoryName, full_docker_name},
    store::Store,
};
use imgdelta_runtimes::{
    containers_storage::{
        ContainersStorageSink, ContainersStorageStore, StorageOptions, StorageSinkOptions,
    },
    docker::{DockerOptions, DockerSink, DockerSinkOptions, DockerStore},
};
use std::{path::PathBuf, sync::Arc};

/// A storage of podman, CRI-O or buildah.
#[derive(Debug)]
pub struct PodmanRuntime {
    options: StorageSinkOptions,
}

/// A docker daemon with the driver overlay2.
#[derive(Debug)]
pub struct DockerRuntime {
    options: DockerSinkOptions,
}

impl PodmanRuntime {
    /// Opens the storage of a configuration, or `default`, to report a wrong place now.
    pub fn connect(config: &Config, default: StorageOptions) -> Result<Self> {
        let PodmanConfig { root, driver, run_root, skopeo } = config.podman.clone();
        let storage = match root {
            Some(root) => StorageOptions::new(root).driver(driver).run_root(run_root),
            None => default,
        };
        ContainersStorageStore::open(&storage)?;
        let options = StorageSinkOptions::new(storage, staging(config));
        let options = match skopeo {
            Some(program) => options.program(program),
            None => options,
        };
        Ok(Self { options })
    }
}

impl DockerRuntime {
    /// Opens the store of a configuration, to report a wrong place now.
    pub fn connect(config: &Config) -> Result<Self> {
        let DockerConfig { root, host, program } = config.docker.clone();
        let store =
            root.map_or_else(DockerOptions::of_machine, |root| Ok(DockerOptions::new(root)))?;
        DockerStore::open(&store)?;
        let options = DockerSinkOptions::new(store, staging(config)).host(host);
        let options = match program {
            Some(program) => options.program(program),
            None => options,
        };
        Ok(Self { options })
    }
}

impl Runtime for PodmanRuntime {
    fn images(
        &self,
        registry: &str,
        repository: &RepositoryName,
        options: &OpenOptions,
    ) -> Result<Vec<Image>> {
        let store: Arc<dyn Store> = Arc::new(ContainersStorageStore::open(&self.options.storage)?);
        bases(&store, registry, repository, options)
    }

    fn names(&self) -> Result<Vec<String>> {
        full_names(&ContainersStorageStore::open(&self.options.storage)?)
    }

    fn sink(&self) -> Result<Box<dyn Sink>> {
        Ok(Box::new(ContainersStorageSink::new(self.options.clone())?))
    }
}

impl Runtime for DockerRuntime {
    fn images(
        &self,
        registry: &str,
        repository: &RepositoryName,
        options: &OpenOptions,
    ) -> Result<Vec<Image>> {
        let store: Arc<dyn Store> = Arc::new(DockerStore::open(&self.options.store)?);
        bases(&store, registry, repository, options)
    }

    fn names(&self) -> Result<Vec<String>> {
        full_names(&DockerStore::open(&self.options.store)?)
    }

    fn sink(&self) -> Result<Box<dyn Sink>> {
        Ok(Box::new(DockerSink::new(self.options.clone())?))
    }
}

/// Returns the images of a repository that have all their layers, the last by name first.
fn bases(
    store: &Arc<dyn Store>,
    registry: &str,
    repository: &RepositoryName,
    options: &OpenOptions,
) -> Result<Vec<Image>> {
    let mut names = store.names()?;
    names.retain(|name| is_in_repository(&full_docker_name(name), registry, repository));
    names.sort();
    let names = names.into_iter().rev().map(ImageName::Tag);
    Ok(open_bases(names, |name| {
        let image = Image::open(Arc::clone(store), Some(name), options)?;
        // A layer that cannot be read would have a delta downloaded in vain.
        image
            .layers
            .iter()
            .filter(|layer| !layer.is_absent())
            .try_for_each(|layer| store.open(layer.stored()).map(drop))?;
        Ok(image)
    }))
}

fn full_names(store: &dyn Store) -> Result<Vec<String>> {
    Ok(store.names()?.iter().map(|name| full_docker_name(name)).collect())
}

fn staging(config: &Config) -> PathBuf {
    config.rebuild.directory.join(STAGING)
}
