//! References to images: a transport, a place, and a name for one of several images there.
//!
//! The spelling is skopeo's, so that a line from another tool's manual works here. Parsing looks at
//! the text only and touches no file; a bare path is recognised when it is opened.

mod containerd;
mod engines;
mod names;

pub use containerd::ContainerdReference;
pub use engines::{DaemonReference, StorageReference};
pub use names::{RepositoryName, TagName};

use imgdelta_core::{BlobDigest, Error, Result, path::escaped};
use std::{fmt, net::Ipv4Addr, path::PathBuf, str::FromStr};

/// The place of an image, and its name there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// `oci:DIR[:TAG]`: a directory in the OCI image layout.
    Layout {
        /// The directory.
        directory: PathBuf,
        /// The image in it; `None` for the only one.
        name: Option<ImageName>,
    },
    /// `oci-archive:FILE[:TAG]`: a tar file of such a directory.
    OciArchive {
        /// The tar file.
        file: PathBuf,
        /// The image in it; `None` for the only one.
        name: Option<ImageName>,
    },
    /// `docker-archive:FILE[:REF]`: a tar file that `docker save` writes.
    DockerArchive {
        /// The tar file.
        file: PathBuf,
        /// The image in it; `None` for the only one.
        name: Option<ImageName>,
    },
    /// `dir:DIR`: a directory of `skopeo copy … dir:DIR`, with one image.
    Directory {
        /// The directory.
        directory: PathBuf,
    },
    /// `docker://HOST[:PORT]/REPO[:TAG][@DIGEST]`: a registry, which another crate opens.
    Registry(RegistryReference),
    /// `containerd:[NAMESPACE//]NAME`: an image in containerd, which another crate opens.
    Containerd(ContainerdReference),
    /// `containers-storage:[[DRIVER@]ROOT[+RUN]]NAME`: an image of podman, CRI-O or buildah, which
    /// another crate opens.
    ContainersStorage(StorageReference),
    /// `docker-daemon:[ROOT]NAME`: an image in docker's own store, which another crate opens.
    DockerDaemon(DaemonReference),
    /// `rootfs:DIR[:FRAMES]`: an unpacked image, which another crate opens.
    Rootfs {
        /// The root of the unpacked files.
        directory: PathBuf,
        /// The folder with the image's documents and frames; `None` for the usual one.
        frames: Option<PathBuf>,
    },
    /// A bare path, perhaps with `:TAG`; opening it finds out the transport.
    Bare(String),
}

/// The name of one image among several in one place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ImageName {
    /// A tag; in a docker archive a whole reference such as `localhost:5000/x:1`.
    Tag(String),
    /// `@sha256:…`: the manifest or index with this digest.
    Digest(BlobDigest),
    /// `@N`: the image at this position, counted from 0, for images without a name.
    Ordinal(usize),
}

/// An image in a registry, with Docker's defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegistryReference {
    /// The host, with its port if the reference has one; `docker.io` if it has no host.
    pub host: String,
    /// The repository; a single word on docker.io gets the prefix `library/`.
    pub repository: RepositoryName,
    /// The tag; `latest` if the reference has neither tag nor digest.
    pub tag: Option<TagName>,
    /// The digest; it overrules the tag.
    pub digest: Option<BlobDigest>,
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() || text.contains('\0') {
            return Err(invalid(text, "an image reference must be text without NUL"));
        }
        if let Some(rest) = text.strip_prefix("docker://") {
            return parse_registry(rest).map(Self::Registry).map_err(|what| invalid(text, what));
        }
        let (transport, rest) = text.split_once(':').unwrap_or(("", text));
        let split = || split_name(rest).map_err(|what| invalid(text, what));
        Ok(match transport {
            "oci" => {
                let (directory, name) = split()?;
                Self::Layout { directory, name }
            }
            "oci-archive" => {
                let (file, name) = split()?;
                Self::OciArchive { file, name }
            }
            "docker-archive" => {
                let (file, name) = split()?;
                Self::DockerArchive { file, name }
            }
            "dir" if rest.is_empty() => return Err(invalid(text, "the path is missing")),
            "dir" => Self::Directory { directory: rest.into() },
            "containerd" => {
                let reference = containerd::parse(rest).map_err(|what| invalid(text, what))?;
                Self::Containerd(reference)
            }
            "containers-storage" => {
                let reference = engines::parse_storage(rest).map_err(|what| invalid(text, what))?;
                Self::ContainersStorage(reference)
            }
            "docker-daemon" => {
                let reference = engines::parse_daemon(rest).map_err(|what| invalid(text, what))?;
                Self::DockerDaemon(reference)
            }
            "rootfs" => {
                let (directory, frames) = rest.split_once(':').unwrap_or((rest, ""));
                if directory.is_empty() {
                    return Err(invalid(text, "the path after the transport is missing"));
                }
                let frames = Some(frames).filter(|frames| !frames.is_empty()).map(PathBuf::from);
                Self::Rootfs { directory: directory.into(), frames }
            }
            _ => Self::Bare(text.to_owned()),
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, name) = match self {
            Self::Layout { directory, name } => ("oci:", directory, name),
            Self::OciArchive { file, name } => ("oci-archive:", file, name),
            Self::DockerArchive { file, name } => ("docker-archive:", file, name),
            Self::Directory { directory } => return write!(f, "dir:{}", directory.display()),
            Self::Registry(reference) => return write!(f, "docker://{reference}"),
            Self::Containerd(reference) => return write!(f, "containerd:{reference}"),
            Self::ContainersStorage(reference) => {
                return write!(f, "containers-storage:{reference}");
            }
            Self::DockerDaemon(reference) => return write!(f, "docker-daemon:{reference}"),
            Self::Rootfs { directory, frames } => {
                write!(f, "rootfs:{}", directory.display())?;
                return frames.iter().try_for_each(|frames| write!(f, ":{}", frames.display()));
            }
            Self::Bare(text) => return f.write_str(text),
        };
        write!(f, "{transport}{}", path.display())?;
        match name {
            None => Ok(()),
            Some(ImageName::Tag(tag)) => write!(f, ":{tag}"),
            Some(ImageName::Digest(digest)) => write!(f, "@{digest}"),
            Some(ImageName::Ordinal(n)) => write!(f, ":@{n}"),
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "tag {:?}", escaped(tag.as_bytes())),
            Self::Digest(digest) => write!(f, "digest {digest}"),
            Self::Ordinal(n) => write!(f, "image @{n}"),
        }
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

