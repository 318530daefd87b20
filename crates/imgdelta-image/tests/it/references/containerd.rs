//! Names of images in containerd.

use super::DIGEST;
use imgdelta_image::reference::{ContainerdReference, ImageName, Reference};

fn parse(text: &str) -> Result<ContainerdReference, String> {
    match format!("containerd:{text}").parse() {
        Ok(Reference::Containerd(reference)) => Ok(reference),
        Ok(other) => panic!("{other}"),
        Err(error) => Err(error.to_string()),
    }
}

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
