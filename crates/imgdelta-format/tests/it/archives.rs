//! Recipes that open and close archives come back, and each wrong number is refused by name.

use imgdelta_coding::pack::Packer;
use imgdelta_format::{
    Algorithm, DiffId, FormatError, ReadLimits,
    container::SectionKind,
    limits::written,
    recipe::{
        ArchiveKind, ArchiveSource, ArchiveTarget, BaseSource, GroupMember, NestedArchives,
        PayloadOrigin, PayloadWindow, Recipe, RecipeFront, RecipeGroup, StreamName,
    },
};
use imgdelta_wire::{MAX_PLACE, varint};

fn stream(byte: u8, bytes: u64) -> StreamName {
    StreamName { diff_id: DiffId::new(Algorithm::Sha256, &[byte; 32]).unwrap(), bytes }
}

/// A base of 1,500 bytes, in which an archive lies, in which another one lies.
fn recipe() -> Recipe {
    let opened =
        |address, bytes, kind, plain_bytes| ArchiveSource { address, bytes, kind, plain_bytes };
    let member = |offset, bytes| GroupMember {
        payload: 6,
        window: Some(PayloadWindow { offset, bytes }),
        sources: vec![BaseSource::Own],
    };
    let nested = NestedArchives {
        opened: vec![
            opened(100, 50, ArchiveKind::Gzip, 300),
            // All parts of the first.
            opened(1500, 300, ArchiveKind::Zip, 20),
        ],
        closed: vec![
            ArchiveTarget { kind: ArchiveKind::Zip, inner: 3 },
            ArchiveTarget { kind: ArchiveKind::Tar, inner: 2 },
        ],
        inner_bytes: vec![7, MAX_PLACE, 1],
        coders: vec![0, 0, 2, 1, 0],
        compressions: vec![b"abc".to_vec(), b"z".to_vec()],
    };
    Recipe {
        target: stream(1, 900),
        sources: vec![stream(2, 1000), stream(3, 500)],
        headers: b"columns".to_vec(),
        origins: vec![
            PayloadOrigin::Own,
            PayloadOrigin::Closed,
            PayloadOrigin::Closed,
            PayloadOrigin::Base(1819),
            // The inner payloads of the first archive, then of the second.
            PayloadOrigin::Part(2),
            PayloadOrigin::Packed(3),
            PayloadOrigin::Rebuilt,
            PayloadOrigin::Own,
            PayloadOrigin::Base(0),
        ],
        nested,
        groups: vec![RecipeGroup { packed_bytes: 9, members: vec![member(0, 4), member(4, 3)] }],
        digests: Vec::new(),
    }
}

/// The columns of [`recipe`], number by number.
const COLUMNS: [&[u64]; 22] = [
    &[0, 1 << 3 | 4, 1, 5, 6, 3, 0, 1], // runs
    &[3638, 3637],                      // addresses
    &[],                                // repeats
    &[9],                               // lengths of groups
    &[2],                               // counts of members
    &[0, 1],                            // payloads of members
    &[1, 1],                            // shapes of members
    &[],                                // lengths of base parts
    &[],                                // addresses of base parts
    &[0, 0],                            // offsets of windows: each where the one before ends
    &[4, 3],                            // lengths of windows
    &[200, 2700],                       // addresses of archives
    &[50, 300],                         // lengths of archives
    &[0, 1],                            // kinds of the base's archives
    &[300, 20],                         // lengths of archives' parts
    &[1, 2],                            // kinds of the target's archives
    &[3, 2],                            // counts of inner payloads
    &[7, MAX_PLACE, 1],                 // lengths of inner payloads
    &[0, 0, 2, 1, 0],                   // compressions of inner payloads
    &[3, 1],                            // lengths of compressions
    &[b'a' as u64, b'b' as u64, b'c' as u64, b'z' as u64],
    &[4, 0], // parts of archives
];
const RUNS: usize = 0;
const ADDRESSES: usize = 1;
const GROUP_BYTES: usize = 3;
const SHAPES: usize = 6;
const SOURCE_BYTES: usize = 7;
const SOURCE_ADDRESSES: usize = 8;
const WINDOW_OFFSETS: usize = 9;
const WINDOW_BYTES: usize = 10;
const OPENED_BYTES: usize = 12;
const OPENED_KINDS: usize = 13;
const OPENED_PLAIN: usize = 14;
const CLOSED_KINDS: usize = 15;
const CLOSED_COUNTS: usize = 16;
const INNER_BYTES: usize = 17;
const CODERS: usize = 18;
const COMPRESSION_BYTES: usize = 19;
const PARTS: usize = 21;

