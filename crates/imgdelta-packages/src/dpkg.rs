//! Reads dpkg's databases: the status file, the status files of distroless images, file lists.
//! Never resolves dependencies between packages.

use crate::{
    finding::DatabaseContent,
    kind::DatabaseKind,
    package::{Ecosystem, Package, PackageFiles, some_text, text},
    path_list::{OVER, PathList, ReadBudget, TOO_MANY},
};

pub(crate) const DIRECTORY: &[u8] = b"var/lib/dpkg/";

/// Returns the kind of a database file by its path below [`DIRECTORY`].
pub(crate) fn interest(rest: &[u8]) -> Option<DatabaseKind> {
    if rest == b"status" {
        return Some(DatabaseKind::DpkgStatus);
    }
    if let Some(name) = rest.strip_prefix(b"info/") {
        return (name.ends_with(b".list") && !name.contains(&b'/'))
            .then_some(DatabaseKind::DpkgList);
    }
    let name = rest.strip_prefix(b"status.d/")?;
    match name {
        b"" => None,
        name if name.contains(&b'/') => None,
        name if name.ends_with(b".md5sums") => Some(DatabaseKind::DpkgSums),
        _ => Some(DatabaseKind::DpkgStatus),
    }
}

/// Reads stanzas. If `is_alone`, the file has one package, which needs no status to be installed.
pub(crate) fn read_status(
    payload: &[u8],
    is_alone: bool,
    budget: &mut ReadBudget,
) -> DatabaseContent {
    let mut packages = Vec::new();
    let mut nameless_stanzas = 0usize;
    let mut stanza = StatusStanza::default();
    // The empty line behind the last one ends the last stanza.
    for line in payload.split(|&byte| byte == b'\n').chain([&b""[..]]) {
        if !line.trim_ascii().is_empty() {
            stanza.field(line);
            continue;
        }
        let stanza = std::mem::take(&mut stanza);
        if stanza.is_empty || !stanza.is_installed(is_alone) {
            continue;
        }
        if !budget.admit_package() {
            return DatabaseContent::new(packages, Some(TOO_MANY.into()));
        }
        match stanza.package() {
            Some(package) => packages.push(package),
            None => nameless_stanzas += 1,
        }
    }
    let flaw = if nameless_stanzas > 0 {
        let (stanzas, lack) =
            if nameless_stanzas == 1 { ("stanza", "lacks") } else { ("stanzas", "lack") };
        Some(format!("{nameless_stanzas} {stanzas} {lack} a package's name or version"))
    } else if !payload.is_empty() && !payload.ends_with(b"\n") && !is_alone {
        // dpkg ends every line with a newline, so the last value may be cut.
        Some("it ends within a line".into())
    } else {
        None
    };
    DatabaseContent::new(packages, flaw)
}

/// The relevant fields of one stanza.
struct StatusStanza<'a> {
    is_empty: bool,
    name: &'a [u8],
    version: &'a [u8],
    architecture: &'a [u8],
    source: &'a [u8],
    status: &'a [u8],
}

impl Default for StatusStanza<'_> {
    fn default() -> Self {
        Self {
            is_empty: true,
            name: b"",
            version: b"",
            architecture: b"",
            source: b"",
            status: b"",
        }
    }
}

impl<'a> StatusStanza<'a> {
    fn field(&mut self, line: &'a [u8]) {
        self.is_empty = false;
        // The format ignores the case of field names, but all writers use this one.
        let (slot, key) = match line.first() {
            Some(b'P') => (&mut self.name, &b"Package:"[..]),
            Some(b'V') => (&mut self.version, &b"Version:"[..]),
            Some(b'A') => (&mut self.architecture, &b"Architecture:"[..]),
            Some(b'S') if line.starts_with(b"So") => (&mut self.source, &b"Source:"[..]),
            Some(b'S') => (&mut self.status, &b"Status:"[..]),
            _ => return,
        };
        if let Some(value) = line.strip_prefix(key) {
            *slot = value.trim_ascii();
        }
    }

    /// Returns the last word of the status: `installed` in `install ok installed`.
    fn state(&self) -> &'a [u8] {
        self.status.rsplit(u8::is_ascii_whitespace).next().unwrap_or(b"")
    }

    /// True if the package's files are in place. A removed package has the state `config-files`.
    fn is_installed(&self, is_alone: bool) -> bool {
        is_alone || !matches!(self.state(), b"not-installed" | b"config-files")
    }

    fn package(&self) -> Option<Package> {
        if self.name.is_empty() || self.version.is_empty() {
            return None;
        }
        let mut package = Package::new(
            Ecosystem::Dpkg,
            text(self.name),
            text(self.version),
            PackageFiles::ListedApart,
        );
        package.architecture = some_text(self.architecture);
        // The field is `name (version)` if the source has another version.
        package.source = some_text(self.source.split(|&byte| byte == b' ').next().unwrap_or(b""));
        package.state = some_text(self.state()).filter(|state| state != "installed");
        Some(package)
    }
}

