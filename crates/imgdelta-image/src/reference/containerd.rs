//! Names of images in containerd: a namespace and a name.
//!
//! Names contain slashes, and namespaces contain dots as hosts do. So two slashes, which no name
//! contains, separate the namespace: `k8s.io//docker.io/library/nginx:1`. Never asks containerd.

use super::{ImageName, split_digest};
use std::fmt;

/// An image in containerd on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerdReference {
    /// The namespace; `None` for the default of the program.
    pub namespace: Option<String>,
    /// The image's whole name, or the digest of its manifest; `None` for the only image.
    pub name: Option<ImageName>,
}

impl fmt::Display for ContainerdReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}//")?;
        }
        match &self.name {
            None => Ok(()),
            Some(ImageName::Tag(name)) => f.write_str(name),
            Some(ImageName::Digest(digest)) => write!(f, "@{digest}"),
            Some(ImageName::Ordinal(ordinal)) => write!(f, "@{ordinal}"),
        }
    }
}

/// Reads `[NAMESPACE//]NAME` and `[NAMESPACE//]@DIGEST`.
pub(super) fn parse(text: &str) -> Result<ContainerdReference, String> {
    let (namespace, name) = match text.split_once("//") {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    if namespace.is_some_and(|namespace| namespace.is_empty() || namespace.contains('/')) {
        let what = "the namespace before // is missing or contains /; \
                    write containerd:k8s.io//docker.io/library/nginx:1";
        return Err(what.to_owned());
    }
    // A name with a digest is a name: the kubelet gives images such names.
    let name = match split_digest(name)? {
        ("", Some(digest)) => Some(ImageName::Digest(digest)),
        _ if name.is_empty() => None,
        _ => Some(ImageName::Tag(name.to_owned())),
    };
    Ok(ContainerdReference { namespace: namespace.map(str::to_owned), name })
}
