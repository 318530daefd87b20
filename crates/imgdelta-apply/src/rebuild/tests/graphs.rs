//! Target files that are made from other target files, in any order that is possible.

use super::{making::PlainMaker, *};
use crate::delta::{DigestPlace, DigestSpelling, StreamName};
use imgdelta_codec::{Effort, GroupEncoder};
use imgdelta_layer::{digests::SpelledHasher, headers::HeaderWriter};
use proptest::prelude::*;

/// A file of the target, by its layer and its place in the layer.
type FilePlace = (usize, usize);

/// One target: the files of each layer, the order in which they are made, and what each reads.
#[derive(Clone, Debug)]
struct TargetGraph {
    /// For each layer, the files in the order in which they are made. The first half of the order
    /// says nothing about the order in the layer.
    order: Vec<Vec<usize>>,
    /// For each layer and file, numbers from which its sources follow.
    choices: Vec<Vec<[u32; 3]>>,
    /// Files of one group.
    group_files: usize,
    /// True for layers whose blobs are carried.
    carried: Vec<bool>,
    /// True for layers whose last file is a list with the digest of the first.
    listed: Vec<bool>,
}

const FILES: usize = 7;

fn graph() -> impl Strategy<Value = TargetGraph> {
    let order = || Just((0..FILES).collect::<Vec<usize>>()).prop_shuffle();
    let choices = || prop::collection::vec(any::<[u32; 3]>(), FILES);
    (1..4_usize).prop_flat_map(move |layers| {
        (
            prop::collection::vec(order(), layers),
            prop::collection::vec(choices(), layers),
            1..4_usize,
            prop::collection::vec(prop::bool::weighted(0.2), layers),
            prop::collection::vec(any::<bool>(), layers),
        )
            .prop_map(|(order, choices, group_files, carried, listed)| TargetGraph {
                order,
                choices,
                group_files,
                carried,
                listed,
            })
    })
}

fn path(file: usize) -> String {
    format!("file-{file}")
}

/// Content of a file: noise of its own, so that only its sources make it short.
fn content(layer: usize, file: usize) -> Vec<u8> {
    noise((layer * FILES + file) as u64 + 50, 300 + 40 * file)
}

fn md5(bytes: &[u8]) -> Vec<u8> {
    let mut hasher = SpelledHasher::new(DigestSpelling::Md5Hex);
    hasher.update(bytes);
    hasher.finish()
}

impl TargetGraph {
    /// Returns the contents of all files.
    fn contents(&self) -> Vec<Vec<Vec<u8>>> {
        let layers = 0..self.order.len();
        let layers = layers.map(|layer| {
            let mut files: Vec<Vec<u8>> = (0..FILES).map(|file| content(layer, file)).collect();
            if self.listed[layer] {
                let line = [b"the digest of the first: ", &md5(&files[0])[..], b"\n"].concat();
                files[FILES - 1].splice(100..100, line);
            }
            files
        });
        layers.collect()
    }

    fn streams(&self) -> Vec<Vec<u8>> {
        let streams = self.contents().into_iter().map(|files| {
            let paths: Vec<String> = (0..FILES).map(path).collect();
            let entries: Vec<(&str, &[u8])> =
                paths.iter().map(String::as_str).zip(files.iter().map(Vec::as_slice)).collect();
            tar_of(&entries)
        });
        streams.collect()
    }

    /// True if a file is a list with a digest, which is complete only at the end.
    fn is_holder(&self, (layer, file): FilePlace) -> bool {
        self.listed[layer] && file == FILES - 1
    }
}

