//! What a layer's way costs: the bytes that are fetched for it, or the time it takes.
//!
//! By bytes a delta wins whenever it is smaller. Behind a fast link that is not what is wanted:
//! compressing a layer again takes longer than fetching it. Never looks at a network: who pulls
//! knows the link, and what one transfer took says little of the next.

use imgdelta_apply::{apply::effort, delta::LayerOutline};

/// A link, and who works behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    bits_per_second: u64,
    workers: u64,
}

impl Link {
    /// Takes how fast a link is, and how many cores apply deltas behind it; at least one of each.
    pub fn new(bits_per_second: u64, workers: usize) -> Self {
        Self { bits_per_second: bits_per_second.max(1), workers: workers.max(1) as u64 }
    }
}

/// What costs are counted in: bytes, or with a link nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Price(pub Option<Link>);

impl Price {
    /// Returns what fetching costs.
    pub fn of_fetching(self, bytes: u64) -> u64 {
        let Some(link) = self.0 else { return bytes };
        let nanoseconds = u128::from(bytes) * 8_000_000_000 / u128::from(link.bits_per_second);
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }

    /// Returns what making a layer costs, besides what is fetched for it.
    pub fn of_making(self, layer: &LayerOutline) -> u64 {
        let Some(link) = self.0 else { return 0 };
        u64::try_from(effort(layer).as_nanos()).unwrap_or(u64::MAX) / link.workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_apply::delta::{Body, Envelope};

    #[test]
    fn bytes_or_time() {
        let layer =
            LayerOutline { stream_bytes: 1_000_000, body: Body::Kept, envelope: Envelope::Stored };
        let bytes = Price(None);
        assert_eq!((bytes.of_fetching(1000), bytes.of_making(&layer)), (1000, 0));
        let time = Price(Some(Link::new(1_000_000, 2)));
        assert_eq!((time.of_fetching(1000), time.of_making(&layer)), (8_000_000, 3_000_000));
        let none = Price(Some(Link::new(0, 0)));
        assert_eq!((none.of_fetching(1), none.of_fetching(u64::MAX)), (8_000_000_000, u64::MAX));
    }
}
