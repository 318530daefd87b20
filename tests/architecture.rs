//! Holds the imports to ARCHITECTURE.md: crates depend on lower floors, rooms on lower levels.
//!
//! Reads text, compiles nothing: `crate::room` outside of tests, and dependencies in manifests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Rows of a table whose first cell is a number: the names in backticks of the second, with it.
fn levels(page: &str, heading: &str) -> BTreeMap<String, u32> {
    let section = page.split(heading).nth(1).expect("the section is there");
    let section = section.split("\n## ").next().expect("a split yields something");
    let mut levels = BTreeMap::new();
    for line in section.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(Ok(level)) = cells.get(1).map(|cell| cell.parse::<u32>()) else { continue };
        for name in cells[2].split('`').skip(1).step_by(2) {
            levels.insert(name.to_owned(), level);
        }
    }
    assert!(levels.len() > 3, "no table under {heading}");
    levels
}

fn page() -> String {
    fs::read_to_string(imgdelta_tests::top().join("ARCHITECTURE.md")).unwrap()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found
}

/// The rooms a source text names by `crate::room`, tests left out.
fn rooms_named(source: &str) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().expect("a split yields something");
    let mut rooms = BTreeSet::new();
    for (at, _) in source.match_indices("crate::") {
        // `imgdelta_format::`, `super::crate::` do not end in a bare `crate`.
        let is_bare =
            !source[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        let rest = &source[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => top_level_names(group),
            None => vec![rest],
        };
        for name in names {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            if is_bare && name.starts_with(|c: char| c.is_ascii_lowercase()) {
                rooms.insert(name[..end].to_owned());
            }
        }
    }
    rooms
}

/// The items of `use crate::{…}` that do not lie in inner braces.
fn top_level_names(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(group[start..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(group[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn rooms_of_the_core_import_downwards_only() {
    import_downwards_only("## The rooms of the core", "crates/imgdelta/src");
}

#[test]
fn rooms_of_the_job_import_downwards_only() {
    import_downwards_only("| level | rooms of `imgdelta-job` |", "crates/imgdelta-job/src");
}

fn import_downwards_only(heading: &str, source: &str) {
    let levels = levels(&page(), heading);
    let source = imgdelta_tests::top().join(source);
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&source) {
        let inside = file.strip_prefix(&source).unwrap();
        let room = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let room = room.trim_end_matches(".rs");
        if room == "lib" {
            continue;
        }
        seen.insert(room.to_owned());
        let Some(level) = levels.get(room) else {
            wrong.push(format!("{room} has no row in ARCHITECTURE.md"));
            continue;
        };
        for other in rooms_named(&fs::read_to_string(&file).unwrap()) {
            match levels.get(&other) {
                _ if other == room => {}
                Some(lower) if lower < level => {}
                found => wrong.push(format!(
                    "{}: level {level} imports {other}, level {found:?}",
                    inside.display()
                )),
            }
        }
    }
    for room in levels.keys().filter(|room| !seen.contains(*room)) {
        wrong.push(format!("{room} has a row in ARCHITECTURE.md and no file"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_depend_on_lower_floors_only() {
    let floors = levels(&page(), "## The floors");
    let mut wrong = Vec::new();
    for dir in fs::read_dir(imgdelta_tests::top().join("crates")).unwrap() {
        let manifest = fs::read_to_string(dir.unwrap().path().join("Cargo.toml")).unwrap();
        let name = manifest.split('"').nth(1).unwrap();
        let Some(floor) = floors.get(name) else {
            wrong.push(format!("{name} has no row in ARCHITECTURE.md"));
            continue;
        };
        // Tests may look anywhere.
        let product = manifest.split("[dev-dependencies]").next().unwrap();
        for other in product.lines().filter_map(|line| line.split(['.', ' ', '=']).next()) {
            let is_higher = floors.get(other).is_some_and(|other| other >= floor);
            if is_higher && other != name {
                wrong.push(format!("{name} depends on {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_them_all() {
    let source = "use crate::{Error, path::{LayerPath, escaped}, index::Entry};\nuse crate::verify;\n\
                  fn f(x: crate::store::Name) {}\n#[cfg(test)]\nmod tests { use crate::diff; }";
    let rooms: Vec<String> = rooms_named(source).into_iter().collect();
    assert_eq!(rooms, ["index", "path", "store", "verify"]);
}
