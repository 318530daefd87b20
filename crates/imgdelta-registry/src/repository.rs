//! One repository of a registry: its manifests and tags.
//!
//! Every manifest is compared with the digest it was asked for. Blobs have rooms of their own.

use crate::{
    client::{Ask, Body, Client, Target},
    endpoint,
    failure::{Failure, Result, Why},
    token::Actions,
};
use bytes::Bytes;
use imgdelta_core::{Algorithm, BlobDigest, Difference, Error, limits::Ceiling, verify::Hasher};
use imgdelta_image::{reference::RegistryReference, store::Descriptor};
use reqwest::{Method, Response, header};
use serde::de::DeserializeOwned;

/// A repository.
#[derive(Clone, Debug)]
pub struct Repository {
    client: Client,
    host: String,
    name: String,
}

/// How a manifest is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// By a tag.
    Tag(String),
    /// By its digest.
    Digest(BlobDigest),
}

/// A manifest or an index, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Repository {
    /// Names a repository; nothing is sent.
    pub fn new(client: &Client, host: &str, name: &str) -> Self {
        Self { client: client.clone(), host: host.to_owned(), name: name.to_owned() }
    }

    /// Names the repository of a reference; nothing is sent.
    pub fn of(client: &Client, reference: &RegistryReference) -> Self {
        Self::new(client, &reference.host, &reference.repository)
    }

    /// Returns how errors name it.
    pub fn place(&self) -> String {
        format!("docker://{}/{}", self.host, self.name)
    }

    /// Returns its registry.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns its name in the registry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn ask(&self, method: Method, path: &str, asked: impl Into<String>) -> Ask<'_> {
        let actions = match method {
            Method::GET | Method::HEAD => Actions::Pull,
            Method::DELETE => Actions::Delete,
            _ => Actions::Push,
        };
        Ask {
            host: &self.host,
            repository: &self.name,
            method,
            target: Target::Path(format!("{}/{path}", self.name)),
            headers: Vec::new(),
            body: Body::None,
            actions,
            from: None,
            expected: &[200],
            may_repeat: true,
            asked: asked.into(),
        }
    }

    /// Returns what a name stands for, without the document; `None` if it is not there.
    pub async fn head(&self, named: &Named) -> Result<Option<Descriptor>> {
        let mut ask = self.ask(Method::HEAD, &path(named), format!("manifest {named}"));
        ask.headers.push(("accept", ACCEPTED.join(", ")));
        ask.expected = &[200, 404];
        let response = self.client.send(&ask).await?;
        if response.status() == 404 {
            return Ok(None);
        }
        let digest = match named {
            Named::Digest(digest) => Some(*digest),
            Named::Tag(_) => told_digest(&response),
        };
        let size = text(&response, header::CONTENT_LENGTH.as_str()).and_then(|s| s.parse().ok());
        match (digest, size) {
            (Some(digest), Some(size)) => {
                Ok(Some(Descriptor::new(media_type(&response).as_deref(), digest, size)))
            }
            // Some registries say nothing without the document.
            _ => Ok(Some(self.manifest(named).await?.descriptor)),
        }
    }

    /// Fetches a manifest or an index.
    pub async fn manifest(&self, named: &Named) -> Result<Manifest> {
        self.manifest_within(named, self.client.options().manifest_bytes).await
    }

    /// Fetches a manifest that must not be longer than `limit`.
    pub(crate) async fn manifest_within(&self, named: &Named, limit: u64) -> Result<Manifest> {
        let mut ask = self.ask(Method::GET, &path(named), format!("manifest {named}"));
        // One line: some servers read the first only.
        ask.headers.push(("accept", ACCEPTED.join(", ")));
        let mut attempt = 1;
        let (told, media_type, bytes) = loop {
            let response = self.client.send(&ask).await?;
            let (told, kind) = (told_digest(&response), media_type(&response));
            match self.client.body(&ask, response, limit).await {
                Ok(bytes) => break (told, kind, bytes),
                Err(failure) if failure.is_passing() => {
                    let wait = self.client.options().retry.wait(attempt, None);
                    let Some(wait) = wait else { return Err(failure) };
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                }
                Err(failure) => return Err(failure),
            }
        };
        let expected = match named {
            Named::Digest(digest) => Some(*digest),
            Named::Tag(_) => told,
        };
        let algorithm = expected.map_or(Algorithm::Sha256, |digest| digest.algorithm());
        let digest = digest_of(algorithm, &bytes);
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(ask.wrong(Error::Mismatch {
                place: ask.what(),
                difference: Difference::Digest { expected, found: digest },
            }));
        }
        let size = bytes.len() as u64;
        Ok(Manifest { descriptor: Descriptor::new(media_type.as_deref(), digest, size), bytes })
    }

    /// Stores a manifest or an index; everything it names must be there. Returns whether the
    /// registry said that it keeps track of subjects.
    pub async fn put_manifest(
        &self,
        named: &Named,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<bool> {
        let mut ask = self.ask(Method::PUT, &path(named), format!("storing manifest {named}"));
        ask.headers.push(("content-type", media_type.to_owned()));
        ask.body = Body::Bytes(Bytes::copy_from_slice(bytes));
        ask.expected = &[200, 201, 202];
        let mut attempt = 1;
        let response = loop {
            match self.client.send(&ask).await {
                Err(failure) if attempt < MOST_PUTS && is_blob_unknown(&failure) => {
                    let wait = self.client.options().retry.wait(attempt, None);
                    let Some(wait) = wait else { return Err(failure) };
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                }
                outcome => break outcome?,
            }
        };
        let mine = digest_of(Algorithm::Sha256, bytes);
        match told_digest(&response) {
            Some(told) if told.algorithm() == mine.algorithm() && told != mine => {
                Err(ask.wrong(Error::Mismatch {
                    place: ask.what(),
                    difference: Difference::Digest { expected: mine, found: told },
                }))
            }
            _ => Ok(response.headers().contains_key("oci-subject")),
        }
    }

    /// Removes a manifest; whether it was there.
    pub async fn delete_manifest(&self, digest: &BlobDigest) -> Result<bool> {
        let named = Named::Digest(*digest);
        let mut ask =
            self.ask(Method::DELETE, &path(&named), format!("removing manifest {digest}"));
        ask.expected = &[200, 202, 404];
        Ok(self.client.send(&ask).await?.status() != 404)
    }

    /// Lists the tags. Those of the fallback for referrers and of signatures are among them.
    pub async fn tags(&self) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct List {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let ask = self.ask(Method::GET, "tags/list?n=1000", "tags");
        self.names(ask, "no list of tags", |list: List| list.tags).await
    }

    /// Reads a list of names, all its pages; `names` are those of one.
    pub(crate) async fn names<List: DeserializeOwned>(
        &self,
        mut ask: Ask<'_>,
        no_list: &str,
        names: fn(List) -> Option<Vec<String>>,
    ) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for _ in 0..MOST_PAGES {
            let response = self.client.send(&ask).await?;
            let next = self.next_page(&ask, &response).await?;
            let limit = self.client.options().manifest_bytes;
            let body = self.client.body(&ask, response, limit).await?;
            let list = serde_json::from_slice(&body)
                .map_err(|error| ask.wrong(Error::bad_input_because(ask.what(), no_list, error)))?;
            all.extend(names(list).unwrap_or_default());
            Ceiling::fixed(MOST_NAMES)
                .admit(all.len() as u64, "count of names", ask.what())
                .map_err(|error| ask.wrong(error))?;
            let Some(next) = next else { return Ok(all) };
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

    /// Returns where a list goes on, which must be at the same server.
    pub(crate) async fn next_page(
        &self,
        ask: &Ask<'_>,
        response: &Response,
    ) -> Result<Option<Target>> {
        let base = self.client.base(ask).await?;
        let link = response.headers().get_all(header::LINK).iter().find_map(|value| {
            let value = value.to_str().ok()?;
            let (address, rest) = value.trim().strip_prefix('<')?.split_once('>')?;
            let is_next = rest.replace(['"', ' '], "").split(';').any(|part| part == "rel=next");
            is_next.then(|| address.to_owned())
        });
        let Some(address) = link else { return Ok(None) };
        match base.join(&address) {
            Ok(url) if endpoint::is_same_server(&url, &base) => Ok(Some(Target::Url(url))),
            _ => Err(ask.wrong(Error::bad_input(ask.what(), "the next page is no address of it"))),
        }
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<&RegistryReference> for Named {
    fn from(reference: &RegistryReference) -> Self {
        match (&reference.digest, &reference.tag) {
            (Some(digest), _) => Self::Digest(*digest),
            (None, Some(tag)) => Self::Tag(tag.clone()),
            (None, None) => Self::Tag("latest".into()),
        }
    }
}

/// Returns the digest of bytes.
pub(crate) fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> BlobDigest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish_blob()
}

pub(crate) fn text(response: &Response, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

fn told_digest(response: &Response) -> Option<BlobDigest> {
    text(response, "docker-content-digest")?.parse().ok()
}

fn media_type(response: &Response) -> Option<String> {
    let told = text(response, header::CONTENT_TYPE.as_str())?;
    Some(told.split(';').next().unwrap_or_default().trim().to_owned())
}

fn path(named: &Named) -> String {
    format!("manifests/{named}")
}

/// Without these, registries convert manifests, or say that they are not there.
const ACCEPTED: [&str; 5] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "*/*;q=0.5",
];

/// A thousand tags each.
const MOST_PAGES: u64 = 1000;
const MOST_NAMES: u64 = 1_000_000;
/// Whether a registry does not see a blob that a manifest names. It may a moment later: while
/// another uploads the same blob, docker-registry on a file system finds its link empty.
fn is_blob_unknown(failure: &Failure) -> bool {
    matches!(&failure.why, Why::Refused { said, .. } if said.contains("MANIFEST_BLOB_UNKNOWN"))
}

/// How often a manifest is sent whose blobs are not seen.
const MOST_PUTS: u32 = 4;
