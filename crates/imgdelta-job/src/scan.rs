//! A registry's content: tags as versions, with the platforms and dates of their images.
//!
//! Reads manifests and configs only, and caches them by digest. Ignores everything that is not an
//! image: deltas, signatures, charts, attestations. An unreadable config is ignored with a warning.

use crate::{
    config::{Config, Rule, VersionOrder},
    policy::{self, Version},
    queue::Queue,
};
use imgdelta::{BlobDigest, Error, Result, image::Platform, store::Descriptor};
use imgdelta_registry::{
    Client, ManifestReference, Repository, RepositoryList, RepositoryName, dates,
};
use serde::Deserialize;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

/// Scans the repositories of one registry.
#[derive(Debug)]
pub(crate) struct Scanner {
    client: Client,
    host: String,
    cache: Mutex<HashMap<BlobDigest, Arc<ManifestContent>>>,
}

/// The part of a manifest's content that a scan needs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ManifestContent {
    Image { platform: Platform, created: Option<i64> },
    Index(Vec<BlobDigest>),
    Other,
}

impl Scanner {
    pub fn new(client: &Client, host: &str) -> Self {
        Self { client: client.clone(), host: host.to_owned(), cache: Mutex::default() }
    }

    pub fn repository(&self, name: &RepositoryName) -> Repository {
        Repository::new(&self.client, &self.host, name)
    }

    /// Returns the repositories that rules name. Requests the registry's list only if a pattern has
    /// wildcards.
    ///
    /// Entries of that list that are not names are ignored, and counted.
    pub async fn repositories(&self, config: &Config) -> Result<RepositoryList> {
        let mut names = BTreeSet::new();
        let mut ignored_entries = 0;
        let mut has_globs = false;
        for rule in config.rules.get_ref() {
            for pattern in rule.repositories.get_ref() {
                match pattern.name() {
                    Some(name) => drop(names.insert(RepositoryName::parse(&self.host, name)?)),
                    None => has_globs = true,
                }
            }
        }
        if has_globs {
            let all = self.client.repositories(&self.host).await?;
            ignored_entries = all.ignored_entries;
            names.extend(all.names.into_iter().filter(|name| config.rule(name.as_str()).is_some()));
        }
        let mut list = RepositoryList::default();
        list.names = names.into_iter().collect();
        list.ignored_entries = ignored_entries;
        Ok(list)
    }

