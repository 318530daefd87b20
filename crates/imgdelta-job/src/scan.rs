//! A registry's content: tags as versions, with the platforms and dates of their images.
//!
//! Reads manifests and configs only, each once: the queue records the part of them that scans need. Ignores everything that is not an
//! image: deltas, signatures, charts, attestations. An unreadable config is ignored with a warning.

use crate::{
    config::{Config, Rule, VersionOrder},
    pace::ScanPace,
    policy::{self, Version},
    queue::{DocumentRecord, Queue, TagRecord, Urgency},
    task::Task,
};
use imgdelta::{BlobDigest, Error, Result, image::Platform, store::Descriptor};
use imgdelta_registry::{
    Client, ManifestReference, Repository, RepositoryList, RepositoryName, dates,
};
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Scans the repositories of one registry.
#[derive(Debug)]
pub(crate) struct Scanner {
    client: Client,
    host: String,
    pace: ScanPace,
}

/// The part of a manifest's content that a scan needs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ManifestContent {
    Image { platform: Platform, created: Option<i64> },
    Index(Vec<BlobDigest>),
    Other,
}

/// The tags that a scan of a repository looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScanScope<'a> {
    /// All that its rule needs.
    All,
    /// These, which a notification named; the others are as the last scan found them.
    Tags(&'a BTreeSet<String>),
}

impl ScanScope<'_> {
    /// Returns the urgency of a task that this scan wants.
    pub fn urgency(self, task: &Task) -> Urgency {
        match self {
            Self::Tags(tags)
                if tags.contains(&task.target_tag) || tags.contains(&task.base_tag) =>
            {
                Urgency::Notified
            }
            Self::Tags(_) | Self::All => Urgency::Scanned,
        }
    }
}

