//! A manifest or index, told apart by its content.
//!
//! Lenient where the specification leaves room, strict where two readers could see two images in
//! one document. Knows no store.

use crate::store::Descriptor;
use imgdelta_core::{Error, Result, path::escaped};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// What a checked document turned out to be.
#[derive(Debug)]
pub(super) enum Document {
    /// Images to choose from.
    Index(Vec<Descriptor>),
    /// One image, or something that is packed like one.
    Manifest(Box<Manifest>),
}

#[derive(Debug)]
pub(super) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    pub artifact_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "at_most")]
    layers: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "at_most")]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    fs_layers: Option<IgnoredAny>,
    #[serde(default)]
    blobs: Option<IgnoredAny>,
}

impl Document {
    pub(super) fn parse(json: &[u8], place: &str) -> Result<Self> {
        // Serde would read a list as the fields in their order, as no other reader does.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(Error::bad_input(place, "not a manifest or index"));
        }
        let fields: Fields = serde_json::from_slice(json)
            .map_err(|error| Error::bad_input_because(place, "not a manifest or index", error))?;
        let wrong = |what: &str| Err(Error::bad_input(place, what));
        if fields.fs_layers.is_some() || fields.schema_version == Some(1) {
            return wrong("manifest of schema 1, which registries gave up in 2019: push it anew");
        }
        match (fields.manifests, fields.config, fields.layers) {
            // One document that is an index to one reader and a manifest to another (CVE-2021-41190).
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                wrong("both a manifest and an index at once")
            }
            (Some(manifests), None, None) => Ok(Self::Index(manifests)),
            (None, Some(config), layers) => Ok(Self::Manifest(Box::new(Manifest {
                config,
                layers: layers.unwrap_or_default(),
                artifact_type: fields.artifact_type,
            }))),
            _ if fields.blobs.is_some() || fields.artifact_type.is_some() => {
                let kind = fields.artifact_type.unwrap_or_default();
                let kind = escaped(kind.as_bytes()).into_owned();
                wrong(&format!("an artifact of type {kind:?}, not a container image"))
            }
            _ => {
                let kind = fields.media_type.unwrap_or_default();
                let kind = escaped(kind.as_bytes()).into_owned();
                wrong(&format!("neither manifest nor index (media type {kind:?})"))
            }
        }
    }
}

/// Reads a list, but no longer than anyone could mean: a document of the largest size allowed
/// could otherwise hold millions of small elements, each far larger in memory.
pub(super) fn at_most<'de, D, T>(deserializer: D) -> std::result::Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Visitor<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<T> {
        type Value = Option<Vec<T>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a list of at most {MAX_ELEMENTS} elements")
        }

        fn visit_unit<E>(self) -> std::result::Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut list: A,
        ) -> std::result::Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = list.next_element()? {
                if elements.len() == MAX_ELEMENTS {
                    return Err(serde::de::Error::invalid_length(MAX_ELEMENTS + 1, &self));
                }
                elements.push(element);
            }
            Ok(Some(elements))
        }
    }

    deserializer.deserialize_any(Visitor(std::marker::PhantomData))
}

/// Above the counts that `Limits` allows by default, so that those are named in the usual case.
const MAX_ELEMENTS: usize = 1 << 17;
