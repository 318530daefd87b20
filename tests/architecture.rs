//! Holds the imports to ARCHITECTURE.md: crates depend on lower floors, modules on lower levels.
//!
//! Reads text, compiles nothing. Levels follow from the imports: a module that imports nothing is on
//! level 0, every other one above all that it imports. Modules that import each other have no level,
//! and fail the test. `IMGDELTA_WRITE=1` writes the table of levels into ARCHITECTURE.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

fn top() -> PathBuf {
    imgdelta_tests::top()
}

fn page() -> String {
    fs::read_to_string(top().join("ARCHITECTURE.md")).unwrap()
}

/// The crates in `crates/`, by name.
fn crates() -> BTreeMap<String, PathBuf> {
    let folders = fs::read_dir(top().join("crates")).unwrap().map(|item| item.unwrap().path());
    folders
        .map(|folder| (folder.file_name().unwrap().to_str().unwrap().to_owned(), folder))
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The text of a source file without its tests and comments.
fn product_code(file: &Path) -> String {
    let source = fs::read_to_string(file).unwrap();
    let product = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = product.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Modules that a text names directly below `prefix`, such as `crate::`.
fn modules_named(source: &str, prefix: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (at, _) in source.match_indices(prefix) {
        // `imgdelta_format::`, `super::super::` and `$crate::` do not begin with the prefix.
        let is_bare = !source[..at].ends_with(|c: char| c.is_alphanumeric() || "_$:".contains(c));
        let rest = &source[at + prefix.len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => top_level_names(group),
            None => vec![rest],
        };
        for name in names {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            if is_bare && name.starts_with(|c: char| c.is_ascii_lowercase()) {
                modules.insert(name[..end].to_owned());
            }
        }
    }
    modules
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

/// For each module of a folder, the modules next to it that it imports.
fn imports(folder: &Path, prefix: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    for file in rust_files(folder) {
        let inside = file.strip_prefix(folder).unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = module.trim_end_matches(".rs").to_owned();
        let is_test = inside.components().any(|part| part.as_os_str() == "tests")
            || inside.file_name().unwrap() == "tests.rs";
        // Only files directly in the folder see its modules through `super::`.
        let is_near = prefix == "crate::" || inside.components().count() == 1;
        if !["lib", "main", "mod"].contains(&&*module) && !is_test {
            let source = sources.entry(module).or_default();
            if is_near {
                source.push_str(&product_code(&file));
            }
        }
    }
    let names: BTreeSet<String> = sources.keys().cloned().collect();
    sources
        .into_iter()
        .map(|(module, source)| {
            let mut used = modules_named(&source, prefix);
            used.retain(|other| names.contains(other) && *other != module);
            (module, used)
        })
        .collect()
}

/// Sorts modules into levels; an error names those that import each other.
fn levels(imports: &BTreeMap<String, BTreeSet<String>>) -> Result<Vec<Vec<String>>, String> {
    let mut placed: BTreeSet<&String> = BTreeSet::new();
    let mut levels = Vec::new();
    while placed.len() < imports.len() {
        let level: Vec<&String> = imports
            .iter()
            .filter(|(module, used)| {
                !placed.contains(module) && used.iter().all(|other| placed.contains(other))
            })
            .map(|(module, _)| module)
            .collect();
        if level.is_empty() {
            let circle: Vec<&String> =
                imports.keys().filter(|module| !placed.contains(module)).collect();
            return Err(format!("these modules import each other, or depend on such: {circle:?}"));
        }
        placed.extend(&level);
        levels.push(level.into_iter().cloned().collect());
    }
    Ok(levels)
}

#[test]
fn modules_import_downwards_and_the_page_has_their_levels() {
    let mut table = String::from("\n| crate | level 0, then each level above\n|---|---|\n");
    table = table.replace("above\n", "above |\n");
    for (name, folder) in crates() {
        let levels = levels(&imports(&folder.join("src"), "crate::"));
        let levels = levels.unwrap_or_else(|circle| panic!("{name}: {circle}"));
        let cells: Vec<String> = levels
            .iter()
            .map(|level| {
                level.iter().map(|module| format!("`{module}`")).collect::<Vec<_>>().join(", ")
            })
            .collect();
        writeln!(table, "| `{name}` | {} |", cells.join(" → ")).unwrap();
    }
    let page = page();
    let (before, rest) = page.split_once(START).expect("the page has a table of levels");
    let (_, after) = rest.split_once(END).expect("the table of levels ends");
    let renewed = format!("{before}{START}{table}{END}{after}");
    if std::env::var_os("IMGDELTA_WRITE").is_some() {
        fs::write(top().join("ARCHITECTURE.md"), &renewed).unwrap();
    }
    assert!(page == renewed, "run this test with IMGDELTA_WRITE=1 to renew the table of levels");
}

#[test]
fn only_maps_of_files_are_unsafe() {
    let allowing = crates().into_values().flat_map(|folder| rust_files(&folder)).filter(|file| {
        let code = product_code(file);
        code.contains("unsafe_code") || code.contains("unsafe {") || code.contains("unsafe fn")
    });
    let allowing: Vec<PathBuf> = allowing.collect();
    assert_eq!(allowing, [top().join("crates/imgdelta-core/src/map.rs")]);
}

#[test]
fn files_of_a_folder_do_not_import_each_other_in_a_circle() {
    let mut wrong = Vec::new();
    for (name, folder) in crates() {
        for module in folders_below(&folder.join("src")) {
            if let Err(circle) = levels(&imports(&module, "super::")) {
                wrong.push(format!("{name}, {}: {circle}", module.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn folders_below(folder: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            folders.extend(folders_below(&path));
            folders.push(path);
        }
    }
    folders
}

/// Rows of the table of floors: each crate in backticks in the second cell, with its number.
fn floors() -> BTreeMap<String, u32> {
    let page = page();
    let section = page.split("## Floors").nth(1).expect("the page has floors");
    let section = section.split("\n## ").next().unwrap();
    let mut floors = BTreeMap::new();
    for line in section.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(Ok(floor)) = cells.get(1).map(|cell| cell.parse::<u32>()) else { continue };
        for name in cells[2].split('`').skip(1).step_by(2) {
            floors.insert(name.to_owned(), floor);
        }
    }
    floors
}

/// The crates of this project that a crate's product depends on.
fn dependencies(folder: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    // Tests may use any crate.
    let product = manifest.split("[dev-dependencies]").next().unwrap();
    let product = product.split("[dependencies]").nth(1).unwrap_or_default();
    let names = product.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| name.starts_with("imgdelta")).map(ToOwned::to_owned).collect()
}

#[test]
fn crates_depend_on_lower_floors_only() {
    let floors = floors();
    let mut wrong = Vec::new();
    for (name, folder) in crates() {
        let Some(floor) = floors.get(&name) else {
            wrong.push(format!("{name} has no row in ARCHITECTURE.md"));
            continue;
        };
        for other in dependencies(&folder) {
            if floors.get(&other).is_none_or(|other| other >= floor) {
                wrong.push(format!("{name}, floor {floor}, depends on {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All crates of this project that a crate is built from.
fn closure(name: &str) -> BTreeSet<String> {
    let crates = crates();
    let mut seen = BTreeSet::new();
    let mut left = vec![name.to_owned()];
    while let Some(name) = left.pop() {
        if seen.insert(name.clone()) {
            left.extend(dependencies(&crates[&name]));
        }
    }
    seen
}

#[test]
fn what_applies_or_pulls_is_built_without_what_makes() {
    assert!(!closure("imgdelta-apply").contains("imgdelta-make"));
    let face = fs::read_to_string(crates()["imgdelta"].join("Cargo.toml")).unwrap();
    for maker in ["imgdelta-make", "imgdelta-diff", "imgdelta-packages", "imgdelta-patch"] {
        assert!(face.contains(&format!("{maker} = {{ workspace = true, optional = true }}")));
    }
    let pull = crates()["imgdelta-registry"].clone();
    assert!(!dependencies(&pull).contains(&"imgdelta-make".to_owned()));
}

#[test]
fn no_crate_is_too_large_to_survey() {
    for (name, folder) in crates() {
        let files = rust_files(&folder.join("src"));
        let lines: usize =
            files.iter().map(|file| fs::read_to_string(file).unwrap().lines().count()).sum();
        // Each encoder of deflate is a model of its own.
        let most = if name == "imgdelta-deflate" { 14_000 } else { 9000 };
        assert!(lines <= most, "{name} has {lines} lines");
    }
}

#[test]
fn the_reader_of_imports_sees_them_all() {
    let source = "use crate::{Error, path::{LayerPath, escaped}, index::Entry};\nuse crate::verify;\n\
                  fn f(x: crate::store::Name) {}";
    let modules: Vec<String> = modules_named(source, "crate::").into_iter().collect();
    assert_eq!(modules, ["index", "path", "store", "verify"]);
    let circle = BTreeMap::from([
        ("a".to_owned(), BTreeSet::from(["b".to_owned()])),
        ("b".to_owned(), BTreeSet::from(["a".to_owned()])),
        ("c".to_owned(), BTreeSet::new()),
    ]);
    assert!(levels(&circle).unwrap_err().contains("[\"a\", \"b\"]"));
}

const START: &str = "<!-- levels: written by a test -->";
const END: &str = "<!-- end of levels -->";
