//! Recognises package databases by their paths, and calls their parsers.
//! Never looks at other entries of the layer.

use crate::{
    apk, dpkg, finding::DatabaseContent, kind::DatabaseKind, ndb, node, path_list::ReadBudget,
    python, rpm, sqlite::SqliteFile,
};
use imgdelta_core::path::LayerPath;

/// Returns the kind of package database that a path is, if any.
///
/// It is called for every entry of every layer; for nearly all, the last component decides.
pub fn interest(path: &LayerPath) -> Option<DatabaseKind> {
    let bytes = path.as_bytes();
    match path.name() {
        b"package.json" => node::package_directory(bytes).map(|_| DatabaseKind::NodePackage),
        b"METADATA" => {
            python::is_in_info(bytes, b".dist-info").then_some(DatabaseKind::PythonMetadata)
        }
        b"RECORD" => python::is_in_info(bytes, b".dist-info").then_some(DatabaseKind::PythonRecord),
        b"PKG-INFO" => {
            python::is_in_info(bytes, b".egg-info").then_some(DatabaseKind::PythonMetadata)
        }
        b"installed" => apk::DATABASES.contains(&bytes).then_some(DatabaseKind::ApkInstalled),
        b"rpmdb.sqlite" => rpm::is_in_database(bytes).then_some(DatabaseKind::RpmSqlite),
        b"rpmdb.sqlite-wal" => rpm::is_in_database(bytes).then_some(DatabaseKind::RpmSqliteLog),
        b"Packages.db" => rpm::is_in_database(bytes).then_some(DatabaseKind::RpmNdb),
        b"Packages" => rpm::is_in_database(bytes).then_some(DatabaseKind::RpmBerkeley),
        _ if bytes.starts_with(dpkg::DIRECTORY) => dpkg::interest(&bytes[dpkg::DIRECTORY.len()..]),
        name if name.ends_with(b".egg-info") => {
            python::is_in_packages(bytes).then_some(DatabaseKind::PythonMetadata)
        }
        _ => None,
    }
}

/// Returns the content of a database file; an unreadable one is [`DatabaseContent::Broken`].
///
/// `path` is the path of the file, to which a list of files may be relative.
pub fn read(database: DatabaseKind, path: &LayerPath, payload: &[u8]) -> DatabaseContent {
    read_within(database, path, payload, &mut ReadBudget::default())
}

