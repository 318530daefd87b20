//! Referrers: artifacts whose subject is an image's manifest.
//!
//! If a registry does not list them, clients keep an index under a fallback tag. Other tools write
//! that index, too, and registries do not lock it: it is read, merged, written and read back. Never
//! removes an entry of another tool.
//!
//! Tools that copy repositories change this index: `skopeo sync --all` drops the types of its entries,
//! and `skopeo sync` replaces it by one of its manifests. Such entries count by their annotations,
//! such a manifest by its subject, and the next write repairs the index.

use crate::{
    artifact::{ARTIFACT_TYPE, FORMAT_ANNOTATION},
    client::Request,
    error::{RequestError, RequestErrorKind, Result},
    lists::too_many_pages,
    repository::{Manifest, ManifestReference, Repository, text},
};
use hyper::{Method, StatusCode};
use imgdelta_core::{BlobDigest, Error, limits::Ceiling};
use imgdelta_http::{Response, encoded};
use imgdelta_image::{reference::TagName, store::Descriptor};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An artifact that refers to an image, as the list of referrers describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Referrer {
    /// Its manifest.
    pub descriptor: Descriptor,
    /// Annotations in the list. Some registries leave them out.
    pub annotations: BTreeMap<String, String>,
}

impl Referrer {
    /// Returns true if the list states its type. A tool that copied the list may have dropped it.
    pub fn states_type(&self) -> bool {
        self.descriptor.artifact_type.as_deref().is_some_and(|kind| !kind.is_empty())
    }

    /// Returns true if it is an artifact of this type: as the list states it, otherwise by
    /// annotations that only deltas have.
    fn has_type(&self, kind: &str) -> bool {
        if self.states_type() {
            return self.descriptor.artifact_type.as_deref() == Some(kind);
        }
        kind == ARTIFACT_TYPE && self.annotations.contains_key(FORMAT_ANNOTATION)
    }
}

/// The most that a list of referrers may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListLimit {
    pub pages: u64,
    pub bytes: u64,
}

impl Default for ListLimit {
    fn default() -> Self {
        Self { pages: MAX_PAGES, bytes: MAX_LIST_BYTES }
    }
}

/// A list of referrers, with the bytes of its pages.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReferrerList {
    pub entries: Vec<Referrer>,
    pub bytes: u64,
}

impl Repository {
    /// Lists the artifacts of one type whose subject is `subject`.
    pub async fn referrers(&self, subject: &BlobDigest, kind: &str) -> Result<Vec<Referrer>> {
        Ok(self.referrers_within(subject, Some(kind), ListLimit::default()).await?.entries)
    }

    /// Lists the artifacts of every type whose subject is `subject`.
    pub async fn all_referrers(&self, subject: &BlobDigest) -> Result<Vec<Referrer>> {
        Ok(self.referrers_within(subject, None, ListLimit::default()).await?.entries)
    }

    /// Lists the artifacts of one type or of all, and downloads no more than a limit.
    pub(crate) async fn referrers_within(
        &self,
        subject: &BlobDigest,
        kind: Option<&str>,
        limit: ListLimit,
    ) -> Result<ReferrerList> {
        if self.client().lacks_referrers(self.host()) {
            return self.fallback_referrers(subject, kind, limit.bytes).await;
        }
        let query =
            kind.map_or_else(String::new, |kind| format!("?artifactType={}", encoded(kind)));
        let path = format!("referrers/{subject}{query}");
        let mut request = self.request(Method::GET, &path, format!("referrers of {subject}"));
        request.headers.push(("accept", INDEX_TYPE.into()));
        // Registries without this list refuse the request in one of these ways.
        request.expected = &[200, 400, 404, 405];
        let mut list = ReferrerList::default();
        for page in 0..limit.pages {
            let response = self.client().send(&request).await?;
            let is_list = response.status() == StatusCode::OK && is_json(&response);
            if page == 0 {
                self.client().note_referrers(self.host(), is_list, is_json(&response));
            }
            if !is_list && page == 0 {
                return self.fallback_referrers(subject, kind, limit.bytes).await;
            }
            let next = self.client().next_page(&request, &response).await?;
            let rest = (limit.bytes - list.bytes).min(self.client().options().manifest_bytes);
            let body = self.client().body(&request, response, rest).await?;
            list.bytes += body.len() as u64;
            // Not every registry filters, and one that does may be wrong.
            let entries = entries(&request, &body)?.into_iter();
            list.entries
                .extend(entries.filter(|entry| kind.is_none_or(|kind| entry.has_type(kind))));
            let count = list.entries.len() as u64;
            Ceiling::fixed(MAX_REFERRERS)
                .admit(count, "count of referrers", request.object_place())
                .map_err(|error| request.invalid(error))?;
            let Some(next) = next else { return Ok(list) };
            request.target = next;
        }
        Err(too_many_pages(&request, limit.pages))
    }

