//! Reads apk's database of installed packages, in which a letter names each field.
//! Never reads checksums, owners or modes.
//!
//! A directory line (`F:`) precedes the lines of its files (`R:`).

use crate::{
    finding::DatabaseContent,
    package::{Ecosystem, Package, PackageFiles, some_text, text},
    path_list::{OVER, PathList, ReadBudget, TOO_MANY},
};

pub(crate) const DATABASES: [&[u8]; 2] = [b"lib/apk/db/installed", b"usr/lib/apk/db/installed"];

/// Reads records that end with an empty line.
pub(crate) fn read(payload: &[u8], budget: &mut ReadBudget) -> DatabaseContent {
    let mut packages = Vec::new();
    let mut flaw = None;
    let mut lines = payload.split(|&byte| byte == b'\n').peekable();
    while lines.peek().is_some() {
        let record = lines.by_ref().take_while(|line| !line.is_empty());
        match read_record(record, budget, &mut flaw) {
            ApkRecord::Package(package) if budget.admit_package() => packages.push(package),
            ApkRecord::Package(_) => flaw = Some(TOO_MANY),
            ApkRecord::Empty => {}
            ApkRecord::Nameless => flaw = Some("a record lacks a package's name or version"),
        }
    }
    if !payload.is_empty() && !payload.ends_with(b"\n") {
        flaw = flaw.or(Some("it ends within a line"));
    }
    DatabaseContent::new(packages, flaw.map(Into::into))
}

enum ApkRecord {
    Package(Package),
    Empty,
    Nameless,
}

fn read_record<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    budget: &mut ReadBudget,
    flaw: &mut Option<&'static str>,
) -> ApkRecord {
    let mut is_empty = true;
    let (mut name, mut version, mut architecture, mut origin) =
        (&b""[..], &b""[..], &b""[..], &b""[..]);
    let mut directory = &b""[..];
    let mut files = PathList::new(budget);
    for line in lines {
        is_empty = false;
        match line {
            [b'P', b':', value @ ..] => name = value,
            [b'V', b':', value @ ..] => version = value,
            [b'A', b':', value @ ..] => architecture = value,
            [b'o', b':', value @ ..] => origin = value,
            [b'F', b':', value @ ..] => directory = value,
            [b'R', b':', value @ ..] => files.push_in(directory, value),
            _ => {}
        }
    }
    if is_empty {
        return ApkRecord::Empty;
    }
    if name.is_empty() || version.is_empty() {
        return ApkRecord::Nameless;
    }
    let (files, is_over) = files.finish();
    if is_over {
        *flaw = Some(OVER);
    }
    let mut package =
        Package::new(Ecosystem::Apk, text(name), text(version), PackageFiles::Listed(files));
    package.architecture = some_text(architecture);
    package.source = some_text(origin);
    ApkRecord::Package(package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_core::path::LayerPath;

    const INSTALLED: &[u8] = b"C:Q1abc=\nP:musl\nV:1.2.5-r9\nA:x86_64\nS:1\nT:the musl c library\n\
        o:musl\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nZ:Q1x=\nR:libc.musl-x86_64.so.1\n\n\
        C:Q1def=\nP:none\nV:0-r0\nA:noarch\nF:\nR:root-file\n\n";

    #[test]
    fn records_become_packages_with_their_files() {
        let DatabaseContent::Packages(packages) = read(INSTALLED, &mut ReadBudget::default())
        else {
            panic!("not broken")
        };
        assert_eq!(packages.len(), 2);
        let musl = &packages[0];
        assert_eq!((&*musl.name, &*musl.version), ("musl", "1.2.5-r9"));
        assert_eq!(musl.architecture.as_deref(), Some("x86_64"));
        assert_eq!(musl.source.as_deref(), Some("musl"));
        let files = ["lib/ld-musl-x86_64.so.1", "lib/libc.musl-x86_64.so.1"];
        assert_eq!(
            musl.files,
            PackageFiles::Listed(files.map(|file| LayerPath::parse(file.as_bytes())).into())
        );
        assert_eq!(packages[1].files, PackageFiles::Listed(vec![LayerPath::parse(b"root-file")]));
    }

    #[test]
    fn cut_databases_keep_whole_packages() {
        for cut in 1..INSTALLED.len() {
            let content = read(&INSTALLED[..cut], &mut ReadBudget::default());
            if INSTALLED[cut - 1] != b'\n' {
                assert!(matches!(content, DatabaseContent::Broken { .. }), "{cut}");
            }
            assert_eq!(content.packages().is_empty(), cut < 19, "{cut}");
        }
    }
}
