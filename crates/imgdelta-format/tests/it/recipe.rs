//! Recipes come back, cost next to nothing in the usual case, and wrong ones are refused.

use imgdelta_coding::pack::Packer;
use imgdelta_format::{
    Algorithm, DiffId, FormatError, ReadLimitName, ReadLimits,
    recipe::{
        BaseSource, DigestPlace, DigestSpelling, GroupMember, NestedArchives, PayloadOrigin,
        PayloadWindow, Recipe, RecipeFront, RecipeGroup, StreamName,
    },
};
use imgdelta_wire::varint;
use proptest::prelude::*;

/// Enough for 129,096 payloads.
const TARGET_BYTES: u64 = 1_000_000;

fn stream(seed: u8, bytes: u64) -> StreamName {
    let algorithm = if seed.is_multiple_of(5) { Algorithm::Sha512 } else { Algorithm::Sha256 };
    let digest = vec![seed; algorithm.digest_bytes()];
    StreamName { diff_id: DiffId::new(algorithm, &digest).unwrap(), bytes }
}

fn usual(payload: u32) -> GroupMember {
    GroupMember { payload, window: None, sources: vec![BaseSource::Own] }
}

fn recipe(origins: Vec<PayloadOrigin>, groups: Vec<RecipeGroup>) -> Recipe {
    let sources = vec![stream(1, 1000), stream(5, 500)];
    Recipe {
        target: stream(2, TARGET_BYTES),
        sources,
        headers: b"columns".to_vec(),
        origins,
        nested: NestedArchives::default(),
        digests: Vec::new(),
        groups,
    }
}

fn read(bytes: &[u8]) -> Result<Recipe, FormatError> {
    Recipe::from_bytes(bytes, &ReadLimits::default())
}

#[test]
fn usual_members_cost_next_to_nothing() {
    let origins =
        (0..30_000).map(|n| if n % 3 == 0 { PayloadOrigin::Rebuilt } else { PayloadOrigin::Own });
    let members = |from: u32| (from..from + 5000).map(|n| usual(3 * n)).collect();
    let group = |from| RecipeGroup { packed_bytes: 70_000, members: members(from) };
    let all = recipe(origins.collect(), vec![group(0), group(5000)]);
    let bytes = all.to_bytes();
    assert_eq!(read(&bytes).unwrap(), all);
    let bare = recipe(Vec::new(), Vec::new()).to_bytes();
    let cost = bytes.len() - bare.len();
    assert!(cost < 80, "{cost} bytes for 10,000 members");
}

#[test]
fn the_front_is_read_from_the_first_bytes() {
    let all = recipe(vec![PayloadOrigin::Own], Vec::new());
    let bytes = all.to_bytes();
    let limits = ReadLimits::default();
    let length = RecipeFront::recipe_bytes(&bytes[..RecipeFront::LENGTH_BYTES], &limits).unwrap();
    assert_eq!(length, bytes.len() as u64);
    let front = RecipeFront::from_bytes(&bytes[..bytes.len() - 8], &limits).unwrap();
    assert_eq!((front.target, front.space_bytes()), (all.target, 1500));
    assert_eq!(front.sources, all.sources);
    let few = {
        let mut limits = limits;
        limits.sources = 1;
        limits
    };
    assert!(matches!(
        RecipeFront::from_bytes(&bytes, &few),
        Err(FormatError::TooLarge { limit: 1, found: 2, .. })
    ));
}

#[test]
fn empty_base_parts_are_left_out() {
    let slice = |address, bytes| BaseSource::Slice { address, bytes };
    let member = |sources| GroupMember { payload: 0, window: None, sources };
    let with = |sources| {
        recipe(
            vec![PayloadOrigin::Rebuilt],
            vec![RecipeGroup { packed_bytes: 1, members: vec![member(sources)] }],
        )
    };
    let again = read(&with(vec![BaseSource::Own, slice(3, 0)]).to_bytes()).unwrap();
    assert_eq!(again, with(vec![BaseSource::Own]));
}

/// A recipe of 1,500 base bytes with these columns.
fn raw(columns: &[&[u8]]) -> Vec<u8> {
    let bare = recipe(Vec::new(), Vec::new()).to_bytes();
    // Magic and version, a length of two bytes; at the end, the pack of no columns.
    let mut rest = bare[7..bare.len() - 1].to_vec();
    rest.extend(Packer::new(3).pack(columns));
    let mut out = bare[..5].to_vec();
    varint::write(&mut out, rest.len() as u64);
    out.extend(rest);
    out
}

fn numbers(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        varint::write(&mut out, *value);
    }
    out
}

