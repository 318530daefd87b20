//! Properties that several targets hold.

use imgdelta_codec::{Effort, GroupDecoder, GroupEncoder, GroupLimits};
use imgdelta_core::{Result, progress::Silent};
use imgdelta_layer::archive::{ArchiveKind, InnerPayloads, close};

/// Encodes a member with each effort, decodes it, and compares.
pub fn member_comes_back(base: &[u8], target: &[u8], efforts: &[Effort]) {
    for effort in efforts {
        let mut encoder = GroupEncoder::new(*effort);
        encoder.member(base, target);
        let group = encoder.finish();
        let mut decoder = GroupDecoder::open(&group, &GroupLimits::default()).expect("just made");
        let mut rebuilt = vec![0; target.len()];
        decoder.member(base, &mut rebuilt).expect("just made");
        decoder.finish().expect("nothing is left over");
        assert_eq!(rebuilt, target);
    }
}

/// Closes an archive.
pub fn closed(kind: ArchiveKind, parts: &dyn InnerPayloads) -> Result<Vec<u8>> {
    let mut made = Vec::new();
    close(kind, parts, &Silent, &mut |at, piece| {
        let start = usize::try_from(at).expect("a small file");
        made.resize(made.len().max(start + piece.len()), 0);
        made[start..start + piece.len()].copy_from_slice(piece);
        Ok(())
    })?;
    Ok(made)
}