/// Columns that have other numbers than those of [`recipe`].
type Change<'a> = &'a [(usize, &'a [u64])];

fn read(change: Change<'_>) -> Result<Recipe, FormatError> {
    let mut columns = COLUMNS;
    for (column, values) in change {
        columns[*column] = values;
    }
    let columns = columns.map(|values| {
        let mut out = Vec::new();
        for value in values {
            varint::write(&mut out, *value);
        }
        out
    });
    let whole = recipe().to_bytes();
    let empty = Recipe {
        origins: Vec::new(),
        nested: NestedArchives::default(),
        digests: Vec::new(),
        groups: Vec::new(),
        ..recipe()
    };
    // Magic and version, a length of one byte; the pack of no columns is one byte.
    let empty = empty.to_bytes();
    let mut rest = empty[6..empty.len() - 1].to_vec();
    rest.extend(Packer::new(19).pack(&columns));
    let mut out = whole[..5].to_vec();
    varint::write_prefixed(&mut out, &rest);
    Recipe::from_bytes(&out, &ReadLimits::default())
}

#[test]
fn archives_come_back_and_their_columns_are_as_specified() {
    let bytes = recipe().to_bytes();
    assert_eq!(Recipe::from_bytes(&bytes, &ReadLimits::default()).unwrap(), recipe());
    assert_eq!(read(&[]).unwrap(), recipe());
    let nested = recipe().nested;
    assert_eq!((nested.inner_payloads(), nested.plain_bytes()), (5, 320));
    assert_eq!(recipe().group_bytes(), 9);
    for len in 0..bytes.len() {
        assert!(Recipe::from_bytes(&bytes[..len], &ReadLimits::default()).is_err(), "cut at {len}");
    }
}

#[test]
fn only_recipes_with_archives_have_their_columns() {
    let without = |nested| Recipe { nested, origins: Vec::new(), groups: Vec::new(), ..recipe() };
    let opened = NestedArchives { opened: recipe().nested.opened, ..NestedArchives::default() };
    let bare = without(NestedArchives::default()).to_bytes();
    // Magic and version, length, three names, the count of sources, headers, and the empty pack.
    assert_eq!(bare.len(), 5 + 1 + 3 * (33 + 2) + 1 + 8 + 1);
    assert!(without(opened).to_bytes().len() > bare.len() + 8);
}

#[test]
fn lengths_that_an_origin_gives_are_not_stored() {
    let stored = recipe().origins.iter().filter(|origin| origin.has_stored_length()).count();
    assert_eq!(stored, 7);
    for origin in [PayloadOrigin::Repeat(1), PayloadOrigin::Part(0), PayloadOrigin::Packed(0)] {
        assert!(!origin.has_stored_length(), "{origin:?}");
    }
}

#[test]
fn numbers_at_their_bounds_are_read() {
    let slice = |address, bytes| BaseSource::Slice { address, bytes };
    let plain = MAX_PLACE - 1800;
    let grown = read(&[(OPENED_PLAIN, &[300, plain])]).unwrap();
    assert_eq!(grown.nested.plain_bytes(), 300 + plain);
    let long = read(&[(GROUP_BYTES, &[MAX_PLACE])]).unwrap();
    assert_eq!(long.group_bytes(), MAX_PLACE);
    let wide = read(&[(WINDOW_BYTES, &[4, MAX_PLACE - 4])]).unwrap();
    let window = PayloadWindow { offset: 4, bytes: MAX_PLACE - 4 };
    assert_eq!(wide.groups[0].members[1].window, Some(window));
    let last =
        read(&[(SHAPES, &[2 << 1 | 1, 1]), (SOURCE_BYTES, &[1820]), (SOURCE_ADDRESSES, &[0])]);
    assert_eq!(last.unwrap().groups[0].members[0].sources, [slice(0, 1820)]);
    let part = read(&[(PARTS, &[u64::from(u32::MAX) << 1, 3])]).unwrap();
    assert_eq!(
        part.origins[4..6],
        [PayloadOrigin::Part(u32::MAX), PayloadOrigin::Packed(u32::MAX - 1)]
    );
}

#[test]
fn wrong_numbers_are_refused_by_name() {
    let over = MAX_PLACE + 1;
    let cases: [(Change<'_>, &str); 24] = [
        (&[(RUNS, &[7])], "kind of origins"),
        (&[(RUNS, &[0, 0])], "kind of a run after one of the same"),
        (&[(ADDRESSES, &[1820 << 1, 0])], "address of a payload"),
        (&[(GROUP_BYTES, &[over])], "length of a group"),
        (&[(WINDOW_BYTES, &[4, MAX_PLACE - 3])], "length of a window"),
        (&[(WINDOW_OFFSETS, &[0, 0, 0])], "end"),
        (
            &[(SHAPES, &[2 << 1 | 1, 1]), (SOURCE_BYTES, &[1821]), (SOURCE_ADDRESSES, &[0])],
            "end of a base part",
        ),
        (&[(OPENED_BYTES, &[50, 301])], "end of an archive"),
        (&[(OPENED_KINDS, &[0, 9])], "kind of an archive"),
        (&[(OPENED_PLAIN, &[300, MAX_PLACE - 1799])], "length of the address space"),
        (&[(CLOSED_KINDS, &[1, 9])], "kind of an archive"),
        (&[(CLOSED_KINDS, &[1])], "count of archives"),
        (&[(CLOSED_COUNTS, &[8, 2])], "count of inner payloads"),
        // All payloads are inner ones: their lengths are missing.
        (&[(CLOSED_COUNTS, &[7, 2])], "length of an inner payload"),
        (&[(INNER_BYTES, &[7, 0, 1])], "length of an inner payload"),
        (&[(INNER_BYTES, &[7, over, 1])], "length of an inner payload"),
        (&[(INNER_BYTES, &[7, 1, 1, 1])], "end"),
        (&[(CODERS, &[0, 0, 3, 1, 0])], "compression of an inner payload"),
        (&[(CODERS, &[0, 0, 2, 1])], "compression of an inner payload"),
        (&[(COMPRESSION_BYTES, &[3, 2])], "compression"),
        (&[(COMPRESSION_BYTES, &[4, 0])], "length of a compression"),
        (&[(COMPRESSION_BYTES, &[2, 1])], "end"),
        (&[(PARTS, &[1 << 33, 0])], "part of an archive"),
        (&[(PARTS, &[4])], "part of an archive"),
    ];
    for (change, name) in cases {
        match read(change).unwrap_err() {
            FormatError::Malformed { what, .. } => assert_eq!(what, name, "{change:?}"),
            other @ FormatError::TooLarge { .. } => panic!("{change:?}: {other}"),
        }
    }
    let repeated = read(&[(RUNS, &[1 << 3, 0])]).unwrap_err().to_string();
    let expected =
        "recipe, origins, offset 2: kind of a run after one of the same is 0, should be 1";
    assert_eq!(repeated, expected);
}

#[test]
fn a_front_fits_the_bytes_that_are_read_for_it() {
    // Magic, version, and the longest length.
    assert_eq!(RecipeFront::LENGTH_BYTES, 4 + 1 + 10);
    let long = |byte| {
        let diff_id = DiffId::new(Algorithm::Sha512, &[byte; 64]).unwrap();
        StreamName { diff_id, bytes: 1 << 58 }
    };
    let mut limits = ReadLimits::default();
    limits.sources = 3;
    let sources = vec![long(1), long(2), long(3)];
    let whole = Recipe { target: long(4), sources, headers: vec![0; 4000], ..recipe() }.to_bytes();
    let most = RecipeFront::most_bytes(&limits);
    assert_eq!(most, 5 * (1 + 64 + 10));
    let front = RecipeFront::from_bytes(&whole[..usize::try_from(most).unwrap()], &limits).unwrap();
    assert_eq!((front.sources.len(), front.space_bytes()), (3, 3 << 58));
}

#[test]
fn lengths_of_target_and_sources_fill_63_bits_and_no_more() {
    let with = |bytes| Recipe {
        target: stream(1, 900),
        sources: vec![stream(2, bytes)],
        origins: Vec::new(),
        nested: NestedArchives::default(),
        digests: Vec::new(),
        groups: Vec::new(),
        ..recipe()
    };
    let read = |recipe: &Recipe| Recipe::from_bytes(&recipe.to_bytes(), &ReadLimits::default());
    let most = with(MAX_PLACE - 900);
    assert_eq!(read(&most).unwrap(), most);
    assert!(read(&with(MAX_PLACE - 899)).is_err());
}

#[test]
fn a_reader_accepts_all_that_a_writer_makes() {
    let limits = ReadLimits::default();
    for (read, written) in [
        (limits.layers, written::LAYERS),
        (limits.sources, written::SOURCES),
        (limits.payloads, written::PAYLOADS),
        (limits.groups, written::GROUPS),
        (limits.members, written::MEMBERS),
        (limits.slices, written::SLICES),
        (limits.recipe_bytes, written::RECIPE_BYTES),
        (limits.cost_files, written::COST_FILES),
        // Paths of 100 bytes on average.
        (limits.cost_bytes, written::COST_FILES * 100),
        (limits.sections, 2 * written::LAYERS + 3),
    ] {
        assert!(read >= 2 * written, "{read} and {written}");
    }
}

#[test]
fn counts_follow_from_lengths() {
    let refused = |recipe: &Recipe| {
        Recipe::from_bytes(&recipe.to_bytes(), &ReadLimits::default()).unwrap_err()
    };
    // 900 bytes admit 112 payloads and 4,096 more.
    let bare = |payloads| Recipe {
        origins: vec![PayloadOrigin::Own; payloads],
        nested: NestedArchives::default(),
        digests: Vec::new(),
        groups: Vec::new(),
        ..recipe()
    };
    let most = bare(4096 + 112);
    assert_eq!(Recipe::from_bytes(&most.to_bytes(), &ReadLimits::default()).unwrap(), most);
    let what = "payloads of a layer";
    let expected = FormatError::TooLarge { name: None, what, limit: 4208, found: 4209 };
    assert_eq!(refused(&bare(4209)), expected);

    let mut recipe = recipe();
    recipe.nested.compressions = vec![b"z".to_vec(); 6];
    let what = "compressions of a recipe";
    assert_eq!(refused(&recipe), FormatError::TooLarge { name: None, what, limit: 5, found: 6 });
}

#[test]
fn a_source_is_named_once() {
    let twice = Recipe { sources: vec![stream(2, 1000); 2], ..recipe() };
    let refused = Recipe::from_bytes(&twice.to_bytes(), &ReadLimits::default()).unwrap_err();
    let FormatError::Malformed { what, .. } = refused else { panic!("{refused}") };
    assert_eq!(what, "times that a source is named");
}

#[test]
fn sections_have_names() {
    let names = [0, 1, 2, 3, 4, 5].map(|number| SectionKind::of(number).name());
    assert_eq!(names, ["end", "outline", "recipe", "carried", "cost", "unknown"]);
}