impl Scanner {
    pub fn new(client: &Client, host: &str, requests_per_second: u32) -> Self {
        let pace = ScanPace::new(requests_per_second);
        Self { client: client.clone(), host: host.to_owned(), pace }
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

    /// Returns the versions of a repository that a rule may need, or `None` if the registry does not
    /// have the repository.
    pub async fn versions(
        &self,
        rule: &Rule,
        name: &RepositoryName,
        scope: ScanScope<'_>,
        queue: &dyn Queue,
    ) -> Result<Option<Vec<Version>>> {
        let repository = self.repository(name);
        let known = queue.tags(name.as_str()).await?;
        let known: HashMap<String, TagRecord> =
            known.into_iter().map(|record| (record.tag.clone(), record)).collect();
        let named = match scope {
            // Without a scan before, the other tags are unknown.
            ScanScope::Tags(named) if !known.is_empty() => Some(named),
            ScanScope::Tags(_) | ScanScope::All => None,
        };
        let tags: BTreeSet<String> = if let Some(named) = named {
            known.keys().chain(named).cloned().collect()
        } else {
            self.pace.turn().await;
            match repository.tags().await {
                Err(failure) if failure.is_not_found() => return Ok(None),
                outcome => outcome?.iter().map(ToString::to_string).collect(),
            }
        };
        let mut tags: Vec<String> =
            tags.into_iter().filter(|tag| policy::is_version(rule, tag)).collect();
        if rule.order == VersionOrder::Semver {
            policy::sort_by_number(&mut tags);
        }
        let mut documents = self.recorded(&known, queue).await?;
        let mut new_documents = Vec::new();
        let (mut noted, mut found) = (Vec::new(), Vec::new());
        let mut roots = HashSet::new();
        for tag in &tags {
            let recorded = known.get(tag).filter(|_| match named {
                Some(named) => !named.contains(tag),
                None => rule.immutable_tags,
            });
            let recorded = recorded.and_then(|record| record.digest.parse().ok());
            let mut reader = DocumentReader {
                scanner: self,
                repository: &repository,
                documents: &mut documents,
                new_documents: &mut new_documents,
                is_paced: named.is_none(),
            };
            let digest = match recorded {
                Some(digest) => Some(digest),
                // A tag that may have moved; most have not.
                None if known.contains_key(tag) => reader.digest_of(tag).await?,
                // What it names is needed in any case.
                None => reader.read_tag(tag).await?,
            };
            let Some(digest) = digest else { continue };
            let images = reader.images(digest).await?;
            // Tags of other artifacts are recorded as well, so that they are read once.
            noted.push((tag.clone(), digest.to_string()));
            if !images.is_empty() {
                roots.insert(digest);
            }
            found.push((tag.clone(), digest, images));
            // Tags alone give this order, so that older ones need no request.
            if rule.order == VersionOrder::Semver && roots.len() > *rule.keep.get_ref() {
                break;
            }
        }
        if !new_documents.is_empty() {
            queue.add_documents(&new_documents).await?;
        }
        let numbers = remember_tags(queue, name, &known, &noted, named.is_none()).await?;
        let images = found.into_iter().zip(numbers).filter(|((.., images), _)| !images.is_empty());
        let versions = images.map(|((tag, digest, images), seen)| Version {
            tag,
            digest,
            created: images.iter().filter_map(|(.., created)| *created).max(),
            seen,
            images: images.into_iter().map(|(platform, digest, _)| (platform, digest)).collect(),
        });
        Ok(Some(versions.collect()))
    }

    /// Returns the images of a tag or a digest; none if the registry does not have it.
    pub async fn images(
        &self,
        name: &RepositoryName,
        image: &ManifestReference,
    ) -> Result<Vec<(Platform, BlobDigest)>> {
        let repository = self.repository(name);
        let Some(found) = repository.head(image).await? else { return Ok(Vec::new()) };
        let (mut documents, mut new_documents) = (HashMap::new(), Vec::new());
        let mut reader = DocumentReader {
            scanner: self,
            repository: &repository,
            documents: &mut documents,
            new_documents: &mut new_documents,
            is_paced: false,
        };
        let images = reader.images(found.digest).await?;
        Ok(images.into_iter().map(|(platform, digest, _)| (platform, digest)).collect())
    }

    /// Returns the recorded documents of tags, with those of the images of indexes.
    async fn recorded(
        &self,
        known: &HashMap<String, TagRecord>,
        queue: &dyn Queue,
    ) -> Result<HashMap<BlobDigest, ManifestContent>> {
        let mut digests: Vec<String> = known.values().map(|record| record.digest.clone()).collect();
        let mut documents = HashMap::new();
        // Twice: the tags' documents, and the images that indexes name.
        for _ in 0..2 {
            if digests.is_empty() {
                break;
            }
            digests.sort_unstable();
            digests.dedup();
            let mut children = Vec::new();
            for record in queue.documents(&digests).await? {
                let Ok(digest) = record.digest.parse() else { continue };
                let Some(content) = recorded_content(&record) else { continue };
                children.extend(record.children);
                documents.insert(digest, content);
            }
            digests = children;
        }
        Ok(documents)
    }

    async fn turn(&self, is_paced: bool) {
        if is_paced {
            self.pace.turn().await;
        }
    }
}

/// Records the tags that a scan found, if that changes anything. Returns a number for each, which
/// grows with every tag that is new or moved.
async fn remember_tags(
    queue: &dyn Queue,
    name: &RepositoryName,
    known: &HashMap<String, TagRecord>,
    found: &[(String, String)],
    is_complete: bool,
) -> Result<Vec<u64>> {
    let numbers = match known_numbers(known, found) {
        Some(numbers) => numbers,
        None => queue.note_tags(name.as_str(), found).await?,
    };
    // A scan of named tags does not know which others are gone.
    if is_complete && known.keys().any(|tag| found.iter().all(|(present, _)| present != tag)) {
        let present: Vec<String> = found.iter().map(|(tag, _)| tag.clone()).collect();
        queue.retain_tags(name.as_str(), &present).await?;
    }
    Ok(numbers)
}

/// Returns the recorded numbers of tags, if all of them are recorded with these digests.
fn known_numbers(
    known: &HashMap<String, TagRecord>,
    found: &[(String, String)],
) -> Option<Vec<u64>> {
    let numbers = found.iter().map(|(tag, digest)| {
        known.get(tag).filter(|record| record.digest == *digest).map(|record| record.number)
    });
    numbers.collect()
}

/// Reads documents of one repository, from the queue's records or from the registry.
struct DocumentReader<'a> {
    scanner: &'a Scanner,
    repository: &'a Repository,
    documents: &'a mut HashMap<BlobDigest, ManifestContent>,
    new_documents: &'a mut Vec<DocumentRecord>,
    is_paced: bool,
}

