//! Checks that pages and deployment files agree with the program.
//!
//! Paths are relative to the top of the repository. A disagreement is a failed assertion.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Returns the top of the repository.
pub fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reads a file of the repository.
pub fn text(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the names of metrics in a text: the output of the program, or a query.
pub fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| {
        let ends = ["_bytes", "_seconds", "_total"];
        word.starts_with("imgdelta_")
            || word.starts_with("process_") && ends.iter().any(|end| word.ends_with(end))
    };
    words.filter(is_metric).map(|word| without_part(word).to_owned()).collect()
}

/// Returns the name of a histogram, given that of one of its parts.
fn without_part(name: &str) -> &str {
    let stripped = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
    stripped.filter(|name| name.ends_with("_seconds") || name.ends_with("_bytes")).unwrap_or(name)
}

/// Asserts that an example has every key of a configuration, by the public fields of its source;
/// `tables` is the field of a list of tables. Returns the number of fields.
pub fn has_every_key(example: &str, source: &str, tables: &str) -> usize {
    let source = text(source);
    let fields = source.split("#[cfg(test)]").next().unwrap_or_default().lines();
    let fields = fields.filter_map(|line| {
        line.strip_prefix("    pub ").and_then(|rest| rest.split_once(": ")).map(|(name, _)| name)
    });
    let fields: Vec<&str> =
        fields.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect();
    for field in &fields {
        let (key, section) = (field.replace('_', "-"), format!("[{field}]"));
        let is_there = example.contains(&format!("{key} = ")) || example.contains(&section);
        assert!(is_there || *field == tables, "{key} is not in the example");
    }
    fields.len()
}

/// Asserts that alert rules and dashboard query metrics that the program prints, that the page lists
/// exactly these, and that each panel of the dashboard has its own number.
pub fn agree_on_metrics(printed: &str, page: &str, rules: &str, dashboard: &str) {
    let printed = metrics_in(printed);
    for path in [rules, dashboard] {
        let queried = metrics_in(&text(path));
        assert!(!queried.is_empty());
        let missing: Vec<_> = queried.difference(&printed).collect();
        assert!(missing.is_empty(), "{path} queries {missing:?}");
    }
    let words = text(page);
    let table = words.split("`GET /metrics`:").nth(1).expect("the page has the list");
    let table = table.split("\n## ").next().unwrap_or_default();
    assert_eq!(metrics_in(table), printed, "{page} lists the metrics of the program");
    let dashboard: serde_json::Value = serde_json::from_str(&text(dashboard)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
}

/// Asserts that the sources in folders of `crates` have a test of each name.
pub fn are_tests(names: &[&str], folders: &[&str]) {
    let mut sources = String::new();
    for folder in folders {
        collect(&top().join("crates").join(folder), &mut sources);
    }
    for name in names {
        assert!(sources.contains(&format!("fn {name}(")), "{name}");
    }
}

/// Appends the Rust sources of a folder.
fn collect(folder: &Path, sources: &mut String) {
    for item in fs::read_dir(folder).expect("a folder of the repository") {
        let path = item.expect("disk").path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(path).expect("text"));
        }
    }
}
