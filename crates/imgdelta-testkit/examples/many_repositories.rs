//! A registry of made-up repositories for measurements, in a process of its own.
//!
//!     cargo run --release -p imgdelta-testkit --example many_repositories -- REPOSITORIES TAGS MILLISECONDS [LAYER_BYTES]
//!
//! Fills `team/app00000` and so on with the tags v1, v2, …, waits that long before each answer, and prints
//! its host. The images of a repository have one layer of that many bytes, which changes a little with
//! each tag, and one below it that all share. Commands, one a line, each with one line as the answer:
//!
//! | command | answer |
//! |---|---|
//! | `make NUMBER TAG` | `made`: the image is there, and its repository does not have it yet |
//! | `push NUMBER TAG` | `pushed` |
//! | `count` | requests, those of lists of tags, bytes of fetched blobs, bytes of the distinct ones among them |
//! | `forget` | `forgotten`: the counts start from zero |

use imgdelta_testkit::{
    Blobs, Packing, TestImage, noise,
    registry::{RegistryBehaviour, RegistryFault, TestRegistry},
    tar_of,
};
use std::{collections::BTreeMap, io::BufRead, time::Duration};

struct Scene {
    registry: TestRegistry,
    pause: Duration,
    shared: Vec<u8>,
    layer_bytes: usize,
    /// Images that were made and not pushed, by repository and tag.
    made: BTreeMap<(usize, usize), Blobs>,
}

impl Scene {
    fn make(&self, repository: usize, tag: usize) -> Blobs {
        let mut program = noise(repository as u64 + 7, self.layer_bytes);
        // A piece in each hundredth of the layer differs between any two tags.
        for (at, piece) in program.chunks_mut((self.layer_bytes / 100).max(16)).enumerate() {
            let mark = (repository * 1_000_000 + tag * 1000 + at) as u64;
            piece[..8].copy_from_slice(&mark.to_le_bytes());
        }
        let layers = if self.layer_bytes < SMALL {
            vec![tar_of(&[("program", &program)])]
        } else {
            vec![self.shared.clone(), tar_of(&[("program", &program)])]
        };
        let packing = if self.layer_bytes < SMALL { Packing::Plain } else { Packing::Gzip };
        let mut blobs = Blobs::default();
        let root = TestImage::new(layers, packing).store(&mut blobs);
        blobs.tag(root, &format!("v{tag}"));
        blobs
    }

    fn push(&mut self, repository: usize, tag: usize) {
        let made = self.made.remove(&(repository, tag));
        let blobs = made.unwrap_or_else(|| self.make(repository, tag));
        self.registry.put_image(&format!("team/app{repository:05}"), &blobs);
    }

    /// Each answer takes the pause.
    fn slow_down(&self) {
        if self.pause > Duration::ZERO {
            let slow = RegistryFault::Slow(self.pause);
            self.registry.fault("*", "/v2/", usize::MAX, slow);
        }
    }

    fn count(&self) -> String {
        let requests = self.registry.requests();
        let lists = requests.iter().filter(|seen| seen.path.ends_with("/tags/list")).count();
        let mut distinct = BTreeMap::new();
        let mut fetched = 0;
        for seen in requests.iter().filter(|seen| seen.path.contains("/blobs/")) {
            fetched += seen.sent_bytes;
            let largest: &mut usize = distinct.entry(seen.path.rsplit('/').next()).or_default();
            *largest = (*largest).max(seen.sent_bytes);
        }
        format!("{} {lists} {fetched} {}", requests.len(), distinct.values().sum::<usize>())
    }
}

fn main() {
    let words: Vec<usize> =
        std::env::args().skip(1).map(|word| word.parse().expect("a number")).collect();
    let [repositories, tags, pause, ..] = words[..] else { panic!("see the head of the file") };
    let behaviour = RegistryBehaviour { page_entries: 1000, ..RegistryBehaviour::default() };
    let layer_bytes = words.get(3).copied().unwrap_or(64);
    let mut scene = Scene {
        registry: TestRegistry::start(behaviour),
        pause: Duration::from_millis(pause as u64),
        shared: tar_of(&[("shared", &noise(1, layer_bytes))]),
        layer_bytes,
        made: BTreeMap::new(),
    };
    for repository in 0..repositories {
        (1..=tags).for_each(|tag| scene.push(repository, tag));
    }
    scene.slow_down();
    println!("{}", scene.registry.host());
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("text");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [order @ ("make" | "push"), repository, tag] => {
                let number = |word: &str| word.parse().expect("a number");
                let (repository, tag) = (number(repository), number(tag));
                if order == "push" {
                    scene.push(repository, tag);
                    println!("pushed");
                } else {
                    let blobs = scene.make(repository, tag);
                    scene.made.insert((repository, tag), blobs);
                    println!("made");
                }
            }
            ["count"] => println!("{}", scene.count()),
            ["forget"] => {
                scene.registry.forget();
                scene.slow_down();
                println!("forgotten");
            }
            _ => println!("?"),
        }
    }
}

/// Images below this size are for scans, which read no layer.
const SMALL: usize = 4096;
