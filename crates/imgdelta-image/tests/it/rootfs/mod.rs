//! Tables of layers with the trees that they make, and the notes.

mod plain;

use imgdelta_core::{
    Algorithm, DiffId, Error, Limits,
    path::LayerPath,
    progress::{Progress, Silent},
};
use imgdelta_image::{
    index::{IndexBuilder, LayerIndex},
    rootfs::{Rootfs, RootfsNode},
};
use imgdelta_testkit::{
    Crowd,
    tar_stream::{HeaderBlock, Tar},
};
use proptest::prelude::*;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

fn index(stream: &[u8]) -> LayerIndex {
    let mut builder = IndexBuilder::new(&Limits::default(), None);
    builder.feed(stream).unwrap();
    builder.finish(DiffId::new(Algorithm::Sha256, &[0; 32]).unwrap()).unwrap()
}

fn indexes(layers: &[Tar]) -> Vec<Arc<LayerIndex>> {
    layers.iter().map(|layer| Arc::new(index(&layer.0))).collect()
}

fn merge(layers: &[Tar]) -> Rootfs {
    Rootfs::merge(&indexes(layers), &Silent).unwrap()
}

/// Returns `path=layer.entry` for each node, `-` for an implied directory, `>` before the content
/// of a hard link, `#` before a link group.
fn shown(rootfs: &Rootfs) -> String {
    let one = |node: RootfsNode<'_>| {
        let entry = node.entry.map_or("-".to_owned(), |entry| format!("{}.{entry}", node.layer));
        let own = node.entry.map(|entry| (node.layer, entry));
        let content = match node.content {
            Some((layer, entry)) if node.content != own => format!(">{layer}.{entry}"),
            _ => String::new(),
        };
        let group = node.link_group.map(|group| format!("#{group}")).unwrap_or_default();
        format!("{}={entry}{content}{group}", imgdelta_core::path::escaped(node.path.as_bytes()))
    };
    rootfs.nodes().map(one).collect::<Vec<_>>().join(" ")
}

