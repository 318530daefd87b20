//! The choice of one manifest among the candidates of a name, through nested indexes.
//!
//! Reads indexes and manifests, each compared with its digest, and bounds their number. Never
//! chooses by order alone where a platform decides.

use super::{
    OpenOptions, fault,
    kind::is_index,
    manifest::{Document, Manifest},
    platform::Platform,
};
use crate::store::{Descriptor, Store, read_blob};
use imgdelta_core::{Error, LimitName, Note, Result, limits::Ceiling};

/// The chosen manifest, with its bytes and its descriptor.
pub(super) struct ChosenManifest {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
    pub manifest: Manifest,
}

pub(super) fn select(
    store: &dyn Store,
    candidates: Vec<Descriptor>,
    options: &OpenOptions,
    notes: &mut Vec<Note>,
) -> Result<ChosenManifest> {
    let host = Platform::host();
    let wanted = options.platform.as_ref().unwrap_or(&host);
    let mut walk = IndexWalk { store, options, wanted, notes, documents: 0, descriptors: 0 };
    let mut images = walk.skip_companions(candidates)?;
    loop {
        // Indexes that may hold the platform are opened before anything is chosen.
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
                return Ok(ChosenManifest { descriptor, bytes, manifest: *manifest });
            }
            // The media type is missing or wrong.
            (_, Document::Index(children)) => {
                let children = walk.skip_companions(children)?;
                images.splice(at..=at, children);
            }
        }
    }
}

/// The documents read so far, and the rules of the choice.
struct IndexWalk<'a> {
    store: &'a dyn Store,
    options: &'a OpenOptions,
    wanted: &'a Platform,
    notes: &'a mut Vec<Note>,
    documents: u64,
    descriptors: u64,
}

impl IndexWalk<'_> {
    fn read(&mut self, blob: &Descriptor) -> Result<(Vec<u8>, Document)> {
        self.documents += 1;
        Ceiling::fixed(MAX_DOCUMENTS).admit(
            self.documents,
            "count of nested indexes",
            self.store.place(),
        )?;
        let limit = self.options.limits.ceiling(LimitName::ManifestBytes);
        let bytes = read_blob(self.store, blob, limit, "size of a manifest")
            .map_err(fault::in_blob(self.store, &self.store.place(), "manifest", blob))?;
        let document = Document::parse(&bytes, &format!("manifest {}", blob.digest))?;
        if let Document::Manifest(_) = document
            && is_index(blob.media_type())
        {
            self.notes.push(Note::new(
                format_args!("manifest {}", blob.digest),
                "media type says index, content is a manifest",
            ));
        }
        Ok((bytes, document))
    }

    fn children(&mut self, blob: &Descriptor, document: Document) -> Result<Vec<Descriptor>> {
        match document {
            Document::Index(children) => self.skip_companions(children),
            // Without the wrong media type it is not opened as an index again.
            Document::Manifest(_) => Ok(vec![Descriptor { media_type: None, ..blob.clone() }]),
        }
    }

    /// Leaves out attestations, and artifacts if there are images.
    fn skip_companions(&mut self, children: Vec<Descriptor>) -> Result<Vec<Descriptor>> {
        let place = self.store.place();
        self.descriptors += children.len() as u64;
        self.options.limits.admit(
            LimitName::Descriptors,
            self.descriptors,
            "count of descriptors",
            &place,
        )?;
        let all = children.len();
        let mut images: Vec<Descriptor> =
            children.into_iter().filter(|child| !is_attestation(child)).collect();
        let attestations = all - images.len();
        if attestations > 0 {
            let what = match attestations {
                1 => "1 attestation manifest skipped".to_owned(),
                count => format!("{count} attestation manifests skipped"),
            };
            self.notes.push(Note::new(&place, what));
        }
        if images.iter().any(|image| image.artifact_type.is_none()) {
            let before = images.len();
            images.retain(|image| image.artifact_type.is_none());
            if before > images.len() {
                let what = match before - images.len() {
                    1 => "1 artifact next to the image skipped".to_owned(),
                    count => format!("{count} artifacts next to the image skipped"),
                };
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
                let what = format!("no image for {wanted}; took the one for {image}");
                self.notes.push(Note::new(self.store.place(), what));
            }
            return Ok(at);
        }
        let mut unstated = images.iter().enumerate().filter(|(_, image)| stated(image).is_none());
        if let (Some((at, _)), None) = (unstated.next(), unstated.next()) {
            return Ok(at);
        }
        // Without a platform in the options, the only image is taken, of any platform.
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
    stated(image).map_or_else(|| format!("no platform ({})", image.digest), |p| p.to_string())
}

/// A real image needs two or three documents; a hostile chain of indexes ends here.
const MAX_DOCUMENTS: u64 = 64;
