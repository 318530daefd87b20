//! Faults around a real containerd: full disks, hostile deltas, damaged bases, servers that vanish.
//!
//! After each, the pull succeeds as soon as it can, every file is right, every snapshot has the name
//! of its content, and nothing is left on the node once its images and leases are gone.

use super::{
    site::{App, NAMESPACE, Site, SiteSettings},
    *,
};
use imgdelta_testkit::{
    SmallDisk,
    registry::{RegistryBehaviour, RegistryFault},
    wait_until,
};
use std::fs;

const REPOSITORY: &str = "team/app";
const PATIENCE: Duration = Duration::from_secs(60);

/// Compares the newer version on the node with the app, and empties the node.
fn is_right(site: Site, apps: &[App; 2]) {
    site.has_files(&site.name(REPOSITORY, "v1"), &apps[1]);
    site.has_no_other_snapshots(&[&apps[0], &apps[1]]);
    site.ends_empty();
}

#[test]
fn a_full_disk_of_the_mirror_leaves_a_whole_pull() {
    let apps = App::pair(1);
    for blobs in ["none", "exact"] {
        let disk = SmallDisk::mount(64 << 10);
        let work = Some(disk.path().join("work"));
        let settings = SiteSettings { blobs: blobs.into(), work, ..SiteSettings::default() };
        let Some(site) = Site::with_base(settings, REPOSITORY, &apps) else { return };
        site.pull(&site.name(REPOSITORY, "v1"), None);
        let status = site.status();
        assert_eq!((status.rebuilt, status.failed), (0, 1), "{blobs}: {status:?}");
        assert_eq!((status.held, status.running), (0, 0));
        for folder in fs::read_dir(site.work()).unwrap().map(|item| item.unwrap().path()) {
            if folder.is_dir() {
                assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{}", folder.display());
            }
        }
        is_right(site, &apps);
    }
}

#[test]
fn a_full_disk_of_containerd_stages_nothing_and_room_lets_the_pull_succeed() {
    let disk = SmallDisk::mount(64 << 20);
    let apps = [0, 1].map(|version| App::new(2, version, 3_000_000));
    let root = Some(disk.path().join("root"));
    let settings = SiteSettings { root, ..SiteSettings::default() };
    let Some(site) = Site::with_base(settings, REPOSITORY, &apps) else { return };
    // Room for a part of the layer's stream.
    disk.resize(disk.used_bytes() + (1 << 20));
    let name = site.name(REPOSITORY, "v1");
    let refused = site.containerd.try_kubelet_pull(&name, None).unwrap_err();
    assert!(refused.contains("no space left"), "{refused}");
    assert_eq!(site.status().rebuilt, 0);
    site.has_no_other_snapshots(&[&apps[0]]);
    disk.resize(64 << 20);
    site.pull(&name, None);
    is_right(site, &apps);
}

#[test]
fn hostile_deltas_next_to_an_image_leave_whole_pulls() {
    let Some(mut site) = Site::start(SiteSettings::default()) else { return };
    let mut targets = Vec::new();
    for number in 0..3 {
        let files = vec![("bin/program", noise(50 + number, 2_000_000))];
        let target = App { layers: vec![files], packing: Packing::Plain };
        let stream = &target.image().layers[0];
        let forged = &imgdelta_forge::beside(stream)[usize::try_from(number).unwrap()];
        let repository = format!("team/hostile-{number}");
        site.registry.put_image(&repository, &forged.image(vec![stream.clone()]));
        let target_name = site.name(&repository, "v1");
        let delta = Delta::open(Arc::new(forged.bytes()), "forged", &Limits::default()).unwrap();
        push(&delta, &target_name, Credentials::none());
        // No file system takes the base's longest path; as a base it is not unpacked.
        let mut base = imgdelta_forge::base_image();
        base.roots[0]["annotations"]["org.opencontainers.image.ref.name"] = "base".into();
        let archive = site.work().with_extension("tar");
        fs::write(&archive, base.archive()).unwrap();
        let base_name = format!("{}/{repository}", site.registry.host());
        let line =
            format!("images import --no-unpack --base-name {base_name} {}", archive.display());
        site.containerd.ctr(NAMESPACE, &line);
        targets.push((target_name, target));
    }
    site.start_mirror();
    for (name, target) in &targets {
        site.pull(name, None);
        site.has_files(name, target);
    }
    let status = site.status();
    assert_eq!((status.rebuilt, status.failed), (0, 3), "{status:?}");
    let targets: Vec<&App> = targets.iter().map(|(_, target)| target).collect();
    site.has_no_other_snapshots(&targets);
    site.ends_empty();
}

