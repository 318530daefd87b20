//! A sink for one tar file: an OCI archive, or an archive for `docker load`.
//! Never compresses.
//!
//! All lengths are known at the start, so that every member has its place and layers are written in
//! parallel. The file gets its name when it is complete. A device or pipe gets the bytes of a complete
//! scratch file.

use super::{
    AcceptedForm, BlobWriter, LAYOUT_VERSION, OutgoingImage, Sink, blob_path, index_entry,
    tar::{self, BLOCK_BYTES, MemberKind},
};
use imgdelta_core::{
    BlobDigest, Error, Result,
    destination::{OutputTarget, open_stream, unfinished_for},
    progress::Progress,
    scratch::{Scratch, ScratchFile, write_all_at},
    unfinished::{UnfinishedFile, UnfinishedKind},
    verify::VerifiedBlob,
};
use imgdelta_image::{Reference, reference::full_docker_name, store::Descriptor};
use serde_json::json;
use std::{
    collections::{BTreeSet, HashMap},
    io::{self, Seek},
    path::{Path, PathBuf},
    str::FromStr,
};

/// A tar file for one image.
#[derive(Debug)]
pub(super) struct ArchiveSink {
    path: PathBuf,
    tag: Option<String>,
    is_docker: bool,
    output: ArchiveOutput,
    /// For each layer, the offset of its payload.
    places: HashMap<BlobDigest, u64>,
}

/// The file that takes the archive.
#[derive(Debug)]
enum ArchiveOutput {
    /// Renamed to the path when it is complete.
    Unfinished(UnfinishedFile, PathBuf),
    /// Copied to the device or pipe when it is complete.
    Spooled(ScratchFile, PathBuf),
}

impl ArchiveOutput {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Unfinished(unfinished, _) => write_all_at(unfinished.file(), bytes, offset),
            Self::Spooled(file, _) => file.write_all_at(bytes, offset),
        }
    }

    /// Extends the file with zeros.
    fn end_at(&self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Unfinished(unfinished, _) => unfinished.file().set_len(bytes),
            Self::Spooled(file, _) => file.reserve(bytes),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Unfinished(unfinished, path) => unfinished.publish(&path),
            Self::Spooled(mut file, path) => {
                file.rewind().map_err(Error::io("scratch file"))?;
                let copied = io::copy(&mut file, &mut open_stream(&path)?);
                copied.map(drop).map_err(Error::io(path.display()))
            }
        }
    }
}

impl ArchiveSink {
    /// Creates an OCI archive.
    pub(super) fn oci(path: &Path, tag: Option<String>, scratch: &Scratch) -> Result<Self> {
        Self::create(path, tag, false, scratch)
    }

    /// Creates a docker archive; its tag is a whole reference.
    pub(super) fn docker(path: &Path, tag: Option<String>, scratch: &Scratch) -> Result<Self> {
        let tag = tag.map(|tag| {
            // Refuses references that `docker load` would refuse.
            Reference::from_str(&format!("docker://{tag}"))?;
            Ok(full_docker_name(&tag))
        });
        Self::create(path, tag.transpose()?, true, scratch)
    }

    fn create(
        path: &Path,
        tag: Option<String>,
        is_docker: bool,
        scratch: &Scratch,
    ) -> Result<Self> {
        let output = match OutputTarget::of(path)? {
            OutputTarget::Name(name) => {
                ArchiveOutput::Unfinished(unfinished_for(&name, UnfinishedKind::Archive)?, name)
            }
            OutputTarget::Stream(name) => ArchiveOutput::Spooled(scratch.file()?, name),
        };
        Ok(Self { path: path.to_owned(), tag, is_docker, output, places: HashMap::new() })
    }