    /// Stores a manifest with a subject and lists it as a referrer of that subject.
    pub async fn attach(&self, manifest: &Manifest, subject: &BlobDigest) -> Result<()> {
        let kind = manifest.descriptor.media_type();
        let reference = ManifestReference::Digest(manifest.descriptor.digest);
        if self.put_manifest(&reference, kind, &manifest.bytes).await? {
            return Ok(());
        }
        let entry = entry(manifest);
        self.change_list(subject, |entries| {
            let known = entries.iter_mut().find(|other| other["digest"] == entry["digest"]);
            let Some(known) = known else {
                entries.push(entry.clone());
                return true;
            };
            if known["artifactType"].as_str().is_some_and(|kind| !kind.is_empty()) {
                return false;
            }
            known["artifactType"] = entry["artifactType"].clone();
            true
        })
        .await
    }

    /// Removes an artifact and its entry in the list of `subject`; other entries stay.
    pub async fn detach(&self, artifact: &BlobDigest, subject: &BlobDigest) -> Result<()> {
        // The list first: an entry without its artifact misleads.
        let digest = artifact.to_string();
        self.change_list(subject, |entries| {
            let before = entries.len();
            entries.retain(|other| other["digest"] != digest);
            entries.len() < before
        })
        .await?;
        self.delete_manifest(artifact).await?;
        Ok(())
    }

    async fn fallback_referrers(
        &self,
        subject: &BlobDigest,
        kind: Option<&str>,
        limit: u64,
    ) -> Result<ReferrerList> {
        let tag = fallback_tag(subject);
        let limit = limit.min(self.client().options().manifest_bytes);
        let Some(list) = self.fallback_list(&tag, limit).await? else {
            return Ok(ReferrerList::default());
        };
        let request = self.request(Method::GET, "", format!("list of referrers {tag}"));
        let entries = match replaced_list(&list, subject) {
            Some(document) => entries(&request, document.to_string().as_bytes())?,
            None => entries(&request, &list.bytes)?,
        };
        let entries = entries
            .into_iter()
            .filter(|entry| kind.is_none_or(|kind| entry.has_type(kind)))
            .collect();
        Ok(ReferrerList { entries, bytes: list.bytes.len() as u64 })
    }

    async fn fallback_list(&self, tag: &TagName, limit: u64) -> Result<Option<Manifest>> {
        match self.manifest_within(&ManifestReference::Tag(tag.clone()), limit).await {
            Err(error) if error.is_not_found() => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Changes the list under the fallback tag. `change` returns true if it changed the entries.
    ///
    /// Registries cannot replace only the version that was read. Changes of this client wait for
    /// each other; a change of another client may still overwrite this one, or be overwritten.
    async fn change_list(
        &self,
        subject: &BlobDigest,
        change: impl Fn(&mut Vec<Value>) -> bool,
    ) -> Result<()> {
        let tag = fallback_tag(subject);
        let object = format!("list of referrers {tag}");
        let error = |kind| RequestError::new(self.place(), object.as_str(), kind);
        let not_a_list = || {
            let place = format!("{}: {object}", self.place());
            let what = "this tag is not a list of referrers, and is left alone";
            error(RequestErrorKind::Invalid(Error::bad_input(place, what)))
        };
        let _lock = self.client().lock_lists().await;
        let mut attempt = 0;
        let mut has_waited = true;
        loop {
            let found = self.fallback_list(&tag, self.client().options().manifest_bytes).await?;
            let replaced = found.as_ref().and_then(|found| replaced_list(found, subject));
            let is_replaced = replaced.is_some();
            let mut list = match (replaced, found) {
                (Some(list), _) => list,
                (None, Some(list)) => {
                    serde_json::from_slice(&list.bytes).map_err(|_| not_a_list())?
                }
                (None, None) => {
                    json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []})
                }
            };
            let Some(entries) = list.get_mut("manifests").and_then(Value::as_array_mut) else {
                return Err(not_a_list());
            };
            // The loop ends here, too: the written list is read back until it has the change.
            if !change(entries) && !is_replaced {
                return Ok(());
            }
            if !has_waited {
                let wait = self.client().options().retry.wait(attempt, None);
                let Some(wait) = wait else {
                    let message = "other clients keep overwriting it".to_owned();
                    return Err(error(RequestErrorKind::Network { message }));
                };
                // Read once more after the wait: a write must start from the latest list.
                tokio::time::sleep(wait).await;
                has_waited = true;
                continue;
            }
            has_waited = false;
            attempt += 1;
            let bytes = list.to_string().into_bytes();
            self.put_manifest(&ManifestReference::Tag(tag.clone()), INDEX_TYPE, &bytes).await?;
        }
    }
}

