//! Signatures next to a delta, found by their names and types.
//!
//! Verifies nothing: a signature that is there may be wrong.

use imgdelta_core::BlobDigest;
use imgdelta_registry::{Registries, Repository, fallback_tag};
use std::collections::BTreeSet;

/// The program family that makes a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SignatureKind {
    /// cosign, with a tag or as a referrer.
    Cosign,
    /// Notary Project: notation.
    Notation,
    /// A bundle of Sigstore.
    Sigstore,
}

impl SignatureKind {
    /// Returns the word for text and documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cosign => "cosign",
            Self::Notation => "notation",
            Self::Sigstore => "sigstore",
        }
    }

    fn of_type(artifact_type: &str) -> Option<Self> {
        TYPES.iter().find(|(start, _)| artifact_type.starts_with(start)).map(|(_, kind)| *kind)
    }
}

/// Returns the tag under which cosign keeps the signatures of a manifest.
pub(crate) fn cosign_tag(signed: &BlobDigest) -> String {
    format!("{}.sig", fallback_tag(signed))
}

/// Returns the kinds of the signatures that refer to a manifest; none without an answer. Blocks.
pub(crate) fn referring(
    registries: &Registries,
    repository: &Repository,
    signed: BlobDigest,
) -> BTreeSet<SignatureKind> {
    let of = repository.clone();
    let referrers = registries.wait(async move { of.all_referrers(&signed).await });
    let referrers = referrers.unwrap_or_default();
    let types = referrers.iter().filter_map(|one| one.descriptor.artifact_type.as_deref());
    types.filter_map(SignatureKind::of_type).collect()
}

/// Types of artifacts that are signatures, by their beginnings, which are followed by a version.
const TYPES: [(&str, SignatureKind); 3] = [
    ("application/vnd.dev.cosign.artifact.sig.", SignatureKind::Cosign),
    ("application/vnd.cncf.notary.signature", SignatureKind::Notation),
    ("application/vnd.dev.sigstore.bundle.", SignatureKind::Sigstore),
];
