//! Files of the target, and files that stay, are sources of new files; digests in lists are not sent.

use crate::support;
use imgdelta_apply::{
    delta::{Delta, DigestSpelling, LayerBody},
    rebuild::{self, LayerForm},
    sink,
};
use imgdelta_core::Limits;
use imgdelta_image::survey::SurveyOptions;
use imgdelta_layer::digests::SpelledHasher;
use imgdelta_make::{options::CreateOptions, pair::ImagePair};
use imgdelta_testkit::{Packing, TestImage, gzip, noise, tar_of};
use std::sync::Arc;
use support::{context, open};

/// Makes a delta between images of these layers, proves and applies it, and returns it.
fn delta(base: Vec<Vec<u8>>, target: Vec<Vec<u8>>) -> Delta {
    let dir = tempfile::tempdir().unwrap();
    let images = [("base", base), ("target", target)].map(|(name, layers)| {
        TestImage::new(layers, Packing::Gzip).blobs().write_layout(&dir.path().join(name));
        open(&dir.path().join(name))
    });
    let mut made = Vec::new();
    for threads in [1, 3] {
        let context = context(dir.path(), threads);
        let pair = ImagePair::read(images.clone(), &SurveyOptions::default(), &context).unwrap();
        let draft = pair.plan(&CreateOptions::default()).unwrap().encode().unwrap();
        let mut bytes = Vec::new();
        draft.prove().unwrap().write_to(&mut bytes).unwrap();
        made.push(bytes);
    }
    assert!(made[0] == made[1], "the same bytes with any number of workers");
    let delta = Delta::open(Arc::new(made.remove(0)), "test", &Limits::default()).unwrap();
    let out = dir.path().join("out");
    let context = context(dir.path(), 2);
    let sink = sink::create(&format!("oci:{}", out.display()).parse().unwrap(), &context).unwrap();
    rebuild::apply(&delta, &images[..1], sink, LayerForm::Exact, &context).unwrap();
    assert_eq!(open(&out).digest, images[1].digest);
    delta
}

#[test]
fn noise_three_times_in_a_target_is_sent_once() {
    let mut near = noise(9, 100_000);
    near.splice(50_000..50_000, *b"inserted");
    let base = vec![tar_of(&[("same", b"same")])];
    let target = vec![
        tar_of(&[("one", &noise(9, 100_000)), ("other.bin", &near)]),
        tar_of(&[("again", &noise(9, 100_000))]),
        tar_of(&[("last", &near)]),
    ];
    let delta = delta(base, target);
    assert!((100_000..103_000).contains(&delta.size_bytes()), "{}", delta.size_bytes());
}

#[test]
fn an_archive_that_two_layers_have_is_sent_once() {
    let text: Vec<u8> = noise(3, 30_000).iter().map(|byte| b'a' + byte % 16).collect();
    let packed = gzip(&text);
    let base = vec![tar_of(&[("same", b"same")])];
    let target = vec![tar_of(&[("a.gz", &packed)]), tar_of(&[("other/b.gz", &packed)])];
    let delta = delta(base, target);
    assert!(delta.size_bytes() < 17_500, "{}", delta.size_bytes());
    let LayerBody::Recipe(second) = delta.layers()[1].body else { panic!("{:?}", delta.layers()) };
    assert_eq!(delta.recipe(second).unwrap().sources, [delta.layers()[0].stream]);
    assert!(delta.base().streams.is_empty());
}

#[test]
fn a_near_copy_of_a_file_that_stays_is_not_sent() {
    let mut near = noise(9, 200_000);
    near[70_000] ^= 1;
    let kept = tar_of(&[("lib/one.so", &noise(9, 200_000))]);
    let target = vec![kept.clone(), tar_of(&[("new/another", &near)])];
    let delta = delta(vec![kept, tar_of(&[("old", b"old")])], target);
    assert!(delta.size_bytes() < 2500, "{}", delta.size_bytes());
}

