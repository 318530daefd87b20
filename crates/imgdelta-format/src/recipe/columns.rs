//! The columns of a recipe: their numbers and the names that errors give them.
//! Never interprets a column: `origins`, `groups`, `archives` and `digests` do.

use crate::fields::FieldReader;
use imgdelta_wire::Columns;

/// The columns of one recipe.
pub(super) type RecipeColumns = Columns<COLUMNS>;

pub(super) const RUNS: usize = 0;
pub(super) const ADDRESSES: usize = 1;
pub(super) const REPEATS: usize = 2;
pub(super) const GROUP_BYTES: usize = 3;
pub(super) const GROUP_MEMBERS: usize = 4;
pub(super) const RANKS: usize = 5;
pub(super) const SHAPES: usize = 6;
pub(super) const SOURCE_BYTES: usize = 7;
pub(super) const SOURCE_ADDRESSES: usize = 8;
pub(super) const WINDOW_OFFSETS: usize = 9;
pub(super) const WINDOW_BYTES: usize = 10;
pub(super) const OPENED_ADDRESSES: usize = 11;
pub(super) const OPENED_BYTES: usize = 12;
pub(super) const OPENED_KINDS: usize = 13;
pub(super) const OPENED_PLAIN: usize = 14;
pub(super) const CLOSED_KINDS: usize = 15;
pub(super) const CLOSED_COUNTS: usize = 16;
pub(super) const INNER_BYTES: usize = 17;
pub(super) const CODERS: usize = 18;
pub(super) const COMPRESSION_BYTES: usize = 19;
pub(super) const COMPRESSIONS: usize = 20;
pub(super) const PARTS: usize = 21;
pub(super) const DIGEST_HOLDERS: usize = 22;
pub(super) const DIGEST_GAPS: usize = 23;
pub(super) const DIGEST_SPELLINGS: usize = 24;
pub(super) const DIGEST_CONTENTS: usize = 25;
pub(super) const COLUMNS: usize = 26;
/// A recipe without archives and digests ends before this column.
pub(super) const FIRST_NESTED: usize = OPENED_ADDRESSES;
/// A recipe without digests ends before this column.
pub(super) const FIRST_DIGEST: usize = DIGEST_HOLDERS;

/// Reads columns from their fronts.
pub(super) fn readers<const N: usize>(
    columns: &RecipeColumns,
    numbers: [usize; N],
) -> [FieldReader<'_>; N] {
    numbers.map(|number| FieldReader::new(NAMES[number], columns.column(number)))
}

const NAMES: [&str; COLUMNS] = [
    "recipe, origins",
    "recipe, addresses",
    "recipe, repeats",
    "recipe, lengths of groups",
    "recipe, counts of members",
    "recipe, payloads of members",
    "recipe, shapes of members",
    "recipe, lengths of base parts",
    "recipe, addresses of base parts",
    "recipe, offsets of windows",
    "recipe, lengths of windows",
    "recipe, addresses of archives",
    "recipe, lengths of archives",
    "recipe, kinds of the base's archives",
    "recipe, lengths of archives' parts",
    "recipe, kinds of the target's archives",
    "recipe, counts of inner payloads",
    "recipe, lengths of inner payloads",
    "recipe, compressions of inner payloads",
    "recipe, lengths of compressions",
    "recipe, compressions",
    "recipe, parts of archives",
    "recipe, payloads with digests",
    "recipe, gaps between digests",
    "recipe, spellings of digests",
    "recipe, contents of digests",
];
