//! Which paths are package databases, and the one door to their parsers.
//!
//! A path is judged by its spelling alone; nothing here looks at other entries.

use super::{
    apk, dpkg, finding::Content, ndb, node, path_list::Budget, python, rpm, sqlite::Sqlite,
};
use imgdelta_core::path::LayerPath;

/// What kind of database file a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Database {
    /// `var/lib/dpkg/status`, or one package of it in `var/lib/dpkg/status.d/`.
    DpkgStatus,
    /// `var/lib/dpkg/info/NAME[:ARCH].list`.
    DpkgList,
    /// `var/lib/dpkg/status.d/NAME.md5sums`.
    DpkgSums,
    /// `lib/apk/db/installed`.
    ApkInstalled,
    /// `rpmdb.sqlite`.
    RpmSqlite,
    /// What was written to `rpmdb.sqlite` and not yet moved into it.
    RpmSqliteLog,
    /// SUSE's `Packages.db`.
    RpmNdb,
    /// `Packages`, the Berkeley DB of older releases.
    RpmBerkeley,
    /// `METADATA` of a `.dist-info`, `PKG-INFO` of an `.egg-info`, or an `.egg-info` file.
    PythonMetadata,
    /// `RECORD` of a `.dist-info`.
    PythonRecord,
    /// `package.json` directly in a package's directory under `node_modules`.
    NodePackage,
}

/// Returns what kind of package database a path is. Called for every entry of every layer:
/// nearly all leave after a look at the last part.
pub fn interest(path: &LayerPath) -> Option<Database> {
    let bytes = path.as_bytes();
    match path.name() {
        b"package.json" => node::package_directory(bytes).map(|_| Database::NodePackage),
        b"METADATA" => python::is_in_info(bytes, b".dist-info").then_some(Database::PythonMetadata),
        b"RECORD" => python::is_in_info(bytes, b".dist-info").then_some(Database::PythonRecord),
        b"PKG-INFO" => python::is_in_info(bytes, b".egg-info").then_some(Database::PythonMetadata),
        b"installed" => apk::DATABASES.contains(&bytes).then_some(Database::ApkInstalled),
        b"rpmdb.sqlite" => rpm::is_in_database(bytes).then_some(Database::RpmSqlite),
        b"rpmdb.sqlite-wal" => rpm::is_in_database(bytes).then_some(Database::RpmSqliteLog),
        b"Packages.db" => rpm::is_in_database(bytes).then_some(Database::RpmNdb),
        b"Packages" => rpm::is_in_database(bytes).then_some(Database::RpmBerkeley),
        _ if bytes.starts_with(dpkg::DIRECTORY) => dpkg::interest(&bytes[dpkg::DIRECTORY.len()..]),
        name if name.ends_with(b".egg-info") => {
            python::is_in_packages(bytes).then_some(Database::PythonMetadata)
        }
        _ => None,
    }
}

/// Returns what a database file says. It never fails: what cannot be read is
/// [`Content::Broken`]. `path` is that of the file, for what is relative to it.
pub fn read(database: Database, path: &LayerPath, payload: &[u8]) -> Content {
    read_within(database, path, payload, &mut Budget::default())
}

