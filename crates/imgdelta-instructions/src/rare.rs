//! Making side only: windows of functions by their hash, for votes which function another one was.
//! Never knows what a window holds.

/// Windows that occur more often do not vote.
pub const RARE: usize = 4;

/// Windows of functions.
#[derive(Debug)]
pub struct RareWindows {
    /// Hash and number of the function, ascending.
    windows: Vec<(u32, u32)>,
    /// For each value of a hash's upper bits, the number of the first window.
    starts: Vec<u32>,
}

impl RareWindows {
    const BITS: u32 = 16;

    /// Takes windows: hash, and number of the function.
    pub fn new(mut windows: Vec<(u32, u32)>) -> Self {
        windows.sort_unstable();
        let mut starts = vec![0; (1 << Self::BITS) + 1];
        for (hash, _) in &windows {
            starts[(hash >> (32 - Self::BITS)) as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        Self { windows, starts }
    }

    /// Returns the windows with this hash; none if there are too many.
    pub fn find(&self, hash: u32) -> &[(u32, u32)] {
        let upper = (hash >> (32 - Self::BITS)) as usize;
        let near = &self.windows[self.starts[upper] as usize..self.starts[upper + 1] as usize];
        let near = &near[near.partition_point(|window| window.0 < hash)..];
        let count = near.iter().take(RARE + 1).take_while(|window| window.0 == hash).count();
        if count > RARE { &[] } else { &near[..count] }
    }
}
