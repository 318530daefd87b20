//! What lies beside an image: artifacts whose subject is its manifest.
//!
//! Where a registry keeps no list of them, clients keep one under a tag made of the image's digest.
//! Others write into that list too, and nothing guards it: it is read, merged, written and read
//! back. Never removes an entry that is not asked for.

use crate::{
    client::Ask,
    failure::{Failure, Result, Why},
    repository::{Manifest, Named, Repository},
};
use imgdelta_core::{BlobDigest, Error, limits::Ceiling};
use imgdelta_image::store::Descriptor;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An artifact beside an image, as a list tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// Its manifest.
    pub descriptor: Descriptor,
    /// What the list says of it; empty where the list says nothing.
    pub annotations: BTreeMap<String, String>,
}

impl Repository {
    /// Lists the artifacts of one type whose subject is `subject`.
    pub async fn referrers(&self, subject: &BlobDigest, kind: &str) -> Result<Vec<Referrer>> {
        let what = format!("referrers of {subject}");
        let path = format!("referrers/{subject}?artifactType={}", encoded(kind));
        let mut ask = self.ask(Method::GET, &path, what);
        ask.headers.push(("accept", INDEX_TYPE.into()));
        // Who does not know the question refuses it in one of these ways.
        ask.expected = &[200, 400, 404, 405];
        let mut found = Vec::new();
        for page in 0..MOST_PAGES {
            let response = self.client().send(&ask).await?;
            let is_list = response.status() == StatusCode::OK && is_json(&response);
            if !is_list && page == 0 {
                return self.in_fallback(subject, kind).await;
            }
            let next = self.next_page(&ask, &response).await?;
            let limit = self.client().options().manifest_bytes;
            let body = self.client().body(&ask, response, limit).await?;
            // Not every registry filters, and one that does may be wrong.
            found.extend(entries(&ask, &body)?.into_iter().filter(|entry| is_of(entry, kind)));
            let count = found.len() as u64;
            Ceiling::fixed(MOST_REFERRERS)
                .admit(count, "count of referrers", ask.what())
                .map_err(|error| ask.wrong(error))?;
            let Some(next) = next else { return Ok(found) };
            ask.target = next;
        }
        let (place, what) = (ask.what(), "count of pages");
        Err(ask.wrong(Error::OverLimit {
            place,
            what,
            name: None,
            found: MOST_PAGES + 1,
            limit: MOST_PAGES,
        }))
    }

    /// Stores a manifest that has a subject, so that it is found beside it.
    pub async fn attach(&self, manifest: &Manifest, subject: &BlobDigest) -> Result<()> {
        let kind = manifest.descriptor.media_type();
        let named = Named::Digest(manifest.descriptor.digest);
        if self.put_manifest(&named, kind, &manifest.bytes).await? {
            return Ok(());
        }
        let entry = entry(manifest);
        self.change(subject, |entries| {
            if entries.iter().any(|other| other["digest"] == entry["digest"]) {
                return false;
            }
            entries.push(entry.clone());
            true
        })
        .await
    }

    /// Removes an artifact and its entry in the list beside `subject`; what else is there stays.
    pub async fn detach(&self, artifact: &BlobDigest, subject: &BlobDigest) -> Result<()> {
        // The list first: one that names what is gone misleads.
        let digest = artifact.to_string();
        self.change(subject, |entries| {
            let before = entries.len();
            entries.retain(|other| other["digest"] != digest);
            entries.len() < before
        })
        .await?;
        self.delete_manifest(artifact).await?;
        Ok(())
    }

    async fn in_fallback(&self, subject: &BlobDigest, kind: &str) -> Result<Vec<Referrer>> {
        let tag = fallback_tag(subject);
        let Some(list) = self.fallback(&tag).await? else { return Ok(Vec::new()) };
        let ask = self.ask(Method::GET, "", format!("list of referrers {tag}"));
        let found = entries(&ask, &list.bytes)?;
        Ok(found.into_iter().filter(|entry| is_of(entry, kind)).collect())
    }

