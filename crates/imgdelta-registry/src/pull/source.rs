//! The image in a registry that is pulled.
//!
//! Downloads its documents and no layer.

use crate::{
    client::{Client, Traffic},
    repository::Repository,
    runtime::Network,
    store::RegistryStore,
};
use imgdelta_core::{Result, scratch::Scratch};
use imgdelta_image::{
    image::{Image, OpenOptions, Platform},
    reference::RegistryReference,
};

/// An image in a registry, with the traffic since it was opened.
#[derive(Debug)]
pub(crate) struct PullSource {
    pub(super) repository: Repository,
    pub(super) network: Network,
    pub(super) image: Image,
    before: Traffic,
}

impl PullSource {
    /// Opens the image: downloads its manifest and config. With `scratch`, blobs are cached there,
    /// for a destination that cannot keep blobs while the image is incomplete.
    pub fn open(
        client: &Client,
        reference: &RegistryReference,
        network: Network,
        options: &OpenOptions,
        scratch: Option<Scratch>,
    ) -> Result<Self> {
        let before = client.traffic();
        let (store, name) = RegistryStore::open_with(client, reference, network.clone(), scratch);
        let mut image = Image::open(store, name.as_ref(), options)?;
        image.name = format!("docker://{reference}");
        Ok(Self { repository: Repository::of(client, reference), network, image, before })
    }

    /// Returns the image's platform.
    pub fn platform(&self) -> &Platform {
        &self.image.platform
    }

    /// Returns the bytes that the client received since the image was opened.
    pub(super) fn received_bytes(&self) -> u64 {
        self.repository.client().traffic().received_bytes - self.before.received_bytes
    }
}
