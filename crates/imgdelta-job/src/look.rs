//! What a registry holds: tags as versions, with their images' platforms and dates.
//!
//! Reads small documents only, each once as long as it is remembered. What is no image (deltas,
//! signatures, charts, attestations) is passed over; a document that makes no sense is too, and told.

use crate::{
    config::{Config, Order, Rule},
    policy::{self, Version},
    queue::Queue,
};
use imgdelta_core::{BlobDigest, Error, Result, limits::Ceiling};
use imgdelta_image::{image::Platform, store::Descriptor};
use imgdelta_registry::{Client, Named, Repository};
use serde::Deserialize;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Looks into one registry.
#[derive(Debug)]
pub(crate) struct Looker {
    client: Client,
    host: String,
    known: Mutex<HashMap<BlobDigest, Arc<Known>>>,
}

/// What a digest turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Image { platform: Platform, created: Option<i64> },
    Index(Vec<BlobDigest>),
    Other,
}

impl Looker {
    pub fn new(client: &Client, host: &str) -> Self {
        Self { client: client.clone(), host: host.to_owned(), known: Mutex::default() }
    }

    pub fn repository(&self, name: &str) -> Repository {
        Repository::new(&self.client, &self.host, name)
    }

    /// Returns the repositories that rules name. The registry's list is asked for only if a rule
    /// has a pattern that is no name.
    pub async fn repositories(&self, config: &Config) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        let mut has_globs = false;
        for rule in config.rules.get_ref() {
            for pattern in rule.repositories.get_ref() {
                match pattern.name() {
                    Some(name) => drop(names.insert(name.to_owned())),
                    None => has_globs = true,
                }
            }
        }
        if has_globs {
            let all = self.client.repositories(&self.host).await?;
            names.extend(all.into_iter().filter(|name| config.rule(name).is_some()));
        }
        Ok(names.into_iter().collect())
    }

    /// Returns the versions of a repository that a rule may want.
    pub async fn versions(
        &self,
        rule: &Rule,
        name: &str,
        queue: &dyn Queue,
    ) -> Result<Vec<Version>> {
        let repository = self.repository(name);
        let tags = match repository.tags().await {
            // Nothing was pushed there yet.
            Err(failure) if failure.is_not_found() => return Ok(Vec::new()),
            outcome => outcome?,
        };
        let tags: BTreeSet<String> =
            tags.into_iter().filter(|tag| policy::is_version(rule, tag)).collect();
        let mut tags: Vec<String> = tags.into_iter().collect();
        if rule.order == Order::Semver {
            policy::by_number(&mut tags);
        }
        let mut found = Vec::new();
        let mut roots = HashSet::new();
        for tag in tags {
            let named = Named::Tag(tag.clone());
            let Some(descriptor) = repository.head(&named).await? else { continue };
            let images = self.images(&repository, descriptor.digest).await?;
            if images.is_empty() {
                continue;
            }
            roots.insert(descriptor.digest);
            found.push((tag, descriptor.digest, images));
            // Where tags alone say the order, older ones need not be looked at.
            if rule.order == Order::Semver && roots.len() > *rule.keep.get_ref() {
                break;
            }
        }
        let pairs: Vec<(String, String)> =
            found.iter().map(|(tag, digest, _)| (tag.clone(), digest.to_string())).collect();
        let seen = match rule.order {
            Order::Push => queue.seen(name, &pairs).await?,
            Order::Semver | Order::Date => vec![0; pairs.len()],
        };
        let versions = found.into_iter().zip(seen).map(|((tag, digest, images), seen)| Version {
            tag,
            digest,
            created: images.iter().filter_map(|(.., created)| *created).max(),
            seen,
            images: images.into_iter().map(|(platform, digest, _)| (platform, digest)).collect(),
        });
        Ok(versions.collect())
    }

    /// Returns the images that a digest stands for: itself, or those of an index.
    async fn images(
        &self,
        repository: &Repository,
        digest: BlobDigest,
    ) -> Result<Vec<(Platform, BlobDigest, Option<i64>)>> {
        let children = match &*self.known(repository, digest).await? {
            Known::Image { platform, created } => {
                return Ok(vec![(platform.clone(), digest, *created)]);
            }
            Known::Other => return Ok(Vec::new()),
            Known::Index(children) => children.clone(),
        };
        let mut images = Vec::new();
        for child in children {
            // An index in an index is nobody's habit.
            if let Known::Image { platform, created } = &*self.known(repository, child).await? {
                images.push((platform.clone(), child, *created));
            }
        }
        Ok(images)
    }

    async fn known(&self, repository: &Repository, digest: BlobDigest) -> Result<Arc<Known>> {
        if let Some(known) = self.lock().get(&digest) {
            return Ok(Arc::clone(known));
        }
        let manifest = match repository.manifest(&Named::Digest(digest)).await {
            // Removed a moment ago, or never pushed for this platform.
            Err(failure) if failure.is_not_found() => return Ok(Arc::new(Known::Other)),
            outcome => outcome?,
        };
        let known = match kind(&manifest.bytes) {
            Kind::Index(children) => Known::Index(children),
            Kind::Other => Known::Other,
            Kind::Image(config) => {
                let what = "size of the config";
                let read =
                    repository.blob_bytes(&config, Ceiling::fixed(MOST_CONFIG_BYTES), what).await;
                match read.map_err(Error::from) {
                    Ok(bytes) => image(&bytes).unwrap_or(Known::Other),
                    Err(error @ (Error::NotFound { .. } | Error::OverLimit { .. })) => {
                        tracing::warn!(%digest, %error, "passed over");
                        Known::Other
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let known = Arc::new(known);
        let mut all = self.lock();
        // What is forgotten is read again; that is all that a limit costs.
        if all.len() >= MOST_KNOWN {
            all.clear();
        }
        all.insert(digest, Arc::clone(&known));
        Ok(known)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<BlobDigest, Arc<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Kind {
    Image(Box<Descriptor>),
    Index(Vec<BlobDigest>),
    Other,
}

/// Tells a manifest by its content.
fn kind(bytes: &[u8]) -> Kind {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        config: Option<Descriptor>,
        layers: Option<Vec<serde::de::IgnoredAny>>,
        manifests: Option<Vec<Descriptor>>,
        artifact_type: Option<String>,
        subject: Option<serde::de::IgnoredAny>,
    }
    let Ok(document) = serde_json::from_slice::<Document>(bytes) else { return Kind::Other };
    // Deltas, signatures and all else that stands beside an image.
    if document.subject.is_some() || document.artifact_type.is_some_and(|kind| !kind.is_empty()) {
        return Kind::Other;
    }
    match (document.config, document.layers, document.manifests) {
        (Some(config), Some(_), None) if CONFIGS.contains(&config.media_type()) => {
            Kind::Image(Box::new(config))
        }
        (None, None, Some(manifests)) if manifests.len() <= MOST_CHILDREN => {
            let is_image = |child: &&Descriptor| {
                let platform = child.platform.as_ref();
                platform.is_none_or(|platform| platform.os.as_deref() != Some("unknown"))
            };
            Kind::Index(manifests.iter().filter(is_image).map(|child| child.digest).collect())
        }
        _ => Kind::Other,
    }
}

/// Reads what a config says of its image.
fn image(config: &[u8]) -> Option<Known> {
    #[derive(Deserialize)]
    struct Document {
        os: String,
        architecture: String,
        variant: Option<String>,
        created: Option<String>,
    }
    let document: Document = serde_json::from_slice(config).ok()?;
    if document.os.is_empty() || document.architecture.is_empty() {
        return None;
    }
    let variant = document.variant.as_deref().filter(|variant| !variant.is_empty());
    let created = document.created.and_then(|created| {
        OffsetDateTime::parse(&created, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
    });
    let platform = Platform::new(&document.os, &document.architecture, variant);
    Some(Known::Image { platform, created })
}

const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const MOST_CONFIG_BYTES: u64 = 8 << 20;
/// Platforms of one image; nobody has a hundred.
const MOST_CHILDREN: usize = 1000;
/// Some megabytes.
const MOST_KNOWN: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn descriptor(kind: &str) -> serde_json::Value {
        json!({"mediaType": kind, "digest": format!("sha256:{}", "0".repeat(64)), "size": 2})
    }

    #[test]
    fn only_images_and_indexes_are_versions() {
        let is_image = |document: serde_json::Value| {
            matches!(kind(document.to_string().as_bytes()), Kind::Image(_))
        };
        let (config, delta) =
            (descriptor(CONFIGS[0]), descriptor("application/vnd.imgdelta.delta.v1"));
        assert!(is_image(json!({"config": config, "layers": []})));
        assert!(!is_image(json!({"config": delta, "layers": []})));
        assert!(!is_image(json!({"config": config, "layers": [], "subject": config})));
        assert!(!is_image(json!({"config": config, "layers": [], "artifactType": "a/b"})));
        assert!(!is_image(json!({"config": config, "layers": [], "manifests": []})));
        assert!(!is_image(json!({"config": {"digest": "x"}, "layers": []})));
        let mut attestation = config.clone();
        attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        let index = json!({"manifests": [config, attestation]}).to_string();
        let Kind::Index(children) = kind(index.as_bytes()) else { panic!("an index") };
        assert_eq!(children.len(), 1);
    }

    #[test]
    fn a_config_says_when_and_for_what() {
        let read = |text: &str| image(text.as_bytes());
        let dated = read(
            r#"{"os":"linux","architecture":"amd64","created":"2026-01-02T03:04:05.5+01:00"}"#,
        );
        let platform: Platform = "linux/amd64".parse().unwrap();
        let created = Some(1_767_319_445);
        assert_eq!(dated, Some(Known::Image { platform: platform.clone(), created }));
        let undated = read(r#"{"os":"linux","architecture":"amd64","created":"yesterday"}"#);
        assert_eq!(undated, Some(Known::Image { platform, created: None }));
        assert_eq!(read("{}"), None);
    }
}
