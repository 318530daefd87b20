//! One forgery for each way to ask for too much.

use crate::{
    base::base_stream,
    delta::{
        ADDRESSES, BACKS, CHOICES, EXTENSION_COUNTS, FLAGS, FRONTS, ForgedBody, ForgedDelta,
        ForgedLayer, ITEMS, JUMPS, MIDDLES, TEXT, blob_digest, header_columns, name_of, numbers,
        payload_columns, recipe, unknown, zero_columns,
    },
};
use imgdelta_apply::delta::{
    ArchiveKind, ArchiveSource, ArchiveTarget, BaseSource, DigestPlace, DigestSpelling, Envelope,
    GroupMember, PayloadOrigin, PayloadWindow, Recipe, RecipeGroup, StreamName,
};
use imgdelta_coding::pack::Packer;
use imgdelta_deflate as deflate;
use imgdelta_testkit::noise;
use imgdelta_wire::varint;
use imgdelta_zstd as zstd;
use std::sync::LazyLock;

/// A hostile delta.
#[derive(Clone, Debug)]
pub struct Forgery {
    /// Its name in tables.
    pub name: &'static str,
    /// The bytes of the delta.
    pub delta: Vec<u8>,
    /// The right answer of a reader.
    pub outcome: Outcome,
}

/// The right answer of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It asks for more work than its bytes are worth.
    TooMuchWork,
    /// A count or length exceeds another limit.
    OverLimit,
    /// The bytes contradict themselves.
    BadInput,
    /// It needs a stream that no base has.
    BaseMissing,
    /// It is odd and cheap, and makes what it states.
    Made,
}