fn tar() -> Tar {
    Tar::new()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn layers_merge_to_the_tree_that_a_runtime_makes() {
    let lower = || tar().dir("d").file("d/a", b"a").file("d/b", b"b").dir("d/s").file("d/s/x", b"");
    let table: &[(&str, &[Tar], &str)] = &[
        ("order", &[lower()], "d=0.0 d/a=0.1 d/b=0.2 d/s=0.3 d/s/x=0.4"),
        ("replace", &[lower(), tar().file("d/a", b"2")], "d=0.0 d/a=1.0 d/b=0.2 d/s=0.3 d/s/x=0.4"),
        (
            "directory metadata",
            &[lower(), tar().dir("d/s/")],
            "d=0.0 d/a=0.1 d/b=0.2 d/s=1.0 d/s/x=0.4",
        ),
        ("whiteout", &[lower(), tar().file("d/.wh.a", b"")], "d=0.0 d/b=0.2 d/s=0.3 d/s/x=0.4"),
        ("whiteout of a tree", &[lower(), tar().file("d/.wh.s", b"")], "d=0.0 d/a=0.1 d/b=0.2"),
        (
            "whiteout of nothing",
            &[lower(), tar().file("d/.wh.zz", b"")],
            "d=0.0 d/a=0.1 d/b=0.2 d/s=0.3 d/s/x=0.4",
        ),
        (
            "whiteout, then file",
            &[lower(), tar().file(".wh.d", b"").file("d/n", b"")],
            "d=- d/n=1.1",
        ),
        ("file, then whiteout", &[tar().file("n", b"").file(".wh.n", b"")], ""),
        (
            "siblings stay",
            &[
                tar().dir("d").file("d/x", b"").file("d-x", b"").file("d.x", b"").file("d0", b""),
                tar().file(".wh.d", b""),
            ],
            "d-x=0.2 d.x=0.3 d0=0.4",
        ),
        (
            "opaque",
            &[lower(), tar().dir("d").file("d/.wh..wh..opq", b"").file("d/n", b"")],
            "d=1.0 d/n=1.2",
        ),
        (
            "opaque comes late",
            &[lower(), tar().file("d/n", b"").file("d/s/n", b"").file("d/.wh..wh..opq", b"")],
            "d=0.0 d/n=1.0 d/s=- d/s/n=1.1",
        ),
        ("opaque root", &[lower(), tar().file("n", b"").file(".wh..wh..opq", b"")], "n=1.0"),
        (
            "aufs names",
            &[lower(), tar().file(".wh..wh.plnk", b"").file(".wh..wh.aufs", b"")],
            "d=0.0 d/a=0.1 d/b=0.2 d/s=0.3 d/s/x=0.4",
        ),
        ("file over directory", &[lower(), tar().file("d", b"")], "d=1.0"),
        (
            "link over directory",
            &[lower(), tar().symlink("d", "e").file("d/x", b"")],
            "d=1.0 e=- e/x=1.1",
        ),
        (
            "directory over file",
            &[lower(), tar().dir("d/a").file("d/a/y", b"")],
            "d=0.0 d/a=1.0 d/a/y=1.1 d/b=0.2 d/s=0.3 d/s/x=0.4",
        ),
        (
            "symlinked parents",
            &[tar().dir("usr").dir("usr/lib").symlink("lib", "usr/lib"), tar().file("lib/x", b"")],
            "lib=0.2 usr=0.0 usr/lib=0.1 usr/lib/x=1.0",
        ),
        (
            "whiteout through a link",
            &[tar().file("usr/a", b"").symlink("l", "/usr"), tar().file("l/.wh.a", b"")],
            "l=0.1 usr=-",
        ),
        (
            "links out of the tree",
            &[tar().symlink("l", "../../../etc").file("l/x", b"")],
            "etc=- etc/x=0.1 l=0.0",
        ),
        ("a loop", &[tar().symlink("a", "b").symlink("b", "a").file("a/x", b"")], "a=0.0 b=0.1"),
        (
            "directory over link",
            &[tar().dir("e").symlink("l", "e"), tar().dir("l").file("l/x", b"")],
            "e=0.0 l=1.0 l/x=1.1",
        ),
        (
            "hard links",
            &[tar().file("a", b"1").hard_link("b", "a").hard_link("c", "./b")],
            "a=0.0#0 b=0.1>0.0#0 c=0.2>0.0#0",
        ),
        (
            "hard link below",
            &[tar().file("a", b"1"), tar().hard_link("b", "/a")],
            "a=0.0#0 b=1.0>0.0#0",
        ),
        (
            "a link outlives its name",
            &[tar().file("a", b"1").hard_link("b", "a"), tar().file("a", b"2")],
            "a=1.0 b=0.1>0.0",
        ),
        (
            "hard link to a symlink",
            &[tar().symlink("s", "t").hard_link("h", "s").file("h/x", b"")],
            "h=0.1>0.0#0 s=0.0#0 t=- t/x=0.2",
        ),
        ("a broken link", &[tar().hard_link("b", "gone")], "b=0.0"),
        ("a link to itself", &[tar().file("a", b"").hard_link("a", "a")], "a=0.1"),
        ("twice", &[tar().file("a", b"1").file("a", b"2")], "a=0.1"),
        ("after the end", &[tar().file("a", b"1").zeros(2).file("b", b"")], "a=0.0"),
        ("spellings", &[tar().file("/a/../../b", b"").file("./c//d", b"")], "b=0.0 c=- c/d=0.1"),
        ("the root", &[tar().dir("./").file("a", b"")], "=0.0 a=0.1"),
        ("a file as parent", &[tar().file("a", b"").file("a/b", b"")], "a=0.0"),
        ("unknown types", &[tar().add(&HeaderBlock::new(b'Z', b"z", 0), b"")], ""),
    ];
    for (name, layers, expected) in table {
        assert_eq!(shown(&merge(layers)), *expected, "{name}");
    }
}

#[test]
fn entries_that_a_runtime_refuses_are_noted() {
    let notes = |layer: Tar| {
        let rootfs = merge(&[layer]);
        rootfs.notes().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(notes(tar().hard_link("b", "gone")), "layer 0, /b: a hard link to a missing file");
    assert!(notes(tar().dir("d").hard_link("b", "d")).contains("to a directory"));
    assert!(notes(tar().symlink("a", "a").file("a/x", b"")).contains("too many symbolic links"));
    assert!(notes(tar().file("a", b"").file("a/b", b"")).contains("parent is not a directory"));
    assert!(notes(tar().file(".wh.", b"")).contains("without a name"));
    assert!(notes(tar().file(".wh...", b"")).contains("without a name"));
    assert!(notes(tar().file("./", b"").file("a", b"")).is_empty());
    assert!(notes(tar().long(b'L', &b"a/".repeat(3000)).dir("x")).contains("too long"));
}

#[test]
fn nodes_are_found_by_path() {
    let rootfs = merge(&[tar().file("b/c", b"").file("a", b"").file("b.c", b"")]);
    let paths: Vec<_> = rootfs.nodes().map(|node| node.path).collect();
    assert!(paths.is_sorted());
    for path in paths {
        assert_eq!(rootfs.find(path).unwrap().path, path);
    }
    assert_eq!(rootfs.find(&LayerPath::parse(b"b/d")), None);
}

#[test]
fn paths_behind_links_take_bounded_memory() {
    let deep = vec!["a"; 1900].join("/");
    let mut layer = tar().long(b'K', deep.as_bytes()).symlink("l", "");
    for n in 0..40_000 {
        layer = layer.file(&format!("l/{n}"), b"");
    }
    let rootfs = merge(&[layer]);
    let bytes: usize = rootfs.nodes().map(|node| node.path.as_bytes().len()).sum();
    assert!(bytes < 80 << 20, "{bytes} bytes of paths");
    assert!(rootfs.notes()[0].what.contains("too many implied directories"));
}

/// Cancels after some questions, and counts the later ones.
struct CancelAfter {
    left: AtomicU32,
    later: AtomicU32,
}

impl Progress for CancelAfter {
    fn is_cancelled(&self) -> bool {
        let is_over = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err();
        is_over && self.later.fetch_add(1, Relaxed) < u32::MAX
    }
}

#[test]
fn a_merge_ends_at_the_first_question_that_is_answered_with_stop() {
    for crowd in Crowd::ALL {
        let layers = crowd.layers(3000).map(|stream| Arc::new(index(&stream)));
        // There is a question for every 256 entries, and for every 256 nodes.
        for left in [0, 1, 12, 23, 24] {
            let listener = CancelAfter { left: left.into(), later: 0.into() };
            let outcome = Rootfs::merge(&layers, &listener);
            let later = listener.later.into_inner();
            assert!(later <= 1, "{crowd:?}: {later} questions after the stop");
            if left < 23 {
                assert!(matches!(outcome, Err(Error::Cancelled)), "{crowd:?} after {left}");
            }
        }
    }
}

/// An entry of few names, so that entries meet, and links have every form.
fn entry() -> impl Strategy<Value = (u8, String, String)> {
    let part = || prop::sample::select(vec!["a", "b", "a-b", "c", ".", "..", ""]);
    let path = || prop::collection::vec(part(), 1..4).prop_map(|parts| parts.join("/"));
    let marker = prop::sample::select(vec!["", "", "", ".wh.a", ".wh.b", ".wh..wh..opq"]);
    let name = (path(), marker).prop_map(|(path, marker)| match marker {
        "" => path,
        marker => format!("{path}/{marker}"),
    });
    (prop::sample::select(b"000055522221".to_vec()), name, path())
}

proptest! {
    #[test]
    fn the_tree_is_that_of_the_plain_merge(
        layers in prop::collection::vec(prop::collection::vec(entry(), 0..14), 1..4),
    ) {
        let layer = |entries: &Vec<(u8, String, String)>| {
            entries.iter().fold(tar(), |tar, (flag, name, target)| match flag {
                b'0' => tar.file(name, b""),
                b'5' => tar.dir(name),
                flag => tar.link(*flag, name, target),
            })
        };
        let layers = indexes(&layers.iter().map(layer).collect::<Vec<_>>());
        let rootfs = Rootfs::merge(&layers, &Silent).unwrap();
        let (nodes, problems) = plain::merge(&layers);
        let found = rootfs.nodes().map(|node| {
            (node.path.to_path(), node.layer, node.entry, node.content)
        });
        prop_assert_eq!(found.collect::<Vec<_>>(), nodes);
        let noted: Vec<_> = rootfs.notes().iter().map(|note| note.what).collect();
        prop_assert_eq!(noted, problems);
    }
}
