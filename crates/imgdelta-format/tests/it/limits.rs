//! Each ceiling refuses one more than it admits, with the quantity's name, limit and value.

use imgdelta_format::{
    Algorithm, DiffId, FormatError, ReadLimitName, ReadLimits,
    container::{self, SectionHead, SectionKind},
    cost::{self, FileCost, LayerCost, Provenance, RestCost},
    outline::{Envelope, LayerBody, LayerOutline, Outline},
    recipe::{
        ArchiveKind, ArchiveSource, ArchiveTarget, BaseSource, GroupMember, NestedArchives,
        PayloadOrigin, Recipe, RecipeFront, RecipeGroup, StreamName,
    },
};

/// A recipe with three of everything that is counted.
fn recipe() -> Recipe {
    let stream = |byte, bytes| {
        let diff_id = DiffId::new(Algorithm::Sha256, &[byte; 32]).unwrap();
        StreamName { diff_id, bytes }
    };
    let opened =
        |address| ArchiveSource { address, bytes: 10, kind: ArchiveKind::Gzip, plain_bytes: 100 };
    let slice = |address| BaseSource::Slice { address, bytes: 5 };
    let member = |address| GroupMember { payload: 0, window: None, sources: vec![slice(address)] };
    let group = |address| RecipeGroup { packed_bytes: 9, members: vec![member(address)] };
    Recipe {
        target: stream(1, 50),
        sources: vec![stream(2, 100), stream(3, 100), stream(4, 100)],
        headers: vec![7; 40],
        origins: vec![PayloadOrigin::Rebuilt, PayloadOrigin::Closed, PayloadOrigin::Own],
        nested: NestedArchives {
            opened: vec![opened(0), opened(20), opened(40)],
            closed: vec![ArchiveTarget { kind: ArchiveKind::Zip, inner: 1 }],
            inner_bytes: vec![8],
            coders: vec![0],
            compressions: Vec::new(),
        },
        groups: vec![group(1), group(2), group(3)],
        digests: Vec::new(),
    }
}

fn outline() -> Outline {
    let layer = || LayerOutline {
        stream_bytes: 5,
        body: LayerBody::Kept,
        envelope: Envelope::Stored,
        archive_milliseconds: 0,
    };
    Outline {
        algorithm: Algorithm::Sha256,
        media_type: String::new(),
        manifest: b"{}".to_vec(),
        config: b"{}".to_vec(),
        platform: String::new(),
        base: None,
        layers: vec![layer(), layer(), layer()],
    }
}

fn costs() -> Vec<LayerCost> {
    let file = |path: &str| FileCost {
        path: path.into(),
        how: Provenance::KEPT,
        target_bytes: 1,
        delta_bytes: 2,
    };
    let rest = |how| RestCost { how, count: 1, target_bytes: 2, delta_bytes: 3 };
    let layer = || LayerCost::default();
    let full = LayerCost {
        headers: 4,
        files: vec![file("a"), file("bc"), file("bcd")],
        rest: vec![rest(Provenance::KEPT), rest(Provenance::MOVED), rest(Provenance::LITERAL)],
    };
    vec![full, layer(), layer()]
}

/// Tests that a reader admits exactly `most`, and refuses it with a limit of one less.
fn check(
    what: &str,
    most: u64,
    name: ReadLimitName,
    read: impl Fn(&ReadLimits) -> Result<(), FormatError>,
) {
    let mut limits = ReadLimits::default();
    limits.set(name, most);
    assert_eq!(read(&limits), Ok(()), "{what}");
    limits.set(name, most - 1);
    match read(&limits) {
        Err(FormatError::TooLarge { name: over, what: found_what, limit, found }) => {
            assert_eq!((over, found_what), (Some(name), what));
            assert_eq!((limit, found), (most - 1, most));
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn each_ceiling_of_a_recipe_admits_its_number_and_no_more() {
    let bytes = recipe().to_bytes();
    let whole = |limits: &ReadLimits| {
        Recipe::from_bytes(&bytes, limits).map(|read| assert_eq!(read, recipe()))
    };
    let length = bytes.len() as u64;
    check("sources of a recipe", 3, ReadLimitName::Sources, whole);
    check("payloads of a layer", 3, ReadLimitName::Payloads, whole);
    check("groups of a recipe", 3, ReadLimitName::Groups, whole);
    check("members of a recipe", 3, ReadLimitName::Members, whole);
    check("base parts of a recipe's members", 3, ReadLimitName::Slices, whole);
    check("archives of the base", 3, ReadLimitName::Archives, whole);
    check("bytes of a recipe", length, ReadLimitName::RecipeBytes, whole);
    let front = |limits: &ReadLimits| {
        let found = RecipeFront::recipe_bytes(&bytes[..RecipeFront::LENGTH_BYTES], limits)?;
        assert_eq!(found, length);
        Ok(())
    };
    check("bytes of a recipe", length, ReadLimitName::RecipeBytes, front);
}

#[test]
fn each_ceiling_of_outline_costs_and_table_admits_its_number_and_no_more() {
    let bytes = outline().to_bytes();
    check("layers of a delta", 3, ReadLimitName::Layers, |limits| {
        Outline::from_bytes(&bytes, limits).map(|read| assert_eq!(read, outline()))
    });
    let bytes = cost::to_bytes(&costs());
    let read = |limits: &ReadLimits| {
        cost::from_bytes(&bytes, limits).map(|read| assert_eq!(read, costs()))
    };
    check("layers in the costs", 3, ReadLimitName::Layers, read);
    check("summed costs of a layer", 3, ReadLimitName::CostFiles, read);
    let files = vec![LayerCost { rest: Vec::new(), ..costs().swap_remove(0) }];
    let bytes = cost::to_bytes(&files);
    check("files in the costs", 3, ReadLimitName::CostFiles, |limits| {
        cost::from_bytes(&bytes, limits).map(|read| assert_eq!(read, files))
    });
    let heads = vec![SectionHead::new(SectionKind::Recipe, 5); 3];
    let table = container::table(&heads);
    check("sections of a delta", 3, ReadLimitName::Sections, |limits| {
        container::read_table(&table, limits).map(|read| assert_eq!(read, heads))
    });
}

#[test]
fn columns_outline_and_costs_unpack_to_no_more_than_their_ceilings() {
    let what = "unpacked streams";
    let refused = |name, error: FormatError| match error {
        FormatError::TooLarge { name: over, what: found_what, limit: 10, found } => {
            assert!(over == Some(name) && found_what == what && found > 10);
        }
        other => panic!("{other}"),
    };
    let mut limits = ReadLimits::default();
    (limits.column_bytes, limits.outline_bytes, limits.cost_bytes) = (10, 10, 10);
    refused(
        ReadLimitName::ColumnBytes,
        Recipe::from_bytes(&recipe().to_bytes(), &limits).unwrap_err(),
    );
    let long = Outline { manifest: vec![b' '; 11], ..outline() };
    refused(
        ReadLimitName::OutlineBytes,
        Outline::from_bytes(&long.to_bytes(), &limits).unwrap_err(),
    );
    refused(
        ReadLimitName::CostBytes,
        cost::from_bytes(&cost::to_bytes(&costs()), &limits).unwrap_err(),
    );
}
