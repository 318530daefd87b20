//! Code lengths as zlib and gzip build them, with a heap and a repair of codes that are too long.
//!
//! Ties are broken by depth, and then by the order in the heap, so every move of the heap is
//! repeated. Cost: a few microseconds. Never breaks ties like package-merge.

const MAX_SYMBOLS: usize = 286;

/// Sets `lengths`. If fewer than two symbols occur, others get a length too, to make a code.
/// Returns the highest symbol with a code, plus one.
pub(crate) fn heap_lengths(frequencies: &[u32], limit: u8, lengths: &mut [u8]) -> usize {
    lengths.fill(0);
    let mut tree = HeapTree {
        weights: [0; 2 * MAX_SYMBOLS],
        depths: [0; 2 * MAX_SYMBOLS],
        heap: [0; MAX_SYMBOLS + 1],
        size: 0,
    };
    let mut count = 0;
    for (symbol, &frequency) in frequencies.iter().enumerate() {
        if frequency != 0 {
            tree.weights[symbol] = frequency;
            tree.add(symbol);
            count = symbol + 1;
        }
    }
    while tree.size < 2 {
        // Some decoders refuse a code of one symbol. Symbol 1 alone gets symbol 2, and not 0.
        let symbol = if count < 3 { count } else { 0 };
        count = count.max(symbol + 1);
        tree.weights[symbol] = 1;
        tree.add(symbol);
    }
    let (record, parents) = tree.join(frequencies.len());
    set_lengths(&record, &parents, frequencies.len(), limit, lengths);
    count
}

struct HeapTree {
    weights: [u32; 2 * MAX_SYMBOLS],
    depths: [u8; 2 * MAX_SYMBOLS],
    /// From index 1.
    heap: [u16; MAX_SYMBOLS + 1],
    size: usize,
}

impl HeapTree {
    fn add(&mut self, node: usize) {
        self.size += 1;
        self.heap[self.size] = node as u16;
    }

    fn before(&self, a: u16, b: u16) -> bool {
        let key = |node: u16| (self.weights[usize::from(node)], self.depths[usize::from(node)]);
        key(a) <= key(b)
    }

    fn sift_down(&mut self, mut at: usize) {
        let node = self.heap[at];
        let mut child = 2 * at;
        while child <= self.size {
            if child < self.size && self.before(self.heap[child + 1], self.heap[child]) {
                child += 1;
            }
            if self.before(node, self.heap[child]) {
                break;
            }
            self.heap[at] = self.heap[child];
            at = child;
            child *= 2;
        }
        self.heap[at] = node;
    }

    /// Joins the two lightest nodes until one is left. Returns all nodes in the order of joining,
    /// with the root last, and the parent of each node.
    fn join(mut self, symbols: usize) -> (Vec<u16>, [u16; 2 * MAX_SYMBOLS]) {
        for at in (1..=self.size / 2).rev() {
            self.sift_down(at);
        }
        let mut record = Vec::with_capacity(2 * self.size);
        let mut parents = [0; 2 * MAX_SYMBOLS];
        let mut next = symbols;
        while self.size >= 2 {
            let light = self.heap[1];
            self.heap[1] = self.heap[self.size];
            self.size -= 1;
            self.sift_down(1);
            let heavy = self.heap[1];
            record.extend([light, heavy]);
            let (a, b) = (usize::from(light), usize::from(heavy));
            // The original has 16 bits.
            self.weights[next] = (self.weights[a] + self.weights[b]) & 0xffff;
            self.depths[next] = self.depths[a].max(self.depths[b]) + 1;
            parents[a] = next as u16;
            parents[b] = next as u16;
            self.heap[1] = next as u16;
            next += 1;
            self.sift_down(1);
        }
        record.push(self.heap[1]);
        (record, parents)
    }
}

fn set_lengths(
    record: &[u16],
    parents: &[u16; 2 * MAX_SYMBOLS],
    symbols: usize,
    limit: u8,
    lengths: &mut [u8],
) {
    let mut depths = [0u8; 2 * MAX_SYMBOLS];
    let mut counts = [0i32; 16];
    let mut too_long = 0i32;
    for &node in record.iter().rev().skip(1) {
        let node = usize::from(node);
        let mut depth = depths[usize::from(parents[node])] + 1;
        if depth > limit {
            depth = limit;
            too_long += 1;
        }
        depths[node] = depth;
        if node < symbols {
            lengths[node] = depth;
            counts[usize::from(depth)] += 1;
        }
    }
    if too_long == 0 {
        return;
    }
    let limit = usize::from(limit);
    while too_long > 0 {
        let mut bits = limit - 1;
        while counts[bits] == 0 {
            bits -= 1;
        }
        counts[bits] -= 1;
        counts[bits + 1] += 2;
        counts[limit] -= 1;
        too_long -= 2;
    }
    let mut leaves = record.iter().map(|&node| usize::from(node)).filter(|&node| node < symbols);
    for bits in (1..=limit).rev() {
        for node in leaves.by_ref().take(counts[bits].max(0) as usize) {
            lengths[node] = bits as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::heap_lengths;

    #[test]
    fn a_code_of_one_symbol_gets_the_partner_zlib_gives_it() {
        let partners = |used: &[usize]| {
            let mut frequencies = [0; 30];
            for &symbol in used {
                frequencies[symbol] = 5;
            }
            let mut lengths = [0; 30];
            let count = heap_lengths(&frequencies, 15, &mut lengths);
            let coded: Vec<usize> = (0..30).filter(|&symbol| lengths[symbol] == 1).collect();
            assert_eq!(coded.last(), Some(&(count - 1)));
            coded
        };
        assert_eq!(partners(&[]), [0, 1]);
        assert_eq!(partners(&[0]), [0, 1]);
        assert_eq!(partners(&[1]), [1, 2]);
        assert_eq!(partners(&[2]), [0, 2]);
        assert_eq!(partners(&[29]), [0, 29]);
    }
}
