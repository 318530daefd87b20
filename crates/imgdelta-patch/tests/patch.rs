//! Patches of images that are built in code: text, links, modes, archives, limits.

use imgdelta_core::{Context, Limits, path::LayerPath, scratch::Scratch};
use imgdelta_diff::{FileChange, Ignore};
use imgdelta_image::{
    image::{Image, OpenOptions},
    store::layout::OciLayout,
    survey::SurveyOptions,
};
use imgdelta_patch::{ComparedImages, ContentChange, PatchOptions, PatchSet};
use imgdelta_testkit::{Packing, TestImage, ZipStyle, gzip, tar_of, zip_of};
use std::sync::Arc;

/// A stream of files, links (`@` before the target) and executables (`!` before the content).
fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(0);
        match content.split_first() {
            Some((b'@', target)) => {
                header.set_entry_type(tar::EntryType::Symlink);
                let target = std::str::from_utf8(target).unwrap();
                builder.append_link(&mut header, path, target).unwrap();
            }
            Some((b'!', content)) => {
                header.set_mode(0o755);
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, path, content).unwrap();
            }
            _ => {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, path, *content).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

fn open(layers: Vec<Vec<u8>>) -> Image {
    let blobs = TestImage::new(layers, Packing::Gzip).blobs();
    let archive = Arc::new(blobs.archive());
    let layout = OciLayout::open_archive(archive, "a.tar".into(), &Limits::default()).unwrap();
    Image::open(Arc::new(layout), None, &OpenOptions::default()).unwrap()
}

fn patches(
    old: &[(&str, &[u8])],
    new: &[(&str, &[u8])],
    chooses: impl Fn(&FileChange) -> bool + Sync,
    options: PatchOptions,
) -> PatchSet {
    let directory = tempfile::tempdir().unwrap();
    let context = Context::new(Scratch::new(directory.path())).unwrap();
    let images = [open(vec![layer(old)]), open(vec![layer(new)])];
    let survey = SurveyOptions::default().file_reader(imgdelta_packages::database_reader);
    let images = ComparedImages::read(images, survey, &context).unwrap();
    let diff = images.diff(&Ignore::default(), &context).unwrap();
    images.patches(&diff, &chooses, options, &context).unwrap()
}

fn text(old: &[(&str, &[u8])], new: &[(&str, &[u8])]) -> String {
    patches(old, new, |_| true, PatchOptions::default()).text(false).to_string()
}

#[test]
fn texts_links_and_modes_are_shown_as_git_does() {
    let old: [(&str, &[u8]); 5] = [
        ("etc/a", b"one\ntwo\n"),
        ("etc/gone", b"x\n"),
        ("etc/link", b"@a"),
        ("etc/run", b"#!/bin/sh\n"),
        ("etc/swap", b"text\n"),
    ];
    let new: [(&str, &[u8]); 5] = [
        ("etc/a", b"one\n2\n"),
        ("etc/link", b"@b"),
        ("etc/new", b"y"),
        ("etc/run", b"!#!/bin/sh\n"),
        ("etc/swap", b"@a"),
    ];
    let expected = "\
diff --git a/etc/a b/etc/a
--- a/etc/a
+++ b/etc/a
@@ -1,2 +1,2 @@
 one
-two
+2
diff --git a/etc/gone b/etc/gone
deleted file mode 100644
--- a/etc/gone
+++ /dev/null
@@ -1 +0,0 @@
-x
diff --git a/etc/link b/etc/link
--- a/etc/link
+++ b/etc/link
@@ -1 +1 @@
-a
\\ No newline at end of file
+b
\\ No newline at end of file
diff --git a/etc/new b/etc/new
new file mode 100644
--- /dev/null
+++ b/etc/new
@@ -0,0 +1 @@
+y
\\ No newline at end of file
diff --git a/etc/run b/etc/run
old mode 100644
new mode 100755
diff --git a/etc/swap b/etc/swap
old mode 100644
new mode 120000
--- a/etc/swap
+++ b/etc/swap
@@ -1 +1 @@
-text
+a
\\ No newline at end of file
";
    assert_eq!(text(&old, &new), expected);
}

