//! Kills and failing system calls at every place of `create` and `apply`.
//!
//! A run that fails or is killed shows no incomplete file, and the next run succeeds and cleans up.
//! The quick table takes the first and the last call of each kind, and a few kills. The long one,
//! `cargo test -p imgdelta-cli --test faults -- --ignored --nocapture`, takes every call. Needs gcc.

mod scene;

use scene::{RunOutcome, Scene, Shim, WORKS, Work};
use std::collections::BTreeMap;

/// Errors of each kind of call, the most likely one first.
const ERRORS: [(&str, &[(&str, i32)]); 9] = [
    ("open", &[("EMFILE", 24), ("EIO", 5), ("EACCES", 13), ("ENOSPC", 28)]),
    ("write", &[("ENOSPC", 28), ("EIO", 5), ("EINTR", 4), ("EDQUOT", 122)]),
    ("rename", &[("EIO", 5), ("ENOSPC", 28), ("EXDEV", 18)]),
    ("link", &[("EPERM", 1), ("EIO", 5), ("EMLINK", 31)]),
    ("sync", &[("EIO", 5), ("ENOSPC", 28)]),
    ("truncate", &[("ENOSPC", 28), ("EIO", 5)]),
    ("mmap", &[("ENOMEM", 12), ("EAGAIN", 11)]),
    ("mkdir", &[("ENOSPC", 28), ("EROFS", 30)]),
    ("lock", &[("ENOLCK", 37), ("EIO", 5)]),
];

/// A command that ran without a fault: its outputs, and the number of its calls.
struct CleanRun {
    work: Work,
    before: BTreeMap<String, Vec<u8>>,
    after: BTreeMap<String, Vec<u8>>,
    counts: BTreeMap<String, usize>,
}

impl CleanRun {
    fn of(work: Work, shim: &Shim) -> Self {
        let scene = Scene::new(work);
        let before = scene.visible();
        let outcome = scene.run(shim, None);
        assert_eq!(outcome.status.code(), Some(0), "{}: {}", work.name, outcome.said);
        let mut counts = BTreeMap::new();
        for (kind, _) in scene.calls() {
            *counts.entry(kind).or_default() += 1;
            *counts.entry("any".to_owned()).or_default() += 1;
        }
        Self { work, before, after: scene.visible(), counts }
    }

    fn count(&self, kind: &str) -> usize {
        self.counts.get(kind).copied().unwrap_or_default()
    }

    /// Runs the command with a fault and again without one, and checks the files after each run.
    fn check(&self, shim: &Shim, point: &str) -> RunOutcome {
        let scene = Scene::new(self.work);
        let outcome = scene.run(shim, Some(point));
        let context = || format!("{}, {point}: {outcome:?}", self.work.name);
        let visible = scene.visible();
        for (name, content) in &visible {
            let is_whole = [&self.before, &self.after].iter().any(|w| w.get(name) == Some(content));
            assert!(is_whole, "{name} is incomplete: {}", context());
        }
        for name in self.before.keys() {
            assert!(visible.contains_key(name), "{name} is gone: {}", context());
        }
        if outcome.is_killed() {
            assert!(point.ends_with("kill"), "{}", context());
        } else {
            let code = outcome.status.code();
            assert!(code == Some(0) || code == Some(6), "{}", context());
            // Locks only keep others away.
            assert!(code == Some(0) || !point.starts_with("lock:"), "{}", context());
            assert!(!outcome.said.contains("panicked"), "{}", context());
            assert_eq!(scene.unfinished(), [""; 0], "{}", context());
            if code == Some(0) {
                assert!(visible == self.after, "success without its files: {}", context());
            }
        }
        assert_eq!(scene.scratch_files(), 0, "{}", context());
        let next = scene.run(shim, None);
        assert_eq!(next.status.code(), Some(0), "next run: {next:?}; {}", context());
        assert!(scene.visible() == self.after, "other files after the next run: {}", context());
        assert_eq!(scene.unfinished(), [""; 0], "after the next run: {}", context());
        outcome
    }
}

/// Runs the points of all commands; returns the numbers of kills and of failing calls.
fn run_table(
    shim: &Shim,
    kills: impl Fn(usize) -> Vec<usize>,
    faults: impl Fn(usize) -> Vec<usize>,
    errors_of_kind: usize,
) -> (usize, usize) {
    let (mut killed, mut failed) = (0, 0);
    for work in WORKS {
        let clean = CleanRun::of(work, shim);
        println!("{}: {:?}", work.name, clean.counts);
        for at in kills(clean.count("any")) {
            assert!(clean.check(shim, &format!("any:{at}:kill")).is_killed());
            killed += 1;
        }
        let mut codes = BTreeMap::new();
        for (kind, errors) in ERRORS {
            for at in faults(clean.count(kind)) {
                for (name, number) in errors.iter().take(errors_of_kind) {
                    let outcome = clean.check(shim, &format!("{kind}:{at}:{number}"));
                    let code = outcome.status.code().unwrap();
                    *codes.entry((kind, *name, code)).or_insert(0) += 1;
                    failed += 1;
                }
            }
        }
        for ((kind, error, code), count) in codes {
            println!("  {kind:8} {error:7} exit {code}: {count}");
        }
    }
    (killed, failed)
}

