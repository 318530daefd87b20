//! The databases of a surveyed image: read while its layers pass, collected afterwards.
//!
//! Never reads a layer itself.

use super::{Content, Findings, Inventory, interest, read_findings, write_findings};
use bytes::Bytes;
use imgdelta_core::path::LayerPath;
use imgdelta_image::{index::FileReader, survey::Survey};

/// Returns a reader that finds the package databases of one layer; an option of a survey.
pub fn database_reader() -> Box<dyn FileReader> {
    Box::<DatabaseReader>::default()
}

#[derive(Default)]
struct DatabaseReader {
    findings: Findings,
}

impl FileReader for DatabaseReader {
    fn wants(&mut self, path: &LayerPath, _: u64) -> bool {
        interest(path).is_some()
    }

    fn read(&mut self, ordinal: u32, path: &LayerPath, payload: &[u8]) {
        if let Some(database) = interest(path) {
            self.findings.take(ordinal, database, path, payload);
        }
    }

    fn too_large(&mut self, ordinal: u32, _: &LayerPath, size_bytes: u64) {
        let what = format!("{size_bytes} bytes are more than the limit for a database");
        self.findings.push(ordinal, Content::broken(what));
    }

    fn finish(self: Box<Self>) -> Bytes {
        write_findings(&self.findings.finish()).into()
    }
}

impl Inventory {
    /// Collects the packages of an image from the databases that its root file system shows.
    ///
    /// The inventory is empty if the survey was made without [`database_reader`].
    pub fn of(survey: &Survey) -> Self {
        // A reader's findings are never empty bytes, even if the layer has no database.
        if !survey.layers.is_empty() && survey.layers.iter().all(|layer| layer.findings.is_empty())
        {
            return Self::default();
        }
        let mut surviving: Vec<(&LayerPath, Content)> = Vec::new();
        for (ordinal, layer) in survey.layers.iter().enumerate() {
            let Some(findings) = read_findings(&layer.findings) else { continue };
            for finding in findings {
                let Some(entry) = layer.entries.get(finding.entry as usize) else { continue };
                let place = (u32::try_from(ordinal).expect("layers are limited"), finding.entry);
                let node = survey.rootfs.find(&entry.path);
                if node.is_some_and(|node| node.content == Some(place)) {
                    surviving.push((&entry.path, finding.content));
                }
            }
        }
        Self::collect(surviving.iter().map(|(path, content)| (*path, content)))
    }
}