/// Returns the recipe of a layer with its groups, as the graph says.
fn recipe(
    graph: &TargetGraph,
    layer: usize,
    base: &StreamName,
    base_stream: &[u8],
    streams: &[(StreamName, Vec<u8>)],
) -> (Recipe, Vec<u8>) {
    let (target, stream) = &streams[layer];
    let contents = graph.contents();
    let files = &contents[layer];
    let start_of = |stream: &[u8], file: &[u8]| {
        stream.windows(file.len()).position(|window| window == file).unwrap() as u64
    };
    let mut headers = HeaderWriter::new(3);
    let mut at = 0;
    for file in files {
        let start = usize::try_from(start_of(stream, file)).unwrap();
        headers.raw(&stream[at..start]);
        headers.raw_payload(file.len() as u64);
        at = start + file.len();
    }
    headers.raw(&stream[at..]);
    let mut sources = vec![*base];
    sources.extend(streams[..layer].iter().map(|(name, _)| *name));
    let start_of_source = |number: usize| sources[..number].iter().map(|name| name.bytes).sum();
    let space_end: u64 = start_of_source(sources.len());
    let rebuilt_start = |file: usize| -> u64 {
        space_end + files[..file].iter().map(|file| file.len() as u64).sum::<u64>()
    };
    let mut groups = Vec::new();
    let mut made: Vec<usize> = Vec::new();
    for chunk in graph.order[layer].chunks(graph.group_files) {
        let mut encoder = GroupEncoder::new(Effort::Fast);
        let mut members = Vec::new();
        for &file in chunk {
            let mut parts = Vec::new();
            let mut bytes = Vec::new();
            for choice in graph.choices[layer][file] {
                let number = choice as usize / 8;
                let take = |content: &[u8], start: u64, parts: &mut Vec<BaseSource>| {
                    let from = number % (content.len() / 2);
                    let part = &content[from..from + content.len() / 2];
                    let address = start + from as u64;
                    parts.push(BaseSource::Slice { address, bytes: part.len() as u64 });
                    part.to_vec()
                };
                match choice % 8 {
                    0..2 => bytes.extend(take(base_stream, 0, &mut parts)),
                    2..5 if !made.is_empty() => {
                        let from = made[number % made.len()];
                        if !graph.is_holder((layer, from)) {
                            bytes.extend(take(&files[from], rebuilt_start(from), &mut parts));
                        }
                    }
                    5..8 if layer > 0 => {
                        let (other, from) = (number % layer, number % FILES);
                        if !graph.is_holder((other, from)) {
                            let start: u64 = start_of_source(1 + other);
                            let start = start + start_of(&streams[other].1, &contents[other][from]);
                            bytes.extend(take(&contents[other][from], start, &mut parts));
                        }
                    }
                    _ => {}
                }
            }
            let mut target = files[file].clone();
            if graph.is_holder((layer, file)) {
                target[125..157].fill(b'?');
            }
            encoder.member(&bytes, &target);
            let payload = u32::try_from(file).unwrap();
            members.push(GroupMember { payload, window: None, sources: parts });
            made.push(file);
        }
        let packed = encoder.finish();
        groups.push((RecipeGroup { packed_bytes: packed.len() as u64, members }, packed));
    }
    // The order of groups in the recipe is not that of decoding.
    groups.reverse();
    let bytes = groups.iter().flat_map(|(_, packed)| packed.clone()).collect();
    let holder = u32::try_from(FILES - 1).unwrap();
    let spelling = DigestSpelling::Md5Hex;
    let digest = DigestPlace { holder, offset: 125, spelling, content: 0 };
    let recipe = Recipe {
        target: *target,
        sources,
        headers: headers.finish(),
        origins: vec![PayloadOrigin::Rebuilt; FILES],
        nested: NestedArchives::default(),
        groups: groups.into_iter().map(|(group, _)| group).collect(),
        digests: if graph.listed[layer] { vec![digest] } else { Vec::new() },
    };
    (recipe, bytes)
}

fn scene_of(graph: &TargetGraph) -> (Scene, PlainMaker) {
    let base_stream = tar_of(&[("base", &noise(1, 3000))]);
    let scene =
        Scene::of((vec![base_stream.clone()], Packing::Plain), (graph.streams(), Packing::Plain));
    let mut making = scene.making();
    let base_name = making.recipes[0].0.sources[0];
    let streams: Vec<(StreamName, Vec<u8>)> =
        making.recipes.iter().map(|(recipe, _)| recipe.target).zip(graph.streams()).collect();
    making.recipes.clear();
    for (layer, outline) in making.outline.layers.iter_mut().enumerate() {
        if graph.carried[layer] {
            outline.body = LayerBody::Carried(u32::try_from(making.carried.len()).unwrap());
            outline.envelope = Envelope::Unmade;
            making.carried.push(streams[layer].1.clone());
        } else {
            outline.body = LayerBody::Recipe(u32::try_from(making.recipes.len()).unwrap());
            making.recipes.push(recipe(graph, layer, &base_name, &base_stream, &streams));
        }
    }
    (scene, making)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_graph_of_target_files_is_rebuilt_by_any_number_of_workers(graph in graph()) {
        let (scene, making) = scene_of(&graph);
        for (threads, memory_bytes) in [(1, 1), (3, 1 << 30)] {
            let workers = Arc::new(Workers::new(threads).unwrap());
            let context = scene.context().workers(workers).memory_bytes(Some(memory_bytes));
            let name = format!("oci:x{threads}:v1");
            let applied = scene.apply_as(&making, &name, LayerForm::Exact, &context).unwrap();
            prop_assert_eq!(applied.manifest, Some(scene.target.digest));
        }
        // Only the last layer is made; those that it reads are made to be read.
        let last = scene.target.layers.last().unwrap().descriptor.digest;
        std::fs::remove_file(scene.out("x1").join(format!("blobs/sha256/{}", last.hex()))).unwrap();
        scene.apply(&making, "oci:x1:v2").unwrap();
        prop_assert_eq!(streams(&open(&scene.out("x3"))), graph.streams());
    }
}

