//! dpkg's databases: the status file, distroless images' one-file-a-package, and file lists.
//!
//! Only the fields that matter are looked at; nothing is resolved between packages.

use super::{
    Content, Database, Ecosystem, Files, Package,
    package::{some_text, text},
    path_list::{Budget, OVER, PathList, TOO_MANY},
};

pub(super) const DIRECTORY: &[u8] = b"var/lib/dpkg/";

/// What a path under [`DIRECTORY`] is.
pub(super) fn interest(rest: &[u8]) -> Option<Database> {
    if rest == b"status" {
        return Some(Database::DpkgStatus);
    }
    if let Some(name) = rest.strip_prefix(b"info/") {
        return (name.ends_with(b".list") && !name.contains(&b'/')).then_some(Database::DpkgList);
    }
    let name = rest.strip_prefix(b"status.d/")?;
    match name {
        b"" => None,
        name if name.contains(&b'/') => None,
        name if name.ends_with(b".md5sums") => Some(Database::DpkgSums),
        _ => Some(Database::DpkgStatus),
    }
}

/// Reads stanzas. `is_alone`: one file for one package, where being there is being installed.
pub(super) fn read_status(payload: &[u8], is_alone: bool, budget: &mut Budget) -> Content {
    let mut packages = Vec::new();
    let mut nameless_stanzas = 0usize;
    let mut stanza = Stanza::default();
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
            return Content::new(packages, Some(TOO_MANY.into()));
        }
        match stanza.package() {
            Some(package) => packages.push(package),
            None => nameless_stanzas += 1,
        }
    }
    let flaw = if nameless_stanzas > 0 {
        Some(format!("{nameless_stanzas} of its stanzas lack a package's name or version"))
    } else if !payload.is_empty() && !payload.ends_with(b"\n") && !is_alone {
        // dpkg ends every line; the last version may be cut in the middle.
        Some("it ends within a line".into())
    } else {
        None
    };
    Content::new(packages, flaw)
}

/// The fields of one stanza that matter, as they lie there.
struct Stanza<'a> {
    is_empty: bool,
    name: &'a [u8],
    version: &'a [u8],
    architecture: &'a [u8],
    source: &'a [u8],
    status: &'a [u8],
}

impl Default for Stanza<'_> {
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

impl<'a> Stanza<'a> {
    fn field(&mut self, line: &'a [u8]) {
        self.is_empty = false;
        // Field names are compared without regard to case; all writers use this one.
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

    /// The third word of `install ok installed`.
    fn state(&self) -> &'a [u8] {
        self.status.rsplit(u8::is_ascii_whitespace).next().unwrap_or(b"")
    }

    /// Whether its files are in place. `config-files` is what remains of a removed package.
    fn is_installed(&self, is_alone: bool) -> bool {
        is_alone || !matches!(self.state(), b"not-installed" | b"config-files")
    }

    fn package(&self) -> Option<Package> {
        if self.name.is_empty() || self.version.is_empty() {
            return None;
        }
        let mut package =
            Package::new(Ecosystem::Dpkg, text(self.name), text(self.version), Files::ListedApart);
        package.architecture = some_text(self.architecture);
        // `name (version)` where the source's version differs.
        package.source = some_text(self.source.split(|&byte| byte == b' ').next().unwrap_or(b""));
        package.state = some_text(self.state()).filter(|state| state != "installed");
        Some(package)
    }
}

/// Reads a list of absolute paths, one a line, directories among them.
pub(super) fn read_list(payload: &[u8], budget: &mut Budget) -> Content {
    let mut list = PathList::new(budget);
    for line in payload.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        list.push(line);
    }
    finish(list)
}

/// Reads `md5  path` lines.
pub(super) fn read_sums(payload: &[u8], budget: &mut Budget) -> Content {
    let mut list = PathList::new(budget);
    for line in payload.split(|&byte| byte == b'\n') {
        if let Some(blank) = line.iter().position(|&byte| byte == b' ') {
            list.push(line[blank..].trim_ascii_start());
        }
    }
    finish(list)
}

fn finish(list: PathList<'_>) -> Content {
    match list.finish() {
        (paths, false) => Content::FileList(paths),
        (_, true) => Content::broken(OVER),
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
        let Content::Packages(packages) = read_status(STATUS, false, &mut Budget::default()) else {
            panic!("not broken")
        };
        assert_eq!(packages.len(), 2);
        let libc = &packages[0];
        assert_eq!((&*libc.name, &*libc.version), ("libc6", "2.36-9+deb12u10"));
        assert_eq!(libc.architecture.as_deref(), Some("amd64"));
        assert_eq!(libc.source.as_deref(), Some("glibc"));
        assert_eq!((libc.state.as_deref(), &libc.files), (None, &Files::ListedApart));
        assert_eq!(
            (&*packages[1].name, packages[1].state.as_deref()),
            ("half", Some("half-configured"))
        );
    }

    #[test]
    fn a_file_of_its_own_needs_no_status() {
        let content = read_status(b"Package: base\nVersion: 1", true, &mut Budget::default());
        assert_eq!(content, Content::Packages(content.packages().to_vec()));
        assert_eq!(content.packages()[0].name, "base");
    }

    #[test]
    fn cut_databases_keep_what_is_whole() {
        for cut in 1..STATUS.len() {
            let content = read_status(&STATUS[..cut], false, &mut Budget::default());
            if STATUS[cut - 1] != b'\n' {
                assert!(matches!(content, Content::Broken { .. }), "{cut}");
            }
            assert!(content.packages().len() <= 2);
        }
        let content = read_status(
            b"Package: a\nStatus: install ok installed\n\n",
            false,
            &mut Budget::default(),
        );
        assert_eq!(content, Content::broken("1 of its stanzas lack a package's name or version"));
    }

    #[test]
    fn lists_and_sums_name_files() {
        let paths = vec![LayerPath::parse(b"usr/bin/a b"), LayerPath::parse(b"usr/lib/c")];
        let list = b"/.\n/usr\n/usr/lib\n/usr/lib/c\n/usr/bin\n/usr/bin/a b\n";
        assert_eq!(read_list(list, &mut Budget::default()), Content::FileList(paths.clone()));
        let sums = b"0123  usr/bin/a b\n0123  usr/lib/c\n\nnothing\n";
        assert_eq!(read_sums(sums, &mut Budget::default()), Content::FileList(paths));
    }
}
