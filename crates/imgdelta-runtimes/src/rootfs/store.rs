//! An unpacked image as a store: the layers that are complete, with a generated manifest.
//! Never compares the digest of a blob, which its reader does.

use super::{
    completeness::{Completeness, states},
    files::{LayerContent, RootFiles},
};
use imgdelta_core::{BlobDigest, Context, DiffId, Error, Limits, Note, Result};
use imgdelta_frames::{
    FRAMES_DIRECTORY, FrameLimits, FrameStore, ReplacedFiles, replaced_directory,
};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::{ImageName, Reference},
    store::{Descriptor, GeneratedManifest, Store, layout::OciLayout, source::ReadAt},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    io::{Cursor, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The layers of an unpacked image that its files and their frames give back.
///
/// The image has these layers only, uncompressed, and a manifest that no registry knows.
#[derive(Debug)]
pub struct RootfsStore {
    place: String,
    files: LayerContent,
    frames: FrameStore,
    manifest: Descriptor,
    documents: HashMap<BlobDigest, Arc<[u8]>>,
    streams: HashMap<BlobDigest, DiffId>,
    notes: Vec<Note>,
}

impl RootfsStore {
    /// Opens a root file system, and the folder with the image's documents and frames; without one,
    /// `var/lib/imgdelta/image` below the root. Looks at every file, and reads none.
    ///
    /// No layer that is complete is an error.
    pub fn open(directory: &Path, frames: Option<&Path>, limits: &Limits) -> Result<Self> {
        let reference =
            Reference::Rootfs { directory: directory.into(), frames: frames.map(Into::into) };
        let place = reference.to_string();
        let root = RootFiles::open(directory).map_err(Error::io(directory.display()))?;
        let folder = frames.map_or_else(|| directory.join(USUAL_FRAMES), PathBuf::from);
        let (image, frames) = open_folder(&folder, &place, limits)?;
        let replaced = ReplacedFiles::new(replaced_directory(&folder));
        let files = LayerContent { root, replaced, diff_id: None };
        let diff_ids: Vec<DiffId> = image.layers.iter().map(|layer| layer.diff_id).collect();
        let states = states(&diff_ids, &frames, &files, limits)?;
        let mut notes = Vec::new();
        let (mut layers, mut streams) = (Vec::new(), HashMap::new());
        for ((ordinal, diff_id), state) in diff_ids.iter().enumerate().zip(&states) {
            match state {
                Completeness::Complete(bytes) => {
                    let stream = Descriptor::of_stream(diff_id, *bytes);
                    streams.insert(stream.digest, *diff_id);
                    layers.push(stream);
                }
                Completeness::LeftOut(reason) => {
                    let what = format!("layer {} ({diff_id}) is not a base: {reason}", ordinal + 1);
                    notes.push(Note::new(&place, what));
                }
            }
        }
        if layers.is_empty() {
            let first = notes.first().map_or("the image has no layers", |note| &note.what);
            let what = format!("no layer of image {} is complete; {first}", image.digest);
            return Err(Error::bad_input(place, what));
        }
        let config = if notes.is_empty() {
            image.config_bytes
        } else {
            let is_kept: Vec<bool> =
                states.iter().map(|state| matches!(state, Completeness::Complete(_))).collect();
            config_of(&image.config_bytes, &is_kept, &place)?
        };
        let manifest = GeneratedManifest::new(&config, &layers);
        let documents = HashMap::from([
            (manifest.config.digest, config.into()),
            (manifest.descriptor.digest, manifest.bytes.into()),
        ]);
        let manifest = manifest.descriptor;
        Ok(Self { place, files, frames, manifest, documents, streams, notes })
    }

    /// Returns a note for each layer that was left out, with the first file that is not there.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

impl Store for RootfsStore {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn find(&self, name: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        match name {
            None => Ok(vec![self.manifest.clone()]),
            Some(name) => Err(Error::NotFound {
                place: self.place.clone(),
                what: name.to_string(),
                present: Vec::new(),
            }),
        }
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        if let Some(document) = self.documents.get(&blob.digest) {
            return Ok(Box::new(Cursor::new(Arc::clone(document))));
        }
        let diff_id = self.streams.get(&blob.digest);
        let reader = diff_id.map(|diff_id| self.frames.reader(diff_id)).transpose()?.flatten();
        match diff_id.zip(reader) {
            Some((diff_id, reader)) => Ok(Box::new(reader.assemble(self.files.of_layer(diff_id)))),
            None => Err(Error::NotFound {
                place: self.place.clone(),
                what: format!("blob {}", blob.digest),
                present: Vec::new(),
            }),
        }
    }

    fn in_place(&self, stream: &Descriptor, context: &Context) -> Result<Option<Arc<dyn ReadAt>>> {
        let Some(diff_id) = self.streams.get(&stream.digest) else { return Ok(None) };
        let Some(reader) = self.frames.reader(diff_id)? else { return Ok(None) };
        Ok(Some(Arc::new(reader.place(self.files.of_layer(diff_id), context)?)))
    }
}

/// Opens a folder with the documents of an image and the frames of its layers.
fn open_folder(folder: &Path, place: &str, limits: &Limits) -> Result<(Image, FrameStore)> {
    let frames = folder.join(FRAMES_DIRECTORY);
    if !frames.is_dir() {
        let what = format!(
            "{} is not a folder with frames; write one with `imgdelta frames IMAGE -o FOLDER` when \
             the image is unpacked, and name it as in rootfs:DIR:FOLDER",
            folder.display()
        );
        return Err(Error::bad_input(place, what));
    }
    let documents = Arc::new(OciLayout::open_directory(folder, limits)?);
    let image = Image::open(documents, None, &OpenOptions::default().limits(limits.clone()))?;
    Ok((image, FrameStore::open(&frames, FrameLimits::default())?))
}

/// Returns a config without the layers that are left out, and without their lines of the history.
fn config_of(config: &[u8], is_kept: &[bool], place: &str) -> Result<Vec<u8>> {
    let mut config: Value = serde_json::from_slice(config)
        .map_err(|error| Error::bad_input_because(place, "the config cannot be parsed", error))?;
    let mut layers = is_kept.iter();
    if let Some(diff_ids) = config.pointer_mut("/rootfs/diff_ids").and_then(Value::as_array_mut) {
        diff_ids.retain(|_| layers.next() == Some(&true));
    }
    let is_layer = |line: &Value| line["empty_layer"] != true;
    let mut layers = is_kept.iter();
    if let Some(history) = config.get_mut("history").and_then(Value::as_array_mut) {
        if history.iter().filter(|line| is_layer(line)).count() == is_kept.len() {
            history.retain(|line| !is_layer(line) || layers.next() == Some(&true));
        } else {
            history.clear();
        }
    }
    Ok(config.to_string().into_bytes())
}

/// The folder with the documents and frames of the image, below the root.
const USUAL_FRAMES: &str = "var/lib/imgdelta/image";
