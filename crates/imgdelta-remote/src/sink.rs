//! A registry as the destination of an image.
//!
//! A layer is complete and verified in a temporary file before it is sent. The manifest is stored last,
//! under the tag or digest of the reference.

use imgdelta::sink::{AcceptedForm, BlobWriter, OutgoingImage, Sink, VerifiedBlob};
use imgdelta_core::{
    Error, Result,
    progress::Progress,
    scratch::{Scratch, ScratchFile},
};
use imgdelta_image::{Reference, reference::RegistryReference, store::Descriptor};
use imgdelta_registry::{ManifestReference, Registries, Repository};
use std::{io::Write, sync::Arc};

/// A registry as the destination of one image.
#[derive(Debug)]
pub struct RegistrySink {
    registries: Registries,
    repository: Repository,
    reference: RegistryReference,
    scratch: Scratch,
    image: Option<OutgoingImage>,
}

impl RegistrySink {
    /// Makes a sink of an image's name in a registry. Sends nothing.
    pub fn new(registries: &Registries, image: &Reference, scratch: &Scratch) -> Result<Self> {
        let repository = registries.repository(image)?;
        let Reference::Registry(reference) = image else {
            return Err(Error::bad_input(image, "not in a registry"));
        };
        Ok(Self {
            registries: registries.clone(),
            repository,
            reference: reference.clone(),
            scratch: scratch.clone(),
            image: None,
        })
    }

    fn put(&self, blob: &Descriptor, source: Arc<dyn imgdelta::store::ReadAt>) -> Result<()> {
        let (repository, blob) = (self.repository.clone(), blob.clone());
        let sent = async move { repository.put_blob(&blob, source, 0, None).await };
        self.registries.wait(sent)?;
        Ok(())
    }
}

impl Sink for RegistrySink {
    fn place(&self) -> String {
        format!("docker://{}", self.reference)
    }

    fn accepts(&self) -> AcceptedForm {
        AcceptedForm::Blobs
    }

    fn begin(&mut self, image: OutgoingImage) -> Result<()> {
        match self.reference.digest {
            Some(digest) if digest != image.manifest.digest => {
                let what = format!("the image has another digest, {}", image.manifest.digest);
                Err(Error::bad_input(self.place(), what))
            }
            _ => {
                self.image = Some(image);
                Ok(())
            }
        }
    }

    fn has(&self, blob: &Descriptor, _: &dyn Progress) -> Result<bool> {
        let (repository, blob) = (self.repository.clone(), blob.clone());
        Ok(self.registries.wait(async move { repository.has_blob(&blob).await })?)
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        self.scratch.raise(blob.size_bytes);
        let file = self.scratch.file()?;
        Ok(Box::new(RegistryBlobWriter { sink: self, blob: blob.clone(), file }))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let image = self.image.as_ref().expect("the image was announced");
        self.put(&image.config, Arc::new(image.config_bytes.clone()))?;
        let repository = self.repository.clone();
        let (bytes, kind) = (image.manifest_bytes.clone(), manifest_type(image));
        let name = match (&self.reference.tag, self.reference.digest) {
            (Some(tag), None) => ManifestReference::Tag(tag.clone()),
            _ => ManifestReference::Digest(image.manifest.digest),
        };
        self.registries.wait(async move { repository.put_manifest(&name, &kind, &bytes).await })?;
        Ok(())
    }
}

/// Writes one layer to a temporary file, and sends it when it is verified.
struct RegistryBlobWriter<'a> {
    sink: &'a RegistrySink,
    blob: Descriptor,
    file: ScratchFile,
}

impl BlobWriter for RegistryBlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(self.sink.scratch.place()))
    }

    fn finish(self: Box<Self>, proof: VerifiedBlob) -> Result<()> {
        let blob = Descriptor { digest: proof.digest(), ..self.blob };
        self.sink.put(&blob, Arc::new(self.file))
    }
}

/// Returns the type of a manifest: of its descriptor, or its own statement.
fn manifest_type(image: &OutgoingImage) -> String {
    let stated = image.manifest.media_type();
    if !stated.is_empty() {
        return stated.to_owned();
    }
    let document: serde_json::Value =
        serde_json::from_slice(&image.manifest_bytes).unwrap_or_default();
    document["mediaType"].as_str().unwrap_or(OCI_MANIFEST).to_owned()
}

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
