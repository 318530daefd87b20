//! From what a name stands for to the one manifest that is meant, through nested indexes.
//!
//! Reads indexes and manifests, each checked by its digest; the number read is bounded. Never
//! chooses by order alone where a platform decides.

use super::{
    OpenOptions,
    kind::is_index,
    manifest::{Document, Manifest},
    platform::Platform,
};
use crate::store::{Descriptor, Store, read_blob};
use imgdelta_core::{Error, Limits, Note, Result};

pub(super) struct Selected {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
    pub manifest: Manifest,
}

pub(super) fn select(
    store: &dyn Store,
    candidates: Vec<Descriptor>,
    options: &OpenOptions,
    notes: &mut Vec<Note>,
) -> Result<Selected> {
    let host = Platform::host();
    let wanted = options.platform.as_ref().unwrap_or(&host);
    let mut walk = Walk { store, options, wanted, notes, documents: 0, descriptors: 0 };
    let mut images = walk.skip_companions(candidates)?;
    loop {
        // An index of unknown or fitting platform is opened before anything is chosen.
        if let Some(at) = images.iter().position(|image| walk.is_fitting_index(image)) {
            let nested = images.remove(at);
            let (_, document) = walk.read(&nested)?;
            images.splice(at..at, walk.children(&nested, document)?);
            continue;
        }
        let at = walk.choose(&images)?;
        let descriptor = images[at].clone();
        match walk.read(&descriptor)? {
            (bytes, Document::Manifest(manifest)) => {
                return Ok(Selected { descriptor, bytes, manifest: *manifest });
            }
            // The media type was silent or wrong.
            (_, Document::Index(children)) => {
                let children = walk.skip_companions(children)?;
                images.splice(at..=at, children);
            }
        }
    }
}

struct Walk<'a> {
    store: &'a dyn Store,
    options: &'a OpenOptions,
    wanted: &'a Platform,
    notes: &'a mut Vec<Note>,
    documents: u64,
    descriptors: u64,
}

impl Walk<'_> {
    fn read(&mut self, blob: &Descriptor) -> Result<(Vec<u8>, Document)> {
        self.documents += 1;
        Limits::admit(
            MAX_DOCUMENTS,
            self.documents,
            "count of nested indexes",
            self.store.place(),
        )?;
        let limit = self.options.limits.manifest_bytes;
        let bytes = read_blob(self.store, blob, limit, "size of a manifest")?;
        let document = Document::parse(&bytes, &format!("manifest {}", blob.digest))?;
        if let Document::Manifest(_) = document
            && is_index(blob.media_type())
        {
            self.notes.push(Note::new(
                format_args!("manifest {}", blob.digest),
                "media type says index, it is a manifest",
            ));
        }
        Ok((bytes, document))
    }

    fn children(&mut self, blob: &Descriptor, document: Document) -> Result<Vec<Descriptor>> {
        match document {
            Document::Index(children) => self.skip_companions(children),
            // Now told as what it is, so that it is not taken for an index again.
            Document::Manifest(_) => Ok(vec![Descriptor { media_type: None, ..blob.clone() }]),
        }
    }

    /// Leaves out what accompanies images: attestations, and artifacts beside images.
    fn skip_companions(&mut self, children: Vec<Descriptor>) -> Result<Vec<Descriptor>> {
        let place = self.store.place();
        self.descriptors += children.len() as u64;
        let limit = self.options.limits.descriptors;
        Limits::admit(limit, self.descriptors, "count of descriptors", &place)?;
        let all = children.len();
        let mut images: Vec<Descriptor> =
            children.into_iter().filter(|child| !is_attestation(child)).collect();
        let attestations = all - images.len();
        if attestations > 0 {
            let what = format!("{attestations} attestation manifests skipped");
            self.notes.push(Note::new(&place, what));
        }
        if images.iter().any(|image| image.artifact_type.is_none()) {
            let before = images.len();
            images.retain(|image| image.artifact_type.is_none());
            if before > images.len() {
                let what = format!("{} artifacts beside the image skipped", before - images.len());
                self.notes.push(Note::new(&place, what));
            }
        }
        Ok(images)
    }

    fn is_fitting_index(&self, image: &Descriptor) -> bool {
        is_index(image.media_type())
            && stated(image).is_none_or(|platform| self.wanted.distance(&platform).is_some())
    }

    fn choose(&mut self, images: &[Descriptor]) -> Result<usize> {
        let distance = |image: &Descriptor| self.wanted.distance(&stated(image)?);
        let ranked =
            images.iter().enumerate().filter_map(|(at, image)| Some((distance(image)?, at)));
        if let Some((distance, at)) = ranked.min() {
            if distance > 0 {
                let (wanted, image) = (self.wanted, shown(&images[at]));
                let what = format!("no image for {wanted}; the one for {image} is taken");
                self.notes.push(Note::new(self.store.place(), what));
            }
            return Ok(at);
        }
        let mut silent = images.iter().enumerate().filter(|(_, image)| stated(image).is_none());
        if let (Some((at, _)), None) = (silent.next(), silent.next()) {
            return Ok(at);
        }
        // Nobody asked for a platform, and there is only one to have.
        if self.options.platform.is_none() && images.len() == 1 {
            return Ok(0);
        }
        Err(Error::NotFound {
            place: self.store.place(),
            what: format!("an image for {}", self.wanted),
            present: images.iter().map(shown).collect(),
        })
    }
}

fn is_attestation(image: &Descriptor) -> bool {
    let annotations = image.annotations.as_ref();
    let kind = annotations.and_then(|annotations| annotations.reference_type.as_deref());
    kind == Some("attestation-manifest")
        || stated(image).is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
}

fn stated(image: &Descriptor) -> Option<Platform> {
    Platform::stated(image.platform.as_ref()?)
}

fn shown(image: &Descriptor) -> String {
    stated(image).map_or_else(|| format!("unstated ({})", image.digest), |p| p.to_string())
}

/// A real image needs two or three; a stranger's chain of indexes ends here.
const MAX_DOCUMENTS: u64 = 64;
