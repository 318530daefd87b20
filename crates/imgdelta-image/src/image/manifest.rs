//! A manifest or an index, recognised by its content.
//!
//! Lenient where the specification leaves room, strict where two readers could see different images
//! in one document. Knows no store.

use crate::store::Descriptor;
use imgdelta_core::{Error, Result, path::escaped};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// A document whose digest was checked.
#[derive(Debug)]
pub(super) enum Document {
    /// Images to choose from.
    Index(Vec<Descriptor>),
    /// One image, or another artifact in the form of an image.
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
struct DocumentFields {
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
        // Serde would read a list as the fields in their order; no other reader does.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(Error::bad_input(place, "not a manifest or index"));
        }
        let fields: DocumentFields = serde_json::from_slice(json)
            .map_err(|error| Error::bad_input_because(place, "not a manifest or index", error))?;
        let wrong = |what: &str| Err(Error::bad_input(place, what));
        if fields.fs_layers.is_some() || fields.schema_version == Some(1) {
            return wrong(
                "manifest of schema 1 is not supported; push the image with a current tool",
            );
        }
        match (fields.manifests, fields.config, fields.layers) {
            // Such a document is an index to one reader and a manifest to another (CVE-2021-41190).
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

/// Reads a list of bounded length.
///
/// Without the bound, a document of the largest size allowed could hold millions of small elements,
/// each far larger in memory.
pub(super) fn at_most<'de, D, T>(deserializer: D) -> std::result::Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct ListVisitor<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for ListVisitor<T> {
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

    deserializer.deserialize_any(ListVisitor(std::marker::PhantomData))
}

/// Above the counts that `Limits` allows by default, so that an error usually names the limit.
const MAX_ELEMENTS: usize = 1 << 17;
