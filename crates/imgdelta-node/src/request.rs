//! Requests to the mirror, parsed: what a runtime asks for, and of which registry.
//!
//! Pure, and trusts nothing: any local process may send a request. Names follow the grammar of the
//! distribution specification, so that no request reaches another path of a registry.

use hyper::Method;
use imgdelta_core::BlobDigest;
use imgdelta_image::reference::{RepositoryName, TagName};
use imgdelta_registry::ManifestReference;
use std::fmt;

/// A request to the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorRequest {
    /// `GET /v2/`: does the registry require a login?
    Version {
        /// The registry that the request names.
        registry: Option<String>,
    },
    /// A request for an object of a repository.
    Object(ObjectRequest),
}

/// A request for an object of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRequest {
    /// The registry that the request names with `?ns=`, as containerd does.
    pub registry: Option<String>,
    /// The repository.
    pub repository: RepositoryName,
    /// The object.
    pub object: ObjectName,
    /// True for `GET`, false for `HEAD`.
    pub wants_body: bool,
}

/// An object of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectName {
    /// A manifest or an index.
    Manifest(ManifestReference),
    /// A layer or a config.
    Blob(BlobDigest),
    /// The artifacts that refer to a manifest, such as signatures.
    Referrers(BlobDigest),
    /// The list of tags.
    Tags,
}

/// The reason why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedRequest {
    /// Another method than `GET` and `HEAD`: nothing is pushed through the mirror.
    Method,
    /// A path that registries do not have, or a name that is not one.
    Path,
    /// A query that is not understood.
    Query,
}

impl MirrorRequest {
    /// Parses method, path and query of a request.
    pub fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, RefusedRequest> {
        let wants_body = match *method {
            Method::GET => true,
            Method::HEAD => false,
            _ => return Err(RefusedRequest::Method),
        };
        if path.len() > MAX_PATH_BYTES {
            return Err(RefusedRequest::Path);
        }
        let registry = registry(query.unwrap_or_default())?;
        let path = path.strip_prefix("/v2").ok_or(RefusedRequest::Path)?;
        if path.is_empty() || path == "/" {
            return Ok(Self::Version { registry });
        }
        let path = path.strip_prefix('/').ok_or(RefusedRequest::Path)?;
        let (repository, object) = object(path).ok_or(RefusedRequest::Path)?;
        let host = registry.as_deref().unwrap_or_default();
        let repository =
            RepositoryName::parse(host, repository).map_err(|_| RefusedRequest::Path)?;
        Ok(Self::Object(ObjectRequest { registry, repository, object, wants_body }))
    }

    /// Returns the registry that the request names.
    pub fn registry(&self) -> Option<&str> {
        match self {
            Self::Version { registry } => registry.as_deref(),
            Self::Object(request) => request.registry.as_deref(),
        }
    }
}

impl ObjectRequest {
    /// Returns the path of the object at a registry.
    pub fn path(&self) -> String {
        let name = &self.repository;
        match &self.object {
            ObjectName::Manifest(reference) => format!("/v2/{name}/manifests/{reference}"),
            ObjectName::Blob(digest) => format!("/v2/{name}/blobs/{digest}"),
            ObjectName::Referrers(digest) => format!("/v2/{name}/referrers/{digest}"),
            ObjectName::Tags => format!("/v2/{name}/tags/list"),
        }
    }
}

impl fmt::Display for ObjectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.wants_body { "GET " } else { "HEAD " })?;
        f.write_str(&self.path())
    }
}

/// Splits a path below `/v2/` into repository and object. A repository may have parts with the names
/// of kinds, such as `blobs`: the last ones count.
fn object(path: &str) -> Option<(&str, ObjectName)> {
    let (rest, last) = path.rsplit_once('/')?;
    let (repository, kind) = rest.rsplit_once('/')?;
    let digest = || last.parse::<BlobDigest>().ok();
    let object = match kind {
        "manifests" if last.contains(':') => {
            ObjectName::Manifest(ManifestReference::Digest(digest()?))
        }
        "manifests" => ObjectName::Manifest(ManifestReference::Tag(TagName::parse(last).ok()?)),
        "blobs" => ObjectName::Blob(digest()?),
        "referrers" => ObjectName::Referrers(digest()?),
        "tags" if last == "list" => ObjectName::Tags,
        _ => return None,
    };
    Some((repository, object))
}

