//! Every promise of SECURITY.md names tests that exist.

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