/// Returns the tag under which clients list an image's referrers if the registry does not.
pub fn fallback_tag(subject: &BlobDigest) -> TagName {
    // Longer digests are cut, as a tag has at most 128 characters.
    let hex = subject.hex();
    let text = format!("{}-{}", subject.algorithm().name(), &hex[..hex.len().min(64)]);
    text.parse().expect("letters, digits and -")
}

/// Returns true if a tag is derived from a digest: a list of referrers or a signature, not a version.
pub fn is_digest_tag(tag: &str) -> bool {
    let rest = tag.strip_prefix("sha256-").or_else(|| tag.strip_prefix("sha512-"));
    rest.is_some_and(|rest| {
        let hex = rest.split('.').next().unwrap_or_default();
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn entries(request: &Request<'_>, body: &[u8]) -> Result<Vec<Referrer>> {
    #[derive(serde::Deserialize)]
    struct ReferrerIndex {
        #[serde(default)]
        manifests: Option<Vec<Value>>,
    }
    let index: ReferrerIndex = serde_json::from_slice(body).map_err(|error| {
        let place = request.object_place();
        request.invalid(Error::bad_input_because(place, "not a list of referrers", error))
    })?;
    let entries = index.manifests.unwrap_or_default();
    Ceiling::fixed(MAX_REFERRERS)
        .admit(entries.len() as u64, "count of referrers", request.object_place())
        .map_err(|error| request.invalid(error))?;
    // Entries of other tools that do not parse are skipped.
    let referrers = entries.into_iter().filter_map(|entry| {
        let annotations = serde_json::from_value(entry["annotations"].clone()).unwrap_or_default();
        Some(Referrer { descriptor: serde_json::from_value(entry).ok()?, annotations })
    });
    Ok(referrers.collect())
}

/// Returns a list in place of one of its manifests, which a tool left under the list's tag: a manifest
/// whose subject is that of the list.
fn replaced_list(found: &Manifest, subject: &BlobDigest) -> Option<Value> {
    let document: Value = serde_json::from_slice(&found.bytes).ok()?;
    let is_manifest = document.get("manifests").is_none() && document["config"].is_object();
    let is_of_list = is_manifest && document["subject"]["digest"] == subject.to_string();
    let entries = [entry(found)];
    is_of_list.then(|| json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}))
}

/// Returns a manifest's entry in a list, as the specification defines it for registries.
fn entry(manifest: &Manifest) -> Value {
    let document: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    let kind = match &document["artifactType"] {
        Value::String(kind) if !kind.is_empty() => json!(kind),
        _ => document["config"]["mediaType"].clone(),
    };
    let mut entry = json!({
        "mediaType": manifest.descriptor.media_type(),
        "digest": manifest.descriptor.digest.to_string(),
        "size": manifest.descriptor.size_bytes,
        "artifactType": kind,
    });
    if let Some(annotations) = document.get("annotations") {
        entry["annotations"] = annotations.clone();
    }
    entry
}

fn is_json(response: &Response) -> bool {
    let media_type = text(response, "content-type").unwrap_or_default();
    media_type.starts_with(INDEX_TYPE) || media_type.starts_with("application/json")
}

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Pages and bytes of any list of referrers: more than ten thousand entries take.
const MAX_PAGES: u64 = 100;
const MAX_LIST_BYTES: u64 = 16 << 20;
/// An image with more referrers is a mistake or an attack.
const MAX_REFERRERS: u64 = 10_000;