    /// Returns the versions of a repository that a rule may need.
    pub async fn versions(
        &self,
        rule: &Rule,
        name: &RepositoryName,
        queue: &dyn Queue,
    ) -> Result<Vec<Version>> {
        let repository = self.repository(name);
        let tags = match repository.tags().await {
            // The repository does not exist before the first push.
            Err(failure) if failure.is_not_found() => return Ok(Vec::new()),
            outcome => outcome?,
        };
        let tags = tags.iter().map(ToString::to_string);
        let tags: BTreeSet<String> = tags.filter(|tag| policy::is_version(rule, tag)).collect();
        let mut tags: Vec<String> = tags.into_iter().collect();
        if rule.order == VersionOrder::Semver {
            policy::sort_by_number(&mut tags);
        }
        let mut found = Vec::new();
        let mut roots = HashSet::new();
        for tag in tags {
            let named = ManifestReference::Tag(tag.parse()?);
            let Some(descriptor) = repository.head(&named).await? else { continue };
            let images = self.images(&repository, descriptor.digest).await?;
            if images.is_empty() {
                continue;
            }
            roots.insert(descriptor.digest);
            found.push((tag, descriptor.digest, images));
            // Tags alone give this order, so that older ones need no request.
            if rule.order == VersionOrder::Semver && roots.len() > *rule.keep.get_ref() {
                break;
            }
        }
        let pairs: Vec<(String, String)> =
            found.iter().map(|(tag, digest, _)| (tag.clone(), digest.to_string())).collect();
        let seen = match rule.order {
            VersionOrder::Push => queue.seen(name.as_str(), &pairs).await?,
            VersionOrder::Semver | VersionOrder::Date => vec![0; pairs.len()],
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

    /// Returns the images of a digest: one image, or those of an index.
    async fn images(
        &self,
        repository: &Repository,
        digest: BlobDigest,
    ) -> Result<Vec<(Platform, BlobDigest, Option<i64>)>> {
        let children = match &*self.content(repository, digest).await? {
            ManifestContent::Image { platform, created } => {
                return Ok(vec![(platform.clone(), digest, *created)]);
            }
            ManifestContent::Other => return Ok(Vec::new()),
            ManifestContent::Index(children) => children.clone(),
        };
        let mut images = Vec::new();
        for child in children {
            // No known tool writes an index into an index.
            if let ManifestContent::Image { platform, created } =
                &*self.content(repository, child).await?
            {
                images.push((platform.clone(), child, *created));
            }
        }
        Ok(images)
    }

    /// Returns a manifest's content from the cache or the registry.
    async fn content(
        &self,
        repository: &Repository,
        digest: BlobDigest,
    ) -> Result<Arc<ManifestContent>> {
        if let Some(content) = self.lock().get(&digest) {
            return Ok(Arc::clone(content));
        }
        let manifest = match repository.manifest(&ManifestReference::Digest(digest)).await {
            // Deleted during the scan, or never pushed for this platform.
            Err(failure) if failure.is_not_found() => return Ok(Arc::new(ManifestContent::Other)),
            outcome => outcome?,
        };
        let content = match manifest_kind(&manifest.bytes) {
            ManifestKind::Index(children) => ManifestContent::Index(children),
            ManifestKind::Other => ManifestContent::Other,
            ManifestKind::Image(config) => {
                let config = repository.blob_bytes(&config, MAX_CONFIG_BYTES).await;
                match config.map_err(Error::from) {
                    Ok(bytes) => image_content(&bytes).unwrap_or(ManifestContent::Other),
                    Err(error @ (Error::NotFound { .. } | Error::OverLimit { .. })) => {
                        tracing::warn!(%digest, %error, "ignored");
                        ManifestContent::Other
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let content = Arc::new(content);
        let mut cache = self.lock();
        // Emptying a full cache only costs requests.
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(digest, Arc::clone(&content));
        Ok(content)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<BlobDigest, Arc<ManifestContent>>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum ManifestKind {
    Image(Box<Descriptor>),
    Index(Vec<BlobDigest>),
    Other,
}

/// Recognises a manifest by its content.
fn manifest_kind(bytes: &[u8]) -> ManifestKind {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ManifestDocument {
        config: Option<Descriptor>,
        layers: Option<Vec<serde::de::IgnoredAny>>,
        manifests: Option<Vec<Descriptor>>,
        artifact_type: Option<String>,
        subject: Option<serde::de::IgnoredAny>,
    }
    let Ok(document) = serde_json::from_slice::<ManifestDocument>(bytes) else {
        return ManifestKind::Other;
    };
    // Deltas, signatures and other artifacts of an image.
    if document.subject.is_some() || document.artifact_type.is_some_and(|kind| !kind.is_empty()) {
        return ManifestKind::Other;
    }
    match (document.config, document.layers, document.manifests) {
        (Some(config), Some(_), None) if CONFIG_TYPES.contains(&config.media_type()) => {
            ManifestKind::Image(Box::new(config))
        }
        (None, None, Some(manifests)) if manifests.len() <= MAX_CHILDREN => {
            let is_image = |child: &&Descriptor| {
                let platform = child.platform.as_ref();
                platform.is_none_or(|platform| platform.os.as_deref() != Some("unknown"))
            };
            let children = manifests.iter().filter(is_image).map(|child| child.digest);
            ManifestKind::Index(children.collect())
        }
        _ => ManifestKind::Other,
    }
}

/// Parses platform and date of an image's config.
fn image_content(config: &[u8]) -> Option<ManifestContent> {
    #[derive(Deserialize)]
    struct ConfigDocument {
        os: String,
        architecture: String,
        variant: Option<String>,
        created: Option<String>,
    }
    let document: ConfigDocument = serde_json::from_slice(config).ok()?;
    if document.os.is_empty() || document.architecture.is_empty() {
        return None;
    }
    let variant = document.variant.as_deref().filter(|variant| !variant.is_empty());
    let created = document.created.and_then(|created| {
        let seconds = dates::nanoseconds(&created)?.div_euclid(1_000_000_000);
        i64::try_from(seconds).ok()
    });
    let platform = Platform::new(&document.os, &document.architecture, variant);
    Some(ManifestContent::Image { platform, created })
}

const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const MAX_CONFIG_BYTES: u64 = 8 << 20;
/// Platforms of one image; images have a few dozen at most.
const MAX_CHILDREN: usize = 1000;
/// A cache of some megabytes.
const MAX_CACHED: usize = 20_000;

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
            matches!(manifest_kind(document.to_string().as_bytes()), ManifestKind::Image(_))
        };
        let (config, delta) =
            (descriptor(CONFIG_TYPES[0]), descriptor("application/vnd.imgdelta.delta.v1"));
        assert!(is_image(json!({"config": config, "layers": []})));
        assert!(!is_image(json!({"config": delta, "layers": []})));
        assert!(!is_image(json!({"config": config, "layers": [], "subject": config})));
        assert!(!is_image(json!({"config": config, "layers": [], "artifactType": "a/b"})));
        assert!(!is_image(json!({"config": config, "layers": [], "manifests": []})));
        assert!(!is_image(json!({"config": {"digest": "x"}, "layers": []})));
        let mut attestation = config.clone();
        attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        let index = json!({"manifests": [config, attestation]}).to_string();
        let ManifestKind::Index(children) = manifest_kind(index.as_bytes()) else {
            panic!("an index")
        };
        assert_eq!(children.len(), 1);
    }

    #[test]
    fn a_config_has_date_and_platform() {
        let read = |text: &str| image_content(text.as_bytes());
        let dated = read(
            r#"{"os":"linux","architecture":"amd64","created":"2026-01-02T03:04:05.5+01:00"}"#,
        );
        let platform: Platform = "linux/amd64".parse().unwrap();
        let created = Some(1_767_319_445);
        assert_eq!(dated, Some(ManifestContent::Image { platform: platform.clone(), created }));
        let undated = read(r#"{"os":"linux","architecture":"amd64","created":"yesterday"}"#);
        assert_eq!(undated, Some(ManifestContent::Image { platform, created: None }));
        assert_eq!(read("{}"), None);
    }
}
