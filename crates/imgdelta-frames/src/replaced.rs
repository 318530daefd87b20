//! Content of files that higher layers of an image replace or remove: the merged files lack it.
//! Never compares content: the digest of the stream decides.

use imgdelta_core::{
    Algorithm, DiffId, Error, Result, durable::create_directory, path::LayerPath,
    progress::Progress, regular::open_within, verify::Hasher,
};
use imgdelta_image::{
    image::Image,
    tarscan::{EntryKind, MemberVisitor, TarMember, TarScanner},
};
use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, ErrorKind, Write},
    mem,
    path::{Path, PathBuf},
};

/// A directory with such files: a folder for each layer, in it a file for each path, by its hash.
#[derive(Clone, Debug)]
pub struct ReplacedFiles {
    directory: PathBuf,
}

impl ReplacedFiles {
    /// Names the directory, which need not be there.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Opens a file of a layer; `None` if it is not kept with this length.
    pub fn open(&self, diff_id: &DiffId, path: &[u8], bytes: u64) -> Result<Option<File>> {
        let (folder, name) = (self.folder(diff_id), file_name(path));
        // Most files are not replaced, and each of them is asked for.
        let state = fs::symlink_metadata(folder.join(&name));
        if state.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Ok(None);
        }
        let found = open_within(&folder, &name)?;
        Ok(found.filter(|file| file.metadata().is_ok_and(|metadata| metadata.len() == bytes)))
    }

    /// Keeps the replaced files of an image, and no others. Returns their bytes.
    pub fn keep(&self, image: &Image, progress: &dyn Progress) -> Result<u64> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            outcome => outcome.map_err(Error::io(self.directory.display()))?,
        }
        create_directory(&self.directory)?;
        let mut keeper = FileKeeper::default();
        let mut seen = HashSet::new();
        // From the top, so that the members of all higher layers are known.
        for layer in image.layers.iter().rev().filter(|layer| seen.insert(layer.diff_id)) {
            keeper.folder = self.folder(&layer.diff_id);
            create_directory(&keeper.folder)?;
            let mut scanner = TarScanner::new(image.limits());
            image.read_layer(layer, &mut Vec::new(), progress, &mut |piece| {
                // Frames are not made of a stream that cannot be scanned.
                let _ = scanner.feed(piece, &mut keeper);
                keeper
                    .failure
                    .take()
                    .map_or(Ok(()), |error| Err(Error::io(self.directory.display())(error)))
            })?;
            keeper.file = None;
            let own = mem::take(&mut keeper.own);
            keeper.removed.extend(own);
        }
        Ok(keeper.bytes)
    }

    fn folder(&self, diff_id: &DiffId) -> PathBuf {
        self.directory.join(diff_id.to_string().replace(':', "-"))
    }
}

/// Writes the files of a layer that the layers above it replace.
#[derive(Default)]
struct FileKeeper {
    folder: PathBuf,
    /// Paths that layers above have or remove, except directories.
    removed: HashSet<Vec<u8>>,
    /// The same of this layer.
    own: Vec<Vec<u8>>,
    file: Option<File>,
    bytes: u64,
    failure: Option<io::Error>,
}

impl FileKeeper {
    /// True if a layer above has another file there, or removes the file or a directory above it.
    fn is_replaced(&self, path: &LayerPath) -> bool {
        let mut at = Some(path.clone());
        while let Some(path) = at {
            if self.removed.contains(path.as_bytes()) {
                return true;
            }
            at = path.parent().filter(|parent| !parent.as_bytes().is_empty());
        }
        false
    }
}

impl MemberVisitor for FileKeeper {
    fn begin(&mut self, member: TarMember) {
        let path = LayerPath::parse(&member.name);
        if member.kind == EntryKind::File && !member.payload.is_empty() && self.is_replaced(&path) {
            match File::create(self.folder.join(file_name(path.as_bytes()))) {
                Ok(file) => self.file = Some(file),
                Err(error) => self.failure = Some(error),
            }
        }
        let parent = path.parent();
        let removed = match (path.name().strip_prefix(b".wh."), parent) {
            (Some(b".wh..opq"), Some(parent)) => parent.as_bytes().to_vec(),
            (Some(name), Some(parent)) => parent.join(name).as_bytes().to_vec(),
            _ if member.kind == EntryKind::Directory => return,
            _ => path.as_bytes().to_vec(),
        };
        self.own.push(removed);
    }

    fn payload(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        self.bytes += bytes.len() as u64;
        if let Err(error) = file.write_all(bytes) {
            self.failure = Some(error);
        }
    }

    fn end(&mut self) {
        self.file = None;
    }
}

/// Returns the directory of the replaced files in a folder with frames.
pub fn replaced_directory(folder: &Path) -> PathBuf {
    folder.join("replaced")
}

fn file_name(path: &[u8]) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(path);
    hasher.finish_blob().hex()
}