/// The digest of the file of a seed.
fn spelled(seed: u64, spelling: DigestSpelling) -> String {
    let mut hasher = SpelledHasher::new(spelling);
    hasher.update(&noise(seed, 900));
    String::from_utf8(hasher.finish()).unwrap()
}

/// A list as dpkg writes it, of files of these seeds.
fn md5sums(seeds: &[u64]) -> Vec<u8> {
    let line = |(number, seed): (usize, &u64)| {
        format!("{}  usr/lib/file-{number}\n", spelled(*seed, DigestSpelling::Md5Hex))
    };
    seeds.iter().enumerate().map(line).collect::<String>().into_bytes()
}

/// The same as apk writes it, in the order of the names.
fn installed_by_apk(seeds: &[u64]) -> Vec<u8> {
    let line = |(number, seed): (usize, &u64)| {
        let digest = spelled(*seed, DigestSpelling::Sha1Base64);
        format!("R:file-{number}\na:0:0:755\nZ:Q1{digest}\n")
    };
    let lines: String = seeds.iter().enumerate().map(line).collect();
    format!("P:tool\nV:1.2-r0\nF:usr\nF:usr/lib\n{lines}").into_bytes()
}

/// A layer with a list and the files that it names, except for the last one.
fn listed(seeds: &[u64]) -> Vec<u8> {
    with_list("var/lib/dpkg/info/tool.md5sums", &md5sums(seeds), seeds)
}

/// A layer with this list and the files of these seeds, except for the last one.
fn with_list(path: &str, list: &[u8], seeds: &[u64]) -> Vec<u8> {
    let files: Vec<(String, Vec<u8>)> = seeds
        .iter()
        .enumerate()
        .map(|(number, seed)| (format!("usr/lib/file-{number}"), noise(*seed, 900)))
        .collect();
    let mut entries: Vec<(&str, &[u8])> = vec![(path, list)];
    let files = files[..files.len() - 1].iter();
    entries.extend(files.map(|(path, bytes)| (path.as_str(), bytes.as_slice())));
    tar_of(&entries)
}

#[test]
fn digests_of_files_that_are_rebuilt_are_computed() {
    let old: Vec<u64> = (0..40).collect();
    // All except two change; one that changes is listed and not there.
    let new: Vec<u64> = (0..40).map(|seed| if seed < 2 { seed } else { seed + 100 }).collect();
    let delta = delta(vec![listed(&old)], vec![listed(&new)]);
    let recipe = delta.recipe(0).unwrap();
    assert_eq!(recipe.digests.len(), 37);
    let holder = recipe.digests[0].holder;
    assert!(recipe.digests.iter().all(|digest| digest.holder == holder));
    assert!(recipe.digests.iter().all(|digest| digest.content != holder));
}

#[test]
fn digests_in_the_list_of_apk_are_computed() {
    let layer = |seeds: &[u64]| with_list("lib/apk/db/installed", &installed_by_apk(seeds), seeds);
    let old: Vec<u64> = (0..20).collect();
    let new: Vec<u64> = (0..20).map(|seed| if seed < 2 { seed } else { seed + 100 }).collect();
    let delta = delta(vec![layer(&old)], vec![layer(&new)]);
    let recipe = delta.recipe(0).unwrap();
    let digests = &recipe.digests;
    assert_eq!(digests.len(), 17);
    assert!(digests.iter().all(|digest| digest.spelling == DigestSpelling::Sha1Base64));
}

#[test]
fn a_wrong_digest_in_a_list_is_sent_as_it_is() {
    let old = vec![1, 2, 3];
    let mut layer = listed(&[11, 12, 13]);
    let digest = md5sums(&[11])[..32].to_vec();
    let at = layer.windows(32).position(|window| window == digest).unwrap();
    layer[at] = if layer[at] == b'0' { b'1' } else { b'0' };
    let delta = delta(vec![listed(&old)], vec![layer]);
    assert_eq!(delta.recipe(0).unwrap().digests.len(), 1);
}