#[test]
fn a_changed_file_in_the_snapshot_of_the_base_leaves_a_whole_pull() {
    let apps = App::pair(3);
    let settings = SiteSettings { discards_layers: true, ..SiteSettings::default() };
    let Some(site) = Site::with_base(settings, REPOSITORY, &apps) else { return };
    let file = site.containerd.snapshot_file("bin/program");
    let mut bytes = fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    fs::write(&file, &bytes).unwrap();
    site.pull(&site.name(REPOSITORY, "v1"), None);
    let status = site.status();
    assert_eq!((status.rebuilt, status.failed), (0, 1), "{status:?}");
    is_right(site, &apps);
}

#[test]
fn frames_of_another_layer_leave_a_whole_pull() {
    let apps = App::pair(4);
    let settings = SiteSettings { discards_layers: true, ..SiteSettings::default() };
    let Some(site) = Site::with_base(settings, REPOSITORY, &apps) else { return };
    let frames = fs::read_dir(site.work().join("frames")).unwrap();
    let frames: Vec<_> = frames.map(|item| item.unwrap().path()).filter(|p| p.is_file()).collect();
    assert_eq!(frames.len(), 2, "{frames:?}");
    let [first, second] = [0, 1].map(|at| fs::read(&frames[at]).unwrap());
    fs::write(&frames[0], second).unwrap();
    fs::write(&frames[1], first).unwrap();
    site.pull(&site.name(REPOSITORY, "v1"), None);
    let status = site.status();
    assert_eq!(status.rebuilt, 0, "{status:?}");
    is_right(site, &apps);
}

#[test]
fn a_registry_that_vanishes_after_the_manifest_fails_the_pull_and_the_next_one_succeeds() {
    let apps = App::pair(5);
    let Some(site) = Site::with_base(SiteSettings::default(), REPOSITORY, &apps) else { return };
    for part in ["/referrers/", "/blobs/"] {
        site.registry.fault("*", part, 10_000, RegistryFault::Reset);
    }
    let name = site.name(REPOSITORY, "v1");
    let before = site.registry.requests().len();
    site.containerd.try_kubelet_pull(&name, None).unwrap_err();
    let manifest = format!("/v2/{REPOSITORY}/manifests/{}", apps[1].digest());
    assert!(site.fetched(before).contains(&manifest), "the manifest was answered");
    assert_eq!(site.status().rebuilt, 0);
    site.has_no_other_snapshots(&[&apps[0]]);
    site.registry.forget();
    site.pull(&name, None);
    is_right(site, &apps);
}

#[test]
fn a_restart_of_containerd_while_a_manifest_is_held_leaves_a_node_that_pulls() {
    // The rebuild waits for the registry when containerd is killed: for the list of deltas, and for
    // the delta, when the store of layers is open already.
    for (seed, part) in [(6, "/referrers/"), (8, "/blobs/")] {
        let apps = App::pair(seed);
        let settings = SiteSettings::default();
        let Some(mut site) = Site::with_base(settings, REPOSITORY, &apps) else { return };
        let before = site.registry.requests().len();
        site.registry.fault("GET", part, 3, RegistryFault::Slow(Duration::from_secs(1)));
        let path = format!("/v2/{REPOSITORY}/manifests/v1?ns={}", site.registry.host());
        let mut connection = TcpStream::connect(site.mirror().address).unwrap();
        write!(connection, "GET {path} HTTP/1.1\r\nHost: m\r\nAccept: {ACCEPT}\r\n\r\n").unwrap();
        wait_until("the manifest is held", PATIENCE, || site.status().held == 1);
        if part == "/blobs/" {
            let is_list = |path: &str| path.contains("/referrers/");
            let requests = || site.registry.requests().split_off(before);
            wait_until("the list of deltas is there", PATIENCE, || {
                requests().iter().any(|request| is_list(&request.path))
            });
        }
        site.containerd.restart();
        let answer = Answer::read(&mut connection);
        let digest = imgdelta_testkit::sha256(&answer.body);
        assert_eq!((answer.status, digest), (200, apps[1].digest()));
        assert_eq!((site.status().held, site.status().running), (0, 0));
        site.pull(&site.name(REPOSITORY, "v1"), None);
        is_right(site, &apps);
    }
}