#[test]
fn after_a_kill_or_a_failing_call_nothing_torn_is_seen_and_the_next_run_succeeds() {
    let Some(shim) = Shim::compiled() else { return };
    let kills = |count: usize| (1..=4).map(|part| count * part / 4).collect();
    let faults = |count: usize| match count {
        0 => Vec::new(),
        1 => vec![1],
        _ => vec![1, count],
    };
    let (killed, failed) = run_table(&shim, kills, faults, 1);
    assert_eq!(killed, 4 * WORKS.len());
    assert!(failed >= 60, "{failed} failing calls");
}

#[test]
#[ignore = "runs every place: some minutes"]
fn every_call_fails_or_kills_once() {
    let Some(shim) = Shim::compiled() else { return };
    let all = |count: usize| (1..=count).collect();
    let (killed, failed) = run_table(&shim, all, all, 4);
    println!("{killed} kills, {failed} failing calls");
    assert!(killed >= 100 && failed >= 500, "{killed} kills, {failed} failing calls");
}

#[test]
fn an_interrupted_write_is_repeated() {
    let Some(shim) = Shim::compiled() else { return };
    for work in WORKS {
        let outcome = CleanRun::of(work, &shim).check(&shim, "write:1:4");
        assert_eq!(outcome.status.code(), Some(0), "{}: {}", work.name, outcome.said);
    }
}

#[test]
fn all_names_of_a_new_layout_are_synced_before_its_index_is_visible() {
    let Some(shim) = Shim::compiled() else { return };
    let work = WORKS.into_iter().find(|work| work.name == "apply to a new layout").unwrap();
    let scene = Scene::new(work);
    assert_eq!(scene.run(&shim, None).status.code(), Some(0));
    let calls = scene.calls();
    let out = scene.out().canonicalize().unwrap().display().to_string();
    let layout = format!("{out}/deep/layout");
    let at = |kind: &str, path: &str| {
        let found = calls.iter().rposition(|call| call.0 == kind && call.1 == path);
        found.unwrap_or_else(|| panic!("no {kind} of {path} in {calls:#?}"))
    };
    let is_between = |kind: &str, path: &str, first: usize, last: usize| {
        calls[first..last].iter().any(|call| call.0 == kind && call.1 == path)
    };
    let index = at("rename", &format!("{layout}/index.json"));
    for (directory, parent) in [
        (format!("{out}/deep"), out.clone()),
        (layout.clone(), format!("{out}/deep")),
        (format!("{layout}/blobs"), layout.clone()),
        (format!("{layout}/blobs/sha256"), format!("{layout}/blobs")),
    ] {
        let made = at("mkdir", &directory);
        assert!(is_between("sync", &parent, made, index), "{parent} after {directory}: {calls:#?}");
    }
    let version = at("link", &format!("{layout}/oci-layout"));
    assert!(version < at("mkdir", &format!("{layout}/blobs")), "oci-layout is the first file");
    assert!(is_between("sync", &layout, version, index));
    let blobs = format!("{layout}/blobs/sha256");
    let is_synced_before = |place: usize, directory: &str| {
        let (kind, path): &(String, String) = &calls[place - 1];
        kind == "sync" && path.starts_with(&format!("{directory}/.imgdelta-layout-"))
    };
    let mut renamed = 0;
    for (place, (kind, path)) in calls.iter().enumerate() {
        if kind == "rename" && path.starts_with(&blobs) {
            renamed += 1;
            assert!(is_synced_before(place, &blobs), "{path}: {calls:#?}");
            assert!(is_between("sync", &blobs, place, index), "{path}: {calls:#?}");
        }
    }
    assert!(renamed >= 4, "{renamed} blobs");
    assert!(is_synced_before(version, &layout) && is_synced_before(index, &layout));
    assert!(is_between("sync", &layout, index, calls.len()));
}

#[test]
fn directories_of_a_killed_run_are_synced_by_the_next_run() {
    let Some(shim) = Shim::compiled() else { return };
    let work = WORKS.into_iter().find(|work| work.name == "apply to a new layout").unwrap();
    let scene = Scene::new(work);
    // Both parents are created, and `blobs` is not.
    assert!(scene.run(&shim, Some("mkdir:3:kill")).is_killed());
    let earlier = scene.calls().len();
    assert_eq!(scene.run(&shim, None).status.code(), Some(0));
    let calls = &scene.calls()[earlier..];
    let out = scene.out().canonicalize().unwrap().display().to_string();
    assert!(!calls.contains(&("mkdir".into(), format!("{out}/deep/layout"))));
    let index = calls.iter().position(|call| call.1 == format!("{out}/deep/layout/index.json"));
    let synced = |path: String| calls[..index.unwrap()].contains(&("sync".into(), path));
    for directory in ["deep", "deep/layout", "deep/layout/blobs"] {
        assert!(synced(format!("{out}/{directory}")), "{directory}: {calls:#?}");
    }
}
