//! Divides bytes into the cheapest symbols, stretch by stretch.
//! Never writes: the prices are those of the model at the start of a stretch.
//!
//! A stretch is a graph: a node for each position, an edge for each symbol that leads on. Nodes are
//! visited in order; each keeps the cheapest way to it, and with it the context in which symbols
//! behind it are priced. So a way that costs more here and less later is lost, with one exception:
//! a literal with a repeat behind it is one edge, alone or behind another symbol. Changed bytes in
//! code that stays in step are such edges. Where all ways meet the stretch ends.

use crate::{
    lz::index::{Index, MatchCandidate, common},
    lz::model::{MIN_MATCH, Model},
    lz::places::RawPlaces,
    lz::prices::{self, PriceTables},
    lz::writer::{Context, MAX_MATCH, Symbol},
};

/// Most positions of a stretch.
const STRETCH: usize = 2048;

/// A way to a position.
#[derive(Debug, Clone, Copy)]
struct Node {
    price: u32,
    /// The node where the edge starts.
    from: u32,
    /// The edge: a symbol; then, if that is not 0, a repeat of so many bytes behind a literal, which
    /// may be the symbol itself.
    symbol: Symbol,
    repeat: u32,
    context: Context,
}

const UNREACHED: Node =
    Node { price: u32::MAX, from: 0, symbol: Symbol::Literal, repeat: 0, context: Context::FIRST };

/// Scratch memory of a parser.
pub(crate) struct Parser {
    nodes: Vec<Node>,
    found: Vec<MatchCandidate>,
    symbols: Vec<Symbol>,
    /// Matches of this length are taken at once.
    nice: usize,
}

impl Parser {
    pub(crate) fn new(nice: usize) -> Self {
        let nodes = vec![UNREACHED; STRETCH + 2 * MAX_MATCH + 2];
        Self { nodes, found: Vec::new(), symbols: Vec::new(), nice: nice.min(MAX_MATCH) }
    }

    /// Returns the symbols of the next stretch, which starts at `start` in `context`.
    pub(crate) fn stretch(
        &mut self,
        (bytes, places): (&[u8], &RawPlaces),
        start: usize,
        context: Context,
        index: &mut Index,
        (model, tables): (&Model, &PriceTables),
    ) -> &[Symbol] {
        self.symbols.clear();
        self.nodes[0] = Node { price: 0, context, ..UNREACHED };
        let (mut node, mut end) = (0, 0);
        let mut last = None;
        loop {
            let at = start + node;
            if node > 0 {
                self.settle(node);
            }
            if at == bytes.len() || (node > 0 && (node == end || node >= STRETCH)) {
                break;
            }
            index.find(bytes, at, &mut self.found);
            if let Some(symbol) = self.long_match(bytes, at, node) {
                index.enter(bytes, at + symbol.len());
                last = Some(symbol);
                break;
            }
            let mut edges =
                Edges { bytes, places, at, node, model, tables, nodes: &mut self.nodes, end };
            edges.add(&self.found);
            end = edges.end;
            node += 1;
        }
        self.collect(node);
        for used in &mut self.nodes[..=end.max(node)] {
            used.price = u32::MAX;
        }
        self.symbols.reverse();
        self.symbols.extend(last);
        &self.symbols
    }

    /// Computes the context of a node from its way.
    fn settle(&mut self, node: usize) {
        let Node { from, symbol, repeat, .. } = self.nodes[node];
        let mut context = self.nodes[from as usize].context.after(symbol);
        if repeat > 0 {
            if symbol != Symbol::Literal {
                context = context.after(Symbol::Literal);
            }
            context = context.after(Symbol::Repeat { which: 0, len: repeat });
        }
        self.nodes[node].context = context;
    }

    /// Adds the symbols that lead to a node, the last one first.
    fn collect(&mut self, mut node: usize) {
        while node > 0 {
            let Node { from, symbol, repeat, .. } = self.nodes[node];
            if repeat > 0 {
                self.symbols.push(Symbol::Repeat { which: 0, len: repeat });
                if symbol != Symbol::Literal {
                    self.symbols.push(Symbol::Literal);
                }
            }
            self.symbols.push(symbol);
            node = from as usize;
        }
    }

    /// Returns a symbol that is so long that no other one is tried.
    fn long_match(&self, bytes: &[u8], at: usize, node: usize) -> Option<Symbol> {
        let most = (bytes.len() - at).min(MAX_MATCH);
        if most < self.nice {
            return None;
        }
        let distances = self.nodes[node].context.distances;
        for (which, &distance) in distances.iter().enumerate() {
            if let Some(place) = at.checked_sub(distance as usize) {
                let len = common(bytes, place, at, most);
                if len >= self.nice {
                    return Some(Symbol::Repeat { which: which as u32, len: len as u32 });
                }
            }
        }
        let longest = self.found.last().filter(|found| found.len >= self.nice)?;
        Some(longest.as_match(longest.len))
    }
}