/// The same, with what it takes counted against a budget that several files share.
pub(super) fn read_within(
    database: Database,
    path: &LayerPath,
    payload: &[u8],
    budget: &mut Budget,
) -> Content {
    match database {
        Database::DpkgStatus => {
            let is_alone = path.name() != b"status";
            dpkg::read_status(payload, is_alone, budget)
        }
        Database::DpkgList => dpkg::read_list(payload, budget),
        Database::DpkgSums => dpkg::read_sums(payload, budget),
        Database::ApkInstalled => apk::read(payload, budget),
        Database::RpmSqlite => match Sqlite::open(payload) {
            Ok(database) => rpm::read(&database.blobs_of("Packages"), budget),
            Err(what) => Content::broken(what),
        },
        // Its pages belong over those of the database, which is another entry, maybe in another
        // layer. Images carry an empty one: rpm folds it in when it closes.
        Database::RpmSqliteLog if payload.is_empty() => Content::Packages(Vec::new()),
        Database::RpmSqliteLog => Content::broken(
            "changes may wait in this write-ahead log that the database beside it does not show",
        ),
        Database::RpmNdb => rpm::read(&ndb::blobs(payload), budget),
        Database::RpmBerkeley => Content::broken(
            "an rpm database in Berkeley DB format, which is not read: its packages are missing",
        ),
        Database::PythonMetadata => python::read_metadata(path, payload),
        Database::PythonRecord => python::read_record(path, payload, budget),
        Database::NodePackage => node::read(path, payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn databases_are_known_by_their_path() {
        for (path, database) in [
            ("var/lib/dpkg/status", Some(Database::DpkgStatus)),
            ("var/lib/dpkg/status-old", None),
            ("var/lib/dpkg/status.d/libc6", Some(Database::DpkgStatus)),
            ("var/lib/dpkg/status.d/libc6.md5sums", Some(Database::DpkgSums)),
            ("var/lib/dpkg/status.d/more/libc6", None),
            ("var/lib/dpkg/info/libc6:amd64.list", Some(Database::DpkgList)),
            ("var/lib/dpkg/info/libc6:amd64.md5sums", None),
            ("lib/apk/db/installed", Some(Database::ApkInstalled)),
            ("usr/lib/apk/db/installed", Some(Database::ApkInstalled)),
            ("opt/installed", None),
            ("var/lib/rpm/rpmdb.sqlite", Some(Database::RpmSqlite)),
            ("usr/lib/sysimage/rpm/rpmdb.sqlite", Some(Database::RpmSqlite)),
            ("usr/lib/sysimage/rpm/Packages.db", Some(Database::RpmNdb)),
            ("var/lib/rpm/Packages", Some(Database::RpmBerkeley)),
            ("srv/Packages", None),
            ("v/lib/python3/site-packages/a-1.dist-info/METADATA", Some(Database::PythonMetadata)),
            ("v/lib/python3/dist-packages/a-1.dist-info/RECORD", Some(Database::PythonRecord)),
            ("usr/lib/python3/dist-packages/a.egg-info/PKG-INFO", Some(Database::PythonMetadata)),
            ("usr/lib/python3/dist-packages/a-1.egg-info", Some(Database::PythonMetadata)),
            ("src/a-1.dist-info/METADATA", None),
            ("src/a.egg-info", None),
            ("app/node_modules/a/package.json", Some(Database::NodePackage)),
            ("app/node_modules/@s/a/package.json", Some(Database::NodePackage)),
            ("app/node_modules/a/node_modules/b/package.json", Some(Database::NodePackage)),
            ("node_modules/a/package.json", Some(Database::NodePackage)),
            ("app/node_modules/a/esm/package.json", None),
            ("app/node_modules/@s/package.json", None),
            ("app/node_modules/package.json", None),
            ("app/package.json", None),
            ("", None),
        ] {
            assert_eq!(interest(&LayerPath::parse(path.as_bytes())), database, "{path}");
        }
    }

    const ALL: [(Database, &str); 11] = [
        (Database::DpkgStatus, "var/lib/dpkg/status"),
        (Database::DpkgList, "var/lib/dpkg/info/a.list"),
        (Database::DpkgSums, "var/lib/dpkg/status.d/a.md5sums"),
        (Database::ApkInstalled, "lib/apk/db/installed"),
        (Database::RpmSqlite, "var/lib/rpm/rpmdb.sqlite"),
        (Database::RpmSqliteLog, "var/lib/rpm/rpmdb.sqlite-wal"),
        (Database::RpmNdb, "var/lib/rpm/Packages.db"),
        (Database::RpmBerkeley, "var/lib/rpm/Packages"),
        (Database::PythonMetadata, "site-packages/a-1.dist-info/METADATA"),
        (Database::PythonRecord, "site-packages/a-1.dist-info/RECORD"),
        (Database::NodePackage, "node_modules/a/package.json"),
    ];

    proptest! {
        #[test]
        fn no_bytes_panic(payload: Vec<u8>, tail: Vec<u8>) {
            for (database, path) in ALL {
                let path = LayerPath::parse(path.as_bytes());
                read(database, &path, &payload);
                for head in [&b"Package: a\nVersion: "[..], b"P:a\nV:1\nF:", b"SQLite format 3\0", b"RpmP"] {
                    read(database, &path, &[head, &tail].concat());
                }
            }
        }
    }
}
