//! One repository of a registry: its manifests and tags.
//!
//! Compares every manifest with its digest. Blobs are in `download` and `upload`.

use crate::{
    client::{Client, Request, RequestBody, RequestTarget},
    endpoint,
    error::{RequestError, RequestErrorKind, Result},
    token::Actions,
};
use bytes::Bytes;
use imgdelta_core::{Algorithm, BlobDigest, Difference, Error, limits::Ceiling, verify::Hasher};
use imgdelta_image::{reference::RegistryReference, store::Descriptor};
use reqwest::{Method, Response, header};
use serde::de::DeserializeOwned;
use std::fmt;

/// A repository of a registry. Its methods are asynchronous and need a tokio runtime.
#[derive(Clone, Debug)]
pub struct Repository {
    client: Client,
    host: String,
    name: String,
}

/// Tag or digest that names a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestReference {
    /// A tag.
    Tag(String),
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
    pub fn new(client: &Client, host: &str, name: &str) -> Self {
        Self { client: client.clone(), host: host.to_owned(), name: name.to_owned() }
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
    pub fn name(&self) -> &str {
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
        Request {
            host: &self.host,
            repository: &self.name,
            method,
            target: RequestTarget::Path(format!("{}/{path}", self.name)),
            headers: Vec::new(),
            body: RequestBody::None,
            actions,
            mount_from: None,
            expected: &[200],
            may_retry: true,
            object: object.into(),
        }
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
                    tokio::time::sleep(wait).await;
                    attempt += 1;
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

    /// Lists the tags, those of lists of referrers and of signatures included.
    pub async fn tags(&self) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct TagList {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let request = self.request(Method::GET, "tags/list?n=1000", "tags");
        self.names(request, "not a list of tags", |list: TagList| list.tags).await
    }

    /// Reads all pages of a list of names; `names` returns those of one page.
    pub(crate) async fn names<List: DeserializeOwned>(
        &self,
        mut request: Request<'_>,
        not_a_list: &str,
        names: fn(List) -> Option<Vec<String>>,
    ) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let response = self.client.send(&request).await?;
            let next = self.next_page(&request, &response).await?;
            let limit = self.client.options().manifest_bytes;
            let body = self.client.body(&request, response, limit).await?;
            let list = serde_json::from_slice(&body).map_err(|error| {
                let place = request.object_place();
                request.invalid(Error::bad_input_because(place, not_a_list, error))
            })?;
            all.extend(names(list).unwrap_or_default());
            Ceiling::fixed(MAX_NAMES)
                .admit(all.len() as u64, "count of names", request.object_place())
                .map_err(|error| request.invalid(error))?;
            let Some(next) = next else { return Ok(all) };
            request.target = next;
        }
        Err(too_many_pages(&request, MAX_PAGES))
    }

    /// Returns the address of a list's next page, which must be on the same server.
    pub(crate) async fn next_page(
        &self,
        request: &Request<'_>,
        response: &Response,
    ) -> Result<Option<RequestTarget>> {
        let base = self.client.base(request).await?;
        let link = response.headers().get_all(header::LINK).iter().find_map(|value| {
            let value = value.to_str().ok()?;
            let (address, rest) = value.trim().strip_prefix('<')?.split_once('>')?;
            let is_next = rest.replace(['"', ' '], "").split(';').any(|part| part == "rel=next");
            is_next.then(|| address.to_owned())
        });
        let Some(address) = link else { return Ok(None) };
        match base.join(&address) {
            Ok(url) if endpoint::is_same_server(&url, &base) => Ok(Some(RequestTarget::Url(url))),
            _ => {
                let what = "the address of the next page is not on this registry";
                Err(request.invalid(Error::bad_input(request.object_place(), what)))
            }
        }
    }
}

impl fmt::Display for ManifestReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<&RegistryReference> for ManifestReference {
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

/// Returns a header as text.
pub(crate) fn text(response: &Response, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

pub(crate) fn too_many_pages(request: &Request<'_>, limit: u64) -> RequestError {
    let (place, what) = (request.object_place(), "count of pages");
    request.invalid(Error::OverLimit { place, what, name: None, found: limit + 1, limit })
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

/// A page has a thousand tags.
const MAX_PAGES: u64 = 1000;
const MAX_NAMES: u64 = 1_000_000;
/// Attempts to store a manifest whose blobs the registry does not see yet.
const MAX_PUTS: u32 = 4;
