//! How much work the making side puts into a group.
//! Never seen by a decoder: any effort makes groups of the same kind.

/// How much time to spend on a smaller group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effort {
    /// For deltas that are made while somebody waits.
    Fast,
    /// For deltas that are made once and pulled a few times.
    #[default]
    Default,
    /// For deltas that are pulled very often.
    Best,
}