/// Returns the registry that a query names. Other parameters are passed over: registries may have
/// more, and the mirror asks for none of them.
fn registry(query: &str) -> Result<Option<String>, RefusedRequest> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("ns="));
    let Some(value) = value else { return Ok(None) };
    let host =
        value.replace("%3A", ":").replace("%3a", ":").replace("%5B", "[").replace("%5D", "]");
    let is_host = !host.is_empty()
        && host.len() <= MAX_HOST_BYTES
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    if is_host { Ok(Some(host.to_ascii_lowercase())) } else { Err(RefusedRequest::Query) }
}

/// A repository name has at most 255 bytes, a tag or digest at most 140.
const MAX_PATH_BYTES: usize = 512;
const MAX_HOST_BYTES: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Result<MirrorRequest, RefusedRequest> {
        let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
        MirrorRequest::parse(&Method::GET, path, query)
    }

    fn digest() -> String {
        format!("sha256:{}", "a".repeat(64))
    }

    #[test]
    fn the_requests_of_runtimes_are_understood_and_sent_on_unchanged() {
        let digest = digest();
        for path in [
            "/v2/demo/app/manifests/v1".to_owned(),
            format!("/v2/demo/app/manifests/{digest}"),
            format!("/v2/demo/app/blobs/{digest}"),
            format!("/v2/a/b/c/d/referrers/{digest}"),
            "/v2/demo/app/tags/list".to_owned(),
            // Names of kinds are names of repositories, too.
            "/v2/blobs/manifests/manifests/latest".to_owned(),
        ] {
            for query in ["", "?ns=registry.test%3A5000", "?n=5&ns=registry.test%3A5000"] {
                let request = parse(&format!("{path}{query}")).unwrap();
                let MirrorRequest::Object(object) = &request else { panic!("{path}") };
                assert_eq!(object.path(), path);
                let registry = (!query.is_empty()).then_some("registry.test:5000");
                assert_eq!(request.registry(), registry);
            }
        }
        assert_eq!(
            parse("/v2/?ns=R.test"),
            Ok(MirrorRequest::Version { registry: Some("r.test".into()) })
        );
        assert_eq!(parse("/v2"), Ok(MirrorRequest::Version { registry: None }));
    }

    #[test]
    fn a_request_cannot_leave_the_objects_of_a_repository() {
        for path in [
            "/",
            "/v1/x",
            "/v2/_catalog",
            "/v2/app",
            "/v2/app/manifests/",
            "/v2//manifests/v1",
            "/v2/../manifests/v1",
            "/v2/app/../../manifests/v1",
            "/v2/app/manifests/v1/",
            "/v2/app/manifests/..",
            "/v2/app%2f..%2f/manifests/v1",
            "/v2/App/manifests/v1",
            "/v2/app/blobs/v1",
            "/v2/app/blobs/sha256:00",
            "/v2/app/blobs/uploads/",
            "/v2/app/tags/all",
        ] {
            assert_eq!(parse(path), Err(RefusedRequest::Path), "{path}");
        }
        let long = format!("/v2/{}/manifests/v1", "a/".repeat(400) + "a");
        assert_eq!(parse(&long), Err(RefusedRequest::Path));
    }

    #[test]
    fn the_name_of_a_registry_is_a_host() {
        for query in ["ns=", "ns=a/b", "ns=user@host", "ns=a%2Fb", "ns=a b", "ns=a%00"] {
            assert_eq!(
                parse(&format!("/v2/app/tags/list?{query}")),
                Err(RefusedRequest::Query),
                "{query}"
            );
        }
    }

    #[test]
    fn nothing_is_pushed_through_the_mirror() {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let refused = MirrorRequest::parse(&method, "/v2/app/manifests/v1", None);
            assert_eq!(refused, Err(RefusedRequest::Method));
        }
    }
}
