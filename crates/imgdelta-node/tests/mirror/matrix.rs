//! Pulls of every kind through the mirror, in each of its modes, by the containerd of the machine.
//!
//! `tests/node/matrix.sh` runs these tests with other versions of containerd, and prints the rows as
//! a table. The gate leaves out the mode that serves blobs to a node that discards them.

use super::{
    site::{App, Login, NAMESPACE, Site, SiteSettings},
    *,
};
use imgdelta_testkit::{
    ContainerdProcess, has,
    registry::{RegistryAuth, RegistryBehaviour},
    wait_until,
};
use std::{collections::BTreeSet, path::Path};

const PATIENCE: Duration = Duration::from_secs(120);

/// True to discard unpacked layers, and the mirror's `blobs`.
fn modes() -> Vec<(bool, &'static str)> {
    let mut modes = vec![(false, "none"), (true, "none"), (false, "exact")];
    if std::env::var_os("IMGDELTA_MATRIX").is_some() {
        modes.push((true, "exact"));
    }
    let text = "[rebuild]\nblobs = 'keep'\n[[registry]]\nhost = 'r'\n";
    if Config::parse(text, "node.toml").is_ok() {
        modes.push((false, "keep"));
        modes.push((true, "keep"));
    }
    modes
}

fn settings((discards_layers, blobs): (bool, &str)) -> SiteSettings {
    SiteSettings { discards_layers, blobs: blobs.to_owned(), ..SiteSettings::default() }
}

/// Prints a row of the table of `tests/node/matrix.sh`.
fn row((discards_layers, blobs): (bool, &str), case: &str, outcome: &str) {
    let version = ContainerdProcess::version();
    let discards = if discards_layers { "on" } else { "off" };
    println!("matrix;{version};{discards};{blobs};{case};{outcome}");
}

/// Pulls the newer version, and compares the runtime's requests with those of an upgrade by delta.
/// `extra` are further paths that this kind of pull fetches.
fn upgrade(site: &Site, mode: (bool, &str), case: &str, pull: &Pull<'_>) {
    let Pull { repository, name, app, login, extra } = pull;
    let rebuilt = site.status().rebuilt;
    let fetched = site.pull(name, *login);
    let mut expected = Site::small_objects(repository, app);
    expected.extend(extra.iter().cloned());
    let layers = app.image().blobs();
    let is_layer = |path: &&String| {
        let digest = path.rsplit('/').next().unwrap();
        layers.by_digest.contains_key(digest) && !expected.contains(*path)
    };
    // Bases of a mirror that serves blobs are blobs, which such a node does not keep.
    let is_whole = mode == (true, "exact");
    if is_whole {
        assert!(fetched.iter().any(|path| is_layer(&path)), "{mode:?} {case}: {fetched:?}");
        let small: BTreeSet<_> = fetched.iter().filter(|path| !is_layer(path)).cloned().collect();
        assert_eq!(small, expected, "{mode:?} {case}");
    } else {
        assert_eq!(fetched, expected, "{mode:?} {case}: {:?}", site.status());
        assert_eq!(site.status().rebuilt, rebuilt + 1, "{mode:?} {case}");
    }
    site.has_files(name, app);
    row(mode, case, if is_whole { "whole" } else { "delta" });
}

struct Pull<'a> {
    repository: &'a str,
    name: &'a str,
    app: &'a App,
    login: Login<'a>,
    extra: &'a [String],
}

/// True if the content store has all blobs of an image.
fn is_complete(site: &Site, name: &str) -> bool {
    let images = site.containerd.ctr(NAMESPACE, "images check");
    images.lines().any(|line| line.starts_with(name) && line.contains(" complete ("))
}

/// Runs a program of the machine in a container of an image; returns the version that it prints.
fn run(site: &Site, name: &str, id: &str) -> String {
    let mounts = ["/usr", "/lib", "/lib64"].into_iter().filter(|path| Path::new(path).exists());
    let mounts: Vec<String> = mounts
        .map(|path| format!("--mount type=bind,src={path},dst={path},options=rbind:ro"))
        .collect();
    let line = format!("run --rm {} {name} {id} /usr/bin/cat /etc/version", mounts.join(" "));
    site.containerd.ctr(NAMESPACE, &line)
}

