//! The mirror of a node, or its containerd, is killed at random moments: each pull succeeds, and
//! nothing is left.
//!
//! `tests/node/kills.sh` runs it with 50 kills, and then waits for the end of real leases. Without
//! `KILLS` there are five, and deleting the leases stands for their end.

mod node;

use imgdelta_testkit::{free_port, has, registry::RegistryFault};
use node::{LAYERS, MirrorProcess, Node};
use std::{
    env,
    time::{Duration, Instant, SystemTime},
};

#[test]
fn a_mirror_that_is_killed_at_any_moment_harms_no_pull_and_leaves_nothing() {
    if !has(&["containerd", "ctr"]) {
        return;
    }
    let mut moments = Moments::new();
    let node = Node::start();
    let baseline = node.counts();
    // Undisturbed pulls show how long one takes; the first reads the program from the disk.
    let times = [(); 2].map(|()| {
        let round = node.round(None);
        assert_eq!(round.whole_layers, 0, "an upgrade by delta");
        node.end_leases();
        assert_eq!(node.counts(), baseline);
        round.time
    });
    moments.longest = times[1].mul_f64(1.1);
    let kills = moments.kills;
    let mut held = 0;
    for kill in 1..=kills {
        let moment = moments.next();
        let round = node.round(Some(moment));
        held += u64::from(round.was_held);
        println!(
            "kill {kill:2} after {:4} ms: {}, layers staged {} of {LAYERS}, fetched whole {}",
            moment.as_millis(),
            if round.was_held { "manifest held  " } else { "no manifest held" },
            LAYERS - round.whole_layers,
            round.whole_layers
        );
        // The last leases are left to end by themselves.
        if !moments.is_long || kill + 5 < kills {
            node.end_leases();
            assert_eq!(node.counts(), baseline, "kill {kill}");
        }
    }
    println!("{held} of {kills} kills met a held manifest");
    assert!(held > 0 || kills < 20, "no kill met a held manifest");
    if moments.is_long {
        node.await_leases();
    }
    node.end_leases();
    assert_eq!(node.counts(), baseline, "snapshots, blobs, unfinished blobs");
    node.is_clean_after_clean();
}

#[test]
fn a_containerd_that_is_killed_at_any_moment_has_no_wrong_layer_and_pulls_again() {
    if !has(&["containerd", "ctr"]) {
        return;
    }
    let mut moments = Moments::new();
    let mut node = Node::start();
    let baseline = node.counts();
    // One mirror for all: its connection ends with each containerd.
    let mirror = MirrorProcess::start(&node.config(free_port()));
    let started = Instant::now();
    node.containerd.kubelet_pull(&node.name(1));
    moments.longest = started.elapsed();
    let mut held = 0;
    for kill in 1..=moments.kills {
        node.remove(&node.target);
        node.end_all_leases();
        let unfinished = node.containerd.ingests();
        assert_eq!(node.counts(), baseline, "before kill {kill}: {unfinished:?}");
        let moment = moments.next();
        std::thread::scope(|scope| {
            let pull = scope.spawn(|| node.containerd.try_kubelet_pull(&node.name(1), None));
            std::thread::sleep(moment);
            held += u64::from(mirror.is_holding());
            node.containerd.kill();
            // It may have ended before.
            drop(pull.join().unwrap());
        });
        node.containerd.restart();
        assert!(node.snapshots().is_subset(&node.chains), "kill {kill}");
        node.containerd.kubelet_pull(&node.name(1));
        node.is_right();
        println!("kill {kill:2} of containerd after {:4} ms", moment.as_millis());
    }
    println!("{held} of {} kills met a held manifest", moments.kills);
    drop(mirror);
    node.remove(&node.target);
    node.end_all_leases();
    assert_eq!(node.counts(), baseline, "snapshots, blobs, unfinished blobs");
}

#[test]
fn a_mirror_that_is_killed_while_it_passes_layers_on_harms_no_pull() {
    if !has(&["containerd", "ctr"]) {
        return;
    }
    let mut moments = Moments::new();
    let node = Node::start();
    // Without a base each layer is passed on whole, and this takes a while.
    node.remove(&node.base);
    node.end_leases();
    let pace = RegistryFault::Pace(64 << 10, Duration::from_millis(20));
    node.registry.fault("GET", "/blobs/", usize::MAX, pace);
    moments.longest = node.round(None).time;
    let before = node.registry.requests().len();
    for kill in 1..=moments.kills {
        let moment = moments.next();
        let round = node.round(Some(moment));
        assert_eq!(round.whole_layers, LAYERS, "kill {kill}");
        node.end_leases();
        assert_eq!(node.counts(), [0, 0, 0], "kill {kill}");
        println!("kill {kill:2} of the mirror after {:4} ms", moment.as_millis());
    }
    let requests = node.registry.requests().split_off(before);
    let is_rest = |range: &String| range.starts_with("bytes=") && !range.starts_with("bytes=0-");
    let rests = requests.iter().filter(|one| one.headers.get("range").is_some_and(is_rest));
    println!("{} rests of layers were fetched from the registry itself", rests.count());
}

/// Random moments of a pull.
struct Moments {
    kills: u64,
    /// True if the number of kills was given.
    is_long: bool,
    longest: Duration,
    state: u64,
}

impl Moments {
    fn new() -> Self {
        let given = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
        let seed = given("SEED").unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos())
        });
        let (kills, is_long) = (given("KILLS").unwrap_or(5), given("KILLS").is_some());
        println!("{kills} kills, SEED={seed}");
        Self { kills, is_long, longest: Duration::ZERO, state: seed | 1 }
    }

    fn next(&mut self) -> Duration {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        // The upper bits of the state as a part of one.
        let part = f64::from(u32::try_from(self.state >> 32).unwrap()) / f64::from(u32::MAX);
        self.longest.mul_f64(part)
    }
}
