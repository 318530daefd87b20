//! Names of images in the stores of container engines: containers-storage, and docker.
//!
//! Square brackets name another store than the default one, as for skopeo:
//! `containers-storage:[overlay@/srv/storage]app:1`. Never opens a store.

use super::{ImageName, split_digest};
use std::{fmt, path::PathBuf};

/// An image in a storage of podman, CRI-O or buildah on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StorageReference {
    /// The storage driver, such as `overlay`; `None` for the one that is in use.
    pub driver: Option<String>,
    /// The directory of the storage; `None` for that of the user's configuration.
    pub root: Option<PathBuf>,
    /// The directory of its state, which only other tools use.
    pub run_root: Option<PathBuf>,
    /// The image's name, perhaps with `@` and its id; `None` for the only image.
    pub name: Option<ImageName>,
}

/// An image in docker's own store on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DaemonReference {
    /// The daemon's directory; `None` for that of its configuration.
    pub root: Option<PathBuf>,
    /// The image's name or `sha256:` and its id; `None` for the only image.
    pub name: Option<ImageName>,
}

impl fmt::Display for StorageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(root) = &self.root {
            f.write_str("[")?;
            self.driver.iter().try_for_each(|driver| write!(f, "{driver}@"))?;
            write!(f, "{}", root.display())?;
            self.run_root.iter().try_for_each(|run| write!(f, "+{}", run.display()))?;
            f.write_str("]")?;
        }
        write_name(self.name.as_ref(), f)
    }
}

impl fmt::Display for DaemonReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.iter().try_for_each(|root| write!(f, "[{}]", root.display()))?;
        write_name(self.name.as_ref(), f)
    }
}

fn write_name(name: Option<&ImageName>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match name {
        None => Ok(()),
        Some(ImageName::Tag(name)) => f.write_str(name),
        Some(ImageName::Digest(digest)) => write!(f, "@{digest}"),
        Some(ImageName::Ordinal(ordinal)) => write!(f, "@{ordinal}"),
    }
}

/// Reads `[[DRIVER@]ROOT[+RUN]]NAME`; the outer brackets are part of the text.
pub(super) fn parse_storage(text: &str) -> Result<StorageReference, String> {
    let (place, name) = split_place(text, STORAGE_EXAMPLE)?;
    let name = parse_name(name)?;
    let Some(place) = place else {
        return Ok(StorageReference { driver: None, root: None, run_root: None, name });
    };
    let (driver, place) = match place.split_once('@') {
        Some((driver, place)) => (Some(driver), place),
        None => (None, place),
    };
    if driver.is_some_and(str::is_empty) {
        return Err(format!("the driver before @ is missing; write {STORAGE_EXAMPLE}"));
    }
    let (root, run_root) = match place.split_once('+') {
        Some((root, run_root)) => (root, Some(run_root)),
        None => (place, None),
    };
    if [Some(root), run_root].into_iter().flatten().any(|path| path.contains(':')) {
        return Err(
            "options of a driver are not supported; leave out the colon and the rest".into()
        );
    }
    Ok(StorageReference {
        driver: driver.map(str::to_owned),
        root: Some(absolute(root, STORAGE_EXAMPLE)?),
        run_root: run_root.map(|path| absolute(path, STORAGE_EXAMPLE)).transpose()?,
        name,
    })
}

/// Reads `[[ROOT]]NAME`; the outer brackets are part of the text.
pub(super) fn parse_daemon(text: &str) -> Result<DaemonReference, String> {
    let (place, name) = split_place(text, DAEMON_EXAMPLE)?;
    let root = place.map(|root| absolute(root, DAEMON_EXAMPLE)).transpose()?;
    Ok(DaemonReference { root, name: parse_name(name)? })
}

/// Splits the text in square brackets from the name.
fn split_place<'a>(text: &'a str, example: &str) -> Result<(Option<&'a str>, &'a str), String> {
    let Some(rest) = text.strip_prefix('[') else { return Ok((None, text)) };
    match rest.split_once(']') {
        Some((place, name)) => Ok((Some(place), name)),
        None => Err(format!("the bracket ] after the directory is missing; write {example}")),
    }
}

fn absolute(path: &str, example: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') {
        return Ok(path.into());
    }
    Err(format!("the directory in brackets must begin with /; write {example}"))
}

fn parse_name(text: &str) -> Result<Option<ImageName>, String> {
    // A name with a digest is a name: engines list images under such names.
    Ok(match split_digest(text)? {
        ("", Some(digest)) => Some(ImageName::Digest(digest)),
        _ if text.is_empty() => None,
        _ => Some(ImageName::Tag(text.to_owned())),
    })
}

const STORAGE_EXAMPLE: &str = "containers-storage:[overlay@/var/lib/containers/storage]app:1";
const DAEMON_EXAMPLE: &str = "docker-daemon:[/var/lib/docker]app:1";
