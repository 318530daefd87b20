//! Names of images in storages of podman and in docker's store.

use super::DIGEST;
use imgdelta_image::reference::{DaemonReference, ImageName, Reference, StorageReference};
use std::path::PathBuf;

fn parse_storage(text: &str) -> Result<StorageReference, String> {
    match format!("containers-storage:{text}").parse() {
        Ok(Reference::ContainersStorage(reference)) => Ok(reference),
        Ok(other) => panic!("{other}"),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_daemon(text: &str) -> Result<DaemonReference, String> {
    match format!("docker-daemon:{text}").parse() {
        Ok(Reference::DockerDaemon(reference)) => Ok(reference),
        Ok(other) => panic!("{other}"),
        Err(error) => Err(error.to_string()),
    }
}

fn tag(text: &str) -> Option<ImageName> {
    Some(ImageName::Tag(text.to_owned())).filter(|_| !text.is_empty())
}

#[test]
fn brackets_name_the_storage_and_the_rest_names_the_image() {
    for (text, driver, root, run_root, name) in [
        ("app:1", None, None, None, "app:1"),
        ("", None, None, None, ""),
        ("[/a]", None, Some("/a"), None, ""),
        ("[overlay@/a]r.example/x:1", Some("overlay"), Some("/a"), None, "r.example/x:1"),
        ("[vfs@/a+/run/b]@abc", Some("vfs"), Some("/a"), Some("/run/b"), "@abc"),
        ("x:1@00112233445566", None, None, None, "x:1@00112233445566"),
    ] {
        let expected = StorageReference {
            driver: driver.map(str::to_owned),
            root: root.map(PathBuf::from),
            run_root: run_root.map(PathBuf::from),
            name: tag(name),
        };
        assert_eq!(parse_storage(text), Ok(expected), "{text}");
        assert_eq!(parse_storage(text).unwrap().to_string(), text);
    }
    let digest = parse_storage(&format!("@{DIGEST}")).unwrap();
    assert_eq!(digest.name, Some(ImageName::Digest(DIGEST.parse().unwrap())));
    assert_eq!(digest.to_string(), format!("@{DIGEST}"));
}

#[test]
fn brackets_name_the_directory_of_docker() {
    for (text, root, name) in [
        ("app:1", None, "app:1"),
        ("[/srv/docker]app:1", Some("/srv/docker"), "app:1"),
        (DIGEST, None, DIGEST),
    ] {
        let expected = DaemonReference { root: root.map(PathBuf::from), name: tag(name) };
        assert_eq!(parse_daemon(text), Ok(expected), "{text}");
        assert_eq!(parse_daemon(text).unwrap().to_string(), text);
    }
}

#[test]
fn a_place_that_is_cut_relative_or_has_options_is_refused() {
    for (text, expected) in [
        ("[/a", "the bracket ]"),
        ("[overlay@a]x", "must begin with /"),
        ("[@/a]x", "the driver before @"),
        ("[overlay@/a:opt=1]x", "options of a driver"),
    ] {
        let error = parse_storage(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(parse_daemon("[docker]x").unwrap_err().contains("docker-daemon:[/var/lib/docker]"));
    assert!(parse_daemon("x@sha256:00").is_err());
}