#[test]
fn archives_are_opened_and_only_members_that_differ_are_shown() {
    let jar = |version: &[u8], binary: &[u8]| {
        let same = &b"same\n"[..];
        zip_of(
            &[("a.txt", same, true), ("v.txt", version, true), ("b.class", binary, false)],
            ZipStyle::Ahead,
        )
    };
    let (old_jar, new_jar) = (jar(b"1\n", b"\0x"), jar(b"2\n", b"\0yz"));
    let (old_gz, new_gz) = (gzip(b"first\nsecond\n"), gzip(b"first\n2nd\n"));
    let shown =
        text(&[("x.jar", &old_jar), ("y.gz", &old_gz)], &[("x.jar", &new_jar), ("y.gz", &new_gz)]);
    let expected = "\
diff --git a/x.jar b/x.jar
Archives a/x.jar and b/x.jar differ: zip, 2 of 3 members
--- a/x.jar!/v.txt
+++ b/x.jar!/v.txt
@@ -1 +1 @@
-1
+2
Binary files a/x.jar!/b.class and b/x.jar!/b.class differ: 2 -> 3 bytes
diff --git a/y.gz b/y.gz
Compressed files a/y.gz and b/y.gz differ: gzip
--- a/y.gz
+++ b/y.gz
@@ -1,2 +1,2 @@
 first
-second
+2nd
";
    assert_eq!(shown, expected);
    // A damaged archive is other bytes.
    let cut = &new_jar[..new_jar.len() - 9];
    assert!(text(&[("x.jar", &old_jar)], &[("x.jar", cut)]).contains("Binary files"));
}

