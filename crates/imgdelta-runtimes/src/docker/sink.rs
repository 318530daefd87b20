//! A sink that stages an image in docker: its new layers and its config go through `docker load`.
//! Never gives the image a name, and never writes docker's files.
//!
//! The pull that follows finds the config's digest, which is docker's id of the image, and fetches
//! nothing else than the manifest. docker computes the digest of each layer that it loads.

use super::{options::DockerOptions, store::DockerStore};
use crate::{
    chain::ChainId,
    engine::{self, EngineRun},
    layer_folder::LayerFolder,
};
use imgdelta_apply::sink::{AcceptedForm, BlobWriter, OutgoingImage, Sink};
use imgdelta_core::{
    BlobDigest, DiffId, Error, Result, durable::create_directory, progress::Progress,
};
use imgdelta_image::store::Descriptor;
use serde_json::json;
use std::{
    collections::HashSet,
    fs::File,
    io::{self, Write},
    path::PathBuf,
    process::Stdio,
};

/// Stages one image in docker.
#[derive(Debug)]
pub struct DockerSink {
    options: DockerSinkOptions,
    store: DockerStore,
    image: Option<StagedImage>,
}

/// Options for staging in docker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DockerSinkOptions {
    /// The place of docker's store, which shows the layers that are there.
    pub store: DockerOptions,
    /// The program. The default is `docker`, searched as a shell does.
    pub program: PathBuf,
    /// The daemon's address, such as `unix:///run/docker.sock`; by default that of the program.
    pub host: Option<String>,
    /// A directory for streams on their way.
    pub scratch: PathBuf,
}

/// An image on its way.
#[derive(Debug)]
struct StagedImage {
    image: OutgoingImage,
    chains: Vec<ChainId>,
    folder: LayerFolder,
}

impl DockerSinkOptions {
    /// Returns the options of a store, with a directory for streams on their way.
    pub fn new(store: DockerOptions, scratch: impl Into<PathBuf>) -> Self {
        Self { store, program: "docker".into(), host: None, scratch: scratch.into() }
    }

    /// Sets the program.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Sets the daemon's address.
    #[must_use]
    pub fn host(mut self, host: Option<String>) -> Self {
        self.host = host;
        self
    }

    fn host_arguments(&self) -> Vec<&str> {
        self.host.iter().flat_map(|host| ["--host", host]).collect()
    }
}

impl DockerSink {
    /// Opens docker's store. A daemon that does not answer is reported now, before any work.
    pub fn new(options: DockerSinkOptions) -> Result<Self> {
        create_directory(&options.scratch)?;
        let mut arguments = options.host_arguments();
        arguments.extend(["version", "--format", "{{.Server.Version}}"]);
        engine::run(&options.program, &arguments, &options.scratch)?;
        let store = DockerStore::open(&options.store)?;
        Ok(Self { options, store, image: None })
    }

    fn begun(&self) -> &StagedImage {
        self.image.as_ref().expect("`begin` comes first")
    }

    /// True if docker has the layer in all its places in the image.
    fn is_there(&self, staged: &StagedImage, digest: &BlobDigest) -> bool {
        let layers = staged.image.layers.iter().zip(&staged.chains);
        let mut places = layers.filter(|(layer, _)| layer.digest == *digest);
        places.all(|(_, chain)| self.store.has_chain(chain))
    }

    /// Sends the archive of an image to docker, which reads it as it is written.
    fn load(&self, staged: &StagedImage) -> Result<()> {
        let mut arguments = self.options.host_arguments();
        arguments.push("load");
        let (program, scratch) = (&self.options.program, staged.folder.path());
        let mut run = EngineRun::start(program, &arguments, scratch, Stdio::piped())?;
        let input = run.input().expect("a pipe of our own");
        let written = write_archive(staged, input);
        // A program that ends early says why; the broken pipe does not.
        let printed = run.finish()?;
        written.map_err(Error::io(program.display()))?;
        let id = staged.image.config.digest.to_string();
        if printed.contains(&id) {
            return Ok(());
        }
        let what = format!("did not load image {id}, but printed {:?}", printed.trim());
        Err(Error::io(program.display())(io::Error::other(what)))
    }
}

impl Sink for DockerSink {
    fn place(&self) -> String {
        format!("docker ({})", self.options.store.root.display())
    }

    fn accepts(&self) -> AcceptedForm {
        AcceptedForm::Streams
    }

    fn has_layers(&self, diff_ids: &[DiffId]) -> Result<Vec<bool>> {
        Ok(ChainId::of_layers(diff_ids).iter().map(|chain| self.store.has_chain(chain)).collect())
    }

    fn begin(&mut self, image: OutgoingImage) -> Result<()> {
        let diff_ids = image.layers.iter().map(|layer| layer.digest.to_string().parse());
        let diff_ids: std::result::Result<Vec<DiffId>, _> = diff_ids.collect();
        let diff_ids = diff_ids.map_err(|error| Error::bad_input(self.place(), error))?;
        let chains = ChainId::of_layers(&diff_ids);
        let folder = LayerFolder::create(&self.options.scratch)?;
        self.image = Some(StagedImage { image, chains, folder });
        Ok(())
    }

    fn has(&self, blob: &Descriptor, progress: &dyn Progress) -> Result<bool> {
        progress.check()?;
        Ok(self.is_there(self.begun(), &blob.digest))
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        self.begun().folder.writer(&blob.digest)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let staged = self.image.take().expect("`begin` comes first");
        let is_missing = |layer: &&Descriptor| {
            !staged.folder.has(&layer.digest) && !self.is_there(&staged, &layer.digest)
        };
        if let Some(layer) = staged.image.layers.iter().find(is_missing) {
            let what = format!("layer {} was not written", layer.digest);
            return Err(Error::bad_input(self.place(), what));
        }
        if self.store.has_image(&staged.image.config.digest) {
            return Ok(());
        }
        self.load(&staged)
    }
}

/// Writes an archive as `docker load` reads it, without the layers that docker has.
fn write_archive(staged: &StagedImage, output: impl Write) -> io::Result<()> {
    let OutgoingImage { config, config_bytes, layers, .. } = &staged.image;
    let config = format!("{}.json", config.digest.hex());
    let names: Vec<String> =
        layers.iter().map(|layer| format!("{}.tar", layer.digest.hex())).collect();
    // A layer that docker has may be missing in the archive.
    let manifest = json!([{"Config": config, "RepoTags": null, "Layers": names}]);
    let mut archive = tar::Builder::new(output);
    let mut append = |name: &str, bytes: u64, content: &mut dyn io::Read| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes);
        archive.append_data(&mut header, name, content)
    };
    let manifest = manifest.to_string();
    append("manifest.json", manifest.len() as u64, &mut manifest.as_bytes())?;
    append(&config, config_bytes.len() as u64, &mut config_bytes.as_slice())?;
    let mut seen = HashSet::new();
    for (layer, name) in layers.iter().zip(&names) {
        if staged.folder.has(&layer.digest) && seen.insert(layer.digest) {
            let mut file = File::open(staged.folder.file(&layer.digest))?;
            append(name, layer.size_bytes, &mut file)?;
        }
    }
    archive.into_inner()?.flush()
}