/// Splits `PATH[:NAME]`, `PATH@DIGEST` and `PATH:@N` at the first colon, as skopeo does.
///
/// A path that contains a colon works as a bare path only.
fn split_name(text: &str) -> std::result::Result<(PathBuf, Option<ImageName>), String> {
    let (path, name) = match split_digest(text)? {
        (path, Some(digest)) => {
            // `x:@sha256:…` is a common mix of `:TAG` and `@DIGEST`.
            let path = path.strip_suffix(':').unwrap_or(path);
            if path.contains(':') {
                return Err("a tag and a digest together; use one of them".into());
            }
            (path, Some(ImageName::Digest(digest)))
        }
        (text, None) => match text.split_once(':') {
            Some((path, name)) => (path, parse_name(name)?),
            None => (text, None),
        },
    };
    if path.is_empty() {
        return Err("the path after the transport is missing".into());
    }
    Ok((path.into(), name))
}

/// Reads the name after the colon; empty text means no name, as for skopeo.
pub fn parse_name(text: &str) -> std::result::Result<Option<ImageName>, String> {
    Ok(match text.strip_prefix('@') {
        _ if text.is_empty() => None,
        None => Some(ImageName::Tag(text.to_owned())),
        Some(number) => Some(ImageName::Ordinal(number.parse().map_err(|_| {
            let text = escaped(text.as_bytes());
            format!("{text:?} is not a position; write @0 for the first image")
        })?)),
    })
}

/// Splits `@sha256:…` or `@sha512:…` off the end.
pub fn split_digest(text: &str) -> std::result::Result<(&str, Option<BlobDigest>), String> {
    match text.rfind("@sha256:").or_else(|| text.rfind("@sha512:")) {
        None => Ok((text, None)),
        Some(at) => {
            let digest = text[at + 1..].parse::<BlobDigest>().map_err(|error| error.to_string())?;
            Ok((&text[..at], Some(digest)))
        }
    }
}

/// Reads `[HOST[:PORT]/]REPO[:TAG][@DIGEST]` with Docker's defaults.
pub(crate) fn parse_registry(text: &str) -> std::result::Result<RegistryReference, String> {
    let (rest, digest) = split_digest(text)?;
    if rest.contains('@') {
        return Err("@ must be followed by a digest, sha256:… or sha512:…".into());
    }
    let (host, path) = match rest.split_once('/') {
        // Docker's rule: the first part is a host if it cannot belong to a repository.
        Some((first, path)) if looks_like_host(first) => (first, path),
        _ if is_only_host(rest) => {
            return Err(format!("the repository is missing; write docker://{rest}/REPO[:TAG]"));
        }
        _ => (DEFAULT_HOST, rest),
    };
    let host = if host == "index.docker.io" { DEFAULT_HOST } else { host };
    let (repository, tag) = match path.rsplit_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (path, None),
    };
    let tag = tag.map(|tag| TagName::parse(tag).map_err(|error| error.to_string())).transpose()?;
    let default_tag = digest.is_none().then(TagName::latest);
    let prefix = if host == DEFAULT_HOST && !repository.contains('/') { "library/" } else { "" };
    let repository = format!("{prefix}{repository}");
    let repository = RepositoryName::parse(host, &repository).map_err(|error| error.to_string())?;
    Ok(RegistryReference { host: host.to_owned(), repository, tag: tag.or(default_tag), digest })
}

/// Returns Docker's full form of a reference, so that two spellings of one name compare equal.
///
/// `x` becomes `docker.io/library/x:latest`; text that is not a reference stays unchanged.
pub fn full_docker_name(text: &str) -> String {
    parse_registry(text).map_or_else(|_| text.to_owned(), |reference| reference.to_string())
}

/// True for an address of a machine without a repository. A name with a dot may be a repository.
fn is_only_host(text: &str) -> bool {
    let name = text.split_once(':').map_or(text, |(name, _)| name);
    name == "localhost" || name.parse::<Ipv4Addr>().is_ok() || text.starts_with('[')
}

fn looks_like_host(part: &str) -> bool {
    part == "localhost"
        || part.contains(['.', ':', '['])
        || part.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn invalid(text: &str, what: impl fmt::Display) -> Error {
    let shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    Error::bad_input(format_args!("image reference {:?}", escaped(shown.as_bytes())), what)
}

const DEFAULT_HOST: &str = "docker.io";
/// Long enough to recognise a mistake, short enough for a terminal line.
const MAX_SHOWN_CHARS: usize = 200;