    async fn fallback(&self, tag: &str) -> Result<Option<Manifest>> {
        match self.manifest(&Named::Tag(tag.to_owned())).await {
            Err(failure) if failure.is_not_found() => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Changes the list of the fallback tag. `change` is called on what is there, and says whether
    /// it had to change anything. Registries have no way to replace only what one has read: this
    /// client's changes wait for each other, others' may still be lost or lose this one.
    async fn change(
        &self,
        subject: &BlobDigest,
        change: impl Fn(&mut Vec<Value>) -> bool,
    ) -> Result<()> {
        let tag = fallback_tag(subject);
        let asked = format!("list of referrers {tag}");
        let wrong = |what: &str| {
            let place = format!("{}: {asked}", self.place());
            Failure::wrong(self.place(), asked.as_str(), Error::bad_input(place, what))
        };
        let _alone = self.client().alone_with_lists().await;
        let mut attempt = 0;
        let mut has_waited = true;
        loop {
            let mut list = match self.fallback(&tag).await? {
                None => json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}),
                Some(there) => serde_json::from_slice(&there.bytes)
                    .map_err(|_| wrong("what is there is no list, and is left alone"))?,
            };
            let Some(entries) = list.get_mut("manifests").and_then(Value::as_array_mut) else {
                return Err(wrong("what is there is no list, and is left alone"));
            };
            // Also the way out: what was written is read again until it is found there.
            if !change(entries) {
                return Ok(());
            }
            if !has_waited {
                let wait = self.client().options().retry.wait(attempt, None);
                let Some(wait) = wait else {
                    let what = "others change it as fast".to_owned();
                    return Err(Failure {
                        place: self.place().into(),
                        asked: asked.into(),
                        why: Why::Network { what },
                    });
                };
                // And read anew: what is written is what was there a moment ago.
                tokio::time::sleep(wait).await;
                has_waited = true;
                continue;
            }
            has_waited = false;
            attempt += 1;
            let bytes = list.to_string().into_bytes();
            self.put_manifest(&Named::Tag(tag.clone()), INDEX_TYPE, &bytes).await?;
        }
    }
}

/// Returns the tag under which clients list what lies beside an image.
pub fn fallback_tag(subject: &BlobDigest) -> String {
    // Longer digests are cut, as a tag has at most 128 characters.
    let hex = subject.hex();
    format!("{}-{}", subject.algorithm().name(), &hex[..hex.len().min(64)])
}

/// Whether a tag is one of those that clients make of digests: lists and signatures, no versions.
pub fn is_digest_tag(tag: &str) -> bool {
    let rest = tag.strip_prefix("sha256-").or_else(|| tag.strip_prefix("sha512-"));
    rest.is_some_and(|rest| {
        let hex = rest.split('.').next().unwrap_or_default();
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn entries(ask: &Ask<'_>, body: &[u8]) -> Result<Vec<Referrer>> {
    #[derive(serde::Deserialize)]
    struct Index {
        #[serde(default)]
        manifests: Option<Vec<Value>>,
    }
    let index: Index = serde_json::from_slice(body).map_err(|error| {
        ask.wrong(Error::bad_input_because(ask.what(), "no list of referrers", error))
    })?;
    let entries = index.manifests.unwrap_or_default();
    Ceiling::fixed(MOST_REFERRERS)
        .admit(entries.len() as u64, "count of referrers", ask.what())
        .map_err(|error| ask.wrong(error))?;
    // Another tool's entry that makes no sense to us is not ours to judge.
    let read = entries.into_iter().filter_map(|entry| {
        let annotations = serde_json::from_value(entry["annotations"].clone()).unwrap_or_default();
        Some(Referrer { descriptor: serde_json::from_value(entry).ok()?, annotations })
    });
    Ok(read.collect())
}

fn is_of(referrer: &Referrer, kind: &str) -> bool {
    referrer.descriptor.artifact_type.as_deref() == Some(kind)
}

/// The entry of a list for a manifest, as the specification has registries write it.
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
    let told = crate::repository::text(response, "content-type").unwrap_or_default();
    told.starts_with(INDEX_TYPE) || told.starts_with("application/json")
}

/// Writes a media type as part of a query.
fn encoded(kind: &str) -> String {
    kind.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const MOST_PAGES: u64 = 100;
/// An image with thousands of deltas beside it is somebody's mistake or malice.
const MOST_REFERRERS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_digests_are_told_from_versions() {
        let digest: BlobDigest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let tag = fallback_tag(&digest);
        assert_eq!(tag, format!("sha256-{}", "ab".repeat(32)));
        assert!(is_digest_tag(&tag) && is_digest_tag(&format!("{tag}.sig")));
        assert!(!is_digest_tag("v1") && !is_digest_tag("sha256-new"));
        let long: BlobDigest = format!("sha512:{}", "ab".repeat(64)).parse().unwrap();
        assert!(fallback_tag(&long).len() <= 128 && is_digest_tag(&fallback_tag(&long)));
        assert_eq!(encoded("application/vnd.x+json"), "application%2Fvnd.x%2Bjson");
    }
}
