//! Scans of hand-made streams, of the same streams in other cuts, and of arbitrary bytes.

use imgdelta_core::{Limits, Result};
use imgdelta_image::tarscan::{
    EntryKind, ExtendedAttribute, MemberVisitor, ScanSummary, TarMember, TarScanner,
};
use imgdelta_testkit::tar_stream::{HeaderBlock, Tar, every_variant};
use proptest::prelude::*;

#[derive(Clone, Debug, Default, PartialEq)]
struct RecordedMembers {
    members: Vec<(TarMember, Vec<u8>)>,
    open: Option<(TarMember, Vec<u8>)>,
}

impl MemberVisitor for RecordedMembers {
    fn begin(&mut self, member: TarMember) {
        assert!(self.open.is_none());
        self.open = Some((member, Vec::new()));
    }

    fn payload(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty());
        self.open.as_mut().unwrap().1.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        self.members.extend(self.open.take());
    }
}

fn scan_cut(
    stream: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> Result<(RecordedMembers, ScanSummary)> {
    let mut seen = RecordedMembers::default();
    let mut scanner = TarScanner::new(&Limits::default());
    let mut rest = stream;
    for cut in cuts {
        let (front, back) = rest.split_at(cut.min(rest.len()));
        scanner.feed(front, &mut seen)?;
        rest = back;
    }
    scanner.feed(rest, &mut seen)?;
    let scan = scanner.finish(&mut seen);
    seen.open = None;
    Ok((seen, scan))
}

fn scan(stream: &[u8]) -> (RecordedMembers, ScanSummary) {
    let (seen, scan) = scan_cut(stream, []).unwrap();
    check_ranges(stream, &seen, &scan);
    (seen, scan)
}

/// Asserts that ranges are in order, and that each payload is the stream's bytes in its range.
fn check_ranges(stream: &[u8], seen: &RecordedMembers, scan: &ScanSummary) {
    assert_eq!(scan.stream_bytes, stream.len() as u64);
    let mut at = 0;
    for (member, payload) in &seen.members {
        assert!(at <= member.start && member.start < member.payload.start);
        at = member.payload.end;
        let range = usize::try_from(member.payload.start).unwrap()..usize::try_from(at).unwrap();
        assert_eq!(&stream[range], payload);
    }
    assert!(at <= scan.tail_start && scan.tail_start <= scan.stream_bytes);
}

fn names(seen: &RecordedMembers) -> Vec<String> {
    seen.members
        .iter()
        .map(|(member, _)| imgdelta_core::path::escaped(&member.name).into_owned())
        .collect()
}

#[test]
fn every_dialect_is_understood() {
    let stream = every_variant();
    let (seen, scan) = scan(&stream);
    assert_eq!(scan.damage, None);
    let member = |name: &[u8]| {
        let found = seen.members.iter().find(|(member, _)| member.name == name);
        found.unwrap_or_else(|| panic!("{} in {:?}", name.escape_ascii(), names(&seen)))
    };
    assert_eq!(seen.members.len(), 28, "{:?}", names(&seen));
    assert_eq!(scan.stream_bytes - scan.tail_start, 19 * 512);

    let (passwd, payload) = member(b"./etc/passwd");
    assert_eq!((passwd.mode, passwd.uid, passwd.gid), (0o644, 1000, 100));
    assert_eq!((&passwd.user[..], &passwd.group[..]), (&b"user"[..], &b"group"[..]));
    assert_eq!((passwd.mtime, &payload[..]), ((0o14_000_000_000, 0), &b"root:x:0:0"[..]));
    assert_eq!(member(b"dev/null").0.device, Some((1, 3)));
    assert_eq!(member(b"contiguous").0.kind, EntryKind::File);
    assert_eq!(member(b"v7").0.user, b"");
    assert_eq!(member(b"v7dir/").0.kind, EntryKind::Directory);
    assert_eq!(member(b"dir-by-slash/").0.kind, EntryKind::Directory);
    assert_eq!(member(b"a/prefix/name").0.kind, EntryKind::File);
    assert_eq!(member(b"unknown").0.kind, EntryKind::Other(b'Z'));
    assert_eq!(member(b"unknown").1, b"what?");
    let long = "long/".repeat(60);
    assert_eq!(member(format!("{long}file").as_bytes()).1, [7; 600]);
    assert_eq!(member(format!("{long}link").as_bytes()).0.link, long.as_bytes());
    let (pax, _) = member("grüße".as_bytes());
    assert_eq!((pax.mtime, &pax.user[..]), ((1, 500_000_000), &b"everyone"[..]));
    assert_eq!(
        pax.attributes,
        [ExtendedAttribute { name: (*b"user.a").into(), value: (*b"1").into() }]
    );
    assert_eq!(member(b"solaris").1, [9; 700]);
    assert_eq!(member(b"base256").1, b"fives");
    assert_eq!(member(b"link-with-body").1, b"body");
    assert_eq!(member(b"dir-with-size").0.payload.start, member(b"dir-with-size").0.payload.end);
    assert_eq!(member(b"etc/passwd").1, b"again");
    assert!(member(b"after").0.is_after_end && !member(b"etc/passwd").0.is_after_end);
}

#[test]
fn sparse_files_have_their_maps() {
    let (seen, _) = scan(&every_variant());
    let sparse = |name: &str| {
        let (member, payload) =
            seen.members.iter().find(|(member, _)| member.name == name.as_bytes()).unwrap();
        (member.size_bytes, member.sparse.clone().unwrap().segments, payload.len())
    };
    assert_eq!(
        sparse("old-sparse"),
        (0o1_000_000, vec![(0, 512), (0o10_000, 256), (0o100_000, 256)], 1024)
    );
    assert_eq!(sparse("sparse-0.0"), (9000, vec![(100, 5)], 5));
    assert_eq!(sparse("sparse-0.1"), (9000, vec![(100, 5)], 5));
    assert_eq!(sparse("sparse-1.0"), (4100, vec![(0, 512), (4096, 4)], 1028));
}

#[test]
fn ends_of_every_kind_are_not_damage() {
    let one = Tar::new().file("a", b"abc");
    for (name, stream, tail) in [
        ("no end blocks", one.0.clone(), 0),
        ("no padding", one.0[..515].to_vec(), 0),
        ("some padding", one.0[..600].to_vec(), 0),
        ("one zero block", one.clone().zeros(1).0, 512),
        ("two", one.clone().zeros(2).0, 1024),
        ("junk behind the end", one.clone().zeros(2).raw(b"junk").pad(9).0, 1536),
        ("a dangling header", one.clone().long(b'L', b"name").0, 1024),
        ("half a zero block behind the end", one.zeros(2).raw(&[0; 100]).0, 1124),
        ("nothing at all", Vec::new(), 0),
        ("only zeros", vec![0; 10240], 10240),
    ] {
        let (_, scan) = scan(&stream);
        assert_eq!(scan.damage, None, "{name}");
        assert_eq!(scan.stream_bytes - scan.tail_start, tail, "{name}");
    }
}

#[test]
fn bytes_that_are_not_tar_are_tail_with_their_offset() {
    let one = || Tar::new().file("a", b"abc");
    let short_map = [&b"3\n0\n5\n"[..], &[0; 506]].concat();
    let sparse = |pairs: &[(&[u8], &[u8])], size, body: &[u8]| {
        one().pax(b'x', pairs).add(&HeaderBlock::new(b'0', b"s", size), body)
    };
    let v1: [(&[u8], &[u8]); 2] = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")];
    for (stream, offset, what) in [
        (one().raw(b"junk").pad(1), 1024, "checksum"),
        (one().raw(b"junk"), 1024, "inside a header"),
        (one().raw(&HeaderBlock::new(b'0', b"b", 10).0).raw(b"123"), 1024, "inside this member"),
        (one().raw(&HeaderBlock::new(b'0', b"b", 0o77_777_777_777).0), 1024, "inside this member"),
        (
            one().add(&HeaderBlock::gnu(b'0', b"b", 0).with(124, &[0xff; 12]), b""),
            1024,
            "not a number",
        ),
        (
            one().add(&HeaderBlock::new(b'0', b"b", 0).with(124, b"0000000008\0"), b""),
            1024,
            "not a number",
        ),
        (
            one().pax(b'x', &[(b"size", b"9223372036854775808")]).file("b", b""),
            1024,
            "larger than any stream",
        ),
        (one().pax(b'x', &[(b"size", b"9223372036854775807")]).file("b", b""), 1024, "inside this"),
        (one().add(&HeaderBlock::new(b'x', b"b", 3), b"abc").file("c", b""), 1024, "PAX record"),
        (one().raw(&HeaderBlock::new(b'x', b"b", 3).0), 1024, "inside an extension"),
        (sparse(&v1, 512, b""), 1024, "sparse file's map"),
        (sparse(&v1, 512, &short_map).file("b", b""), 1024, "sparse file's map"),
        (
            sparse(&[(b"GNU.sparse.map", b"5,5,1,1")], 6, b"123456"),
            1024,
            "past the end of the file",
        ),
        (
            one().add(&HeaderBlock::gnu(b'S', b"s", 0).with(482, b"\x01"), b""),
            1024,
            "sparse file's map",
        ),
    ] {
        let (seen, scan) = scan(&stream.0);
        let damage = scan.damage.expect(what);
        assert_eq!((damage.offset, scan.tail_start), (offset, 1024), "{what}");
        assert!(damage.what.contains(what), "{what}: {damage}");
        assert_eq!(names(&seen), ["a"], "{what}");
    }
}

#[test]
fn limits_come_before_memory() {
    let scan = |stream: &[u8], limits: &Limits| {
        TarScanner::new(limits)
            .feed(stream, &mut RecordedMembers::default())
            .unwrap_err()
            .to_string()
    };
    let limits = Limits::default();
    for flag in *b"LKxXg" {
        let huge = Tar::new().raw(&HeaderBlock::new(flag, b"x", 1 << 30).0);
        assert!(scan(&huge.0, &limits).contains("limit of 1048576"));
    }
    let many = Tar::new().dir("a").dir("b").dir("c").0;
    let mut two = limits;
    two.layer_entries = 2;
    assert!(scan(&many, &two).contains("number of entries is 3, more than the limit of 2"));
}

#[test]
fn a_scan_in_single_bytes_is_the_same() {
    let stream = every_variant();
    assert_eq!(scan_cut(&stream, stream.iter().map(|_| 1)).unwrap(), scan(&stream));
}

/// Returns concatenated pieces: whole members, halves, junk, so that proptest reaches every state.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let stream = every_variant();
    let blocks = stream.len() / BLOCK_BYTES;
    let piece = prop_oneof![
        4 => (0..blocks, 1usize..8).prop_map(move |(at, count)| {
            let from = at * BLOCK_BYTES;
            stream[from..(from + count * BLOCK_BYTES).min(stream.len())].to_vec()
        }),
        1 => prop::collection::vec(any::<u8>(), 0..600),
        1 => Just(vec![0; 512]),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_in_any_cuts_have_one_scan(
        stream in pieces(),
        cuts in prop::collection::vec(0usize..1500, 0..12),
        flip in any::<(prop::sample::Index, u8)>(),
    ) {
        let mut stream = stream;
        if !stream.is_empty() {
            let at = flip.0.index(stream.len());
            stream[at] ^= flip.1;
        }
        match (scan_cut(&stream, []), scan_cut(&stream, cuts)) {
            (Ok(whole), Ok(cut)) => {
                check_ranges(&stream, &whole.0, &whole.1);
                prop_assert_eq!(whole, cut);
            }
            (whole, cut) => prop_assert!(whole.is_err() && cut.is_err()),
        }
    }

    #[test]
    fn archives_of_the_tar_crate_are_read(
        files in prop::collection::vec(("[a-z/]{1,150}", prop::collection::vec(any::<u8>(), 0..1300)), 0..6),
    ) {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, body) in &files {
            let mut header = tar::Header::new_gnu();
            header.set_size(body.len() as u64);
            header.set_mode(0o755);
            builder.append_data(&mut header, format!("f{name}x"), &body[..]).unwrap();
        }
        let stream = builder.into_inner().unwrap();
        let (seen, scan) = scan(&stream);
        prop_assert_eq!(scan.damage, None);
        let found: Vec<_> = seen.members.into_iter().map(|(member, body)| (imgdelta_core::path::LayerPath::parse(&member.name), body)).collect();
        let expected: Vec<_> = files.into_iter().map(|(name, body)| (imgdelta_core::path::LayerPath::parse(format!("f{name}x").as_bytes()), body)).collect();
        prop_assert_eq!(found, expected);
    }
}

/// Length of a block of a tar stream.
const BLOCK_BYTES: usize = 512;
