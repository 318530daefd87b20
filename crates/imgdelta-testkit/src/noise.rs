//! Bytes that look random and are the same in every run.
//!
//! The digests in `chunked_layer` depend on these bytes, so the generator never changes.

/// Returns `count` bytes that do not compress; each seed has a stream of its own.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; count];
    // A plain loop, which is fast where tests are not optimised.
    for byte in &mut bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[3];
    }
    bytes
}