/// Reads absolute paths, one per line, with directories among them.
pub(crate) fn read_list(payload: &[u8], budget: &mut ReadBudget) -> DatabaseContent {
    let mut list = PathList::new(budget);
    for line in payload.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        list.push(line);
    }
    finish(list)
}

/// Reads `md5  path` lines.
pub(crate) fn read_sums(payload: &[u8], budget: &mut ReadBudget) -> DatabaseContent {
    let mut list = PathList::new(budget);
    for line in payload.split(|&byte| byte == b'\n') {
        if let Some(blank) = line.iter().position(|&byte| byte == b' ') {
            list.push(line[blank..].trim_ascii_start());
        }
    }
    finish(list)
}

fn finish(list: PathList<'_>) -> DatabaseContent {
    match list.finish() {
        (paths, false) => DatabaseContent::FileList(paths),
        (_, true) => DatabaseContent::broken(OVER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_core::path::LayerPath;

    const STATUS: &[u8] = b"Package: libc6\nStatus: install ok installed\nPriority: optional\n\
        Architecture: amd64\nMulti-Arch: same\nSource: glibc (2.36-9+deb12u1)\nVersion: 2.36-9+deb12u10\n\
        Description: GNU C Library: Shared libraries\n Contains the standard libraries.\n .\n Version: 9\n\n\
        Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n\n\
        Package: half\nStatus: install ok half-configured\nVersion: 1:2~rc1-3\nArchitecture: all\n\n";

    #[test]
    fn installed_stanzas_become_packages() {
        let DatabaseContent::Packages(packages) =
            read_status(STATUS, false, &mut ReadBudget::default())
        else {
            panic!("not broken")
        };
        assert_eq!(packages.len(), 2);
        let libc = &packages[0];
        assert_eq!((&*libc.name, &*libc.version), ("libc6", "2.36-9+deb12u10"));
        assert_eq!(libc.architecture.as_deref(), Some("amd64"));
        assert_eq!(libc.source.as_deref(), Some("glibc"));
        assert_eq!((libc.state.as_deref(), &libc.files), (None, &PackageFiles::ListedApart));
        assert_eq!(
            (&*packages[1].name, packages[1].state.as_deref()),
            ("half", Some("half-configured"))
        );
    }

    #[test]
    fn a_file_for_one_package_needs_no_status() {
        let content = read_status(b"Package: base\nVersion: 1", true, &mut ReadBudget::default());
        let DatabaseContent::Packages(packages) = content else { panic!("not broken") };
        assert_eq!(packages.len(), 1);
        assert_eq!(packages[0].name, "base");
    }

    #[test]
    fn cut_databases_keep_whole_packages() {
        for cut in 1..STATUS.len() {
            let content = read_status(&STATUS[..cut], false, &mut ReadBudget::default());
            if STATUS[cut - 1] != b'\n' {
                assert!(matches!(content, DatabaseContent::Broken { .. }), "{cut}");
            }
            let names: Vec<_> = content.packages().iter().map(|package| &*package.name).collect();
            assert!(["libc6", "half"].starts_with(&names), "{cut}: {names:?}");
        }
        let content = read_status(
            b"Package: a\nStatus: install ok installed\n\n",
            false,
            &mut ReadBudget::default(),
        );
        assert_eq!(content, DatabaseContent::broken("1 stanza lacks a package's name or version"));
    }

    #[test]
    fn lists_and_sums_name_files() {
        let paths = vec![LayerPath::parse(b"usr/bin/a b"), LayerPath::parse(b"usr/lib/c")];
        let list = b"/.\n/usr\n/usr/lib\n/usr/lib/c\n/usr/bin\n/usr/bin/a b\n";
        assert_eq!(
            read_list(list, &mut ReadBudget::default()),
            DatabaseContent::FileList(paths.clone())
        );
        let sums = b"0123  usr/bin/a b\n0123  usr/lib/c\n\nnothing\n";
        assert_eq!(read_sums(sums, &mut ReadBudget::default()), DatabaseContent::FileList(paths));
    }
}