#[test]
fn equal_members_in_another_compression_are_not_shown_as_changed() {
    let (stored, packed) = (gzip(b"same\n"), {
        let mut other = gzip(b"same\n");
        // The time in the header differs.
        other[4] ^= 1;
        other
    });
    let set =
        patches(&[("y.gz", &stored)], &[("y.gz", &packed)], |_| true, PatchOptions::default());
    match &set.files[0].content {
        Some(ContentChange::Archive(archive)) => {
            assert_eq!((archive.members.len(), archive.unchanged_members), (0, 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_read_beyond_the_limits_and_what_is_left_out_is_counted() {
    let old: [(&str, &[u8]); 3] = [("a", b"1\n"), ("b", b"1\n"), ("c", b"1\n")];
    let new: [(&str, &[u8]); 3] = [("a", b"2\n"), ("b", b"2\n"), ("c", b"2\n")];
    let mut options = PatchOptions::default();
    options.total_bytes = 5;
    let set = patches(&old, &new, |_| true, options);
    assert_eq!((set.files.len(), set.omitted_files), (2, 1));
    assert!(set.text(false).to_string().contains("1 more files; choose fewer"));
    // A text that is too large is described.
    let mut options = PatchOptions::default();
    options.text_bytes = 1;
    let set = patches(&old, &new, |change| change.path == LayerPath::parse(b"b"), options);
    assert_eq!(set.files.len(), 1, "only the chosen file");
    let line = ContentChange::Opaque(
        "2 bytes, other content; a text that is too long to compare".to_owned(),
    );
    assert_eq!(set.files[0].content, Some(line));
    // A gzip file that expands beyond the limit is not held in memory.
    let mut options = PatchOptions::default();
    options.file_bytes = 1 << 20;
    let bomb = gzip(&vec![b'a'; 2 << 20]);
    let set = patches(&[("y.gz", &gzip(b"x"))], &[("y.gz", &bomb)], |_| true, options);
    assert!(set.text(false).to_string().contains("too large to compare"));
}

#[test]
fn archives_in_archives_are_opened_down_to_a_depth() {
    let zip = |name: &str, content: &[u8]| zip_of(&[(name, content, true)], ZipStyle::Ahead);
    let nested = |version: &[u8]| {
        let war = zip("lib/a.jar", &zip("v.txt", version));
        gzip(&tar_of(&[("same", b"same"), ("app.war", &war)]))
    };
    let (old, new) = (nested(b"1\n"), nested(b"2\n"));
    let shown = text(&[("x.tgz", &old)], &[("x.tgz", &new)]);
    let expected = "\
diff --git a/x.tgz b/x.tgz
Compressed files a/x.tgz and b/x.tgz differ: gzip
Archives a/x.tgz and b/x.tgz differ: tar, 1 of 2 members
Archives a/x.tgz!/app.war and b/x.tgz!/app.war differ: zip, 1 of 1 members
Archives a/x.tgz!/app.war!/lib/a.jar and b/x.tgz!/app.war!/lib/a.jar differ: zip, 1 of 1 members
--- a/x.tgz!/app.war!/lib/a.jar!/v.txt
+++ b/x.tgz!/app.war!/lib/a.jar!/v.txt
@@ -1 +1 @@
-1
+2
";
    assert_eq!(shown, expected);
    // A fifth archive is bytes.
    let deeper =
        |version: &[u8]| gzip(&tar_of(&[("b.zip", &zip("b", &zip("c", &zip("d", version))))]));
    let shown = text(&[("y", &deeper(b"1"))], &[("y", &deeper(b"2"))]);
    assert!(shown.contains("Binary files a/y!/b.zip!/b!/c and"), "{shown}");
    // A damaged one, too.
    let cut = |version: &[u8]| gzip(&zip("b", version)[..60]);
    let shown = text(&[("z", &cut(b"1"))], &[("z", &cut(b"2"))]);
    assert!(shown.contains("Binary files a/z and b/z differ: 60 bytes"), "{shown}");
}

#[test]
fn members_of_all_archives_in_a_file_are_counted_together() {
    let inner = |content: &[u8]| {
        let names: Vec<String> = (0..1500).map(|number| format!("{number}")).collect();
        let members: Vec<(&str, &[u8], bool)> =
            names.iter().map(|name| (name.as_str(), content, false)).collect();
        zip_of(&members, ZipStyle::Ahead)
    };
    let outer = |content: &[u8]| {
        let inner = inner(content);
        zip_of(&[("a", &inner, true), ("b", &inner, true), ("c", &inner, true)], ZipStyle::Ahead)
    };
    let set = patches(
        &[("x.jar", &outer(b"1"))],
        &[("x.jar", &outer(b"2"))],
        |_| true,
        PatchOptions::default(),
    );
    let Some(ContentChange::Archive(outer)) = &set.files[0].content else { panic!("{set:?}") };
    assert_eq!((outer.members.len(), outer.omitted_members), (2, 1));
    let counts = outer.members.iter().map(|member| match &member.content {
        ContentChange::Archive(inner) => (inner.members.len(), inner.omitted_members),
        other => panic!("{other:?}"),
    });
    assert_eq!(counts.collect::<Vec<_>>(), [(1500, 0), (498, 1002)]);
}

#[test]
fn rows_of_an_rpm_database_are_its_packages() {
    const DATABASE: &[u8] = include_bytes!("../../../testdata/packages/rpmdb.sqlite");
    let path = "var/lib/rpm/rpmdb.sqlite";
    let newer: Vec<u8> = {
        let mut bytes = DATABASE.to_vec();
        let version = b"5.2.26\0";
        let places: Vec<usize> =
            (0..bytes.len() - 7).filter(|&at| &bytes[at..at + 7] == version).collect();
        assert!(!places.is_empty());
        for at in places {
            bytes[at + 5] = b'9';
        }
        bytes
    };
    let shown = text(&[(path, DATABASE)], &[(path, &newer)]);
    assert!(shown.starts_with(
        "\
diff --git a/var/lib/rpm/rpmdb.sqlite b/var/lib/rpm/rpmdb.sqlite
Package databases a/var/lib/rpm/rpmdb.sqlite and b/var/lib/rpm/rpmdb.sqlite differ; a line for each package:
--- a/var/lib/rpm/rpmdb.sqlite
+++ b/var/lib/rpm/rpmdb.sqlite
@@ "
    ));
    assert!(
        shown.contains("\n-bash 5.2.26-3.fc40 x86_64\n+bash 5.2.29-3.fc40 x86_64\n"),
        "{shown}"
    );
    let set = patches(&[(path, DATABASE)], &[(path, &newer)], |_| true, PatchOptions::default());
    assert!(set.stat(false).to_string().contains("1 insertion(+), 1 deletion(-)"));
    let added = text(&[("x", b"")], &[("x", b""), (path, DATABASE)]);
    assert_eq!(added.lines().filter(|line| line.starts_with('+')).count(), 25, "{added}");
    // A file with a database's name and other content is shown as bytes.
    let shown = text(&[(path, b"\0")], &[(path, b"\0\0")]);
    assert!(shown.contains("Binary files") && shown.contains("1 -> 2 bytes"), "{shown}");
}

#[test]
fn the_sums_are_those_of_git() {
    let long = "x\n".repeat(90);
    let set = patches(
        &[("a", b"1\n2\n"), ("bin", b"\0")],
        &[("a", b"1\n3\n"), ("bin", b"\0\0"), ("long", long.as_bytes())],
        |_| true,
        PatchOptions::default(),
    );
    let expected = " /a    |   2 +-\n /bin  | Bin 1 -> 2 bytes\n /long |  90 ++++++++++++++++++++++++++++++\n \
                    3 files changed, 91 insertions(+), 1 deletion(-)\n";
    assert_eq!(set.stat(false).to_string(), expected);
    let coloured = set.text(true).to_string();
    assert!(coloured.contains("\x1b[32m+3\x1b[0m") && coloured.contains("\x1b[31m-2\x1b[0m"));
}
