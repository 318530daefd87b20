//! References: spelled as skopeo spells them, and shown as they were written.

mod containerd;
mod engines;
mod names;

use imgdelta_image::reference::{ImageName, Reference, full_docker_name};

const DIGEST: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn parse(text: &str) -> Reference {
    text.parse().unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "the table below needs an option in each row")]
fn tag(text: &str) -> Option<ImageName> {
    Some(ImageName::Tag(text.into()))
}

#[test]
fn the_name_begins_at_the_first_colon() {
    let layout = |directory: &str, name| Reference::Layout { directory: directory.into(), name };
    assert_eq!(parse("oci:/a/b"), layout("/a/b", None));
    assert_eq!(parse("oci:/a/b:v1"), layout("/a/b", tag("v1")));
    assert_eq!(parse("oci:/a/b:"), layout("/a/b", None));
    assert_eq!(parse("oci:a:x/y:1"), layout("a", tag("x/y:1")));
    assert_eq!(parse("oci:a:@2"), layout("a", Some(ImageName::Ordinal(2))));
    let digest = Some(ImageName::Digest(DIGEST.parse().unwrap()));
    assert_eq!(parse(&format!("oci:a@{DIGEST}")), layout("a", digest.clone()));
    assert_eq!(parse(&format!("oci:a:@{DIGEST}")), layout("a", digest));
    assert_eq!(
        parse("docker-archive:f.tar:localhost:5000/x:1"),
        Reference::DockerArchive { file: "f.tar".into(), name: tag("localhost:5000/x:1") }
    );
    assert_eq!(
        parse("oci-archive:f.tar:v1"),
        Reference::OciArchive { file: "f.tar".into(), name: tag("v1") }
    );
    assert_eq!(parse("some/dir:v1"), Reference::Bare("some/dir:v1".into()));
}

#[test]
fn registry_names_get_dockers_defaults() {
    let full = |text: &str| parse(&format!("docker://{text}")).to_string();
    assert_eq!(full("debian"), "docker://docker.io/library/debian:latest");
    assert_eq!(full("me/app:1"), "docker://docker.io/me/app:1");
    assert_eq!(full("localhost:5000/x"), "docker://localhost:5000/x:latest");
    assert_eq!(full("r.example/a/b_c:V-1"), "docker://r.example/a/b_c:V-1");
    let digested = format!("r.example/a@{DIGEST}");
    assert_eq!(full(&digested), format!("docker://{digested}"));
    let both = format!("r.example/a:1@{DIGEST}");
    assert_eq!(full(&both), format!("docker://{both}"));
    assert_eq!(full_docker_name("x:1"), full_docker_name("docker.io/library/x:1"));
}

#[test]
fn displayed_references_parse_to_the_same_value() {
    for text in [
        "oci:/a/b:v1".to_owned(),
        "oci:a:@2".to_owned(),
        "dir:a/b".to_owned(),
        format!("oci-archive:a@{DIGEST}"),
        "docker-archive:f.tar:localhost:5000/x:1".to_owned(),
        "docker://localhost:5000/x:1".to_owned(),
        "containerd:k8s.io//docker.io/library/x:1".to_owned(),
        "containers-storage:[vfs@/a+/b]x:1".to_owned(),
        "docker-daemon:[/a]x:1".to_owned(),
        "rootfs:/".to_owned(),
        "rootfs:/srv/root:/srv/frames".to_owned(),
        "dir/with:colon".to_owned(),
    ] {
        assert_eq!(parse(&text).to_string(), text);
    }
}

#[test]
fn nonsense_is_refused_with_the_reason() {
    let refused = |text: &str| text.parse::<Reference>().unwrap_err().to_string();
    assert!(refused("").contains("must be text"));
    assert!(refused("oci:").contains("the path after the transport is missing"));
    assert!(refused("oci::tag").contains("the path after the transport is missing"));
    assert!(refused("rootfs::/frames").contains("the path after the transport is missing"));
    assert_eq!(
        refused("oci:a:@x"),
        r#"image reference "oci:a:@x": "@x" is not a position; write @0 for the first image"#
    );
    assert!(refused("oci:a@sha256:00").contains("lower-case hexadecimal"));
    assert!(refused(&format!("oci:a:t@{DIGEST}")).contains("use one of them"));
    assert!(
        refused("docker://UPPER").contains(r#"repository "library/UPPER": not a repository name"#)
    );
    assert!(refused("docker://a/../b").contains(r#"repository "a/../b": not a repository name"#));
    assert!(refused("docker://a:ta g").contains(r#"tag "ta g": not a tag"#));
    assert!(refused("containerd://x").contains("the namespace before // is missing"));
    for host in ["127.0.0.1:5000", "localhost", "localhost:5000", "[::1]:5000"] {
        let expected = format!("the repository is missing; write docker://{host}/REPO[:TAG]");
        assert!(refused(&format!("docker://{host}")).contains(&expected), "{host}");
    }
    assert!(refused("docker://a@b").contains("must be followed by a digest"));
    assert!(!refused("docker://a:\x1b[31m").contains('\x1b'));
}
