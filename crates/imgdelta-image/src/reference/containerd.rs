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

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn two_slashes_separate_the_namespace_and_one_does_not() {
        let parsed = |text: &str| {
            let ContainerdReference { namespace, name } = parse(text).unwrap();
            let name = name.map(|name| match name {
                ImageName::Tag(name) => name,
                other => other.to_string(),
            });
            (namespace.unwrap_or_default(), name.unwrap_or_default())
        };
        for (text, namespace, name) in [
            ("docker.io/library/nginx:1", "", "docker.io/library/nginx:1"),
            ("k8s.io//docker.io/library/nginx:1", "k8s.io", "docker.io/library/nginx:1"),
            // A registry and a repository with dots in their names, and a name without a host.
            ("k8s.io/pause.io/x:1", "", "k8s.io/pause.io/x:1"),
            ("moby//nginx", "moby", "nginx"),
            ("k8s.io//", "k8s.io", ""),
            ("", "", ""),
        ] {
            assert_eq!(parsed(text), (namespace.to_owned(), name.to_owned()), "{text}");
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        let named = format!("r.example/a@{DIGEST}");
        assert_eq!(parsed(&named), (String::new(), named));
        let digest = parse(&format!("moby//@{DIGEST}")).unwrap();
        assert_eq!(digest.to_string(), format!("moby//@{DIGEST}"));
        assert_eq!(digest.name, Some(ImageName::Digest(DIGEST.parse().unwrap())));
    }

    #[test]
    fn a_namespace_that_is_missing_or_a_path_is_refused() {
        for text in ["//nginx", "a/b//nginx", "/run//x"] {
            assert!(parse(text).unwrap_err().contains("k8s.io//docker.io"), "{text}");
        }
        assert!(parse("@sha256:00").is_err());
    }
}