    /// Returns the members that precede the layers, with their contents.
    fn documents(&self, image: &OutgoingImage) -> Vec<(String, Vec<u8>)> {
        if self.is_docker {
            let config = format!("{}.json", image.config.digest.hex());
            let layers: Vec<String> = image.layers.iter().map(layer_name).collect();
            let manifest = json!([{
                "Config": config,
                "RepoTags": self.tag.iter().collect::<Vec<_>>(),
                "Layers": layers,
            }]);
            return vec![
                ("manifest.json".into(), manifest.to_string().into_bytes()),
                (config, image.config_bytes.clone()),
            ];
        }
        let entry = index_entry(&image.manifest, self.tag.as_deref());
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        vec![
            ("oci-layout".into(), LAYOUT_VERSION.to_vec()),
            ("index.json".into(), index.to_string().into_bytes()),
            (blob_path(&image.manifest), image.manifest_bytes.clone()),
            (blob_path(&image.config), image.config_bytes.clone()),
        ]
    }

    fn member_name(&self, layer: &Descriptor) -> String {
        if self.is_docker { layer_name(layer) } else { blob_path(layer) }
    }

    fn folders(&self, image: &OutgoingImage) -> BTreeSet<String> {
        let blobs = image.layers.iter().chain([&image.manifest, &image.config]);
        let names = blobs.map(|blob| format!("blobs/{}/", blob.digest.algorithm().name()));
        if self.is_docker { BTreeSet::new() } else { names.chain(["blobs/".into()]).collect() }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.output.write_at(bytes, offset).map_err(Error::io(self.path.display()))
    }
}

impl Sink for ArchiveSink {
    fn place(&self) -> String {
        let transport = if self.is_docker { "docker-archive" } else { "oci-archive" };
        format!("{transport}:{}", self.path.display())
    }

    fn accepts(&self) -> AcceptedForm {
        if self.is_docker { AcceptedForm::Streams } else { AcceptedForm::Blobs }
    }

    fn begin(&mut self, image: OutgoingImage) -> Result<()> {
        let mut at = 0;
        for folder in self.folders(&image) {
            let header = tar::header(&folder, MemberKind::Directory, 0);
            self.write_at(&header, at)?;
            at += header.len() as u64;
        }
        for (name, content) in self.documents(&image) {
            let header = tar::header(&name, MemberKind::File, content.len() as u64);
            self.write_at(&header, at)?;
            self.write_at(&content, at + header.len() as u64)?;
            at += header.len() as u64 + tar::padded(content.len() as u64);
        }
        for layer in &image.layers {
            if self.places.contains_key(&layer.digest) {
                continue;
            }
            let header = tar::header(&self.member_name(layer), MemberKind::File, layer.size_bytes);
            self.write_at(&header, at)?;
            at += header.len() as u64;
            self.places.insert(layer.digest, at);
            let padded = layer.size_bytes.checked_next_multiple_of(BLOCK_BYTES as u64);
            at = padded
                .and_then(|bytes| at.checked_add(bytes))
                .ok_or_else(|| Error::bad_input(self.place(), "the layers' lengths overflow"))?;
        }
        // Unwritten bytes are zero: padding, and the two blocks at the end.
        let end = at + 2 * BLOCK_BYTES as u64;
        self.output.end_at(end).map_err(Error::io(self.path.display()))
    }

    fn has(&self, _: &Descriptor, _: &dyn Progress) -> Result<bool> {
        Ok(false)
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        let at = *self.places.get(&blob.digest).expect("named in `begin`");
        Ok(Box::new(ArchiveWriter { sink: self, at, end: at + blob.size_bytes }))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.output.finish()
    }
}

struct ArchiveWriter<'a> {
    sink: &'a ArchiveSink,
    at: u64,
    end: u64,
}

impl BlobWriter for ArchiveWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.at + bytes.len() as u64;
        assert!(end <= self.end, "the writer checks the size first");
        self.sink.write_at(bytes, self.at)?;
        self.at = end;
        Ok(())
    }

    fn finish(self: Box<Self>, _: VerifiedBlob) -> Result<()> {
        debug_assert_eq!(self.at, self.end, "the proof includes the length");
        Ok(())
    }
}

fn layer_name(layer: &Descriptor) -> String {
    format!("{}.tar", layer.digest.hex())
}