#[test]
fn a_billion_origins_take_no_memory() {
    for kind in [0, 3] {
        let runs = numbers(&[(1_000_000_000 - 1) << 3 | kind]);
        let refused = read(&raw(&[&runs])).unwrap_err();
        let expected = FormatError::TooLarge {
            name: None,
            what: "payloads of a layer",
            limit: 4096 + TARGET_BYTES / 8,
            found: 1_000_000_000,
        };
        assert_eq!(refused, expected);
        assert!(read(&raw(&[&numbers(&[u64::MAX >> 3 << 3 | kind])])).is_err());
    }
    // Runs of addresses and repeats need their numbers.
    assert!(read(&raw(&[&numbers(&[3_999_999 << 3 | 1]), &[0]])).is_err());
    assert!(read(&raw(&[&numbers(&[3_999_999 << 3 | 2]), &[], &[0]])).is_err());
}

#[test]
fn a_million_archives_that_no_payload_is_made_of_take_no_memory() {
    const CLOSED_KINDS: usize = 15;
    let kinds = vec![0; 1_000_000];
    let mut columns: [&[u8]; 22] = [&[]; 22];
    columns[CLOSED_KINDS] = &kinds;
    columns[CLOSED_KINDS + 1] = &kinds;
    let what = "archives of the target";
    let refused = read(&raw(&columns)).unwrap_err();
    assert_eq!(refused, FormatError::TooLarge { name: None, what, limit: 0, found: 1 });
}

#[test]
fn more_base_parts_than_the_limit_are_refused() {
    let slice = BaseSource::Slice { address: 7, bytes: 90 };
    let member = |sources| GroupMember { payload: 0, window: None, sources };
    let members = vec![member(vec![slice, slice]), usual(0), member(vec![BaseSource::Own, slice])];
    let group = RecipeGroup { packed_bytes: 1, members };
    let all = recipe(vec![PayloadOrigin::Rebuilt], vec![group]);
    let read = |slices| {
        let mut limits = ReadLimits::default();
        limits.slices = slices;
        Recipe::from_bytes(&all.to_bytes(), &limits)
    };
    assert_eq!(read(4).unwrap(), all);
    let what = "base parts of a recipe's members";
    let name = Some(ReadLimitName::Slices);
    assert_eq!(read(3).unwrap_err(), FormatError::TooLarge { name, what, limit: 3, found: 4 });
    assert_eq!(read(1).unwrap_err(), FormatError::TooLarge { name, what, limit: 1, found: 2 });
}

