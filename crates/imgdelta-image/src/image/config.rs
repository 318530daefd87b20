//! An image's config, read leniently: missing or null fields are empty, unknown ones are ignored.
//!
//! Never writes a config; the verbatim bytes stay with the image.

use super::{manifest::at_most, platform::Platform};
use crate::store::PlatformFields;
use imgdelta_core::{DiffId, Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The fields of an image's config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageConfig {
    /// Processor, as spelled.
    pub architecture: String,
    /// Operating system, as spelled.
    pub os: String,
    /// Processor's variant, as spelled.
    pub variant: Option<String>,
    /// Time of its creation, as spelled (RFC 3339).
    pub created: Option<String>,
    /// Its author.
    pub author: Option<String>,
    /// Settings of a container of the image.
    pub run: RunConfig,
    /// Its history, one line for each step of the build.
    pub history: Vec<HistoryLine>,
    /// The digests of the layers' streams, the lowest first.
    pub diff_ids: Vec<DiffId>,
}

/// Settings of a container of the image: program, user, environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[non_exhaustive]
pub struct RunConfig {
    /// Environment, as `NAME=VALUE` in order.
    #[serde(deserialize_with = "list")]
    pub env: Vec<String>,
    /// The program.
    #[serde(deserialize_with = "words")]
    pub entrypoint: Vec<String>,
    /// Its arguments, or the program.
    #[serde(deserialize_with = "words")]
    pub cmd: Vec<String>,
    /// User and group.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// The working directory.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    /// Ports it listens on.
    #[serde(deserialize_with = "keys")]
    pub exposed_ports: Vec<String>,
    /// Directories that should outlive it.
    #[serde(deserialize_with = "keys")]
    pub volumes: Vec<String>,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops it.
    #[serde(deserialize_with = "or_default")]
    pub stop_signal: String,
    /// Its health check, as written.
    pub healthcheck: Option<serde_json::Value>,
    /// The shell for commands given as text.
    #[serde(deserialize_with = "list")]
    pub shell: Vec<String>,
    /// Instructions for builds that use it as their base.
    #[serde(deserialize_with = "list")]
    pub on_build: Vec<String>,
}

/// One line of an image's history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct HistoryLine {
    /// Time of the step.
    #[serde(default)]
    pub created: Option<String>,
    /// The build file's line.
    #[serde(default)]
    pub created_by: Option<String>,
    /// Author of the step.
    #[serde(default)]
    pub author: Option<String>,
    /// A remark.
    #[serde(default)]
    pub comment: Option<String>,
    /// True if the step made no layer.
    #[serde(rename = "empty_layer", default, deserialize_with = "or_default")]
    pub is_empty_layer: bool,
}

#[derive(Deserialize)]
struct ConfigFields {
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    config: Option<RunConfig>,
    #[serde(default, deserialize_with = "at_most")]
    history: Option<Vec<HistoryLine>>,
    rootfs: RootfsFields,
}

#[derive(Deserialize)]
struct RootfsFields {
    #[serde(default, deserialize_with = "at_most")]
    diff_ids: Option<Vec<String>>,
}

impl ImageConfig {
    /// Parses a config; errors name it `place`.
    pub fn parse(json: &[u8], place: &str) -> Result<Self> {
        let fields: ConfigFields = serde_json::from_slice(json)
            .map_err(|error| Error::bad_input_because(place, "not an image config", error))?;
        let diff_ids = fields.rootfs.diff_ids.unwrap_or_default();
        let diff_ids: Result<Vec<DiffId>> = diff_ids
            .iter()
            .enumerate()
            .map(|(at, text)| {
                text.parse().map_err(|error| {
                    Error::bad_input_because(place, format_args!("diff id {at}"), error)
                })
            })
            .collect();
        Ok(Self {
            architecture: fields.architecture,
            os: fields.os,
            variant: fields.variant,
            created: fields.created,
            author: fields.author,
            run: fields.config.unwrap_or_default(),
            history: fields.history.unwrap_or_default(),
            diff_ids: diff_ids?,
        })
    }

    /// Returns the platform; a very old config without one means linux/amd64.
    pub(super) fn platform(&self) -> Platform {
        let fields = PlatformFields {
            os: Some(self.os.clone()),
            architecture: Some(self.architecture.clone()),
            variant: self.variant.clone(),
        };
        Platform::stated(&fields).unwrap_or_else(|| Platform::new("linux", "amd64", None))
    }
}

fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn list<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<T>, D::Error> {
    at_most(deserializer).map(Option::unwrap_or_default)
}

/// Reads a list of words; some writers use a single string.
fn words<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Many(#[serde(deserialize_with = "list")] Vec<String>),
    }
    Ok(match Option::<Words>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Words::One(word)) => vec![word],
        Some(Words::Many(words)) => words,
    })
}

/// Reads the keys of a set, which Go writes as a map to empty objects.
fn keys<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<String>, D::Error> {
    #[expect(clippy::zero_sized_map_values, reason = "a map in JSON, and serde has no set for it")]
    let map = Option::<BTreeMap<String, serde::de::IgnoredAny>>::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}
