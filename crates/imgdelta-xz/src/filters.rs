//! Filters before LZMA2: those that turn relative addresses of machine code into absolute ones,
//! and differences.
//! Never changes the length of the bytes.
//!
//! After the filters of Igor Pavlov's LZMA SDK and Lasse Collin's liblzma.

mod code;
mod x86;

/// A filter before LZMA2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Differences between bytes at a distance of one more than this.
    Delta(u8),
    /// Calls and jumps of x86.
    X86,
    /// Branches of `PowerPC`, big-endian.
    PowerPc,
    /// Calls of 32-bit ARM.
    Arm,
    /// Calls of ARM in Thumb code.
    ArmThumb,
    /// Calls of SPARC.
    Sparc,
    /// Calls and page addresses of 64-bit ARM.
    Arm64,
}

impl Filter {
    /// Reads a filter from its identifier and properties; `None` if it is not supported.
    pub(crate) fn read(identifier: u64, properties: &[u8]) -> Option<Self> {
        if identifier == 3 {
            let [distance] = properties else { return None };
            return Some(Self::Delta(*distance));
        }
        if !properties.is_empty() {
            return None;
        }
        match identifier {
            4 => Some(Self::X86),
            5 => Some(Self::PowerPc),
            7 => Some(Self::Arm),
            8 => Some(Self::ArmThumb),
            9 => Some(Self::Sparc),
            10 => Some(Self::Arm64),
            _ => None,
        }
    }

    /// Returns the identifier in block headers.
    pub(crate) fn identifier(self) -> u8 {
        match self {
            Self::Delta(_) => 3,
            Self::X86 => 4,
            Self::PowerPc => 5,
            Self::Arm => 7,
            Self::ArmThumb => 8,
            Self::Sparc => 9,
            Self::Arm64 => 10,
        }
    }

    /// Returns the properties in block headers.
    pub(crate) fn properties(&self) -> &[u8] {
        match self {
            Self::Delta(distance) => std::slice::from_ref(distance),
            _ => &[],
        }
    }
}

/// The direction of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Before packing.
    Encode,
    /// After unpacking.
    Decode,
}

/// A filter at work on the bytes of a block.
pub(crate) struct FilterRun {
    filter: Filter,
    direction: Direction,
    /// Position of the next byte in the block, for addresses.
    position: u32,
    x86: x86::X86State,
    history: [u8; 256],
    history_at: u8,
    /// Bytes that wait for the ones behind them.
    held: Vec<u8>,
}

impl FilterRun {
    pub(crate) fn new(filter: Filter, direction: Direction) -> Self {
        Self {
            filter,
            direction,
            position: 0,
            x86: x86::X86State::default(),
            history: [0; 256],
            history_at: 0,
            held: Vec::new(),
        }
    }

    /// Filters bytes, and appends those that are done to `out`.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        let (held, position) = (&mut self.held[..], self.position);
        let is_encoding = self.direction == Direction::Encode;
        let count = match self.filter {
            Filter::Delta(distance) => {
                for byte in held.iter_mut() {
                    let before = self.history_at.wrapping_add(distance).wrapping_add(1);
                    let other = self.history[usize::from(before)];
                    let made = match self.direction {
                        Direction::Encode => byte.wrapping_sub(other),
                        Direction::Decode => byte.wrapping_add(other),
                    };
                    let plain = if is_encoding { *byte } else { made };
                    self.history[usize::from(self.history_at)] = plain;
                    self.history_at = self.history_at.wrapping_sub(1);
                    *byte = made;
                }
                held.len()
            }
            Filter::X86 => self.x86.run(held, position, self.direction),
            Filter::PowerPc => code::power_pc(held, position, self.direction),
            Filter::Arm => code::arm(held, position, self.direction),
            Filter::ArmThumb => code::arm_thumb(held, position, self.direction),
            Filter::Sparc => code::sparc(held, position, self.direction),
            Filter::Arm64 => code::arm64(held, position, self.direction),
        };
        out.extend_from_slice(&held[..count]);
        self.held.drain(..count);
        self.position = position.wrapping_add(count as u32);
    }

    /// Appends the last bytes, which no filter changes.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }
}

/// Filters one behind the other.
pub(crate) struct FilterChain(Vec<FilterRun>);

impl FilterChain {
    /// Starts the filters of a block, which stand in the order of its header.
    pub(crate) fn new(filters: &[Filter], direction: Direction) -> Self {
        let mut runs: Vec<_> =
            filters.iter().map(|filter| FilterRun::new(*filter, direction)).collect();
        if direction == Direction::Decode {
            runs.reverse();
        }
        Self(runs)
    }

    /// Filters bytes, and returns those that are done.
    pub(crate) fn push(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        self.0.iter_mut().fold(bytes, |bytes, run| {
            let mut out = Vec::with_capacity(bytes.len());
            run.push(&bytes, &mut out);
            out
        })
    }

    /// Returns the last bytes.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.0.iter_mut().fold(Vec::new(), |bytes, run| {
            let mut out = Vec::new();
            run.push(&bytes, &mut out);
            run.finish(&mut out);
            out
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter() -> impl Strategy<Value = Filter> {
        prop_oneof![
            any::<u8>().prop_map(Filter::Delta),
            Just(Filter::X86),
            Just(Filter::PowerPc),
            Just(Filter::Arm),
            Just(Filter::ArmThumb),
            Just(Filter::Sparc),
            Just(Filter::Arm64),
        ]
    }

    fn run(filters: &[Filter], direction: Direction, bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut chain = FilterChain::new(filters, direction);
        let mut out = Vec::new();
        for piece in bytes.chunks(piece) {
            out.extend(chain.push(piece.to_vec()));
        }
        out.extend(chain.finish());
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn filters_come_back(
            filters in prop::collection::vec(filter(), 1..3),
            bytes in prop::collection::vec(
                prop_oneof![Just(0xe8), Just(0xe9), Just(0), Just(0xff), Just(0xeb), any::<u8>()],
                0..400,
            ),
            pieces in (1_usize..30, 1_usize..30),
        ) {
            let encoded = run(&filters, Direction::Encode, &bytes, pieces.0);
            prop_assert_eq!(&encoded, &run(&filters, Direction::Encode, &bytes, 400));
            prop_assert_eq!(run(&filters, Direction::Decode, &encoded, pieces.1), bytes);
        }
    }
}
