//! Any bytes as a package database of any kind: findings, never a panic, and they survive storing.
#![no_main]

use imgdelta_core::path::LayerPath;
use imgdelta_packages::{Finding, Inventory, interest, read, read_findings, write_findings};
use libfuzzer_sys::fuzz_target;

const DATABASES: [&str; 12] = [
    "var/lib/dpkg/status",
    "var/lib/dpkg/status.d/base",
    "var/lib/dpkg/status.d/base.md5sums",
    "var/lib/dpkg/info/base.list",
    "lib/apk/db/installed",
    "var/lib/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/Packages.db",
    "var/lib/rpm/Packages",
    "usr/lib/python3/dist-packages/a-1.dist-info/METADATA",
    "usr/lib/python3/dist-packages/a-1.dist-info/RECORD",
    "usr/lib/python3/dist-packages/a-1.egg-info/PKG-INFO",
    "app/node_modules/a/package.json",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((&which, payload)) = bytes.split_first() else { return };
    let path = LayerPath::parse(DATABASES[usize::from(which) % DATABASES.len()].as_bytes());
    let database = interest(&path).expect("every path of the list is a database");
    let content = read(database, &path, payload);
    let findings = [Finding { entry: 7, content }];
    let stored = write_findings(&findings);
    assert_eq!(read_findings(&stored).as_deref(), Some(&findings[..]));
    let _ = Inventory::collect([(&path, &findings[0].content)].into_iter());
    let _ = read_findings(payload);
});
