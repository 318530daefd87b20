//! The images a layout's `index.json` names, and the choice of one of them.
//!
//! Knows names and descriptors only; opens nothing.

use super::Descriptor;
use crate::reference::{Name, full_docker_name};
use imgdelta_core::{Error, Limits, Result, path::escaped};
use serde::Deserialize;

#[derive(Debug)]
pub(super) struct Roots(Vec<Descriptor>);

#[derive(Deserialize)]
struct IndexFile {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

impl Roots {
    pub(super) fn parse(json: &[u8], place: &str, limits: &Limits) -> Result<Self> {
        let index: IndexFile = serde_json::from_slice(json).map_err(|error| {
            Error::bad_input_because(place, "index.json cannot be parsed", error)
        })?;
        let roots = index.manifests.unwrap_or_default();
        Limits::admit(limits.descriptors, roots.len() as u64, "count of descriptors", place)?;
        Ok(Self(roots))
    }

    /// Returns every name once, in the file's order; unnamed images by their digest.
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

    /// Returns what a name stands for, or `None` if it is a digest that no root has.
    pub(super) fn find(&self, name: Option<&Name>, place: &str) -> Result<Option<Vec<Descriptor>>> {
        let matching: Vec<&Descriptor> = match name {
            None => self.0.iter().collect(),
            Some(Name::Tag(tag)) => {
                let full = full_docker_name(tag);
                self.0.iter().filter(|root| has_name(root, tag, &full)).collect()
            }
            Some(Name::Digest(digest)) => {
                let root = self.0.iter().find(|root| root.digest == *digest);
                return Ok(root.map(|root| vec![root.clone()]));
            }
            Some(Name::Ordinal(ordinal)) => self.0.get(*ordinal).into_iter().collect(),
        };
        let Some(first) = matching.first() else {
            let what = name.map_or_else(|| "an image".to_owned(), Name::to_string);
            return Err(self.missing(place, what));
        };
        // Several roots are one image if they are the same blob under more names, or one name
        // once per platform.
        let is_one = matching.iter().all(|root| root.digest == first.digest)
            || name.is_some()
            || matching.iter().all(|root| label(root) == label(first));
        if !is_one {
            return Err(self.missing(place, "a single image, to be taken without a name,".into()));
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

/// The whole name where Docker gives one: its `ref.name` is the bare tag, the same for many images.
fn label(root: &Descriptor) -> Option<&str> {
    let annotations = root.annotations.as_ref()?;
    annotations.containerd_name.as_deref().or(annotations.ref_name.as_deref())
}
