//! Reads the package databases of a surveyed image, layer by layer.
//! Never reads a layer itself: the survey passes the payloads.

use crate::{
    collector::FindingCollector,
    database::interest,
    finding::DatabaseContent,
    inventory::Inventory,
    stored::{read_findings, write_findings},
};
use imgdelta_core::path::LayerPath;
use imgdelta_image::{index::FileReader, survey::Survey};
use std::sync::Arc;

/// Returns a reader of one layer's package databases, for the options of a survey.
pub fn database_reader() -> Box<dyn FileReader> {
    Box::<DatabaseReader>::default()
}

#[derive(Default)]
struct DatabaseReader {
    findings: FindingCollector,
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
        let flaw = format!("{size_bytes} bytes exceed the limit of a database");
        self.findings.push(ordinal, DatabaseContent::broken(flaw));
    }

    fn finish(self: Box<Self>) -> Arc<[u8]> {
        write_findings(&self.findings.finish()).into()
    }
}

impl Inventory {
    /// Collects the packages of an image from the databases in its root file system.
    ///
    /// The inventory is empty if the survey was made without [`database_reader`].
    pub fn of(survey: &Survey) -> Self {
        // A reader's findings are never empty bytes, even if the layer has no database.
        if !survey.layers.is_empty() && survey.layers.iter().all(|layer| layer.findings.is_empty())
        {
            return Self::default();
        }
        let mut surviving: Vec<(LayerPath, DatabaseContent)> = Vec::new();
        for (ordinal, layer) in survey.layers.iter().enumerate() {
            let Some(findings) = read_findings(&layer.findings) else { continue };
            for finding in findings {
                let Some(entry) = layer.entries.get(finding.entry as usize) else { continue };
                let place = (u32::try_from(ordinal).expect("layers are limited"), finding.entry);
                let node = survey.rootfs.find(entry.path);
                if node.is_some_and(|node| node.content == Some(place)) {
                    surviving.push((entry.path.to_path(), finding.content));
                }
            }
        }
        Self::collect(surviving.iter().map(|(path, content)| (path, content)))
    }
}
