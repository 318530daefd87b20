//! The documents of a storage: its images, their manifests and configs, and its layers.
//! Never reads a file of a layer.

use super::lock;
use base64::{Engine, prelude::BASE64_STANDARD};
use imgdelta_core::{Error, Result, path::escaped, regular::open_within};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// One directory of a storage with the driver that unpacked its layers.
#[derive(Clone, Debug)]
pub(super) struct StorageDirectory {
    pub root: PathBuf,
    pub driver: StorageDriver,
    pub images: Vec<StorageImage>,
    pub layers: Vec<StorageLayer>,
}

/// The part of a storage that unpacks layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StorageDriver {
    /// A directory for each layer alone.
    Overlay,
    /// A directory for each layer with all layers below it.
    Vfs,
}

/// An image in `images.json`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StorageImage {
    pub id: String,
    #[serde(default)]
    pub names: Option<Vec<String>>,
    #[serde(rename = "big-data-digests", default)]
    digests: Option<HashMap<String, String>>,
    #[serde(rename = "big-data-sizes", default)]
    sizes: Option<HashMap<String, i64>>,
}

/// A layer in `layers.json`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StorageLayer {
    pub id: String,
    /// Its diff id.
    #[serde(rename = "diff-digest", default)]
    pub diff_digest: Option<String>,
    /// The digest of the blob that it was unpacked from.
    #[serde(rename = "compressed-diff-digest", default)]
    pub blob_digest: Option<String>,
    /// The length of its stream; not positive if unknown.
    #[serde(rename = "diff-size", default)]
    pub diff_size: Option<i64>,
}

impl StorageDriver {
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|driver| driver.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Vfs => "vfs",
        }
    }
}

impl StorageDirectory {
    /// Reads the documents of a storage; `None` if nothing is there.
    pub fn read(root: &Path, driver: Option<StorageDriver>) -> Result<Option<Self>> {
        let has_images = |driver: &StorageDriver| {
            root.join(format!("{}-images/images.json", driver.name())).exists()
        };
        let Some(driver) = driver.or_else(|| ALL.into_iter().find(has_images)) else {
            return Ok(None);
        };
        let document = |kind: &str| {
            let folder = root.join(format!("{}-{kind}", driver.name()));
            (folder.join(format!("{kind}.lock")), folder, format!("{kind}.json"))
        };
        let (lock, folder, name) = document("images");
        let images = lock::with_shared(&lock, || read_list(&folder, &name))?;
        let (lock, folder, name) = document("layers");
        let layers: Option<Vec<StorageLayer>> =
            lock::with_shared(&lock, || read_list(&folder, &name))?;
        let Some(images) = images else { return Ok(None) };
        let layers = layers.unwrap_or_default();
        Ok(Some(Self { root: root.to_owned(), driver, images, layers }))
    }

    /// Returns the layers with this diff id.
    pub fn layers_of<'a>(&'a self, diff_id: &'a str) -> impl Iterator<Item = &'a StorageLayer> {
        let same = move |layer: &&StorageLayer| layer.diff_digest.as_deref() == Some(diff_id);
        self.layers.iter().filter(same)
    }

    /// Opens the tar-split of a layer; returns it with its place.
    pub fn open_tar_split(&self, layer: &StorageLayer) -> Result<(File, String)> {
        let folder = self.root.join(format!("{}-layers", self.driver.name()));
        let name = format!("{}.tar-split.gz", admit_id(&layer.id, &folder)?);
        let place = folder.join(&name).display().to_string();
        let Some(file) = open_within(&folder, &name)? else {
            let name = layer.diff_digest.as_deref().unwrap_or(&layer.id);
            let what = format!("missing, so that layer {} is not a base", escaped(name.as_bytes()));
            return Err(Error::bad_input(place, what));
        };
        Ok((file, place))
    }

    /// Returns the directory with the files of a layer.
    pub fn files_of(&self, layer: &StorageLayer) -> PathBuf {
        match self.driver {
            StorageDriver::Overlay => self.root.join("overlay").join(&layer.id).join("diff"),
            StorageDriver::Vfs => self.root.join("vfs/dir").join(&layer.id),
        }
    }

    /// Opens a document of an image; `None` if it is not there.
    pub fn open_data(&self, image: &StorageImage, key: &str) -> Result<Option<File>> {
        let folder = self.root.join(format!("{}-images", self.driver.name()));
        let folder = folder.join(admit_id(&image.id, &folder)?);
        open_within(&folder, &data_file_name(key))
    }
}

impl StorageImage {
    /// Returns the digest of the image's manifest.
    pub fn manifest_digest(&self) -> Option<&str> {
        self.digests.as_ref()?.get(MANIFEST_KEY).map(String::as_str)
    }

    /// Returns the key of the document with this digest.
    pub fn key_of(&self, digest: &str) -> Option<&str> {
        let found = self.digests.as_ref()?.iter().find(|(_, known)| *known == digest);
        found.map(|(key, _)| key.as_str())
    }

    /// Returns the length of a document.
    pub fn data_bytes(&self, key: &str) -> Option<u64> {
        self.sizes.as_ref()?.get(key).and_then(|bytes| u64::try_from(*bytes).ok())
    }
}

/// Returns the file name of an image's document: the key, or its base64 if it has other characters.
fn data_file_name(key: &str) -> String {
    let is_plain = |byte: u8| byte == b'.' || byte.is_ascii_digit() || byte.is_ascii_lowercase();
    if key.bytes().all(is_plain) {
        return key.to_owned();
    }
    format!("={}", BASE64_STANDARD.encode(key))
}

/// Returns an id that can be a file name.
fn admit_id<'a>(id: &'a str, place: &Path) -> Result<&'a str> {
    let is_name = (1..=MOST_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_name {
        return Ok(id);
    }
    Err(Error::bad_input(
        place.display(),
        "a document has an id with other than letters and digits",
    ))
}

fn read_list<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<Vec<T>>> {
    let Some(file) = open_within(folder, name)? else { return Ok(None) };
    let place = folder.join(name);
    let mut json = Vec::new();
    let count = file.take(MOST_DOCUMENT_BYTES).read_to_end(&mut json);
    if count.map_err(Error::io(place.display()))? as u64 == MOST_DOCUMENT_BYTES {
        return Err(Error::bad_input(place.display(), "too long for a list of a storage"));
    }
    let parsed: Option<Vec<T>> = serde_json::from_slice(&json)
        .map_err(|error| Error::bad_input_because(place.display(), "cannot be parsed", error))?;
    Ok(Some(parsed.unwrap_or_default()))
}

const ALL: [StorageDriver; 2] = [StorageDriver::Overlay, StorageDriver::Vfs];
/// Key of an image's manifest.
pub(super) const MANIFEST_KEY: &str = "manifest";
/// Ids are 64 hexadecimal digits.
const MOST_ID_BYTES: usize = 128;
/// A thousand images take a megabyte.
const MOST_DOCUMENT_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_other_characters_is_stored_in_base64() {
        assert_eq!(data_file_name("manifest"), "manifest");
        assert_eq!(data_file_name("sha256:00"), "=c2hhMjU2OjAw");
        assert_eq!(data_file_name("signature-1"), "=c2lnbmF0dXJlLTE=");
    }

    #[test]
    fn an_id_that_is_a_path_is_refused() {
        for id in ["", "..", "a/b", "../../etc", "a\0b"] {
            assert!(admit_id(id, Path::new("x")).is_err(), "{id:?}");
        }
    }
}