#[test]
fn a_rebuild_that_goes_on_while_the_runtime_pulls_the_same_layers_harms_nothing() {
    let settings = SiteSettings { hold: "0s", ..SiteSettings::default() };
    let Some(mut site) = Site::start(settings) else { return };
    let all: Vec<[App; 2]> = (60..66).map(App::pair).collect();
    let repository = |number: usize| format!("team/race-{number}");
    for (number, apps) in all.iter().enumerate() {
        site.add(&repository(number), apps, None);
        site.pull_base(&repository(number), None);
    }
    site.start_mirror();
    for (number, apps) in all.iter().enumerate() {
        // Either of them is faster in some rounds: the runtime waits for its layers a little longer.
        let pause = Duration::from_millis(30 * number as u64);
        site.registry.fault("GET", "/blobs/", 20, RegistryFault::Slow(pause));
        let name = site.name(&repository(number), "v1");
        site.pull(&name, None);
        site.has_files(&name, &apps[1]);
        wait_until("the rebuild has ended", PATIENCE, || site.status().running == 0);
        site.registry.forget();
    }
    let status = site.status();
    // A rebuild that begins late finds all layers, and counts as none of these.
    assert!((1..=6).contains(&(status.rebuilt + status.whole)), "{status:?}");
    assert_eq!(status.failed, 0, "{status:?}");
    site.has_no_other_snapshots(&all.iter().flatten().collect::<Vec<_>>());
    site.ends_empty();
}

#[test]
fn a_stop_while_a_manifest_is_held_answers_it_and_later_pulls_go_to_the_registry() {
    let apps = App::pair(9);
    let Some(site) = Site::with_base(SiteSettings::default(), REPOSITORY, &apps) else { return };
    let slow = RegistryFault::Slow(Duration::from_secs(1));
    site.registry.fault("GET", "/referrers/", 1, slow);
    let name = site.name(REPOSITORY, "v1");
    let fetched = std::thread::scope(|scope| {
        let pull = scope.spawn(|| site.pull(&name, None));
        wait_until("the manifest is held", PATIENCE, || site.status().held == 1);
        site.mirror().stop.request(StopPhase::Finishing);
        pull.join().unwrap()
    });
    assert_eq!(fetched, Site::small_objects(REPOSITORY, &apps[1]));
    let files = site.containerd.registries().join(site.registry.host()).join("hosts.toml");
    assert!(!files.exists(), "containerd asks the registry itself");
    is_right(site, &apps);
}

#[test]
fn thirty_pulls_of_an_image_at_once_are_one_rebuild() {
    let apps = App::pair(7);
    let Some(site) = Site::with_base(SiteSettings::default(), REPOSITORY, &apps) else { return };
    let name = site.name(REPOSITORY, "v1");
    let before = site.registry.requests().len();
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..30).map(|_| scope.spawn(|| site.pull(&name, None))).collect();
        for pull in pulls {
            pull.join().unwrap();
        }
    });
    assert_eq!(site.fetched(before), Site::small_objects(REPOSITORY, &apps[1]));
    let status = site.status();
    assert_eq!((status.rebuilt, status.failed, status.held), (1, 0, 0), "{status:?}");
    is_right(site, &apps);
}

#[test]
fn thirty_pulls_of_three_images_at_once_are_three_rebuilds() {
    let all: Vec<[App; 2]> = (10..13).map(App::pair).collect();
    let Some(mut site) = Site::start(SiteSettings {
        registry: RegistryBehaviour::without_referrers(),
        ..SiteSettings::default()
    }) else {
        return;
    };
    let repository = |number: usize| format!("team/app-{number}");
    for (number, apps) in all.iter().enumerate() {
        site.add(&repository(number), apps, None);
        site.pull_base(&repository(number), None);
    }
    site.start_mirror();
    let names: Vec<String> = (0..3).map(|number| site.name(&repository(number), "v1")).collect();
    let before = site.registry.requests().len();
    std::thread::scope(|scope| {
        let pull = |number: usize| site.pull(&names[number % 3], None);
        let pulls: Vec<_> = (0..30).map(|number| scope.spawn(move || pull(number))).collect();
        for pull in pulls {
            pull.join().unwrap();
        }
    });
    let apps = all.iter().enumerate();
    let expected = apps.flat_map(|(n, apps)| Site::small_objects(&repository(n), &apps[1]));
    assert_eq!(site.fetched(before), expected.collect());
    let status = site.status();
    assert_eq!((status.rebuilt, status.failed, status.held), (3, 0, 0), "{status:?}");
    for (name, apps) in names.iter().zip(&all) {
        site.has_files(name, &apps[1]);
    }
    site.has_no_other_snapshots(&all.iter().flatten().collect::<Vec<_>>());
    site.ends_empty();
}