#[test]
fn public_images_are_upgraded_by_tag_by_digest_by_index_and_with_zstd_and_then_stay_and_run() {
    if !has(&["containerd", "ctr", "runc"]) {
        return;
    }
    for mode in modes() {
        let mut site = Site::start(settings(mode)).unwrap();
        let zstd = App::pair(33).map(|app| App { packing: Packing::Zstd, ..app });
        let all = [
            ("demo/tag", App::pair(30)),
            ("demo/digest", App::pair(31)),
            ("demo/index", App::pair(32)),
            ("demo/zstd", zstd),
        ];
        for (repository, apps) in &all {
            site.add(repository, apps, None);
            site.pull_base(repository, None);
        }
        site.start_mirror();
        let [by_tag, by_digest, by_index, with_zstd] = all.map(|(_, apps)| apps);
        let pull = |case: &str, repository: &str, app: &App, name: &str, extra: &[String]| {
            let pull = Pull { repository, name, app, login: None, extra };
            upgrade(&site, mode, case, &pull);
        };
        let name = site.name("demo/tag", "v1");
        pull("by tag", "demo/tag", &by_tag[1], &name, &[]);
        let digested = format!("{}/demo/digest@{}", site.registry.host(), by_digest[1].digest());
        pull("by digest", "demo/digest", &by_digest[1], &digested, &[]);
        let index = site.add_index("demo/index", &by_index[1], "all");
        let index = format!("/v2/demo/index/manifests/{index}");
        let indexed = site.name("demo/index", "all");
        pull("index of platforms", "demo/index", &by_index[1], &indexed, &[index]);
        let packed = site.name("demo/zstd", "v1");
        pull("zstd layers", "demo/zstd", &with_zstd[1], &packed, &[]);

        if mode == (false, "keep") {
            let names = [&name, &digested, &indexed, &packed];
            wait_until("the blobs were added", PATIENCE, || {
                names.iter().all(|name| is_complete(&site, name))
            });
            row(mode, "blobs added after the pull", "complete");
        }

        // The older images go, garbage is collected, containerd starts again.
        for app in [&by_tag, &by_digest, &by_index, &with_zstd] {
            site.remove_image(&app[0]);
        }
        site.end_leases();
        site.containerd.restart();
        let new = [
            (&name, &by_tag),
            (&digested, &by_digest),
            (&indexed, &by_index),
            (&packed, &with_zstd),
        ];
        for (number, (name, apps)) in new.into_iter().enumerate() {
            site.has_files(name, &apps[1]);
            assert_eq!(run(&site, name, &format!("run-{number}")), "1");
        }
        row(mode, "runs after collection, removal of the old image, restart", "yes");
        let before = site.registry.requests().len();
        site.containerd.try_kubelet_pull(&name, None).unwrap();
        let requests = site.runtime_requests(before);
        assert!(requests.len() == 1 && requests[0].method == "HEAD", "{requests:?}");
        row(mode, "pulled again", "one HEAD");
        site.has_no_other_snapshots(&[&by_tag[1], &by_digest[1], &by_index[1], &with_zstd[1]]);
        site.ends_empty();
    }
}

#[test]
fn private_images_need_the_secret_of_their_tenant_in_each_pull() {
    for mode in modes() {
        let tenants = [("blue", "sky"), ("green", "grass")];
        let users = tenants.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let auth = RegistryAuth::Tenants(users.to_vec());
        let registry = RegistryBehaviour { auth, ..RegistryBehaviour::default() };
        let Some(mut site) = Site::start(SiteSettings { registry, ..settings(mode) }) else {
            return;
        };
        let all = [App::pair(40), App::pair(41)];
        for ((user, password), apps) in tenants.into_iter().zip(&all) {
            site.add(&format!("{user}/app"), apps, Some((user, password)));
            site.pull_base(&format!("{user}/app"), Some((user, password)));
        }
        site.start_mirror();
        let [blue, green] = tenants.map(|(user, _)| site.name(&format!("{user}/app"), "v1"));
        let is_refused = |name: &str, login: Login<'_>| {
            let before = site.registry.requests().len();
            site.containerd.try_kubelet_pull(name, login).unwrap_err();
            assert_eq!(site.fetched(before), BTreeSet::new(), "{mode:?}");
        };
        for login in [None, Some(("blue", "grass")), Some(tenants[1])] {
            is_refused(&blue, login);
        }
        assert_eq!((site.status().rebuilt, site.status().failed), (0, 0), "{mode:?}");
        row(mode, "private, Basic, wrong secret", "refused");
        for (number, (user, password)) in tenants.into_iter().enumerate() {
            let repository = format!("{user}/app");
            let name = site.name(&repository, "v1");
            let login = Some((user, password));
            let app = &all[number][1];
            let pull = Pull { repository: &repository, name: &name, app, login, extra: &[] };
            upgrade(&site, mode, &format!("private, Basic, tenant {user}"), &pull);
        }
        // The layers are on the node, and the mirror has rebuilt them.
        is_refused(&blue, Some(tenants[1]));
        is_refused(&green, Some(tenants[0]));
        let layer = all[0][1].image().blobs();
        for digest in layer.by_digest.keys() {
            for (kind, name) in [("blobs", digest.as_str()), ("manifests", "v1")] {
                let path = format!("/v2/blue/app/{kind}/{name}");
                // green:grass
                let header = ("Authorization", "Basic Z3JlZW46Z3Jhc3M=");
                assert_eq!(site.mirror().request("GET", &path, &[header]).status, 401);
            }
        }
        row(mode, "another tenant's image, rebuilt before", "refused");
        site.has_no_other_snapshots(&all.iter().flatten().collect::<Vec<_>>());
        site.ends_empty();
    }
}

#[test]
fn private_images_behind_a_token_server_are_upgraded_with_the_token_of_the_runtime() {
    for mode in modes() {
        let user = Some(("user".to_owned(), "secret".to_owned()));
        let auth = RegistryAuth::Bearer { user, uses: 1000 };
        let registry = RegistryBehaviour { auth, ..RegistryBehaviour::default() };
        let Some(mut site) = Site::start(SiteSettings { registry, ..settings(mode) }) else {
            return;
        };
        let (apps, login) = (App::pair(42), Some(("user", "secret")));
        site.add("team/app", &apps, login);
        site.pull_base("team/app", login);
        site.start_mirror();
        let name = site.name("team/app", "v1");
        for wrong in [None, Some(("user", "other"))] {
            let before = site.registry.requests().len();
            site.containerd.try_kubelet_pull(&name, wrong).unwrap_err();
            assert_eq!(site.fetched(before), BTreeSet::new(), "{mode:?}");
        }
        row(mode, "private, Bearer, wrong secret", "refused");
        let extra = ["/token".to_owned()];
        let pull =
            Pull { repository: "team/app", name: &name, app: &apps[1], login, extra: &extra };
        upgrade(&site, mode, "private, Bearer", &pull);
        site.ends_empty();
    }
}