/// Returns the content of a database file, within a budget that several files share.
pub(crate) fn read_within(
    database: DatabaseKind,
    path: &LayerPath,
    payload: &[u8],
    budget: &mut ReadBudget,
) -> DatabaseContent {
    match database {
        DatabaseKind::DpkgStatus => {
            let is_alone = path.name() != b"status";
            dpkg::read_status(payload, is_alone, budget)
        }
        DatabaseKind::DpkgList => dpkg::read_list(payload, budget),
        DatabaseKind::DpkgSums => dpkg::read_sums(payload, budget),
        DatabaseKind::ApkInstalled => apk::read(payload, budget),
        DatabaseKind::RpmSqlite => match SqliteFile::open(payload) {
            Ok(database) => rpm::read(&database.blobs_of("Packages"), budget),
            Err(flaw) => DatabaseContent::broken(flaw),
        },
        // Its pages replace those of the database, which may lie in another layer. Images usually
        // have an empty log, since rpm moves its pages to the database at the end.
        DatabaseKind::RpmSqliteLog if payload.is_empty() => DatabaseContent::Packages(Vec::new()),
        DatabaseKind::RpmSqliteLog => DatabaseContent::broken(
            "this write-ahead log may have changes that are not in the database next to it",
        ),
        DatabaseKind::RpmNdb => rpm::read(&ndb::blobs(payload), budget),
        DatabaseKind::RpmBerkeley => DatabaseContent::broken(
            "an rpm database in Berkeley DB format, which is not read: its packages are missing",
        ),
        DatabaseKind::PythonMetadata => python::read_metadata(path, payload),
        DatabaseKind::PythonRecord => python::read_record(path, payload, budget),
        DatabaseKind::NodePackage => node::read(path, payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn databases_are_recognised_by_their_paths() {
        for (path, database) in [
            ("var/lib/dpkg/status", Some(DatabaseKind::DpkgStatus)),
            ("var/lib/dpkg/status-old", None),
            ("var/lib/dpkg/status.d/libc6", Some(DatabaseKind::DpkgStatus)),
            ("var/lib/dpkg/status.d/libc6.md5sums", Some(DatabaseKind::DpkgSums)),
            ("var/lib/dpkg/status.d/more/libc6", None),
            ("var/lib/dpkg/info/libc6:amd64.list", Some(DatabaseKind::DpkgList)),
            ("var/lib/dpkg/info/libc6:amd64.md5sums", None),
            ("lib/apk/db/installed", Some(DatabaseKind::ApkInstalled)),
            ("usr/lib/apk/db/installed", Some(DatabaseKind::ApkInstalled)),
            ("opt/installed", None),
            ("var/lib/rpm/rpmdb.sqlite", Some(DatabaseKind::RpmSqlite)),
            ("usr/lib/sysimage/rpm/rpmdb.sqlite", Some(DatabaseKind::RpmSqlite)),
            ("usr/lib/sysimage/rpm/Packages.db", Some(DatabaseKind::RpmNdb)),
            ("var/lib/rpm/Packages", Some(DatabaseKind::RpmBerkeley)),
            ("srv/Packages", None),
            (
                "v/lib/python3/site-packages/a-1.dist-info/METADATA",
                Some(DatabaseKind::PythonMetadata),
            ),
            ("v/lib/python3/dist-packages/a-1.dist-info/RECORD", Some(DatabaseKind::PythonRecord)),
            (
                "usr/lib/python3/dist-packages/a.egg-info/PKG-INFO",
                Some(DatabaseKind::PythonMetadata),
            ),
            ("usr/lib/python3/dist-packages/a-1.egg-info", Some(DatabaseKind::PythonMetadata)),
            ("src/a-1.dist-info/METADATA", None),
            ("src/a.egg-info", None),
            ("app/node_modules/a/package.json", Some(DatabaseKind::NodePackage)),
            ("app/node_modules/@s/a/package.json", Some(DatabaseKind::NodePackage)),
            ("app/node_modules/a/node_modules/b/package.json", Some(DatabaseKind::NodePackage)),
            ("node_modules/a/package.json", Some(DatabaseKind::NodePackage)),
            ("app/node_modules/a/esm/package.json", None),
            ("app/node_modules/@s/package.json", None),
            ("app/node_modules/package.json", None),
            ("app/package.json", None),
            ("", None),
        ] {
            assert_eq!(interest(&LayerPath::parse(path.as_bytes())), database, "{path}");
        }
    }

    const ALL: [(DatabaseKind, &str); 11] = [
        (DatabaseKind::DpkgStatus, "var/lib/dpkg/status"),
        (DatabaseKind::DpkgList, "var/lib/dpkg/info/a.list"),
        (DatabaseKind::DpkgSums, "var/lib/dpkg/status.d/a.md5sums"),
        (DatabaseKind::ApkInstalled, "lib/apk/db/installed"),
        (DatabaseKind::RpmSqlite, "var/lib/rpm/rpmdb.sqlite"),
        (DatabaseKind::RpmSqliteLog, "var/lib/rpm/rpmdb.sqlite-wal"),
        (DatabaseKind::RpmNdb, "var/lib/rpm/Packages.db"),
        (DatabaseKind::RpmBerkeley, "var/lib/rpm/Packages"),
        (DatabaseKind::PythonMetadata, "site-packages/a-1.dist-info/METADATA"),
        (DatabaseKind::PythonRecord, "site-packages/a-1.dist-info/RECORD"),
        (DatabaseKind::NodePackage, "node_modules/a/package.json"),
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
