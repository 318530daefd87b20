//! The share of each member in the bytes of its group.
//! Never decodes a stream.
//!
//! A stream packs as one string, so that a member's part of it is an estimate: the stream's packed
//! bytes in proportion to the information in the member's bytes. A member with many bytes that pack
//! to nothing has a small share.

use crate::{
    error::Result,
    group::{COUNT, StreamWriter},
    stream::StreamKind,
};
use imgdelta_coding::pack::{self, CodedStreams, Coder};

/// Bytes of each stream before packing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamLengths([usize; COUNT]);

impl StreamLengths {
    pub(crate) fn of(streams: &StreamWriter) -> Self {
        Self(StreamKind::ALL.map(|kind| streams.stream(kind).len()))
    }

    /// Returns the bytes of one stream.
    pub fn bytes(&self, kind: StreamKind) -> u64 {
        self.0[kind as usize] as u64
    }
}

/// The information that a member has added to each stream, in bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemberBits([u32; COUNT]);

impl MemberBits {
    /// Returns those of the bytes that were added after `before`.
    pub(crate) fn since(before: &StreamLengths, streams: &StreamWriter) -> Self {
        Self(StreamKind::ALL.map(|kind| bits(&streams.stream(kind)[before.0[kind as usize]..])))
    }
}

/// Divides the bytes of a group among its members. The shares add up to the group.
pub fn shares(group: &[u8], members: &[MemberBits]) -> Result<Vec<u64>> {
    let pack = pack::coded_streams(group, COUNT)?;
    let totals = StreamKind::ALL
        .map(|kind| members.iter().map(|member| u64::from(member.0[kind as usize])).sum::<u64>());
    let packed = packed_bytes(&pack, totals);
    let weight = |member: &MemberBits| {
        let parts = member.0.iter().zip(packed).zip(totals);
        let part = |((&bits, packed), total): ((&u32, u64), u64)| {
            u128::from(bits) * u128::from(packed) * PRECISION / u128::from(total.max(1))
        };
        parts.map(part).sum::<u128>()
    };
    let weights: Vec<u128> = members.iter().map(weight).collect();
    Ok(divide(group.len() as u64, &weights))
}

/// Parts of a byte that weights distinguish.
const PRECISION: u128 = 256;

/// Returns the packed bytes of each stream; those in the shared frame have their part of it.
fn packed_bytes(pack: &CodedStreams<'_>, totals: [u64; COUNT]) -> [u64; COUNT] {
    let shared = pack.streams.iter().zip(totals);
    let shared = shared.filter(|(stream, _)| stream.coder == Coder::Shared);
    let shared_total: u64 = shared.map(|(_, total)| total).sum();
    let mut packed = [0; COUNT];
    for ((stream, total), packed) in pack.streams.iter().zip(totals).zip(&mut packed) {
        *packed = match stream.coder {
            Coder::Shared => pack.shared.len() as u64 * total / shared_total.max(1),
            _ => stream.code.len() as u64,
        };
    }
    packed
}

/// Estimates the bits of bytes behind a coder that learns how frequent each value is.
///
/// Whole numbers alone: a delta reports the shares, and its bytes are the same on every machine.
fn bits(bytes: &[u8]) -> u32 {
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    // Each value has been seen a sixteenth of a time before.
    let all = log2(bytes.len() as u64 * 16 + 256);
    let of_value = |&count: &u32| u64::from(count) * (all - log2(u64::from(count) * 16 + 1));
    let sum: u64 = counts.iter().filter(|count| **count > 0).map(of_value).sum();
    u32::try_from(sum / LOG_UNIT).unwrap_or(u32::MAX)
}

/// Returns the logarithm to base 2 of a number above 0, times [`LOG_UNIT`], at most a tenth of a bit
/// too small.
fn log2(number: u64) -> u64 {
    let whole = number.ilog2();
    let fraction = (u128::from(number) * u128::from(LOG_UNIT)) >> whole;
    u64::from(whole) * LOG_UNIT + fraction as u64 - LOG_UNIT
}

const LOG_UNIT: u64 = 256;

/// Divides `total` in proportion to `weights`; the shares add up to it.
fn divide(total: u64, weights: &[u128]) -> Vec<u64> {
    let sum: u128 = weights.iter().sum();
    let (mut seen, mut given) = (0, 0);
    let share = |weight: &u128| {
        seen += weight;
        let until = u64::try_from(u128::from(total) * seen / sum.max(1)).unwrap_or(total);
        let share = until - given;
        given = until;
        share
    };
    weights.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Effort, GroupEncoder};
    use imgdelta_testkit::noise;

    #[test]
    fn shares_follow_the_weights_and_lose_nothing() {
        assert_eq!(divide(100, &[1, 0, 3]), [25, 0, 75]);
        assert_eq!(divide(10, &[1, 1, 1]).iter().sum::<u64>(), 10);
        assert_eq!(divide(7, &[]), [0; 0]);
    }

    #[test]
    fn a_member_costs_in_a_group_what_it_costs_alone() {
        // Bytes that nothing packs, and many that pack to a quarter in another stream.
        let hard = noise(1, 40_000);
        let soft: Vec<u8> = noise(2, 400_000).iter().map(|byte| byte & 3).collect();
        let patched: Vec<u8> =
            soft.iter().enumerate().map(|(i, byte)| byte + u8::from(i % 40 == 0)).collect();
        let members: [(&[u8], &[u8]); 3] = [(b"", &hard), (&soft, &patched), (b"", &soft)];
        let alone = members.map(|(base, target)| {
            let mut encoder = GroupEncoder::new(Effort::Default);
            encoder.member(base, target);
            encoder.finish().len() as u64
        });
        let mut encoder = GroupEncoder::new(Effort::Default);
        let bits = members.map(|(base, target)| {
            let before = encoder.stream_lengths();
            encoder.member(base, target);
            encoder.bits_since(&before)
        });
        let group = encoder.finish();
        let shares = shares(&group, &bits).unwrap();
        assert_eq!(shares.iter().sum::<u64>(), group.len() as u64);
        for (share, alone) in shares.iter().zip(alone) {
            // Alone, it has a table and frames of its own.
            assert!(share.abs_diff(alone) <= 64 + alone * 15 / 100, "{shares:?}, {alone} alone");
        }
    }
}