/// A graph of two layers in which every file reads files that are made before it.
fn plain_graph() -> TargetGraph {
    TargetGraph {
        order: vec![(0..FILES).collect(); 2],
        choices: vec![vec![[2, 10, 13]; FILES]; 2],
        group_files: 2,
        carried: vec![false; 2],
        listed: vec![true; 2],
    }
}

/// An error's text, and the change to the recipes that causes it.
type GraphDamage = (&'static str, fn(&mut [(Recipe, Vec<u8>)]));

fn slice(address: u64, bytes: u64) -> Vec<BaseSource> {
    vec![BaseSource::Slice { address, bytes }]
}

/// The address of the first rebuilt byte.
fn rebuilt_start(recipe: &Recipe) -> u64 {
    recipe.sources.iter().map(|source| source.bytes).sum()
}

const INVALID_GRAPHS: &[GraphDamage] = &[
    ("is made from its own result, or from a group that is", |recipes| {
        // Groups are written in reverse: the last group makes the first two files.
        let (recipe, _) = &mut recipes[0];
        let start = rebuilt_start(recipe);
        recipe.groups[3].members[0].sources = slice(start + 640, 10);
    }),
    ("is made from its own result, or from a group that is", |recipes| {
        let (recipe, _) = &mut recipes[0];
        let start = rebuilt_start(recipe);
        recipe.groups[3].members[0].sources = slice(start + 200, 10);
    }),
    ("rebuilt bytes from 3040, there are", |recipes| {
        let (recipe, _) = &mut recipes[0];
        let start = rebuilt_start(recipe);
        recipe.groups[0].members[0].sources = slice(start + 3040, 1000);
    }),
    ("a member's base is a payload with digests", |recipes| {
        let (recipe, _) = &mut recipes[0];
        let start = rebuilt_start(recipe);
        recipe.groups[1].members[0].sources = slice(start + 2400, 300);
    }),
    ("are not of a rebuilt file of an earlier layer", |recipes| {
        // The header before the first file of the first layer.
        let (recipe, _) = &mut recipes[1];
        let start = recipe.sources[0].bytes;
        recipe.groups[0].members[0].sources = slice(start, 600);
    }),
    ("payload 2: 380 bytes from", |recipes| {
        let (recipe, _) = &mut recipes[1];
        let start = recipe.sources[0].bytes;
        recipe.groups[2].members.remove(0);
        recipe.origins[2] = PayloadOrigin::Base(start);
    }),
    ("are not of a stream of the base", |recipes| {
        let (recipe, _) = &mut recipes[1];
        let end = recipe.sources[0].bytes;
        recipe.groups[0].members[0].sources = slice(end - 100, 200);
    }),
    ("a digest at 600 leaves payload 6", |recipes| {
        recipes[0].0.digests[0].offset = 600;
    }),
    ("payload 6 has the digest of payload 6, which has digests", |recipes| {
        recipes[0].0.digests[0].content = 6;
    }),
];

#[test]
fn impossible_graphs_are_refused_before_any_group_is_decoded() {
    for (expected, damage) in INVALID_GRAPHS {
        let (scene, mut making) = scene_of(&plain_graph());
        damage(&mut making.recipes);
        let error = scene.apply(&making, "oci:x").unwrap_err();
        assert!(matches!(error, Error::BadInput { .. }), "{expected}: {error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(scene.visible().is_empty());
    }
}

#[test]
fn a_target_stream_that_is_made_later_is_one_of_the_base() {
    let (scene, mut making) = scene_of(&plain_graph());
    let later = making.recipes[1].0.target;
    making.recipes[0].0.sources.push(later);
    let error = scene.apply(&making, "oci:x").unwrap_err();
    let Error::BaseMissing { missing, .. } = error else { panic!("{error}") };
    assert_eq!(missing, [MissingLayer::Stream { diff_id: later.diff_id, layers: vec![1] }]);
}

#[test]
fn members_that_read_more_of_the_target_than_the_limit_are_refused() {
    let (scene, making) = scene_of(&plain_graph());
    let mut context = scene.context();
    context.limits.target_source_bytes = 100;
    let error = scene.apply_as(&making, "oci:x", LayerForm::Exact, &context).unwrap_err();
    let Error::OverLimit { name, limit: 100, .. } = error else { panic!("{error}") };
    assert_eq!(name, Some(LimitName::TargetSourceBytes));
    assert!(scene.visible().is_empty());
}

#[test]
fn a_digest_of_other_bytes_is_noticed() {
    let (scene, mut making) = scene_of(&plain_graph());
    making.recipes[0].0.digests[0].content = 1;
    let error = scene.apply(&making, "oci:x").unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
}