/// The edges that start at a node.
struct Edges<'a> {
    bytes: &'a [u8],
    places: &'a RawPlaces,
    at: usize,
    node: usize,
    model: &'a Model,
    tables: &'a PriceTables,
    nodes: &'a mut [Node],
    /// The last node that is reached.
    end: usize,
}

impl Edges<'_> {
    fn add(&mut self, found: &[MatchCandidate]) {
        let Node { price, context, .. } = self.nodes[self.node];
        let (bytes, at, model) = (self.bytes, self.at, self.model);
        let (row, place_here) = (context.state.row(), self.places.at(at));
        let most = (bytes.len() - at).min(MAX_MATCH);

        let literal = price + self.literal_price(context, at);
        self.offer(1, literal, Symbol::Literal, 0);
        let other = at.checked_sub(context.distances[0] as usize);
        let is_alike = other.is_some_and(|other| bytes[other] == bytes[at]);
        let matching = price + prices::of_bit(model.is_match[row][place_here], true);
        let repeating = matching + prices::of_bit(model.is_repeat[row], true);
        if is_alike {
            let short = repeating
                + prices::of_bit(model.is_older[row], false)
                + prices::of_bit(model.is_long_repeat[row][place_here], false);
            self.offer(1, short, Symbol::ShortRepeat, 0);
        } else {
            self.repeat_behind(at, literal, context, Symbol::Literal);
        }
        let mut shortest = MIN_MATCH;
        for (which, &distance) in context.distances.iter().enumerate() {
            let Some(place) = at.checked_sub(distance as usize) else { continue };
            let longest = common(bytes, place, at, most);
            if longest < MIN_MATCH {
                continue;
            }
            let flags =
                repeating + prices::of_repeat_flags(model, context.state, place_here, which);
            let symbol = |len| Symbol::Repeat { which: which as u32, len: len as u32 };
            for len in MIN_MATCH..=longest {
                self.offer(len, flags + self.tables.of_repeat(len), symbol(len), 0);
            }
            let whole = flags + self.tables.of_repeat(longest);
            self.literal_and_repeat(symbol(longest), whole, context);
            if which == 0 {
                shortest = longest + 1;
            }
        }
        let flags = matching + prices::of_bit(model.is_repeat[row], false);
        for found in found {
            if found.len < shortest {
                continue;
            }
            for len in shortest..=found.len {
                let price = flags + self.tables.of_match(found.distance, len);
                self.offer(len, price, found.as_match(len), 0);
            }
            let whole = flags + self.tables.of_match(found.distance, found.len);
            self.literal_and_repeat(found.as_match(found.len), whole, context);
            shortest = found.len + 1;
        }
    }

    /// The price of the literal at `at` in a context.
    fn literal_price(&self, context: Context, at: usize) -> u32 {
        let bytes = self.bytes;
        let other = at.checked_sub(context.distances[0] as usize).map_or(0, |other| bytes[other]);
        let place = self.places.at(at);
        prices::of_bit(self.model.is_match[context.state.row()][place], false)
            + prices::of_literal(self.model, context.state, place, bytes[at], other)
    }

    /// Offers a symbol of known price with a literal and a repeat behind it.
    fn literal_and_repeat(&mut self, symbol: Symbol, price: u32, context: Context) {
        let behind = self.at + symbol.len();
        if behind + MIN_MATCH >= self.bytes.len() {
            return;
        }
        let context = context.after(symbol);
        let distance = context.distances[0] as usize;
        if common(self.bytes, behind + 1 - distance, behind + 1, MIN_MATCH) == MIN_MATCH {
            let literal = price + self.literal_price(context, behind);
            self.repeat_behind(behind, literal, context, symbol);
        }
    }

    /// Offers a repeat behind the literal at `at`; `context` is the one before the literal, and the
    /// price includes it.
    fn repeat_behind(&mut self, at: usize, price: u32, context: Context, symbol: Symbol) {
        let start = at + 1;
        let most = self.bytes.len().saturating_sub(start).min(MAX_MATCH);
        let Some(from) = start.checked_sub(context.distances[0] as usize) else { return };
        let len = common(self.bytes, from, start, most);
        if len < MIN_MATCH {
            return;
        }
        let state = context.state.after_literal();
        let (row, place) = (state.row(), self.places.at(start));
        let price = price
            + prices::of_bit(self.model.is_match[row][place], true)
            + prices::of_bit(self.model.is_repeat[row], true)
            + prices::of_repeat_flags(self.model, state, place, 0)
            + self.tables.of_repeat(len);
        self.offer(start + len - self.at, price, symbol, len);
    }

    /// Takes an edge of `len` bytes, if it is the cheapest way to its end so far.
    #[inline]
    fn offer(&mut self, len: usize, price: u32, symbol: Symbol, repeat: usize) {
        let to = self.node + len;
        self.end = self.end.max(to);
        let node = &mut self.nodes[to];
        if price < node.price {
            node.price = price;
            node.from = self.node as u32;
            node.symbol = symbol;
            node.repeat = repeat as u32;
        }
    }
}
