//! The images that a layout's `index.json` lists, and the choice of one by name.
//!
//! Knows names and descriptors only; opens nothing.

use super::Descriptor;
use crate::reference::{ImageName, full_docker_name};
use imgdelta_core::{Error, LimitName, Limits, Result, path::escaped};
use serde::Deserialize;

/// The descriptors of `index.json`, in the file's order.
#[derive(Debug)]
pub(super) struct LayoutRoots(Vec<Descriptor>);

#[derive(Deserialize)]
struct IndexFile {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

impl LayoutRoots {
    pub(super) fn parse(json: &[u8], place: &str, limits: &Limits) -> Result<Self> {
        let index: IndexFile = serde_json::from_slice(json).map_err(|error| {
            Error::bad_input_because(place, "index.json cannot be parsed", error)
        })?;
        let roots = index.manifests.unwrap_or_default();
        limits.admit(LimitName::Descriptors, roots.len() as u64, "count of descriptors", place)?;
        Ok(Self(roots))
    }

    /// Returns every name once, in the file's order; an image without a name by its digest.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for root in &self.0 {
            let name = match label(root) {
                Some(name) => escaped(name.as_bytes()).into_owned(),
                None => format!("@{}", root.digest),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Returns the descriptors of a name, or `None` for a digest that `index.json` does not list.
    pub(super) fn find(
        &self,
        name: Option<&ImageName>,
        place: &str,
    ) -> Result<Option<Vec<Descriptor>>> {
        let matching: Vec<&Descriptor> = match name {
            None => self.0.iter().collect(),
            Some(ImageName::Tag(tag)) => {
                let full = full_docker_name(tag);
                self.0.iter().filter(|root| has_name(root, tag, &full)).collect()
            }
            Some(ImageName::Digest(digest)) => {
                let root = self.0.iter().find(|root| root.digest == *digest);
                return Ok(root.map(|root| vec![root.clone()]));
            }
            Some(ImageName::Ordinal(ordinal)) => self.0.get(*ordinal).into_iter().collect(),
        };
        let Some(first) = matching.first() else {
            let Some(name) = name else {
                return Err(Error::bad_input(place, "index.json lists no image"));
            };
            return Err(self.missing(place, name.to_string()));
        };
        // Several roots are one image if they are the same blob with several names, or if they
        // share a name, once per platform.
        let is_one = matching.iter().all(|root| root.digest == first.digest)
            || name.is_some()
            || matching.iter().all(|root| label(root) == label(first));
        if !is_one {
            return Err(ambiguous(place, &self.names()));
        }
        let mut found: Vec<Descriptor> = Vec::new();
        for root in matching {
            if !found.iter().any(|other| other.digest == root.digest) {
                found.push(root.clone());
            }
        }
        Ok(Some(found))
    }

    pub(super) fn missing(&self, place: &str, what: String) -> Error {
        Error::NotFound { place: place.to_owned(), what, present: self.names() }
    }
}

fn has_name(root: &Descriptor, tag: &str, full: &str) -> bool {
    let annotations = root.annotations.as_ref();
    let ref_name = annotations.and_then(|a| a.ref_name.as_deref());
    let containerd_name = annotations.and_then(|a| a.containerd_name.as_deref());
    ref_name == Some(tag)
        || containerd_name.is_some_and(|name| name == tag || full_docker_name(name) == full)
}

/// Returns the error for a place that holds several images when none of them was named.
pub(super) fn ambiguous(place: &str, names: &[String]) -> Error {
    let shown = names.iter().take(MAX_SHOWN_NAMES).map(|name| match name.strip_prefix("@sha") {
        Some(_) => format!("{place}{name}"),
        None => format!("{place}:{name}"),
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    let more = match names.len().saturating_sub(MAX_SHOWN_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let count = names.len();
    Error::bad_input(place, format_args!("holds {count} images; name one: {shown}{more}"))
}

/// Returns a root's name: Docker's whole reference if it has one, since Docker's `ref.name` is a
/// bare tag that many images share.
fn label(root: &Descriptor) -> Option<&str> {
    let annotations = root.annotations.as_ref()?;
    annotations.containerd_name.as_deref().or(annotations.ref_name.as_deref())
}

/// A layout may hold thousands of images; an error line stays readable.
const MAX_SHOWN_NAMES: usize = 12;