/// Columns that are other numbers than in a sound recipe.
type Change<'a> = &'a [(usize, &'a [u64])];

#[test]
fn lies_in_columns_are_refused() {
    const REBUILT: u64 = 3;
    let ok: [&[u64]; 11] =
        [&[REBUILT], &[], &[], &[9], &[1], &[0], &[5], &[700], &[100 << 1], &[0], &[4]];
    let build = |change: Change| {
        let mut columns = ok.map(numbers);
        for (at, values) in change {
            columns[*at] = numbers(values);
        }
        let columns: Vec<&[u8]> = columns.iter().map(Vec::as_slice).collect();
        raw(&columns)
    };
    let member = &read(&build(&[])).unwrap().groups[0].members[0];
    assert_eq!(member.sources, [BaseSource::Slice { address: 100, bytes: 700 }]);
    assert_eq!(member.window, Some(PayloadWindow { offset: 0, bytes: 4 }));
    let cases: [(&str, Change); 22] = [
        ("a member of no rebuilt payload", &[(0, &[0])]),
        ("two runs of one kind", &[(0, &[0, 0, REBUILT])]),
        ("an address missing", &[(0, &[1, REBUILT])]),
        ("an address beyond the space", &[(0, &[1, REBUILT]), (1, &[1500 << 1])]),
        ("an address before the space", &[(0, &[1, REBUILT]), (1, &[1])]),
        ("an address that nobody reads", &[(1, &[0])]),
        ("a repeat of nothing", &[(0, &[2, REBUILT]), (2, &[0])]),
        ("a repeat before the first", &[(0, &[0, 2, REBUILT]), (2, &[1])]),
        ("an endless repeat", &[(0, &[0, 2, REBUILT]), (2, &[u64::MAX])]),
        ("an empty group", &[(3, &[0])]),
        ("a group without a count", &[(3, &[9, 9])]),
        ("groups beyond 64 bits", &[(3, &[u64::MAX, u64::MAX]), (4, &[0, 1])]),
        ("a billion members", &[(4, &[1_000_000_000])]),
        ("a rank beyond", &[(5, &[2])]),
        ("a rank before", &[(5, &[1])]),
        ("a long spelling of the usual", &[(6, &[4]), (7, &[0]), (8, &[]), (9, &[]), (10, &[])]),
        ("a billion parts", &[(6, &[2_000_000_000])]),
        ("a part beyond the space", &[(7, &[1401])]),
        ("an endless part", &[(7, &[u64::MAX])]),
        ("a window before the payload", &[(9, &[1])]),
        ("an empty window", &[(10, &[0])]),
        ("an endless window", &[(9, &[2]), (10, &[u64::MAX])]),
    ];
    for (what, change) in cases {
        assert!(read(&build(change)).is_err(), "{what}");
    }
}

#[test]
fn sources_beyond_63_bits_are_refused() {
    let mut long = recipe(Vec::new(), Vec::new());
    long.sources = vec![stream(1, 1 << 62), stream(2, 1 << 62)];
    assert!(read(&long.to_bytes()).is_err());
    long.sources.pop();
    assert_eq!(read(&long.to_bytes()).unwrap(), long);
}

#[test]
fn other_versions_and_files_are_told() {
    let mut bytes = recipe(Vec::new(), Vec::new()).to_bytes();
    bytes[4] = 2;
    let error = read(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "recipe, offset 5: version is 2, should be 1");
    assert!(read(b"something else").is_err());
}

#[test]
fn every_cut_is_refused_and_no_flip_panics() {
    let slice = BaseSource::Slice { address: 7, bytes: 90 };
    let sources = vec![BaseSource::Own, slice, slice];
    let member =
        GroupMember { payload: 3, window: Some(PayloadWindow { offset: 5, bytes: 6 }), sources };
    let origins = vec![
        PayloadOrigin::Own,
        PayloadOrigin::Base(9),
        PayloadOrigin::Repeat(2),
        PayloadOrigin::Rebuilt,
    ];
    let bytes =
        recipe(origins, vec![RecipeGroup { packed_bytes: 3, members: vec![member, usual(3)] }])
            .to_bytes();
    for len in 0..bytes.len() {
        assert!(read(&bytes[..len]).is_err(), "cut at {len}");
    }
    assert!(read(&[&bytes[..], &[0]].concat()).is_err(), "one byte more");
    for at in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        if let Ok(other) = read(&damaged) {
            assert_ne!(other, read(&bytes).unwrap(), "bit {at} means nothing");
        }
    }
}

prop_compose! {
    fn any_source()(
        address in 0..1400_u64,
        bytes in 1..100_u64,
        is_own in any::<bool>(),
    ) -> BaseSource {
        if is_own { BaseSource::Own } else { BaseSource::Slice { address, bytes } }
    }
}

prop_compose! {
    fn any_member(rebuilt: Vec<u32>)(
        payload in prop::sample::select(rebuilt),
        window in prop::option::of((0..1_u64 << 40, 1..1_u64 << 40)),
        sources in prop_oneof![
            3 => Just(vec![BaseSource::Own]),
            2 => prop::collection::vec(any_source(), 0..4),
        ],
    ) -> GroupMember {
        let window = window.map(|(offset, bytes)| PayloadWindow { offset, bytes });
        GroupMember { payload, window, sources }
    }
}

fn any_recipe() -> impl Strategy<Value = Recipe> {
    let origin = |n: usize| {
        let repeat = 1..=u32::try_from(n.max(1)).unwrap();
        prop_oneof![
            4 => Just(PayloadOrigin::Own),
            1 => (0..1500_u64).prop_map(PayloadOrigin::Base),
            // The first payload has nothing to repeat.
            1 => repeat.prop_map(move |d| if n == 0 { PayloadOrigin::Own } else { PayloadOrigin::Repeat(d) }),
            4 => Just(PayloadOrigin::Rebuilt),
        ]
    };
    let origins =
        (0..40_usize).prop_flat_map(move |count| (0..count).map(origin).collect::<Vec<_>>());
    origins.prop_flat_map(|origins| {
        let ordinals =
            (0_u32..).zip(&origins).filter(|(_, origin)| **origin == PayloadOrigin::Rebuilt);
        let rebuilt: Vec<u32> = ordinals.map(|(n, _)| n).collect();
        let members = if rebuilt.is_empty() {
            Just(Vec::new()).boxed()
        } else {
            prop::collection::vec(any_member(rebuilt), 0..8).boxed()
        };
        let group = (1..1_u64 << 40, members)
            .prop_map(|(packed_bytes, members)| RecipeGroup { packed_bytes, members });
        (Just(origins), prop::collection::vec(group, 0..4))
            .prop_map(|(origins, groups)| recipe(origins, groups))
    })
}

proptest! {
    #[test]
    fn recipes_come_back(recipe in any_recipe()) {
        let bytes = recipe.to_bytes();
        prop_assert_eq!(read(&bytes).unwrap(), recipe);
    }

    #[test]
    fn arbitrary_columns_never_panic_and_come_back_if_read(
        columns in prop::collection::vec(prop::collection::vec(0..9_u8, 0..12), 0..11),
    ) {
        let columns: Vec<&[u8]> = columns.iter().map(Vec::as_slice).collect();
        if let Ok(recipe) = read(&raw(&columns)) {
            prop_assert_eq!(read(&recipe.to_bytes()).unwrap(), recipe);
        }
    }
}

#[test]
fn members_read_rebuilt_bytes_and_no_range_across_their_start() {
    let with = |address, bytes| {
        let sources = vec![BaseSource::Slice { address, bytes }];
        let members = vec![GroupMember { payload: 0, window: None, sources }];
        recipe(vec![PayloadOrigin::Rebuilt], vec![RecipeGroup { packed_bytes: 9, members }])
    };
    for (address, bytes) in [(1500, 10), (1500, TARGET_BYTES), (1000, 500)] {
        let all = with(address, bytes);
        assert_eq!(read(&all.to_bytes()).unwrap(), all);
    }
    for (address, bytes) in [(1499, 2), (1500, TARGET_BYTES + 1), (1499, u64::MAX >> 2)] {
        assert!(read(&with(address, bytes).to_bytes()).is_err(), "{bytes} from {address}");
    }
}

fn with_digests(places: &[DigestPlace]) -> Recipe {
    let origins = vec![PayloadOrigin::Own, PayloadOrigin::Rebuilt, PayloadOrigin::Rebuilt];
    Recipe { digests: places.to_vec(), ..recipe(origins, Vec::new()) }
}

#[test]
fn digests_of_a_list_in_its_order_cost_two_bytes() {
    let spelling = DigestSpelling::Md5Hex;
    let place =
        |n: u32| DigestPlace { holder: 1, offset: 3 + 70 * u64::from(n), spelling, content: n % 3 };
    let places: Vec<DigestPlace> = (0..3000).map(place).collect();
    let all = with_digests(&places);
    assert_eq!(read(&all.to_bytes()).unwrap(), all);
    let cost = all.to_bytes().len() - with_digests(&[]).to_bytes().len();
    assert!(cost < 100, "{cost} bytes for a list in order");
    let mixed = [
        DigestPlace { holder: 1, offset: 0, spelling: DigestSpelling::Sha256Hex, content: 2 },
        DigestPlace { holder: 1, offset: 64, spelling: DigestSpelling::Md5Hex, content: 0 },
        DigestPlace { holder: 2, offset: 9, spelling: DigestSpelling::Sha256Base64Url, content: 1 },
        DigestPlace { holder: 2, offset: 52, spelling: DigestSpelling::Sha1Base64, content: 0 },
    ];
    let all = with_digests(&mixed);
    assert_eq!(read(&all.to_bytes()).unwrap(), all);
}

#[test]
fn lies_about_digests_are_refused() {
    let runs = numbers(&[0, 8 + 3]);
    let cases: [(&str, [&[u64]; 4]); 8] = [
        ("none", [&[0], &[3], &[0], &[4]]),
        ("a holder that is not rebuilt", [&[2 << 1], &[3], &[0], &[4]]),
        ("a holder before the one before", [&[1 << 1, 1], &[3, 0], &[0, 0], &[4, 0]]),
        ("an unknown spelling", [&[0], &[3], &[4], &[4]]),
        ("a content that is not there", [&[0], &[3], &[0], &[3 << 1]]),
        ("an endless gap", [&[0], &[u64::MAX], &[0], &[4]]),
        ("a gap without a digest", [&[0], &[3, 0], &[0], &[4]]),
        ("a digest without a content", [&[0], &[3], &[0], &[]]),
    ];
    for (what, [holders, gaps, spellings, contents]) in cases {
        let mut columns = vec![Vec::new(); 26];
        columns[0].clone_from(&runs);
        columns[22] = numbers(holders);
        columns[23] = numbers(gaps);
        columns[24] = spellings.iter().map(|number| u8::try_from(*number).unwrap()).collect();
        columns[25] = numbers(contents);
        let columns: Vec<&[u8]> = columns.iter().map(Vec::as_slice).collect();
        assert_eq!(read(&raw(&columns)).is_ok(), what == "none", "{what}");
    }
}
