//! The layers of an image whose files are all below a root.
//! Never reads the content of a file.

use super::files::LayerContent;
use imgdelta_core::{DiffId, LimitName, Limits, Result, path::escaped};
use imgdelta_frames::{FrameReader, FrameStore, LayerFiles};
use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The answer for one layer.
#[derive(Clone, Debug)]
pub(super) enum Completeness {
    /// All files are there, and no higher layer has one of them. Holds the length of the stream.
    Complete(u64),
    /// The layer cannot be put together. Holds the reason.
    LeftOut(String),
}

/// Returns the states of an image's layers, which are given lowest first.
pub(super) fn states(
    diff_ids: &[DiffId],
    frames: &FrameStore,
    files: &LayerContent,
    limits: &Limits,
) -> Result<Vec<Completeness>> {
    let visited = Arc::default();
    let mut known = HashMap::new();
    // From the top, so that the files of all higher layers are known.
    for diff_id in diff_ids.iter().rev() {
        if known.contains_key(diff_id) {
            continue;
        }
        let state = match frames.reader(diff_id)? {
            Some(reader) => {
                let visitor =
                    FileVisitor { files: files.of_layer(diff_id), visited: Arc::clone(&visited) };
                visitor.visit(reader, limits)
            }
            None => Completeness::LeftOut("the folder has no frames of it".into()),
        };
        known.insert(*diff_id, state);
    }
    Ok(diff_ids.iter().map(|diff_id| known[diff_id].clone()).collect())
}

/// Looks at each file that frames name. Cloning is cheap.
#[derive(Clone)]
struct FileVisitor {
    files: LayerContent,
    visited: Arc<Mutex<VisitedFiles>>,
}

#[derive(Default)]
struct VisitedFiles {
    /// The files of the layers above.
    above: HashSet<Vec<u8>>,
    /// The files of this layer.
    own: Vec<Vec<u8>>,
    /// The first file of this layer that is not there.
    first_lacking: Option<String>,
}

impl FileVisitor {
    /// Visits the files of the next lower layer.
    fn visit(&self, reader: FrameReader, limits: &Limits) -> Completeness {
        let stream_bytes = reader.stream_bytes();
        let size = limits.admit(LimitName::LayerBytes, stream_bytes, "uncompressed size", "frames");
        if let Err(error) = size {
            return Completeness::LeftOut(error.to_string());
        }
        // Zeros stand for content, which the frames do not depend on.
        let mut stream = reader.assemble(self.clone());
        let mut piece = vec![0; PIECE_BYTES];
        let read = loop {
            match stream.read(&mut piece) {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        let mut visited = self.visited();
        let own = mem::take(&mut visited.own);
        visited.above.extend(own);
        match (visited.first_lacking.take(), read) {
            (Some(reason), _) => Completeness::LeftOut(reason),
            (None, Err(error)) => Completeness::LeftOut(error.to_string()),
            (None, Ok(())) => Completeness::Complete(stream_bytes),
        }
    }

    fn visited(&self) -> MutexGuard<'_, VisitedFiles> {
        self.visited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LayerFiles for FileVisitor {
    fn open(&self, path: &[u8], bytes: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut visited = self.visited();
        if visited.first_lacking.is_none() {
            let lacking = if self.files.is_kept(path, bytes) {
                None
            } else if visited.above.contains(path) {
                Some("overwritten by a higher layer".to_owned())
            } else {
                self.files.root.check(path, bytes).err()
            };
            visited.first_lacking = lacking.map(|what| format!("/{}: {what}", escaped(path)));
        }
        visited.own.push(path.to_owned());
        Ok(Box::new(io::repeat(0).take(bytes)))
    }
}

const PIECE_BYTES: usize = 256 << 10;