/// Name, maker, and right answer.
type Row = (&'static str, fn() -> ForgedDelta, Outcome);

/// Makes all forgeries; each takes the base image of this crate.
pub fn all() -> Vec<Forgery> {
    let forgeries: [Row; 37] = [
        (
            "hundreds of thousands of members of one byte, each against a megabyte",
            members,
            Outcome::TooMuchWork,
        ),
        ("the same against a program's view", viewed_members, Outcome::TooMuchWork),
        ("millions of origins in one number", runs, Outcome::OverLimit),
        ("a million compressions without a payload", compressions, Outcome::OverLimit),
        ("a source named a thousand times", repeated_source, Outcome::BadInput),
        ("one file of a gibibyte that no bytes make", large_member, Outcome::BadInput),
        ("a hundred thousand zstd frames of one byte", zstd_frames, Outcome::TooMuchWork),
        ("forty zstd frames of one byte", few_zstd_frames, Outcome::Made),
        ("zstd's highest level for a thousand layers", zstd_starts, Outcome::TooMuchWork),
        (
            "hundreds of thousands of gzip members without content",
            gzip_members,
            Outcome::TooMuchWork,
        ),
        ("a path of a mebibyte in each header", texts, Outcome::TooMuchWork),
        ("one long base header for each header", base_headers, Outcome::TooMuchWork),
        ("one long base header in each step of a walk", walk, Outcome::OverLimit),
        ("a gzip file opened five thousand times", opened, Outcome::TooMuchWork),
        ("an archive made of itself", itself, Outcome::BadInput),
        ("gigabytes inside an archive", inner_payloads, Outcome::TooMuchWork),
        (
            "an archive of a gigabyte that is copied a thousand times",
            plain_inner,
            Outcome::TooMuchWork,
        ),
        ("an ELF file made of parts that contradict each other", elf_parts, Outcome::BadInput),
        (
            "zstd's highest level for thousands of files of one byte",
            zstd_files,
            Outcome::TooMuchWork,
        ),
        ("a zstd file whose encoder takes a gibibyte", large_zstd_encoder, Outcome::BadInput),
        ("a stream of a tebibyte of zeros", zeros, Outcome::OverLimit),
        ("tables of zeros that pack to nothing", zero_tables, Outcome::OverLimit),
        ("mixed bytes in a table", mixed_table, Outcome::BadInput),
        ("LZ-coded bytes in a table", lz_table, Outcome::BadInput),
        ("half a gibibyte of literals for one byte", long_streams, Outcome::OverLimit),
        ("a carried blob that inflates to more than it states", carried, Outcome::BadInput),
        ("a million groups of nothing", empty_groups, Outcome::TooMuchWork),
        ("millions of parts of the base for four bytes", base_parts, Outcome::Made),
        ("mixed bytes in every group", mixed_groups, Outcome::TooMuchWork),
        ("LZ-coded bytes in every group", lz_groups, Outcome::TooMuchWork),
        ("layers that are all different and all kept", kept_layers, Outcome::TooMuchWork),
        ("two groups that are made from each other", circle, Outcome::BadInput),
        ("a file made from the end of itself", from_itself, Outcome::BadInput),
        ("more of the target read again than the limit", much_reread, Outcome::OverLimit),
        ("a layer made from a later one, which is made from it", from_later, Outcome::BaseMissing),
        ("every member read by every member", all_read_by_all, Outcome::OverLimit),
        ("a digest of all files in every word of a list", many_digests, Outcome::TooMuchWork),
    ];
    forgeries
        .into_iter()
        .map(|(name, make, outcome)| Forgery { name, delta: make().bytes(), outcome })
        .collect()
}

/// Makes hostile deltas for a genuine image of one stored layer with this stream.
///
/// A push to the repository is enough to place them next to the image.
pub fn beside(stream: &[u8]) -> Vec<ForgedDelta> {
    let target = name_of(stream);
    let headers = payload_columns(&[target.bytes]);
    let whole = BaseSource::Slice { address: 0, bytes: base().bytes };
    let members: Vec<GroupMember> = (0..target.bytes.min(100_000))
        .map(|offset| GroupMember {
            payload: 0,
            window: Some(PayloadWindow { offset, bytes: 1 }),
            sources: vec![whole],
        })
        .collect();
    let group = Packer::new(3).pack(&vec![Vec::<u8>::new(); GROUP_STREAMS]);
    let groups = vec![RecipeGroup { packed_bytes: group.len() as u64, members }];
    let origins = vec![PayloadOrigin::Rebuilt];
    let costly = recipe(target, vec![base()], headers.clone(), origins, groups);

    let origins = vec![PayloadOrigin::Closed, PayloadOrigin::Repeat(1)];
    let mut circular = recipe(target, vec![base()], headers.clone(), origins, Vec::new());
    circular.nested.closed = vec![ArchiveTarget { kind: ArchiveKind::Gzip, inner: 1 }];
    circular.nested.coders = vec![1];
    circular.nested.compressions = vec![zlib_member(target.bytes)];

    let origins = vec![PayloadOrigin::Base(0)];
    let wrong = recipe(target, vec![base()], headers, origins, Vec::new());
    vec![
        stored(target, &costly, &group),
        stored(target, &circular, &[]),
        stored(target, &wrong, &[]),
    ]
}

fn base() -> StreamName {
    static NAME: LazyLock<StreamName> = LazyLock::new(|| name_of(base_stream()));
    *NAME
}

/// A recipe that rebuilds `stream` by one group of these members and streams.
fn rebuilt(stream: &[u8], members: Vec<GroupMember>, streams: &[Vec<u8>]) -> ForgedDelta {
    let group = Packer::new(3).pack(streams);
    let groups = vec![RecipeGroup { packed_bytes: group.len() as u64, members }];
    let headers = payload_columns(&[stream.len() as u64]);
    let origins = vec![PayloadOrigin::Rebuilt];
    let target = name_of(stream);
    let recipe = recipe(target, vec![base()], headers, origins, groups);
    stored(target, &recipe, &group)
}

fn stored(target: StreamName, recipe: &Recipe, groups: &[u8]) -> ForgedDelta {
    let bytes = [recipe.to_bytes(), groups.to_vec()].concat();
    ForgedDelta::of(ForgedLayer::stored(target, bytes))
}

/// Numbers of streams in a group, as `docs/format-group.md` counts them.
const MEMBERS: usize = 0;
const LITERAL_LENGTHS: usize = 1;
const OVERRIDE_GAPS: usize = 5;
const PAGE_FLAGS: usize = 8;
const MISS_GAPS: usize = 9;
const PATCH_GAPS: usize = 11;
const LITERALS: usize = 14;
const GROUP_STREAMS: usize = 16;

/// Members of one literal byte each, with all of the base as their base.
fn one_byte_members(count: u64, view: u8) -> ForgedDelta {
    let whole = BaseSource::Slice { address: 0, bytes: base().bytes };
    let members = (0..count).map(|offset| GroupMember {
        payload: 0,
        window: Some(PayloadWindow { offset, bytes: 1 }),
        sources: vec![whole],
    });
    let mut streams = vec![Vec::new(); GROUP_STREAMS];
    for _ in 0..count {
        streams[MEMBERS].push(view);
        streams[LITERAL_LENGTHS].push(1);
        streams[LITERALS].push(b'A');
        if view > 0 {
            for stream in [OVERRIDE_GAPS, PAGE_FLAGS, MISS_GAPS] {
                streams[stream].push(0);
            }
        }
        streams[PATCH_GAPS].push(0);
    }
    let stream = vec![b'A'; usize::try_from(count).expect("few")];
    rebuilt(&stream, members.collect(), &streams)
}

fn members() -> ForgedDelta {
    one_byte_members(200_000, 0)
}

fn viewed_members() -> ForgedDelta {
    one_byte_members(20_000, 2)
}

fn runs() -> ForgedDelta {
    let layers = (0..16_u8).map(|layer| {
        let stream = name_of(&[layer]);
        let origins = vec![PayloadOrigin::Own; 4_000_000];
        let recipe = recipe(stream, vec![base()], payload_columns(&[1]), origins, Vec::new());
        ForgedLayer::stored(stream, recipe.to_bytes())
    });
    ForgedDelta { layers: layers.collect() }
}

fn compressions() -> ForgedDelta {
    let stream = name_of(b"x");
    let origins = vec![PayloadOrigin::Base(0)];
    let mut recipe = recipe(stream, vec![base()], payload_columns(&[1]), origins, Vec::new());
    recipe.nested.compressions = vec![vec![1]; 1_000_000];
    stored(stream, &recipe, &[])
}

fn repeated_source() -> ForgedDelta {
    let stream = name_of(b"x");
    let origins = vec![PayloadOrigin::Base(0)];
    let sources = vec![base(); 1000];
    stored(stream, &recipe(stream, sources, payload_columns(&[1]), origins, Vec::new()), &[])
}

fn large_member() -> ForgedDelta {
    const BYTES: u64 = 1 << 30;
    let mut streams = vec![Vec::new(); GROUP_STREAMS];
    streams[MEMBERS].push(0);
    streams[LITERAL_LENGTHS] = numbers(&[BYTES]);
    let group = Packer::new(3).pack(&streams);
    let members = vec![GroupMember { payload: 0, window: None, sources: Vec::new() }];
    let groups = vec![RecipeGroup { packed_bytes: group.len() as u64, members }];
    let target = unknown(1, BYTES);
    let headers = payload_columns(&[BYTES]);
    let origins = vec![PayloadOrigin::Rebuilt];
    stored(target, &recipe(target, vec![base()], headers, origins, groups), &group)
}

/// A layer of `count` zstd frames of one zero each, at level 19 and of unknown size.
fn frames(count: usize) -> ForgedDelta {
    let call = zstd::LibzstdCall::new(19);
    let header = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    let frame = zstd::FrameRecipe { header, plain_bytes: 1, cuts: Vec::new() };
    let of = |count| zstd::Recipe {
        model: zstd::EncoderModel::Libzstd(call),
        parts: vec![zstd::RecipePart::Frame(frame.clone()); count],
    };
    let one = of(1);
    let mut made = Vec::new();
    let mut remaker = zstd::Remaker::new(&one);
    remaker.write(&[0], &mut made).expect("a frame");
    remaker.finish(&mut made).expect("a frame");
    let blob = made.repeat(count);
    let stream = vec![0; count];
    let target = name_of(&stream);
    let recipe = recipe(target, Vec::new(), zero_columns(count as u64), Vec::new(), Vec::new());
    ForgedDelta::of(ForgedLayer {
        stream: target,
        blob: (blob_digest(&blob), blob.len() as u64),
        envelope: Envelope::Zstd(of(count).to_bytes()),
        body: ForgedBody::Recipe(recipe.to_bytes()),
    })
}

fn zstd_frames() -> ForgedDelta {
    frames(100_000)
}

fn few_zstd_frames() -> ForgedDelta {
    frames(40)
}

fn zstd_starts() -> ForgedDelta {
    let one = frames(1).layers.remove(0);
    let layers = (0..1000_u64).map(|layer| {
        let blob = (blob_digest(&layer.to_le_bytes()), one.blob.1);
        ForgedLayer { blob, ..one.clone() }
    });
    // Recipes of equal streams are one section each; the envelopes differ by their blobs only.
    ForgedDelta { layers: layers.collect() }
}

fn gzip_members() -> ForgedDelta {
    let member = |plain_bytes| deflate::RecipeMember {
        header: Vec::new(),
        model: deflate::EncoderModel::Golang { level: 9 },
        trailer: deflate::MemberTrailer::None,
        plain_bytes,
    };
    let mut members = vec![member(0); 700_000];
    members.push(member(1));
    let target = name_of(&[0]);
    let recipe = recipe(target, Vec::new(), zero_columns(1), Vec::new(), Vec::new());
    ForgedDelta::of(ForgedLayer {
        stream: target,
        blob: (blob_digest(b"not made"), 5_000_000),
        envelope: Envelope::Deflate(deflate::Recipe { members, tail: Vec::new() }.to_bytes()),
        body: ForgedBody::Recipe(recipe.to_bytes()),
    })
}

/// Facts of a header, as bits of an item.
const PATH: u64 = 1 << 2;
const EXTENSIONS: u64 = 1 << 4;
const FACTS_SHIFT: u32 = 3;
const ALONE: u64 = 0;
const BASED: u64 = 1;

fn texts() -> ForgedDelta {
    const COUNT: usize = 20_000;
    const TEXT_BYTES: usize = 1 << 20;
    // The first header has a new path, cut to the field's length; each other one keeps all of it.
    let item = PATH << FACTS_SHIFT | ALONE;
    let mut choices = vec![1, 3];
    choices.resize(2 + 2 * (COUNT - 1), 0);
    for pair in choices[2..].chunks_mut(2) {
        pair.copy_from_slice(&[2, 3]);
    }
    let columns = header_columns(&[
        (ITEMS, numbers(&vec![item; COUNT])),
        (FLAGS, vec![b'0'; COUNT]),
        (CHOICES, numbers(&choices)),
        (FRONTS, numbers(&[0])),
        (BACKS, numbers(&[0])),
        (MIDDLES, numbers(&[TEXT_BYTES as u64])),
        (TEXT, vec![0xc3; TEXT_BYTES]),
    ]);
    let target = unknown(2, 512 * COUNT as u64);
    stored(target, &recipe(target, Vec::new(), columns, Vec::new(), Vec::new()), &[])
}

/// Header columns of `count` entries, each against the base's first entry, whose header is long.
fn long_headers(count: usize, is_walk: bool) -> Vec<u8> {
    // Back to address 0 each time: the entry ends behind its extension.
    let end = i64::try_from(long_header_bytes() / 512).expect("a small number");
    let back = varint::zigzag(-end) << 1;
    let mut addresses = vec![0];
    addresses.resize(count, back);
    // The entry loses its extension, so that it makes no more than a block.
    let item = EXTENSIONS << FACTS_SHIFT | BASED;
    let mut columns = vec![
        (ADDRESSES, numbers(&addresses)),
        (ITEMS, numbers(&vec![item; count])),
        (EXTENSION_COUNTS, numbers(&vec![0; count])),
    ];
    if is_walk {
        columns.push((JUMPS, numbers(&[count as u64])));
    }
    header_columns(&columns)
}

/// Bytes of the base's first entry: a long name's header, its 200 kB, and the entry's own header.
fn long_header_bytes() -> u64 {
    512 + (200_001_u64).div_ceil(512) * 512 + 512
}

fn base_headers() -> ForgedDelta {
    let target = unknown(3, 512 * 20_000);
    let headers = long_headers(20_000, false);
    stored(target, &recipe(target, vec![base()], headers, Vec::new(), Vec::new()), &[])
}

fn walk() -> ForgedDelta {
    let target = unknown(4, 1 << 20);
    let headers = long_headers(40_000, true);
    stored(target, &recipe(target, vec![base()], headers, Vec::new(), Vec::new()), &[])
}

/// Address and length of the gzip file in the base.
fn gzip_file() -> (u64, u64) {
    let stream = base_stream();
    let start = stream.windows(3).position(|window| window == [0x1f, 0x8b, 8]);
    let bytes = imgdelta_testkit::gzip(&vec![0; 1 << 20]).len();
    (start.expect("the base has it") as u64, bytes as u64)
}

fn opened() -> ForgedDelta {
    let stream = name_of(&base_stream()[..1]);
    let origins = vec![PayloadOrigin::Base(0)];
    let mut recipe = recipe(stream, vec![base()], payload_columns(&[1]), origins, Vec::new());
    let (address, bytes) = gzip_file();
    let opened = ArchiveSource { address, bytes, kind: ArchiveKind::Gzip, plain_bytes: 1 << 20 };
    recipe.nested.opened = vec![opened; 5000];
    stored(stream, &recipe, &[])
}

fn zlib_member(plain_bytes: u64) -> Vec<u8> {
    let model = deflate::EncoderModel::Zlib {
        level: 6,
        mem_level: 8,
        window_bits: 15,
        strategy: deflate::ZlibStrategy::ALL[0],
    };
    let header = Vec::new();
    let trailer = deflate::MemberTrailer::Gzip;
    let members = vec![deflate::RecipeMember { header, model, trailer, plain_bytes }];
    deflate::Recipe { members, tail: Vec::new() }.to_bytes()
}

fn itself() -> ForgedDelta {
    let target = unknown(5, 1000);
    let origins = vec![PayloadOrigin::Closed, PayloadOrigin::Repeat(1)];
    let mut recipe = recipe(target, vec![base()], payload_columns(&[1000]), origins, Vec::new());
    recipe.nested.closed = vec![ArchiveTarget { kind: ArchiveKind::Gzip, inner: 1 }];
    recipe.nested.coders = vec![1];
    recipe.nested.compressions = vec![zlib_member(1000)];
    stored(target, &recipe, &[])
}

/// An archive in the target with one payload of this length and origin for each `origins`.
fn archive_of(origins: &[PayloadOrigin], inner_bytes: u64) -> ForgedDelta {
    let target = unknown(6, 1_000_000);
    let all = [&[PayloadOrigin::Closed], origins].concat();
    let mut recipe = recipe(target, vec![base()], payload_columns(&[1_000_000]), all, Vec::new());
    let inner = u32::try_from(origins.len()).expect("few");
    recipe.nested.closed = vec![ArchiveTarget { kind: ArchiveKind::Tar, inner }];
    recipe.nested.coders = vec![0; origins.len()];
    let stated = origins.iter().filter(|origin| origin.has_stored_length()).count();
    recipe.nested.inner_bytes = vec![inner_bytes; stated];
    stored(target, &recipe, &[])
}

fn inner_payloads() -> ForgedDelta {
    archive_of(&[PayloadOrigin::Rebuilt], 64 << 30)
}

fn plain_inner() -> ForgedDelta {
    let mut origins = vec![PayloadOrigin::Base(0)];
    origins.resize(1000, PayloadOrigin::Repeat(1));
    archive_of(&origins, 1 << 20)
}

/// Parts that are no ELF file and no structure, with a compression of one section.
fn elf_parts() -> ForgedDelta {
    let target = unknown(11, 1000);
    let origins = vec![PayloadOrigin::Closed, PayloadOrigin::Base(0), PayloadOrigin::Base(1)];
    let mut recipe = recipe(target, vec![base()], payload_columns(&[1000]), origins, Vec::new());
    recipe.nested.closed = vec![ArchiveTarget { kind: ArchiveKind::Elf, inner: 2 }];
    recipe.nested.inner_bytes = vec![4096, 4096];
    recipe.nested.coders = vec![1, 0];
    recipe.nested.compressions = vec![zlib_member(0)];
    stored(target, &recipe, &[])
}

/// Zstd files of one byte of the base each, by this level and without a length in the header.
fn zstd_files_of(count: usize, level: i32) -> ForgedDelta {
    const FILE_BYTES: u64 = 10;
    let target = unknown(12, FILE_BYTES * count as u64);
    let mut origins = vec![PayloadOrigin::Closed; count];
    origins.resize(2 * count, PayloadOrigin::Base(0));
    let headers = payload_columns(&vec![FILE_BYTES; count]);
    let mut recipe = recipe(target, vec![base()], headers, origins, Vec::new());
    recipe.nested.closed = vec![ArchiveTarget { kind: ArchiveKind::Zstd, inner: 1 }; count];
    recipe.nested.inner_bytes = vec![1; count];
    recipe.nested.coders = vec![1; count];
    let call = zstd::LibzstdCall::new(level);
    let compression = zstd::FileRecipe::OneFrame { call, has_checksum: false, has_length: false };
    recipe.nested.compressions = vec![[&[0xb5], &compression.to_bytes()[..]].concat()];
    stored(target, &recipe, &[])
}

fn zstd_files() -> ForgedDelta {
    zstd_files_of(5000, 19)
}

fn large_zstd_encoder() -> ForgedDelta {
    zstd_files_of(1, 22)
}

fn zeros() -> ForgedDelta {
    let target = unknown(7, 1 << 40);
    let headers = zero_columns(1 << 40);
    stored(target, &recipe(target, Vec::new(), headers, Vec::new(), Vec::new()), &[])
}

fn zero_tables() -> ForgedDelta {
    let target = unknown(8, 1 << 30);
    let headers = header_columns(&[(ITEMS, vec![0; 200 << 20])]);
    stored(target, &recipe(target, Vec::new(), headers, Vec::new(), Vec::new()), &[])
}

fn mixed_table() -> ForgedDelta {
    table(words(40_000), Packer::new(19).mixing())
}

/// Numbers that models predict better than repeats do.
fn words(count: usize) -> Vec<u8> {
    noise(7, count).into_iter().flat_map(|byte| [byte & 15, 0, byte >> 6, 0]).collect()
}

fn lz_table() -> ForgedDelta {
    table(in_step(100_000), Packer::new(18).with_lz())
}

/// Bytes that repeat with a change in every tenth one: LZ codes take fewer bytes than zstd.
fn in_step(len: usize) -> Vec<u8> {
    let (row, changes) = (noise(9, 200), noise(8, len));
    let bytes = row.iter().cycle().zip(&changes);
    bytes.map(|(byte, change)| byte.wrapping_add(u8::from(*change < 26))).collect()
}

/// A layer whose header columns are packed in a way that tables do not admit.
fn table(text: Vec<u8>, mut packer: Packer) -> ForgedDelta {
    let target = unknown(9, 1 << 20);
    let mut streams = vec![Vec::new(); 18];
    streams[TEXT] = text;
    let headers = packer.pack(&streams);
    stored(target, &recipe(target, Vec::new(), headers, Vec::new(), Vec::new()), &[])
}

fn long_streams() -> ForgedDelta {
    let mut streams = vec![Vec::new(); GROUP_STREAMS];
    streams[MEMBERS].push(0);
    streams[LITERAL_LENGTHS].push(1);
    streams[LITERALS] = vec![0; 40 << 20];
    streams[PATCH_GAPS].push(0);
    let members = vec![GroupMember { payload: 0, window: None, sources: Vec::new() }];
    rebuilt(&[0], members, &streams)
}

fn carried() -> ForgedDelta {
    let stream = vec![0; 64 << 20];
    let blob = ::zstd::encode_all(stream.as_slice(), 3).expect("memory");
    let name = StreamName { bytes: 1000, ..name_of(&stream) };
    ForgedDelta::of(ForgedLayer {
        stream: name,
        blob: (blob_digest(&blob), blob.len() as u64),
        envelope: Envelope::Unmade,
        body: ForgedBody::Carried(blob),
    })
}

fn empty_groups() -> ForgedDelta {
    let stream = b"x".to_vec();
    let target = name_of(&stream);
    let empty = Packer::new(3).pack(&vec![Vec::<u8>::new(); GROUP_STREAMS]);
    let group = RecipeGroup { packed_bytes: empty.len() as u64, members: Vec::new() };
    let groups = vec![group; 1_000_000];
    let origins = vec![PayloadOrigin::Base(0)];
    let recipe = recipe(target, vec![base()], payload_columns(&[1]), origins, groups);
    stored(target, &recipe, &empty.repeat(1_000_000))
}

fn base_parts() -> ForgedDelta {
    let slice = |address| BaseSource::Slice { address, bytes: 1 };
    let sources: Vec<BaseSource> = (0..1_000_000_u64).map(|n| slice(n / 2)).collect();
    let members: Vec<GroupMember> = (0..4)
        .map(|offset| GroupMember {
            payload: 0,
            window: Some(PayloadWindow { offset, bytes: 1 }),
            sources: sources[..900_000].to_vec(),
        })
        .collect();
    let mut streams = vec![Vec::new(); GROUP_STREAMS];
    for _ in 0..4 {
        streams[MEMBERS].push(0);
        streams[LITERAL_LENGTHS].push(1);
        streams[LITERALS].push(b'A');
        streams[PATCH_GAPS].push(0);
    }
    rebuilt(b"AAAA", members, &streams)
}

fn mixed_groups() -> ForgedDelta {
    groups(2000, words(3000), Packer::new(19).mixing())
}

fn lz_groups() -> ForgedDelta {
    groups(1000, in_step(50_000), Packer::new(18).with_lz())
}

/// So many groups, each of one member of these literals.
fn groups(count: u32, literals: Vec<u8>, mut packer: Packer) -> ForgedDelta {
    let bytes = literals.len() as u64;
    let mut streams = vec![Vec::new(); GROUP_STREAMS];
    streams[MEMBERS].push(0);
    streams[LITERAL_LENGTHS] = numbers(&[bytes]);
    streams[LITERALS] = literals;
    streams[PATCH_GAPS].push(0);
    let group = packer.pack(&streams);
    let member = |payload| GroupMember { payload, window: None, sources: Vec::new() };
    let groups: Vec<RecipeGroup> = (0..count)
        .map(|payload| RecipeGroup {
            packed_bytes: group.len() as u64,
            members: vec![member(payload)],
        })
        .collect();
    // The stream is that of one payload: all others are inner ones of an archive that is not read.
    let target = unknown(10, bytes);
    let origins = vec![PayloadOrigin::Rebuilt; groups.len()];
    let packed = group.repeat(groups.len());
    let recipe = recipe(target, vec![base()], payload_columns(&[bytes]), origins, groups);
    stored(target, &recipe, &packed)
}

/// A recipe of one payload, made by members of one literal byte for each byte, with these sources.
fn literal_recipe(
    target: StreamName,
    members: &[(u64, Vec<BaseSource>)],
    group_members: usize,
) -> (Recipe, Vec<u8>) {
    let (mut groups, mut bytes) = (Vec::new(), Vec::new());
    for chunk in members.chunks(group_members) {
        let mut streams = vec![Vec::new(); GROUP_STREAMS];
        for _ in chunk {
            streams[MEMBERS].push(0);
            streams[LITERAL_LENGTHS].push(1);
            streams[LITERALS].push(b'A');
            streams[PATCH_GAPS].push(0);
        }
        let packed = Packer::new(3).pack(&streams);
        let members = chunk.iter().map(|(offset, sources)| GroupMember {
            payload: 0,
            window: Some(PayloadWindow { offset: *offset, bytes: 1 }),
            sources: sources.clone(),
        });
        let members = members.collect();
        groups.push(RecipeGroup { packed_bytes: packed.len() as u64, members });
        bytes.extend(packed);
    }
    let headers = payload_columns(&[target.bytes]);
    let origins = vec![PayloadOrigin::Rebuilt];
    (recipe(target, vec![base()], headers, origins, groups), bytes)
}

/// A range of the rebuilt bytes of a recipe from the base.
fn rebuilt_range(offset: u64, bytes: u64) -> Vec<BaseSource> {
    vec![BaseSource::Slice { address: base().bytes + offset, bytes }]
}

fn circle() -> ForgedDelta {
    let target = name_of(b"AA");
    let members = [(0, rebuilt_range(1, 1)), (1, rebuilt_range(0, 1))];
    let (recipe, groups) = literal_recipe(target, &members, 1);
    stored(target, &recipe, &groups)
}

fn from_itself() -> ForgedDelta {
    let target = name_of(b"AA");
    let members = [(0, rebuilt_range(1, 1)), (1, Vec::new())];
    let (recipe, groups) = literal_recipe(target, &members, 2);
    stored(target, &recipe, &groups)
}

/// Four megabytes, which all other members read.
fn much_reread() -> ForgedDelta {
    const BYTES: u64 = 4 << 20;
    let target = unknown(12, BYTES + 300);
    let mut members = vec![(0, Vec::new())];
    members.extend((0..300).map(|at| (BYTES + at, rebuilt_range(0, BYTES))));
    let (mut recipe, groups) = literal_recipe(target, &members, members.len());
    recipe.groups[0].members[0].window = Some(PayloadWindow { offset: 0, bytes: BYTES });
    stored(target, &recipe, &groups)
}

fn from_later() -> ForgedDelta {
    let streams: [&[u8]; 2] = [b"A", b"AA"];
    let names = streams.map(name_of);
    let layers = [0, 1].map(|layer| {
        let (target, source) = (names[layer], names[1 - layer]);
        let headers = payload_columns(&[target.bytes]);
        let origins = vec![PayloadOrigin::Base(0)];
        let mut recipe = recipe(target, vec![source], headers, origins, Vec::new());
        if layer == 1 {
            recipe.sources.push(base());
            recipe.origins = vec![PayloadOrigin::Base(1)];
        }
        ForgedLayer::stored(target, recipe.to_bytes())
    });
    ForgedDelta { layers: layers.into() }
}

fn all_read_by_all() -> ForgedDelta {
    let count = 20_000;
    let stream = vec![b'A'; usize::try_from(count).expect("few")];
    let target = name_of(&stream);
    let members: Vec<_> = (0..count).map(|at| (at, rebuilt_range(0, at))).collect();
    let (recipe, groups) = literal_recipe(target, &members, 1000);
    stored(target, &recipe, &groups)
}

fn many_digests() -> ForgedDelta {
    const COUNT: u32 = 100_000;
    let list_bytes = 32 * u64::from(COUNT);
    let target = unknown(13, list_bytes + 1_000_000);
    let members = [(0, Vec::new())];
    let (mut recipe, groups) = literal_recipe(target, &members, 1);
    recipe.groups[0].members[0].window = None;
    recipe.headers = payload_columns(&[list_bytes, 1_000_000]);
    recipe.origins = vec![PayloadOrigin::Rebuilt, PayloadOrigin::Base(0)];
    recipe.digests = (0..COUNT)
        .map(|at| DigestPlace {
            holder: 0,
            offset: 32 * u64::from(at),
            spelling: DigestSpelling::Md5Hex,
            content: 1,
        })
        .collect();
    stored(target, &recipe, &groups)
}

fn kept_layers() -> ForgedDelta {
    let stream = base();
    let member = deflate::RecipeMember {
        header: Vec::new(),
        model: deflate::EncoderModel::Zlib {
            level: 9,
            mem_level: 9,
            window_bits: 15,
            strategy: deflate::ZlibStrategy::ALL[0],
        },
        trailer: deflate::MemberTrailer::Gzip,
        plain_bytes: stream.bytes,
    };
    let envelope = deflate::Recipe { members: vec![member; 50], tail: Vec::new() }.to_bytes();
    let layers = (0..100_u8).map(|layer| ForgedLayer {
        stream,
        blob: (blob_digest(&[layer]), 100),
        envelope: Envelope::Deflate(envelope.clone()),
        body: ForgedBody::Kept,
    });
    ForgedDelta { layers: layers.collect() }
}
