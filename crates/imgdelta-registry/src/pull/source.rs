//! The image in a registry that is pulled.
//!
//! Downloads its documents and no layer.

use crate::{
    client::{Client, Traffic},
    repository::Repository,
    runtime::Network,
    store::{BlobKeeping, RegistryStore},
};
use imgdelta_core::Result;
use imgdelta_image::{
    image::{Image, OpenOptions, Platform},
    reference::RegistryReference,
};

/// An image in a registry, with the traffic since it was opened.
#[derive(Clone, Debug)]
pub(crate) struct PullSource {
    pub(super) repository: Repository,
    pub(super) network: Network,
    pub(super) image: Image,
    before: Traffic,
}

impl PullSource {
    /// Opens the image: downloads its manifest and config. `keeping` is for layers that are downloaded
    /// whole.
    pub fn open(
        client: &Client,
        reference: &RegistryReference,
        network: Network,
        options: &OpenOptions,
        keeping: BlobKeeping,
    ) -> Result<Self> {
        let before = client.traffic();
        let (store, name) = RegistryStore::open_with(client, reference, network.clone(), keeping);
        let mut image = Image::open(store, name.as_ref(), options)?;
        image.name = format!("docker://{reference}");
        Ok(Self { repository: Repository::of(client, reference), network, image, before })
    }

    /// Returns the image's platform.
    pub fn platform(&self) -> &Platform {
        &self.image.platform
    }

    /// Returns the same image, whose traffic counts from now on.
    pub(super) fn again(&self) -> Self {
        Self { before: self.repository.client().traffic(), ..self.clone() }
    }

    /// Returns the bytes that the client received since the image was opened.
    pub(super) fn received_bytes(&self) -> u64 {
        self.repository.client().traffic().received_bytes - self.before.received_bytes
    }
}
