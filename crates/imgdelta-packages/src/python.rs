//! Reads Python distributions: their metadata, and the record of their files.
//! Never reads requirements, entry points or hashes.

use crate::{
    finding::DatabaseContent,
    package::{Ecosystem, Package, PackageFiles, text},
    path_list::{OVER, PathList, ReadBudget},
};
use imgdelta_core::path::LayerPath;
use std::borrow::Cow;

/// True if a path lies in a directory whose name ends with `suffix`, and this one in a directory of
/// distributions.
pub(crate) fn is_in_info(path: &[u8], suffix: &[u8]) -> bool {
    directory(path).is_some_and(|info| info.ends_with(suffix) && is_in_packages(info))
}

/// True if a path lies in a directory in which Python looks for distributions.
pub(crate) fn is_in_packages(path: &[u8]) -> bool {
    directory(path).is_some_and(|parent| {
        let name = parent.rsplit(|&byte| byte == b'/').next().unwrap_or(b"");
        name == b"site-packages" || name == b"dist-packages"
    })
}

fn directory(path: &[u8]) -> Option<&[u8]> {
    path.iter().rposition(|&byte| byte == b'/').map(|slash| &path[..slash])
}

/// Reads the headers of a `METADATA` or `PKG-INFO`.
pub(crate) fn read_metadata(path: &LayerPath, payload: &[u8]) -> DatabaseContent {
    let (mut name, mut version) = (&b""[..], &b""[..]);
    // The description follows the first empty line, and may say anything.
    for line in payload.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end) {
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (key, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() && key.eq_ignore_ascii_case(b"name") {
            name = value;
        } else if version.is_empty() && key.eq_ignore_ascii_case(b"version") {
            version = value;
        }
    }
    if name.is_empty() || version.is_empty() {
        return DatabaseContent::broken("the distribution's name or version is missing");
    }
    let files =
        if path.name() == b"METADATA" { PackageFiles::ListedApart } else { PackageFiles::Unknown };
    DatabaseContent::Packages(vec![Package::new(
        Ecosystem::Python,
        text(name),
        text(version),
        files,
    )])
}

/// Reads the first column of a `RECORD`: paths relative to the distribution's directory.
pub(crate) fn read_record(
    path: &LayerPath,
    payload: &[u8],
    budget: &mut ReadBudget,
) -> DatabaseContent {
    let site = path.parent().and_then(|info| info.parent()).unwrap_or_else(LayerPath::root);
    let mut list = PathList::new(budget);
    let mut rest = payload;
    while !rest.is_empty() {
        let Some(file) = take_first_field(&mut rest) else {
            return DatabaseContent::broken("a quoted name does not end");
        };
        match &*file {
            b"" => {}
            file @ [b'/', ..] => list.push(file),
            file => list.push_in(site.as_bytes(), file),
        }
    }
    match list.finish() {
        (paths, false) => DatabaseContent::FileList(paths),
        (_, true) => DatabaseContent::broken(OVER),
    }
}

/// Removes a line from the front, and returns its first field without quotes.
///
/// In a quoted field, `""` is a quote.
fn take_first_field<'a>(rest: &mut &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let line =
        |rest: &[u8]| rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
    let Some(mut quoted) = rest.strip_prefix(b"\"") else {
        let (first, after) = rest.split_at(line(rest));
        *rest = after;
        let field = first.split(|&byte| byte == b',').next()?;
        return Some(Cow::Borrowed(field.trim_ascii_end()));
    };
    let mut unquoted = Vec::new();
    loop {
        let end = quoted.iter().position(|&byte| byte == b'"')?;
        unquoted.extend_from_slice(&quoted[..end]);
        quoted = &quoted[end + 1..];
        match quoted.strip_prefix(b"\"") {
            Some(after) => {
                unquoted.push(b'"');
                quoted = after;
            }
            None => break,
        }
    }
    *rest = &quoted[line(quoted)..];
    Some(Cow::Owned(unquoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(spelling: &str) -> LayerPath {
        LayerPath::parse(spelling.as_bytes())
    }

    #[test]
    fn headers_give_name_and_version() {
        let metadata =
            b"Metadata-Version: 2.4\r\nName: Flask\r\nVersion: 3.1.1\r\n\r\nVersion: 9\r\n";
        let at = path("usr/lib/python3/site-packages/flask-3.1.1.dist-info/METADATA");
        let content = read_metadata(&at, metadata);
        let package = Package::new(
            Ecosystem::Python,
            "Flask".into(),
            "3.1.1".into(),
            PackageFiles::ListedApart,
        );
        assert_eq!(content, DatabaseContent::Packages(vec![package.clone()]));
        let at = path("usr/lib/python3/dist-packages/Flask.egg-info");
        let package = Package { files: PackageFiles::Unknown, ..package };
        assert_eq!(read_metadata(&at, metadata), DatabaseContent::Packages(vec![package]));
        for cut in 0..metadata.len() {
            let content = read_metadata(&at, &metadata[..cut]);
            assert_eq!(content.packages().is_empty(), cut < 46, "{cut}");
        }
    }

    #[test]
    fn records_give_files() {
        let record = b"../../../bin/flask,sha256=x,1\nflask/__init__.py,sha256=y,2\r\n\
            \"flask/odd, \"\"name\"\".py\",sha256=z,3\n/etc/flask,,\nflask-3.dist-info/RECORD,,";
        let at = path("usr/lib/python3/site-packages/flask-3.dist-info/RECORD");
        let DatabaseContent::FileList(paths) = read_record(&at, record, &mut ReadBudget::default())
        else {
            panic!("not broken")
        };
        let paths: Vec<_> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(
            paths,
            [
                "/etc/flask",
                "/usr/bin/flask",
                "/usr/lib/python3/site-packages/flask/__init__.py",
                "/usr/lib/python3/site-packages/flask/odd, \"name\".py",
                "/usr/lib/python3/site-packages/flask-3.dist-info/RECORD",
            ]
        );
        let broken = read_record(&at, b"\"a,b\nc", &mut ReadBudget::default());
        assert_eq!(broken, DatabaseContent::broken("a quoted name does not end"));
    }
}
