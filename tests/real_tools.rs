//! Images made by umoci, buildah and skopeo are read as those tools and GNU tar read them.
//!
//! On a machine without the tools the tests say so and pass; with `CI` set they are compulsory.

use imgdelta::{Session, apply::LayerForm, create::CreateOptions, diff::DiffOptions, sink};
use imgdelta_apply::delta::{Envelope, LayerBody, TargetLayer};
use imgdelta_core::{Context, path::LayerPath, progress::Silent, scratch::Scratch};
use imgdelta_diff::{Diff, FileChangeKind, Ignore, LayerRelation};
use imgdelta_image::{
    image::{self, OpenOptions},
    index::EntryKind,
    survey::{self, Survey, SurveyOptions},
};
use imgdelta_testkit::{Blobs, Packing, TestImage, has};
use imgdelta_tests::{run, top};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

fn take(reference: &str) -> Survey {
    let image = image::open(&reference.parse().unwrap(), &OpenOptions::default()).unwrap();
    let context = Context::new(Scratch::new(std::env::temp_dir())).unwrap();
    survey::all(vec![image], &SurveyOptions::default(), &context).unwrap().remove(0)
}

/// A root file system with one of everything that an unprivileged user can make.
fn write_rootfs(root: &Path, version: &str) {
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::create_dir_all(root.join("etc/empty")).unwrap();
    fs::write(root.join("etc/version"), version).unwrap();
    fs::write(root.join("etc/same"), "never changes\n").unwrap();
    fs::write(root.join("usr/bin/tool"), format!("#!/bin/sh\necho {version}\n").repeat(9000))
        .unwrap();
    fs::set_permissions(root.join("usr/bin/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(root.join("etc/naïve name"), "").unwrap();
    let long = "long-".repeat(30);
    fs::write(root.join(&long), version).unwrap();
    let _ = fs::remove_file(root.join("usr/bin/link"));
    symlink("tool", root.join("usr/bin/link")).unwrap();
    let _ = fs::remove_file(root.join("usr/bin/hard"));
    fs::hard_link(root.join("usr/bin/tool"), root.join("usr/bin/hard")).unwrap();
}

/// `-rwsr-xr-x` as `ls` and `tar -tv` write it.
fn mode_words(kind: EntryKind, mode: u32) -> String {
    let mut words = String::from(match kind {
        EntryKind::Directory => "d",
        EntryKind::Symlink => "l",
        EntryKind::HardLink => "h",
        EntryKind::CharDevice => "c",
        EntryKind::BlockDevice => "b",
        EntryKind::Fifo => "p",
        EntryKind::File | EntryKind::Other(_) => "-",
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        words.push(if bits & 4 != 0 { 'r' } else { '-' });
        words.push(if bits & 2 != 0 { 'w' } else { '-' });
        words.push(match (bits & 1 != 0, mode & special != 0) {
            (true, false) => 'x',
            (false, false) => '-',
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
        });
    }
    words
}

/// Returns GNU tar's listing of a layer: mode, owner, size, time, path, link.
fn listed_by_tar(dir: &Path, blob: &Path) -> BTreeSet<String> {
    let list = "tar --numeric-owner --full-time --quoting-style=literal -tvf";
    run(dir, &format!("{list} {}", blob.display()))
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// The same of an index.
fn listed_by_us(survey: &Survey, layer: usize, blob: &Path) -> BTreeSet<String> {
    let spellings = Command::new("tar")
        .args(["--quoting-style=literal", "-tf"])
        .arg(blob)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let spellings = String::from_utf8(spellings.stdout).unwrap();
    let entries = &survey.layers[layer].entries;
    assert_eq!(spellings.lines().count(), entries.len(), "every member is an entry");
    let mut listed = BTreeSet::new();
    for (entry, spelling) in entries.iter().zip(spellings.lines()) {
        assert_eq!(entry.path, LayerPath::parse(spelling.as_bytes()));
        let (date, time) = time_words(entry.mtime);
        let link = entry.link.map(String::from_utf8_lossy);
        let link = match (entry.kind, link) {
            (EntryKind::Symlink, Some(link)) => format!(" -> {link}"),
            (EntryKind::HardLink, Some(link)) => format!(" link to {link}"),
            _ => String::new(),
        };
        let line = format!(
            "{} {}/{} {} {date} {time} {spelling}{link}",
            mode_words(entry.kind, entry.mode),
            entry.owner.uid,
            entry.owner.gid,
            entry.size_bytes,
        );
        listed.insert(line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    listed
}

fn time_words((seconds, nanos): (i64, u32)) -> (String, String) {
    let day_and_time = run(Path::new("/"), &format!("date -u -d @{seconds} +%F@%T"));
    let (day, time) = day_and_time.trim().split_once('@').unwrap();
    let fraction = if nanos == 0 { String::new() } else { format!(".{nanos:09}") };
    (day.to_owned(), format!("{time}{fraction}").trim_end_matches('0').to_owned())
}

/// GNU tar prints as many digits of the fraction as there are; so both sides drop the zeros.
fn trimmed(lines: &BTreeSet<String>) -> BTreeSet<String> {
    let trim = |word: &str| {
        let is_time = word.len() >= 8 && word.as_bytes()[2] == b':' && word.as_bytes()[5] == b':';
        if is_time {
            word.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            word.to_owned()
        }
    };
    lines.iter().map(|line| line.split(' ').map(trim).collect::<Vec<_>>().join(" ")).collect()
}

fn agrees_with_tar_and_skopeo(dir: &Path, layout: &str, tag: &str) -> Survey {
    let survey = take(&format!("oci:{}/{layout}:{tag}", dir.display()));
    for (ordinal, layer) in survey.image.layers.iter().enumerate() {
        let blob = dir.join(layout).join("blobs/sha256").join(layer.descriptor.digest.hex());
        let ours = trimmed(&listed_by_us(&survey, ordinal, &blob));
        assert_eq!(ours, trimmed(&listed_by_tar(dir, &blob)), "layer {ordinal}");
        assert!(ours.len() > 1, "a layer with something in it");
    }
    let inspected: serde_json::Value =
        serde_json::from_str(&run(dir, &format!("skopeo inspect oci:{layout}:{tag}"))).unwrap();
    assert_eq!(inspected["Digest"], survey.image.digest.to_string());
    let layers: Vec<String> =
        survey.image.layers.iter().map(|layer| layer.descriptor.digest.to_string()).collect();
    assert_eq!(inspected["Layers"], serde_json::json!(layers));
    assert_eq!(inspected["Architecture"], survey.image.platform.architecture);
    assert_eq!(inspected["Os"], survey.image.platform.os);
    survey
}

/// Makes deltas both ways, applies them, and has skopeo read what came out.
fn deltas_rebuild(dir: &Path, layout: &str, tags: [&str; 2]) {
    let session = Session::new(dir).unwrap().threads(2).unwrap();
    for (old, new) in [(tags[0], tags[1]), (tags[1], tags[0])] {
        let [base, target] =
            [old, new].map(|tag| format!("oci:{}/{layout}:{tag}", dir.display()).parse().unwrap());
        let images = session.open_pair(&base, &target).unwrap();
        let pair = session.read_pair(images, &DiffOptions::default()).unwrap();
        let draft = pair.plan(&CreateOptions::default()).unwrap().encode().unwrap();
        let proved = draft.prove().unwrap();
        let delta = proved.delta().clone();
        let (base, target) = (pair.base(), pair.target());
        let rebuilt = |layer: &&TargetLayer| matches!(layer.body, LayerBody::Recipe(_));
        for layer in delta.layers().iter().filter(rebuilt) {
            let is_chunked = matches!(layer.envelope, Envelope::Chunked(_));
            assert_eq!(is_chunked, layout == "chunked", "{layout}");
        }

        for (place, name) in [("oci:made", new), ("docker-archive:made.tar", "made:new")] {
            let (transport, path) = place.split_once(':').unwrap();
            let out = format!("{transport}:{}/{path}:{name}", dir.display()).parse().unwrap();
            let sink = sink::create(&out, session.context()).unwrap();
            let base = [base.image.clone()];
            session.apply_to(&delta, &base, sink, LayerForm::Exact).unwrap();
        }
        // skopeo compares every digest on its way.
        run(dir, &format!("skopeo copy -q --insecure-policy oci:made:{new} dir:copied-{new}"));
        let inspected: serde_json::Value =
            serde_json::from_str(&run(dir, &format!("skopeo inspect oci:made:{new}"))).unwrap();
        assert_eq!(inspected["Digest"], target.image.digest.to_string());
        // umoci 0.4 does not know zstd.
        if layout != "zstd" && layout != "chunked" && has(&["umoci"]) {
            run(
                dir,
                &format!("umoci unpack --rootless --image made:{new} unpacked-{layout}-{new}"),
            );
        }
        run(
            dir,
            &format!("skopeo copy -q --insecure-policy docker-archive:made.tar oci:docker:{new}"),
        );
        let from_docker = take(&format!("oci:{}/docker:{new}", dir.display()));
        let diff_ids = |survey: &Survey| -> Vec<String> {
            survey.image.layers.iter().map(|layer| layer.diff_id.to_string()).collect()
        };
        assert_eq!(diff_ids(&from_docker), diff_ids(target));
        // skopeo writes a new config for OCI; Docker's id of the image is that in the archive.
        let archive = take(&format!("docker-archive:{}/made.tar", dir.display()));
        assert_eq!(archive.image.config_digest, target.image.config_digest);
        fs::remove_file(dir.join("made.tar")).unwrap();
    }
}

fn fates(diff: &Diff) -> Vec<(String, &'static str)> {
    let word = |fate: &FileChangeKind| match fate {
        FileChangeKind::Added => "added",
        FileChangeKind::Removed => "removed",
        FileChangeKind::Modified => "modified",
        FileChangeKind::Moved { .. } => "moved",
        FileChangeKind::TypeChanged => "type",
        FileChangeKind::Metadata => "metadata",
    };
    diff.files.iter().map(|change| (change.path.to_string(), word(&change.kind))).collect()
}

#[test]
fn umoci_images_agree_with_tar_and_skopeo_in_every_transport() {
    if !has(&["umoci", "skopeo"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    run(dir, "umoci init --layout layout");
    run(dir, "umoci new --image layout:base");
    run(dir, "umoci unpack --rootless --image layout:base bundle");
    write_rootfs(&dir.join("bundle/rootfs"), "one");
    run(dir, "umoci repack --image layout:v1 bundle");
    run(dir, "umoci unpack --rootless --image layout:v1 bundle2");
    let root = dir.join("bundle2/rootfs");
    fs::write(root.join("etc/version"), "two").unwrap();
    fs::remove_dir(root.join("etc/empty")).unwrap();
    fs::rename(root.join("etc/same"), root.join("usr/moved")).unwrap();
    run(dir, "umoci repack --image layout:v2 bundle2");
    run(dir, "umoci config --image layout:v2 --config.env WHO=umoci --config.user 7");

    let v1 = agrees_with_tar_and_skopeo(dir, "layout", "v1");
    let v2 = agrees_with_tar_and_skopeo(dir, "layout", "v2");
    let diff = Diff::between(&v1, &v2, &"mtime".parse().unwrap(), &Silent).unwrap();
    assert_eq!(
        fates(&diff),
        [
            ("/etc/empty".to_owned(), "removed"),
            ("/etc/version".to_owned(), "modified"),
            ("/usr/moved".to_owned(), "moved"),
        ]
    );
    deltas_rebuild(dir, "layout", ["v1", "v2"]);
    let relations: Vec<LayerRelation> = diff.layers.iter().map(|layer| layer.relation).collect();
    assert_eq!(relations[0], LayerRelation::Same);
    assert!(diff.config.iter().any(|change| change.key.as_deref() == Some("WHO")));

    for target in ["docker-archive:docker.tar", "oci-archive:oci.tar"] {
        run(dir, &format!("skopeo copy -q --insecure-policy oci:layout:v2 {target}:x/y:v2"));
        let (transport, file) = target.split_once(':').unwrap();
        let copy = take(&format!("{transport}:{}/{file}", dir.display()));
        let diff = Diff::between(&v2, &copy, &Ignore::default(), &Silent).unwrap();
        assert_eq!(fates(&diff), [], "{target}");
        assert!(diff.config.is_empty(), "{target}: {:?}", diff.config);
        assert!(diff.layers.iter().all(|layer| {
            matches!(layer.relation, LayerRelation::Same | LayerRelation::Recompressed)
        }));
    }
    run(
        dir,
        "skopeo copy -q --insecure-policy --dest-compress-format zstd --dest-compress \
              oci:layout:v2 oci:zstd:v2",
    );
    // GNU tar needs the zstd program for such a layer, which may not be there: the diff compares.
    let zstd = take(&format!("oci:{}/zstd:v2", dir.display()));
    let diff = Diff::between(&v2, &zstd, &Ignore::default(), &Silent).unwrap();
    assert!(diff.layers.iter().all(|layer| layer.relation == LayerRelation::Recompressed));
    assert_eq!(fates(&diff), []);
    run(
        dir,
        "skopeo copy -q --insecure-policy --dest-compress-format zstd --dest-compress \
              oci:layout:v1 oci:zstd:v1",
    );
    // Layers that are compressed as klauspost's zstd does come back exactly too.
    fs::remove_dir_all(dir.join("made")).unwrap();
    deltas_rebuild(dir, "zstd", ["v1", "v2"]);
    for tag in ["v1", "v2"] {
        run(
            dir,
            &format!(
                "skopeo copy -q --insecure-policy --dest-compress-format zstd:chunked \
                 --dest-compress oci:zstd:{tag} oci:chunked:{tag}"
            ),
        );
    }
    fs::remove_dir_all(dir.join("made")).unwrap();
    deltas_rebuild(dir, "chunked", ["v1", "v2"]);
}

/// Images as docker build makes them: Go's own gzip.
#[test]
fn images_of_gos_gzip_come_back() {
    if !has(&["umoci", "skopeo"]) || !has_go() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let source = top().join("testdata/deflate/fresh/gzip.go");
    let build = Command::new("go")
        .args(["build", "-o"])
        .arg(dir.join("gzip"))
        .arg(source)
        .env("GO111MODULE", "off")
        .env("GOCACHE", dir.join("cache"))
        .status();
    assert!(build.unwrap().success());
    let mut blobs = Blobs::default();
    for version in ["one", "two"] {
        write_rootfs(&dir.join(version), version);
        run(dir, &format!("tar --owner=0 --group=0 -C {version} -cf {version}.tar ."));
        let packed = Command::new(dir.join("gzip"))
            .arg("-1")
            .stdin(fs::File::open(dir.join(format!("{version}.tar"))).unwrap())
            .output()
            .unwrap();
        assert!(packed.status.success());
        let stream = fs::read(dir.join(format!("{version}.tar"))).unwrap();
        let config = TestImage::new(vec![stream], Packing::Plain).config();
        let config = blobs.add_json("application/vnd.oci.image.config.v1+json", &config);
        let layer = blobs.add("application/vnd.oci.image.layer.v1.tar+gzip", packed.stdout);
        let manifest = blobs.add_manifest(&config, &[layer]);
        blobs.tag(manifest, version);
    }
    blobs.write_layout(&dir.join("layout"));
    agrees_with_tar_and_skopeo(dir, "layout", "two");
    deltas_rebuild(dir, "layout", ["one", "two"]);
}

/// Go answers `go version` and nothing like `--version`.
fn has_go() -> bool {
    let has = Command::new("go").arg("version").output().is_ok();
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(has || !is_ci, "CI needs go");
    if !has {
        eprintln!("skipped: go is not installed");
    }
    has
}

#[test]
fn buildah_images_agree_with_tar_and_skopeo() {
    if !has(&["buildah", "skopeo"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let buildah =
        format!("buildah --root {0}/storage --runroot {0}/run --storage-driver vfs", dir.display());
    fs::write(dir.join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)
        .unwrap();
    for version in ["one", "two"] {
        write_rootfs(&dir.join(version), version);
        let container = run(dir, &format!("{buildah} from scratch"));
        let container = container.trim();
        run(dir, &format!("{buildah} copy {container} {version} /"));
        run(dir, &format!("{buildah} config --env V={version} --cmd /usr/bin/tool {container}"));
        run(dir, &format!("{buildah} commit -q --format oci {container} image-{version}"));
        run(
            dir,
            &format!(
                "{buildah} push -q --signature-policy policy.json image-{version} oci:layout:{version}"
            ),
        );
    }
    let one = agrees_with_tar_and_skopeo(dir, "layout", "one");
    let two = agrees_with_tar_and_skopeo(dir, "layout", "two");
    let diff = Diff::between(&one, &two, &"mtime,created".parse().unwrap(), &Silent).unwrap();
    let changed: Vec<String> = fates(&diff).into_iter().map(|(path, _)| path).collect();
    assert!(changed.contains(&"/etc/version".to_owned()), "{changed:?}");
    assert!(changed.contains(&"/usr/bin/tool".to_owned()), "{changed:?}");
    assert!(!changed.contains(&"/etc/same".to_owned()), "{changed:?}");
    assert!(diff.config.iter().any(|change| change.key.as_deref() == Some("V")));
    deltas_rebuild(dir, "layout", ["one", "two"]);
}
