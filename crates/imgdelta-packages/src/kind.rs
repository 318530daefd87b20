//! The kinds of package database files.
//! Never looks at a path or at bytes.

/// Kind of a package database file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatabaseKind {
    /// `var/lib/dpkg/status`, or the file of one package in `var/lib/dpkg/status.d/`.
    DpkgStatus,
    /// `var/lib/dpkg/info/NAME[:ARCH].list`.
    DpkgList,
    /// `var/lib/dpkg/status.d/NAME.md5sums`.
    DpkgSums,
    /// `lib/apk/db/installed`.
    ApkInstalled,
    /// `rpmdb.sqlite`.
    RpmSqlite,
    /// The write-ahead log of `rpmdb.sqlite`.
    RpmSqliteLog,
    /// `Packages.db` of SUSE.
    RpmNdb,
    /// `Packages`, the Berkeley DB of older releases.
    RpmBerkeley,
    /// `METADATA` of a `.dist-info`, `PKG-INFO` of an `.egg-info`, or an `.egg-info` file.
    PythonMetadata,
    /// `RECORD` of a `.dist-info`.
    PythonRecord,
    /// `package.json` in a package's directory under `node_modules`.
    NodePackage,
}
