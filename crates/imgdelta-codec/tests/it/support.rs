//! A round trip that tests of views share.

use imgdelta_codec::{Effort, GroupDecoder, GroupEncoder, GroupLimits, MemberStats};

/// Encodes a group of one member, and checks that it comes back.
pub fn round_trip(base: &[u8], target: &[u8], effort: Effort) -> MemberStats {
    let mut encoder = GroupEncoder::new(effort);
    let stats = encoder.member(base, target);
    let group = encoder.finish();
    let mut decoder = GroupDecoder::open(&group, &GroupLimits::default()).unwrap();
    let mut rebuilt = vec![0; target.len()];
    decoder.member(base, &mut rebuilt).unwrap();
    decoder.finish().unwrap();
    assert!(rebuilt == target);
    stats
}
