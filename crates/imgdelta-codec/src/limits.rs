//! The memory that a reader of groups admits.
//! Never a property of the format: a writer keeps far below.

/// Ceilings for one group.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GroupLimits {
    /// Upper bound for the unpacked bytes of all streams together.
    ///
    /// 512 MiB by default: literals are at most as long as the files of one group, and the maker
    /// ends a group far below that.
    pub stream_bytes: u64,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self { stream_bytes: 512 << 20 }
    }
}

impl GroupLimits {
    /// Sets the upper bound for the unpacked bytes of all streams together.
    #[must_use]
    pub fn stream_bytes(mut self, bytes: u64) -> Self {
        self.stream_bytes = bytes;
        self
    }
}
