//! The work that the making side puts into a group.
//! Never seen by a decoder: groups of every effort have the same format.

/// Time to spend on a smaller group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effort {
    /// For deltas that are made while a person waits.
    Fast,
    /// For deltas that are made once and pulled a few times.
    #[default]
    Default,
    /// For deltas that are pulled very often.
    Best,
}
