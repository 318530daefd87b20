//! Holds the language of code and pages to CONTRIBUTING.md: what can be counted may only fall.
//!
//! Reads text, compiles nothing. Each habit has a ceiling; a change that lowers a count lowers its ceiling.

use imgdelta_tests::collect_files;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The crates whose sources are held to the rules, and the pages.
fn sources() -> Vec<PathBuf> {
    let top = imgdelta_tests::top();
    let mut files = Vec::new();
    for folder in ["crates", "tests", "benches", "fuzz/fuzz_targets"] {
        collect_files(&top.join(folder), "rs", &mut files);
    }
    files
}

fn pages() -> Vec<PathBuf> {
    let top = imgdelta_tests::top();
    let mut files = Vec::new();
    collect_files(&top.join("docs"), "md", &mut files);
    for page in ["README", "ARCHITECTURE", "CONTRIBUTING", "SECURITY", "CHANGELOG"] {
        files.push(top.join(page).with_extension("md"));
    }
    files
}

/// Lines that hold the habit, as `file:line: text`.
fn lines(files: &[PathBuf], has_habit: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        // This file names the words it looks for.
        if file.ends_with("tests/words.rs") {
            continue;
        }
        let text = fs::read_to_string(file).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| has_habit(line)) {
            found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
        }
    }
    found
}

fn at_most(ceiling: usize, found: &[String]) {
    assert!(
        found.len() <= ceiling,
        "{} lines, at most {ceiling} allowed:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// The words of a text, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

#[test]
fn doc_lines_begin_with_a_noun_or_a_verb() {
    let found = lines(&sources(), |line| {
        let line = line.trim_start();
        let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        text.and_then(|text| text.split_whitespace().next())
            .is_some_and(|word| QUESTIONS.contains(&word))
    });
    at_most(MOST_QUESTIONS, &found);
}

#[test]
fn house_words_are_not_used_for_what_the_field_has_a_word_for() {
    let has_house_word = |line: &str| words(line).any(|word| HOUSE_WORDS.contains(&&*word));
    let has_phrase = |line: &str| {
        let line = line.to_lowercase();
        PHRASES.iter().any(|phrase| line.contains(phrase))
    };
    let in_code = lines(&sources(), |line| {
        let comment = line.split_once("//").map_or("", |(_, comment)| comment);
        let text: String = line.split('"').skip(1).step_by(2).collect();
        [comment, &text].iter().any(|text| has_house_word(text) || has_phrase(text))
    });
    at_most(MOST_HOUSE_WORDS_IN_CODE, &in_code);
    let in_pages = lines(&pages(), |line| has_house_word(line) || has_phrase(line));
    at_most(MOST_HOUSE_WORDS_IN_PAGES, &in_pages);
}

/// The types that a crate's sources define, with the files.
fn types_of(crate_dir: &Path) -> BTreeMap<String, Vec<String>> {
    let mut files = Vec::new();
    collect_files(&crate_dir.join("src"), "rs", &mut files);
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        let product = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        if file.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        for line in product.lines() {
            let line = line.trim_start();
            let line = line.strip_prefix("pub").map_or(line, |rest| {
                rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |r| r.1)
            });
            let mut words = line.split_whitespace();
            if matches!(words.next(), Some("struct" | "enum" | "trait" | "union"))
                && let Some(name) = words.next()
            {
                let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
                let place = file.strip_prefix(crate_dir).unwrap().display().to_string();
                types.entry(name[..end].to_owned()).or_default().push(place);
            }
        }
    }
    types
}

fn crates() -> Vec<PathBuf> {
    let folders = fs::read_dir(imgdelta_tests::top().join("crates")).unwrap();
    let mut folders: Vec<PathBuf> = folders.map(|item| item.unwrap().path()).collect();
    folders.sort();
    folders
}

#[test]
fn a_crate_uses_a_type_name_once() {
    let mut found = Vec::new();
    for folder in crates() {
        for (name, files) in types_of(&folder).into_iter().filter(|(_, files)| files.len() > 1) {
            found.push(format!("{}: {name} in {}", folder.display(), files.join(", ")));
        }
    }
    at_most(MOST_REPEATED_TYPES, &found);
}

#[test]
fn types_are_not_past_participles() {
    let banned: BTreeSet<&str> = PARTICIPLES.into_iter().collect();
    let mut found = Vec::new();
    for folder in crates() {
        let types = types_of(&folder).into_iter();
        found.extend(
            types
                .filter(|(name, _)| banned.contains(&**name))
                .map(|(name, files)| format!("{}: {name} in {}", folder.display(), files[0])),
        );
    }
    at_most(0, &found);
}

const QUESTIONS: [&str; 6] = ["What", "Whether", "How", "Where", "Who", "Which"];

const HOUSE_WORDS: [&str; 8] =
    ["told", "tells", "whoever", "anew", "dear", "dearer", "dearest", "beside"];

const PHRASES: [&str; 5] = ["for who ", "for whom ", "who has ", " comes to ", " come to "];

const PARTICIPLES: [&str; 24] = [
    "Found",
    "Made",
    "Told",
    "Known",
    "Kept",
    "Chosen",
    "Opened",
    "Closed",
    "Read",
    "Written",
    "Packed",
    "Placed",
    "Prepared",
    "Pushed",
    "Pulled",
    "Uploaded",
    "Published",
    "Applied",
    "Stored",
    "Installed",
    "Named",
    "Begun",
    "Divided",
    "Proved",
];

/// Ceilings. They only fall.
const MOST_QUESTIONS: usize = 0;
const MOST_HOUSE_WORDS_IN_CODE: usize = 0;
const MOST_HOUSE_WORDS_IN_PAGES: usize = 0;
const MOST_REPEATED_TYPES: usize = 0;
