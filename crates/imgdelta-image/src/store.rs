//! Blobs by digest and images by name, wherever they lie.
//!
//! A store gives what it finds and promises nothing about it: whoever reads a blob compares it
//! with its digest (see [`read_blob`] and `envelope`). Nothing here is unpacked or written.

pub mod descriptor;
pub mod docker_archive;
pub mod layout;
mod members;
mod roots;
pub mod source;

pub use descriptor::{Descriptor, PlatformFields};

use crate::reference::{Name, Reference, parse_name, split_digest};
use docker_archive::DockerArchive;
use imgdelta_core::{Error, Limits, Result, path::escaped, verify::BlobCheck};
use layout::Layout;
use members::Members;
use source::ReadAt;
use std::{fmt, fs::File, io::Read, path::Path, sync::Arc};

/// A place that holds images.
pub trait Store: Send + Sync + fmt::Debug {
    /// Returns how errors name this place.
    fn place(&self) -> String;

    /// Returns the names there are, for a person to choose from.
    fn names(&self) -> Result<Vec<String>>;

    /// Returns what a name stands for: usually one manifest or index. They are several where one
    /// name is given per platform; the platform then chooses. Without a name, the only image.
    fn find(&self, name: Option<&Name>) -> Result<Vec<Descriptor>>;

    /// Opens a blob from its beginning. Its bytes are not yet checked.
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>>;
}

/// Opens the store that a reference names and returns it with the image's name there.
pub fn open(reference: &Reference, limits: &Limits) -> Result<(Arc<dyn Store>, Option<Name>)> {
    match reference {
        Reference::Layout { directory, name } => {
            Ok((Arc::new(Layout::open_directory(directory, limits)?), name.clone()))
        }
        Reference::OciArchive { file, name } => {
            let (source, place) = open_file("oci-archive:", file)?;
            Ok((Arc::new(Layout::open_archive(source, place, limits)?), name.clone()))
        }
        Reference::DockerArchive { file, name } => {
            let (source, place) = open_file("docker-archive:", file)?;
            Ok((Arc::new(DockerArchive::open(source, place, limits)?), name.clone()))
        }
        Reference::Registry(_) => Err(Error::bad_input(
            reference,
            "a registry cannot be opened here; the registry crate does that",
        )),
        Reference::Bare(text) => open_bare(text, limits),
    }
}

/// Reads a whole blob that must fit in memory, and compares it with its digest and size.
pub fn read_blob(
    store: &dyn Store,
    blob: &Descriptor,
    limit: u64,
    what: &'static str,
) -> Result<Vec<u8>> {
    let mut check = BlobCheck::new(blob.digest, blob.size_bytes);
    Limits::admit(limit, blob.size_bytes, what, check.place())?;
    let mut bytes = Vec::new();
    // One byte more than promised, so that a longer blob is noticed.
    let mut reader = store.open(blob)?.take(blob.size_bytes + 1);
    reader.read_to_end(&mut bytes).map_err(Error::io(check.place()))?;
    check.update(&bytes)?;
    check.finish()?;
    Ok(bytes)
}

/// Recognises a bare path: as a whole first, so that a path with colons wins; then with a digest
/// cut off; then with a name cut off at each colon, the longest path first.
fn open_bare(text: &str, limits: &Limits) -> Result<(Arc<dyn Store>, Option<Name>)> {
    let wrong = |what| Error::bad_input(format_args!("{:?}", escaped(text.as_bytes())), what);
    if Path::new(text).exists() {
        return Ok((recognise(Path::new(text), limits)?, None));
    }
    let (path, digest) = split_digest(text).map_err(wrong)?;
    if digest.is_some() && Path::new(path).exists() {
        return Ok((recognise(Path::new(path), limits)?, digest.map(Name::Digest)));
    }
    for (colon, _) in text.rmatch_indices(':') {
        let path = Path::new(&text[..colon]);
        if colon > 0 && path.exists() {
            let name = parse_name(&text[colon + 1..]).map_err(wrong)?;
            return Ok((recognise(path, limits)?, name));
        }
    }
    Err(Error::NotFound {
        place: format!("{:?}", escaped(text.as_bytes())),
        what:
            "a file or directory of this name (or oci:, oci-archive:, docker-archive:, docker://)"
                .into(),
        present: Vec::new(),
    })
}

fn recognise(path: &Path, limits: &Limits) -> Result<Arc<dyn Store>> {
    if path.is_dir() {
        if !path.join(layout::INDEX_FILE).exists() && !path.join(layout::LAYOUT_FILE).exists() {
            return Err(Error::bad_input(
                path.display(),
                "a directory without oci-layout and index.json is not an image",
            ));
        }
        return Ok(Arc::new(Layout::open_directory(path, limits)?));
    }
    let (source, place) = open_file("", path)?;
    let members = Members::read(Arc::clone(&source), &place, limits)?;
    if members.contains(docker_archive::MANIFEST_FILE) {
        return Ok(Arc::new(DockerArchive::from_members(members, place, limits)?));
    }
    if members.contains(layout::INDEX_FILE) {
        return Ok(Arc::new(Layout::from_members(members, place, limits)?));
    }
    Err(Error::bad_input(place, "a tar file without index.json and manifest.json is not an image"))
}

fn open_file(transport: &str, path: &Path) -> Result<(Arc<dyn ReadAt>, String)> {
    let place = format!("{transport}{}", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::bad_input(place, "no such file"));
        }
        outcome => outcome.map_err(Error::io(&place))?,
    };
    if !file.metadata().map_err(Error::io(&place))?.is_file() {
        return Err(Error::bad_input(place, "not a regular file"));
    }
    Ok((Arc::new(file), place))
}

/// Reads a small file of a layout or archive, refusing a large one before memory is taken.
fn read_small(reader: impl Read, place: &str, limit: u64, what: &'static str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(place))?;
    Limits::admit(limit, bytes.len() as u64, what, place)?;
    Ok(bytes)
}
