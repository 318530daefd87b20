//! docker's images as a store: configs and streams of layers, with generated manifests.
//! Never compares the digest of a blob, which its reader does.
//!
//! A manifest has the bytes that an archive of `docker save` gets: uncompressed layers, and a digest
//! that no registry knows.

use super::options::DockerOptions;
use crate::{chain::ChainId, tar_split::TarSplit};
use imgdelta_core::{
    BlobDigest, Context, Error, Result, limits::Limits, path::escaped, regular::open_within,
};
use imgdelta_image::{
    image::ImageConfig,
    reference::{ImageName, full_docker_name},
    store::{Descriptor, GeneratedManifest, Store, source::ReadAt},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    io::{Cursor, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The images of a docker daemon with the driver overlay2.
#[derive(Debug)]
pub struct DockerStore {
    root: PathBuf,
    place: String,
    /// Image ids by name.
    images: BTreeMap<String, String>,
    described: Mutex<DescribedImages>,
}

/// Documents and layers of the images that were asked for.
#[derive(Debug, Default)]
struct DescribedImages {
    documents: HashMap<BlobDigest, Arc<[u8]>>,
    layers: HashMap<BlobDigest, ChainId>,
    /// Layers without tar-split, whose streams cannot be put together.
    absent: HashSet<BlobDigest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RepositoriesFile {
    #[serde(default)]
    repositories: Option<BTreeMap<String, BTreeMap<String, String>>>,
}

impl DockerStore {
    /// Reads the list of images.
    pub fn open(options: &DockerOptions) -> Result<Self> {
        let place = format!("docker-daemon:[{}]", options.root.display());
        let images = options.root.join(IMAGES);
        if fs::metadata(&images).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            let what = "no images of the driver overlay2 are there; name the daemon's directory in \
                        brackets, as in docker-daemon:[/srv/docker]app:1; images of docker's \
                        containerd store are named containerd:moby//NAME";
            return Err(Error::bad_input(&place, what));
        }
        let mut found = BTreeMap::new();
        if let Some(json) = read_within(&images, "repositories.json", MOST_DOCUMENT_BYTES)? {
            let file: RepositoriesFile = serde_json::from_slice(&json).map_err(|error| {
                let place = images.join("repositories.json");
                Error::bad_input_because(place.display(), "cannot be parsed", error)
            })?;
            found.extend(file.repositories.unwrap_or_default().into_values().flatten());
        }
        let root = options.root.clone();
        Ok(Self { root, place, images: found, described: Mutex::default() })
    }

    /// Returns the id of a name, or of an id or its beginning.
    fn id_of(&self, name: &str) -> Result<Option<BlobDigest>> {
        let full = full_docker_name(name);
        let named = self.images.get(name).or_else(|| {
            let mut names = self.images.iter();
            names.find(|(known, _)| full_docker_name(known) == full).map(|(_, id)| id)
        });
        if let Some(id) = named {
            return self.parse(id).map(Some);
        }
        if let Ok(id) = name.parse::<BlobDigest>() {
            return Ok(Some(id));
        }
        let is_id = (6..64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_id {
            return Ok(None);
        }
        let ids = self.ids()?;
        let mut matching = ids.iter().filter(|id| id.hex().starts_with(name));
        let first = matching.next().copied();
        Ok(first.filter(|_| matching.next().is_none()))
    }

    /// Returns the ids of all images.
    fn ids(&self) -> Result<Vec<BlobDigest>> {
        let folder = self.root.join(IMAGES).join(CONFIGS);
        let items = fs::read_dir(&folder).map_err(Error::io(folder.display()))?;
        let names = items.flatten().filter_map(|item| item.file_name().into_string().ok());
        Ok(names.filter_map(|name| format!("sha256:{name}").parse().ok()).collect())
    }

    /// Generates the manifest of an image; `None` if there is no such image.
    fn manifest_of(&self, id: &BlobDigest) -> Result<Option<Descriptor>> {
        let name = format!("{CONFIGS}/{}", id.hex());
        let limits = Limits::default();
        let config = read_within(&self.root.join(IMAGES), &name, limits.config_bytes)?;
        let Some(config) = config else { return Ok(None) };
        let parsed = ImageConfig::parse(&config, &format!("{}, image {id}", self.place))?;
        let chains = ChainId::of_layers(&parsed.diff_ids);
        let mut layers = Vec::with_capacity(chains.len());
        let mut absent = Vec::new();
        for (diff_id, chain) in parsed.diff_ids.iter().zip(&chains) {
            let bytes = if self.has_chain(chain) {
                let (file, place) = self.open_tar_split(chain, diff_id)?;
                TarSplit::new(file, place).stream_bytes()?
            } else {
                absent.push(Descriptor::of_stream(diff_id, 0).digest);
                0
            };
            layers.push(Descriptor::of_stream(diff_id, bytes));
        }
        let manifest = GeneratedManifest::new(&config, &layers);
        let mut described = self.described();
        described.documents.insert(manifest.config.digest, config.into());
        described.documents.insert(manifest.descriptor.digest, manifest.bytes.into());
        described.absent.extend(absent);
        described.layers.extend(layers.iter().map(|layer| layer.digest).zip(chains));
        Ok(Some(manifest.descriptor))
    }

    fn folder_of(&self, chain: &ChainId) -> PathBuf {
        self.root.join(IMAGES).join("layerdb/sha256").join(chain.hex())
    }

    fn open_tar_split(
        &self,
        chain: &ChainId,
        layer: &dyn std::fmt::Display,
    ) -> Result<(File, String)> {
        let folder = self.folder_of(chain);
        let place = folder.join(TAR_SPLIT).display().to_string();
        match open_within(&folder, TAR_SPLIT)? {
            Some(file) => Ok((file, place)),
            None => Err(Error::bad_input(
                place,
                format!("missing, so that layer {layer} is not a base"),
            )),
        }
    }

    /// Opens the stream of a layer.
    fn open_stream(&self, chain: &ChainId, digest: &BlobDigest) -> Result<Box<dyn Read + Send>> {
        let (file, place) = self.open_tar_split(chain, digest)?;
        let files = self.files_of(chain)?;
        let stream = TarSplit::new(file, place).assemble(&files, &format!("layer {digest}"))?;
        Ok(Box::new(stream))
    }

    /// Returns the directory with the files of a layer.
    fn files_of(&self, chain: &ChainId) -> Result<PathBuf> {
        let folder = self.folder_of(chain);
        let cache = read_within(&folder, "cache-id", MOST_ID_BYTES)?.unwrap_or_default();
        let cache = String::from_utf8(cache).unwrap_or_default();
        let is_name = !cache.is_empty() && cache.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_name {
            let what = "does not name the directory of the layer";
            return Err(Error::bad_input(folder.join("cache-id").display(), what));
        }
        Ok(self.root.join(DRIVER).join(cache).join("diff"))
    }

    /// True if the layers of a chain are here.
    pub fn has_chain(&self, chain: &ChainId) -> bool {
        self.folder_of(chain).join(TAR_SPLIT).is_file()
    }

    /// True if the image with this id is here.
    pub fn has_image(&self, id: &BlobDigest) -> bool {
        self.root.join(IMAGES).join(CONFIGS).join(id.hex()).is_file()
    }

    fn parse(&self, id: &str) -> Result<BlobDigest> {
        id.parse().map_err(|error| {
            let what = format!("{:?} is not an id of an image", escaped(id.as_bytes()));
            Error::bad_input_because(&self.place, what, error)
        })
    }

    fn described(&self) -> MutexGuard<'_, DescribedImages> {
        self.described.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for DockerStore {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn names(&self) -> Result<Vec<String>> {
        let names = self.images.keys().filter(|name| !name.contains('@'));
        Ok(names.map(|name| escaped(name.as_bytes()).into_owned()).collect())
    }

    fn find(&self, name: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        let id = match name {
            Some(ImageName::Tag(name)) => self.id_of(name)?,
            Some(ImageName::Digest(digest)) => {
                let suffix = format!("@{digest}");
                let named = self.images.iter().find(|(name, _)| name.ends_with(&suffix));
                Some(named.map_or(Ok(*digest), |(_, id)| self.parse(id))?)
            }
            Some(ImageName::Ordinal(_)) => {
                let what = "images of docker have names and ids, not positions";
                return Err(Error::bad_input(&self.place, what));
            }
            None => match self.ids()?.as_slice() {
                [id] => Some(*id),
                _ => None,
            },
        };
        let found = id.map(|id| self.manifest_of(&id)).transpose()?.flatten();
        if let Some(found) = found {
            return Ok(vec![found]);
        }
        let what = name.map_or_else(|| "the only image".into(), ToString::to_string);
        Err(Error::NotFound { place: self.place.clone(), what, present: self.names()? })
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let (document, chain) = {
            let described = self.described();
            let document = described.documents.get(&blob.digest).cloned();
            (document, described.layers.get(&blob.digest).copied())
        };
        match (document, chain) {
            (Some(document), _) => Ok(Box::new(Cursor::new(document))),
            (None, Some(chain)) => self.open_stream(&chain, &blob.digest),
            (None, None) => {
                let what = format!("blob {}", blob.digest);
                Err(Error::NotFound { place: self.place.clone(), what, present: Vec::new() })
            }
        }
    }

    fn has_layer(&self, layer: &Descriptor) -> Result<bool> {
        Ok(!self.described().absent.contains(&layer.digest))
    }

    fn in_place(&self, stream: &Descriptor, context: &Context) -> Result<Option<Arc<dyn ReadAt>>> {
        let chain = self.described().layers.get(&stream.digest).copied();
        let Some(chain) = chain else { return Ok(None) };
        let (file, place) = self.open_tar_split(&chain, &stream.digest)?;
        let files = self.files_of(&chain)?;
        Ok(Some(Arc::new(TarSplit::new(file, place).place(&files, context)?)))
    }
}

fn read_within(directory: &Path, name: &str, most_bytes: u64) -> Result<Option<Vec<u8>>> {
    let Some(file) = open_within(directory, name)? else { return Ok(None) };
    let (mut bytes, place) = (Vec::new(), directory.join(name));
    let count = file.take(most_bytes.saturating_add(1)).read_to_end(&mut bytes);
    if count.map_err(Error::io(place.display()))? as u64 > most_bytes {
        let what = format!("longer than {most_bytes} bytes");
        return Err(Error::bad_input(place.display(), what));
    }
    Ok(Some(bytes))
}

const DRIVER: &str = "overlay2";
const IMAGES: &str = "image/overlay2";
const CONFIGS: &str = "imagedb/content/sha256";
const TAR_SPLIT: &str = "tar-split.json.gz";
/// Ids of directories are 64 hexadecimal digits.
const MOST_ID_BYTES: u64 = 256;
/// A thousand images take a megabyte.
const MOST_DOCUMENT_BYTES: u64 = 64 << 20;
