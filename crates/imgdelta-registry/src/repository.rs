//! One repository of a registry: its manifests and tags.
//!
//! Compares every manifest with its digest. Blobs are in `download` and `upload`.

use crate::{
    client::{Client, Request, RequestTarget},
    error::{RequestError, RequestErrorKind, Result},
    token::Actions,
};
use bytes::Bytes;
use hyper::{Method, header};
use imgdelta_core::{Algorithm, BlobDigest, Difference, Error, verify::Hasher};
use imgdelta_http::{RequestBody, Response};
use imgdelta_image::{
    reference::{RegistryReference, RepositoryName, TagName},
    store::Descriptor,
};
use std::fmt;

/// A repository of a registry. Its methods are asynchronous and need a tokio runtime.
#[derive(Clone, Debug)]
pub struct Repository {
    client: Client,
    host: String,
    name: RepositoryName,
}

/// Tag or digest that names a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestReference {
    /// A tag.
    Tag(TagName),
    /// The manifest's digest.
    Digest(BlobDigest),
}

/// A manifest or an index, compared with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Repository {
    /// Names a repository. Sends nothing.
    pub fn new(client: &Client, host: &str, name: &RepositoryName) -> Self {
        Self { client: client.clone(), host: host.to_owned(), name: name.clone() }
    }

    /// Names the repository of a reference. Sends nothing.
    pub fn of(client: &Client, reference: &RegistryReference) -> Self {
        Self::new(client, &reference.host, &reference.repository)
    }

    /// Returns the repository's name in errors.
    pub fn place(&self) -> String {
        format!("docker://{}/{}", self.host, self.name)
    }

    /// Returns the registry's host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the repository's name in the registry.
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// Returns the client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        object: impl Into<String>,
    ) -> Request<'_> {
        let actions = match method {
            Method::GET | Method::HEAD => Actions::Pull,
            Method::DELETE => Actions::Delete,
            _ => Actions::Push,
        };
        let target = RequestTarget::Path(format!("{}/{path}", self.name));
        let repository = self.name.as_str();
        Request::new(&self.host, repository, method, target, actions, object.into())
    }

    /// Returns the descriptor of a manifest, or `None` if the registry does not have it.
    pub async fn head(&self, reference: &ManifestReference) -> Result<Option<Descriptor>> {
        let mut request =
            self.request(Method::HEAD, &path(reference), format!("manifest {reference}"));
        request.headers.push(("accept", ACCEPTED.join(", ")));
        request.expected = &[200, 404];
        let response = self.client.send(&request).await?;
        if response.status() == 404 {
            return Ok(None);
        }
        let digest = match reference {
            ManifestReference::Digest(digest) => Some(*digest),
            ManifestReference::Tag(_) => reported_digest(&response),
        };
        let size = text(&response, header::CONTENT_LENGTH.as_str()).and_then(|s| s.parse().ok());
        match (digest, size) {
            (Some(digest), Some(size)) => {
                Ok(Some(Descriptor::new(media_type(&response).as_deref(), digest, size)))
            }
            // Some registries send these headers only with the document.
            _ => Ok(Some(self.manifest(reference).await?.descriptor)),
        }
    }

    /// Fetches a manifest or an index.
    pub async fn manifest(&self, reference: &ManifestReference) -> Result<Manifest> {
        self.manifest_within(reference, self.client.options().manifest_bytes).await
    }

    /// Fetches a manifest of at most `limit` bytes.
    pub(crate) async fn manifest_within(
        &self,
        reference: &ManifestReference,
        limit: u64,
    ) -> Result<Manifest> {
        let mut request =
            self.request(Method::GET, &path(reference), format!("manifest {reference}"));
        // One line: some servers read only the first.
        request.headers.push(("accept", ACCEPTED.join(", ")));
        let mut attempt = 1;
        let (reported, media_type, bytes) = loop {
            let response = self.client.send(&request).await?;
            let (reported, kind) = (reported_digest(&response), media_type(&response));
            match self.client.body(&request, response, limit).await {
                Ok(bytes) => break (reported, kind, bytes),
                Err(error) if error.is_transient() => {
                    let wait = self.client.options().retry.wait(attempt, None);
                    let Some(wait) = wait else { return Err(error) };
                    attempt += 1;
                    self.client.wait_to_retry(&error, wait, attempt).await;
                }
                Err(error) => return Err(error),
            }
        };
        let expected = match reference {
            ManifestReference::Digest(digest) => Some(*digest),
            ManifestReference::Tag(_) => reported,
        };
        let algorithm = expected.map_or(Algorithm::Sha256, |digest| digest.algorithm());
        let digest = digest_of(algorithm, &bytes);
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(request.invalid(Error::Mismatch {
                place: request.object_place(),
                difference: Difference::Digest { expected, found: digest },
            }));
        }
        let size = bytes.len() as u64;
        Ok(Manifest { descriptor: Descriptor::new(media_type.as_deref(), digest, size), bytes })
    }

    /// Stores a manifest or an index; the registry must have everything that it names.
    ///
    /// Returns true if the registry itself lists the manifest as a referrer of its subject.
    pub async fn put_manifest(
        &self,
        reference: &ManifestReference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<bool> {
        let mut request =
            self.request(Method::PUT, &path(reference), format!("storing manifest {reference}"));
        request.headers.push(("content-type", media_type.to_owned()));
        request.body = RequestBody::Bytes(Bytes::copy_from_slice(bytes));
        request.expected = &[200, 201, 202];
        let mut attempt = 1;
        let response = loop {
            match self.client.send(&request).await {
                Err(error) if attempt < MAX_PUTS && is_blob_unknown(&error) => {
                    let wait = self.client.options().retry.wait(attempt, None);
                    let Some(wait) = wait else { return Err(error) };
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                }
                outcome => break outcome?,
            }
        };
        let expected = digest_of(Algorithm::Sha256, bytes);
        match reported_digest(&response) {
            Some(found) if found.algorithm() == expected.algorithm() && found != expected => {
                Err(request.invalid(Error::Mismatch {
                    place: request.object_place(),
                    difference: Difference::Digest { expected, found },
                }))
            }
            _ => Ok(response.headers().contains_key("oci-subject")),
        }
    }

    /// Removes a manifest. Returns false if the registry did not have it.
    pub async fn delete_manifest(&self, digest: &BlobDigest) -> Result<bool> {
        let reference = ManifestReference::Digest(*digest);
        let mut request =
            self.request(Method::DELETE, &path(&reference), format!("removing manifest {digest}"));
        request.expected = &[200, 202, 404];
        Ok(self.client.send(&request).await?.status() != 404)
    }

    /// Lists the tags, those of lists of referrers and of signatures included. Text that is not a tag
    /// is left out.
    pub async fn tags(&self) -> Result<Vec<TagName>> {
        #[derive(serde::Deserialize)]
        struct TagList {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let request = self.request(Method::GET, "tags/list?n=1000", "list of tags");
        let names = self.client.names(request, "not a list of tags", |list: TagList| list.tags);
        Ok(names.await?.iter().filter_map(|name| name.parse().ok()).collect())
    }
}

impl fmt::Display for ManifestReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<&RegistryReference> for ManifestReference {
    fn from(reference: &RegistryReference) -> Self {
        match (&reference.digest, &reference.tag) {
            (Some(digest), _) => Self::Digest(*digest),
            (None, Some(tag)) => Self::Tag(tag.clone()),
            (None, None) => Self::Tag(TagName::latest()),
        }
    }
}

/// Returns the digest of bytes.
pub(crate) fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> BlobDigest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish_blob()
}

/// Returns a header as text.
pub(crate) fn text(response: &Response, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

fn reported_digest(response: &Response) -> Option<BlobDigest> {
    text(response, "docker-content-digest")?.parse().ok()
}

fn media_type(response: &Response) -> Option<String> {
    let value = text(response, header::CONTENT_TYPE.as_str())?;
    Some(value.split(';').next().unwrap_or_default().trim().to_owned())
}

fn path(reference: &ManifestReference) -> String {
    format!("manifests/{reference}")
}

/// Returns true if a registry does not see a blob that a manifest names. It may a moment later:
/// while another client uploads the same blob, docker-registry on a file system finds its link
/// empty.
fn is_blob_unknown(error: &RequestError) -> bool {
    matches!(
        &error.kind,
        RequestErrorKind::Refused { message, .. } if message.contains("MANIFEST_BLOB_UNKNOWN")
    )
}

/// Without these types, registries convert manifests or report them as missing.
const ACCEPTED: [&str; 5] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "*/*;q=0.5",
];

/// Attempts to store a manifest whose blobs the registry does not see yet.
const MAX_PUTS: u32 = 4;