impl DocumentReader<'_> {
    /// Returns the digest of a tag, or `None` if it is gone.
    async fn digest_of(&self, tag: &str) -> Result<Option<BlobDigest>> {
        let reference = ManifestReference::Tag(tag.parse()?);
        self.scanner.turn(self.is_paced).await;
        let found = self.repository.head(&reference).await?;
        Ok(found.map(|descriptor| descriptor.digest))
    }

    /// Reads the document of a tag, and returns its digest, or `None` if the tag is gone.
    async fn read_tag(&mut self, tag: &str) -> Result<Option<BlobDigest>> {
        let reference = ManifestReference::Tag(tag.parse()?);
        self.scanner.turn(self.is_paced).await;
        let manifest = match self.repository.manifest(&reference).await {
            Err(failure) if failure.is_not_found() => return Ok(None),
            outcome => outcome?,
        };
        let digest = manifest.descriptor.digest;
        if !self.documents.contains_key(&digest) {
            self.read(digest, &manifest.bytes).await?;
        }
        Ok(Some(digest))
    }

    /// Returns the images of a digest: one image, or those of an index.
    async fn images(
        &mut self,
        digest: BlobDigest,
    ) -> Result<Vec<(Platform, BlobDigest, Option<i64>)>> {
        let children = match self.content(digest).await? {
            ManifestContent::Image { platform, created } => {
                return Ok(vec![(platform, digest, created)]);
            }
            ManifestContent::Other => return Ok(Vec::new()),
            ManifestContent::Index(children) => children,
        };
        let mut images = Vec::new();
        for child in children {
            // No known tool writes an index into an index.
            if let ManifestContent::Image { platform, created } = self.content(child).await? {
                images.push((platform, child, created));
            }
        }
        Ok(images)
    }

    async fn content(&mut self, digest: BlobDigest) -> Result<ManifestContent> {
        if let Some(content) = self.documents.get(&digest) {
            return Ok(content.clone());
        }
        self.scanner.turn(self.is_paced).await;
        let manifest = match self.repository.manifest(&ManifestReference::Digest(digest)).await {
            // Deleted during the scan, or never pushed for this platform.
            Err(failure) if failure.is_not_found() => return Ok(ManifestContent::Other),
            outcome => outcome?,
        };
        self.read(digest, &manifest.bytes).await
    }

    /// Reads the content of a manifest, and the config of an image.
    async fn read(&mut self, digest: BlobDigest, bytes: &[u8]) -> Result<ManifestContent> {
        let content = match manifest_kind(bytes) {
            ManifestKind::Index(children) => ManifestContent::Index(children),
            ManifestKind::Other => ManifestContent::Other,
            ManifestKind::Image(config) => {
                self.scanner.turn(self.is_paced).await;
                let config = self.repository.blob_bytes(&config, MAX_CONFIG_BYTES).await;
                match config.map_err(Error::from) {
                    Ok(bytes) => image_content(&bytes).unwrap_or(ManifestContent::Other),
                    // It may arrive later.
                    Err(error @ Error::NotFound { .. }) => {
                        tracing::warn!(%digest, %error, "ignored");
                        return Ok(ManifestContent::Other);
                    }
                    Err(error @ Error::OverLimit { .. }) => {
                        tracing::warn!(%digest, %error, "ignored");
                        ManifestContent::Other
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        self.new_documents.push(record(digest, &content));
        self.documents.insert(digest, content.clone());
        Ok(content)
    }
}

/// Returns a document as the queue records it.
fn record(digest: BlobDigest, content: &ManifestContent) -> DocumentRecord {
    let digest = digest.to_string();
    let kind = |kind: &str| DocumentRecord { digest, kind: kind.to_owned(), ..Default::default() };
    match content {
        ManifestContent::Image { platform, created } => {
            DocumentRecord { platform: platform.to_string(), created: *created, ..kind("image") }
        }
        ManifestContent::Index(children) => {
            let children = children.iter().map(ToString::to_string).collect();
            DocumentRecord { children, ..kind("index") }
        }
        ManifestContent::Other => kind("other"),
    }
}

/// Reads a record; one that this program cannot read is none.
fn recorded_content(record: &DocumentRecord) -> Option<ManifestContent> {
    Some(match record.kind.as_str() {
        "image" => ManifestContent::Image {
            platform: record.platform.parse().ok()?,
            created: record.created,
        },
        "index" => {
            let children = record.children.iter().map(|child| child.parse().ok());
            ManifestContent::Index(children.collect::<Option<_>>()?)
        }
        "other" => ManifestContent::Other,
        _ => return None,
    })
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
    fn a_document_survives_its_record() {
        let digest = |n: u8| -> BlobDigest { format!("sha256:{n:064x}").parse().unwrap() };
        let platform: Platform = "linux/arm/v7".parse().unwrap();
        for content in [
            ManifestContent::Image { platform: platform.clone(), created: Some(-5) },
            ManifestContent::Image { platform, created: None },
            ManifestContent::Index(vec![digest(1), digest(2)]),
            ManifestContent::Index(Vec::new()),
            ManifestContent::Other,
        ] {
            assert_eq!(recorded_content(&record(digest(9), &content)), Some(content));
        }
        let newer = DocumentRecord { kind: "newer".into(), ..DocumentRecord::default() };
        assert_eq!(recorded_content(&newer), None);
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
