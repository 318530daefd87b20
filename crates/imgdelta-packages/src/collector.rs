//! Collects the findings of one layer while its stream is read.
//! Never takes more memory than one budget, however many database files the layer has.

use crate::{
    database::read_within,
    finding::{DatabaseContent, Finding},
    kind::DatabaseKind,
    path_list::ReadBudget,
};
use imgdelta_core::path::LayerPath;

/// Collector of a layer's findings.
#[derive(Debug, Default)]
pub struct FindingCollector {
    findings: Vec<Finding>,
    budget: ReadBudget,
}

impl FindingCollector {
    /// Reads the payload of a database file, and keeps its content.
    ///
    /// Beyond the budget, it keeps only the fact that the file was not read.
    pub fn take(&mut self, entry: u32, kind: DatabaseKind, path: &LayerPath, payload: &[u8]) {
        let content = match self.budget.admit_payload(payload.len()) {
            Ok(()) => read_within(kind, path, payload, &mut self.budget),
            Err(flaw) => DatabaseContent::broken(flaw),
        };
        self.push(entry, content);
    }

    /// Keeps a content that the caller knows: usually that the file is too large.
    pub fn push(&mut self, entry: u32, content: DatabaseContent) {
        self.findings.push(Finding { entry, content });
    }

    /// Returns all findings in the order in which they came.
    pub fn finish(self) -> Vec<Finding> {
        self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_of_endless_lists_takes_bounded_memory() {
        let payload = b"/a/file/in/some/directory\n".repeat(100_000);
        let path = LayerPath::parse(b"var/lib/dpkg/info/a.list");
        let mut collector = FindingCollector::default();
        for entry in 0..60 {
            collector.take(entry, DatabaseKind::DpkgList, &path, &payload);
        }
        let findings = collector.finish();
        assert!(matches!(findings[0].content, DatabaseContent::FileList(_)));
        assert!(matches!(findings[59].content, DatabaseContent::Broken { .. }));
    }
}
