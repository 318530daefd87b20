//! Names of snapshots: a layer on top of the layers below it.
//! Never asks the runtime.

use imgdelta_core::{Algorithm, BlobDigest, DiffId, verify::Hasher};
use std::fmt;

/// Name of the snapshot that holds a layer and all layers below it, by the rule of the OCI image
/// specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChainId(BlobDigest);

impl ChainId {
    /// Returns the name of a lowest layer.
    pub fn of_lowest(diff_id: &DiffId) -> Self {
        Self(diff_id.to_string().parse().expect("a diff id is spelled as a digest"))
    }

    /// Returns the name of a layer on top of this chain.
    #[must_use]
    pub fn with(&self, diff_id: &DiffId) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(format!("{self} {diff_id}").as_bytes());
        Self(hasher.finish_blob())
    }

    /// Returns its digits.
    pub(crate) fn hex(&self) -> String {
        self.0.hex()
    }

    /// Returns the names of all layers, the lowest first.
    pub fn of_layers(diff_ids: &[DiffId]) -> Vec<Self> {
        let mut chains: Vec<Self> = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            let below = chains.last();
            chains
                .push(below.map_or_else(|| Self::of_lowest(diff_id), |below| below.with(diff_id)));
        }
        chains
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_follow_the_rule_of_the_specification() {
        // Diff ids are the SHA-256 of `a`, `b` and `c`; chains were computed with sha256sum.
        let diff_ids = [
            "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
            "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d",
            "sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6",
        ];
        let expected = [
            diff_ids[0],
            "sha256:51c0c8ace48498d6f5fee6b0592cc06f2da0f3cbe09c5a34a97dce85c3889676",
            "sha256:2fce7f8ce91bcf0a1428b36e1024639fdbd9469eea762dba98aa749631885106",
        ];
        let chains = ChainId::of_layers(&diff_ids.map(|text| text.parse().unwrap()));
        assert_eq!(chains.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        assert_eq!(ChainId::of_layers(&[]), []);
    }
}
