//! The cost of a layer: bytes of download, or time of download and work.
//!
//! By bytes, a delta wins whenever it is smaller. Behind a fast link this is not the best choice:
//! compressing a layer again takes longer than downloading it. Never measures the network: the
//! caller knows the link, and the time of one transfer says little about the next.

use imgdelta_apply::{delta::LayerOutline, rebuild::effort};

/// Speed of a link, with the number of cores that apply deltas behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpeed {
    bits_per_second: u64,
    workers: u64,
}

impl LinkSpeed {
    /// Makes a link speed; zeros count as one.
    pub fn new(bits_per_second: u64, workers: usize) -> Self {
        Self { bits_per_second: bits_per_second.max(1), workers: workers.max(1) as u64 }
    }
}

impl LinkSpeed {
    /// Returns the bytes that arrive each second.
    pub(super) fn bytes_per_second(self) -> u64 {
        self.bits_per_second / 8
    }
}

/// Unit of costs: bytes, or nanoseconds if the link speed is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct CostModel(pub Option<LinkSpeed>);

impl CostModel {
    /// Counts bytes.
    pub const BYTES: Self = Self(None);

    /// Returns the cost of a download.
    pub fn download(self, bytes: u64) -> u64 {
        let Some(link) = self.0 else { return bytes };
        let nanoseconds = u128::from(bytes) * 8_000_000_000 / u128::from(link.bits_per_second);
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }

    /// Returns the cost of comparing local bytes with a digest, on one core.
    pub fn check(self, bytes: u64) -> u64 {
        if self.0.is_some() { bytes.saturating_mul(CHECK_BYTE) } else { 0 }
    }

    /// Returns the cost of making a layer, downloads excluded.
    pub fn work(self, layer: &LayerOutline) -> u64 {
        let Some(link) = self.0 else { return 0 };
        u64::try_from(effort(layer).as_nanos()).unwrap_or(u64::MAX) / link.workers
    }
}

/// Nanoseconds to read a byte of a file and hash it.
const CHECK_BYTE: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_apply::delta::{Envelope, LayerBody};

    #[test]
    fn bytes_or_time() {
        let layer = LayerOutline {
            stream_bytes: 1_000_000,
            body: LayerBody::Kept,
            envelope: Envelope::Stored,
            archive_milliseconds: 0,
        };
        let bytes = CostModel::BYTES;
        assert_eq!((bytes.download(1000), bytes.work(&layer), bytes.check(9)), (1000, 0, 0));
        let time = CostModel(Some(LinkSpeed::new(1_000_000, 2)));
        assert_eq!((time.download(1000), time.work(&layer)), (8_000_000, 3_000_000));
        assert_eq!(time.check(9), 45);
        let archives = LayerOutline { archive_milliseconds: 20, ..layer };
        assert_eq!((bytes.work(&archives), time.work(&archives)), (0, 13_000_000));
        let none = CostModel(Some(LinkSpeed::new(0, 0)));
        assert_eq!((none.download(1), none.download(u64::MAX)), (8_000_000_000, u64::MAX));
    }
}
