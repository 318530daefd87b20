//! A manifest and its config without a store, read as [`super::Image::open`] reads them.
//!
//! For files that hold both. Knows no store.

use super::{ImageConfig, Layer, Platform, kind, layers, manifest::Document};
use imgdelta_core::{BlobDigest, Error, LimitName, Limits, Note, Result, verify::BlobCheck};

/// The content of a manifest and its config.
#[derive(Clone, Debug)]
pub struct ImageDocuments {
    /// Digest of the config.
    pub config_digest: BlobDigest,
    /// The config.
    pub config: ImageConfig,
    /// Platform that the config names.
    pub platform: Platform,
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
    /// Remarks about oddities that were tolerated.
    pub notes: Vec<Note>,
}

impl ImageDocuments {
    /// Reads the manifest with this digest, and compares the config with the manifest.
    pub fn parse(
        digest: BlobDigest,
        manifest: &[u8],
        config: &[u8],
        limits: &Limits,
    ) -> Result<Self> {
        let place = format!("manifest {digest}");
        let size = manifest.len() as u64;
        limits.admit(LimitName::ManifestBytes, size, "size of a manifest", &place)?;
        let Document::Manifest(manifest) = Document::parse(manifest, &place)? else {
            return Err(Error::bad_input(place, "an index, not a manifest"));
        };
        if let Some(what) = kind::not_an_image(&manifest) {
            return Err(Error::bad_input(place, format_args!("{what}, not a container image")));
        }
        let config_digest = manifest.config.digest;
        let config_place = format!("config {config_digest}");
        let size = config.len() as u64;
        limits.admit(LimitName::ConfigBytes, size, "size of the config", &config_place)?;
        let mut check = BlobCheck::new(config_digest, manifest.config.size_bytes);
        check.update(config)?;
        check.finish()?;
        let config = ImageConfig::parse(config, &config_place)?;
        let platform = config.platform();
        let mut notes = Vec::new();
        let layers = layers(manifest.layers, &config, &config_place, limits, &mut notes)?;
        Ok(Self { config_digest, config, platform, layers, notes })
    }
}
