//! Writes Huffman codes as weights: compressed by FSE with two states, or four bits each.
//!
//! Never chooses codes.

use super::codes::HuffmanCodes;
use crate::bits::{BitWriter, high_bit};
use crate::fse::{FseTable, accuracy, normalise};

/// Appends the weights of all codes except the last, which follows from the others. False if there
/// are too many weights for either form.
pub(super) fn write(codes: &HuffmanCodes, out: &mut Vec<u8>) -> bool {
    let count = codes.lengths().len() - 1;
    let weights: Vec<u8> = (codes.lengths().take(count))
        .map(|length| if length == 0 { 0 } else { codes.log as u8 + 1 - length })
        .collect();
    if count >= 2
        && let Some(packed) = packed(&weights)
        && packed.len() < usize::midpoint(count, 1)
    {
        out.push(packed.len() as u8);
        out.extend(packed);
        return true;
    }
    if count > 128 {
        return false;
    }
    out.push(127 + count as u8);
    out.extend(weights.chunks(2).map(|pair| (pair[0] << 4) | pair.get(1).unwrap_or(&0)));
    true
}

/// Returns the weights compressed by FSE, if that works and takes less than a byte each.
fn packed(weights: &[u8]) -> Option<Vec<u8>> {
    let mut counts = [0u32; 16];
    for &weight in weights {
        counts[usize::from(weight)] += 1;
    }
    let kinds = counts.iter().rposition(|&count| count > 0)? + 1;
    let most = *counts.iter().max()? as usize;
    if weights.len() <= 2 || most == weights.len() || most == 1 || most < weights.len() >> 7 {
        return None;
    }
    let total = weights.len() as u32;
    let log = accuracy(total, kinds, 6, high_bit(total - 1) + 1);
    let table = FseTable::new(&normalise(&counts[..kinds], total, log)?, log);
    let mut out = Vec::new();
    table.write_shares(&mut out);
    let mut bits = BitWriter::new(&mut out);
    // Weights at even indexes use the first state, the others the second.
    let mut states = [None; 2];
    for (place, &weight) in weights.iter().enumerate().rev() {
        match &mut states[place & 1] {
            Some(state) => table.encode(state, weight, &mut bits),
            state => *state = Some(table.start(weight)),
        }
    }
    for state in [states[1], states[0]].into_iter().flatten() {
        table.end(state, &mut bits);
    }
    bits.close();
    (out.len() < weights.len()).then_some(out)
}
