//! Pages keep their promises: each names tests that exist, and lists what there is.

use imgdelta_tests::{collect_files, top};
use std::{collections::BTreeSet, fs};

#[test]
fn promises_name_tests_that_exist() {
    let page = fs::read_to_string(top().join("SECURITY.md")).unwrap();
    let named: BTreeSet<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.matches('_').count() >= 2 && !name.contains(['/', '.']))
        .collect();
    assert!(named.len() > 30, "{named:?}");
    let mut files = Vec::new();
    for folder in ["crates", "tests"] {
        collect_files(&top().join(folder), "rs", &mut files);
    }
    let code: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let missing: Vec<&&str> =
        named.iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_fuzz_target_is_a_row_of_the_page_about_fuzzing() {
    let manifest = fs::read_to_string(top().join("fuzz/Cargo.toml")).unwrap();
    let targets: BTreeSet<&str> = manifest
        .split("[[bin]]")
        .skip(1)
        .map(|target| target.split('"').nth(1).expect("the name comes first"))
        .collect();
    let page = fs::read_to_string(top().join("docs/fuzzing.md")).unwrap();
    let table = page.split("<!-- table -->").nth(1).expect("the page has a table");
    let rows: BTreeSet<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(targets.len() > 20, "{targets:?}");
    assert_eq!(targets, rows);
}
